//! What a program does, as its argument says.

use std::time::Duration;

use super::Wish;

/// `exit-CODE-MILLISECONDS-..`, `hang-..`, `stubborn-..`, `boot-..` or `restart-..`: what follows tells one step from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::simulation) struct Fate {
    /// How long it runs; `None`: until it is ended.
    pub(in crate::simulation) lasts: Option<Duration>,
    /// With which code it exits.
    pub(in crate::simulation) code: i32,
    /// SIGTERM doesn't end it.
    pub(super) is_stubborn: bool,
    /// What comes of it once it has exited.
    pub(super) wish: Option<Wish>,
}

impl Fate {
    pub(in crate::simulation) fn read(word: &str) -> Fate {
        let parts: Vec<&str> = word.split('-').collect();
        let fate = Fate { lasts: None, code: 0, is_stubborn: false, wish: None };
        match parts[..] {
            ["exit", code, millis, ..] => Fate {
                lasts: Some(Duration::from_millis(millis.parse().unwrap_or_default())),
                code: code.parse().unwrap_or_default(),
                ..fate
            },
            ["stubborn", ..] => Fate { is_stubborn: true, ..fate },
            ["boot", ..] => Fate { lasts: Some(Duration::from_millis(300)), wish: Some(Wish::Reboot), ..fate },
            ["restart", ..] => Fate { lasts: Some(Duration::from_secs(2)), wish: Some(Wish::RestartDaemon), ..fate },
            _ => fate,
        }
    }
}
