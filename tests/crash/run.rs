//! One run of a test: its seed, its kills, and what a failure leaves behind.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use fastrand::Rng;

use crate::support::daemon::{Gatewire, Setup};
use crate::verdict::{Verdict, judge};

/// Kills of all tests together, unless `GATEWIRE_SOAK_KILLS` says otherwise.
pub(crate) const KILLS: usize = 260;

/// The most numbers of messages that a failure names; the files have all.
const FEW: usize = 100;

/// See the module.
pub(crate) struct Run {
    name: String,
    seed: u64,
    kills: usize,
    setup: Setup,
}

impl Run {
    /// A run that has so many of [`KILLS`].
    pub(crate) fn new(name: String, share: usize, setup: Setup) -> Run {
        let number = |variable| std::env::var(variable).ok().map(|text| text.parse::<u64>().unwrap());
        let seed = number("GATEWIRE_SEED").unwrap_or_else(|| fastrand::u64(..));
        let all = number("GATEWIRE_SOAK_KILLS").map_or(KILLS, |kills| kills as usize);
        println!("{name}: GATEWIRE_SEED={seed}");
        Run { name, seed, kills: (share * all).div_ceil(KILLS), setup: setup.keep_log("gatewire.log") }
    }

    /// Random numbers for one of those who take part, so that none depends on how many the others draw.
    pub(crate) fn rng(&self, part: u64) -> Rng {
        Rng::with_seed(self.seed.wrapping_add(part.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.setup.directory.path().join(name)
    }

    /// Starts gatewire, lets it live for a while and ends it, as often as this run has to, and then until something
    /// `is_at_stake`, but not without an end: `end` says whether SIGKILL was what ended it. Returns it once more started.
    pub(crate) fn kill_again_and_again(
        &self,
        is_at_stake: impl Fn() -> bool,
        end: impl Fn(&mut Rng, Gatewire) -> bool,
    ) -> Gatewire {
        let rng = &mut self.rng(0);
        let mut killed = 0;
        while killed < self.kills || !is_at_stake() {
            assert!(killed < self.kills + KILLS, "nothing was at stake");
            let gatewire = self.setup.start();
            sleep(lifetime(rng));
            killed += usize::from(end(rng, gatewire));
        }
        self.setup.start()
    }

    /// Fails if something is missing or was overtaken. Returns the number of duplicates.
    pub(crate) fn judge(&self, whose: &str, promised: &[u64], arrived: &[u64]) -> usize {
        let Verdict { missing, overtaken, duplicates } = judge(promised, arrived);
        if missing.is_empty() && overtaken.is_empty() {
            return duplicates;
        }
        for (kind, numbers) in [("promised", promised), ("arrived", arrived)] {
            let lines: String = numbers.iter().fold(String::new(), |mut lines, number| {
                writeln!(lines, "{number}").unwrap();
                lines
            });
            std::fs::write(self.path(&format!("{whose}.{kind}")), lines).unwrap();
        }
        let (gone, late) = (&missing[..missing.len().min(FEW)], &overtaken[..overtaken.len().min(FEW)]);
        panic!(
            "{}, {whose}: {} missing: {gone:?}; {} overtaken (by, number): {late:?}. The lists are {whose}.promised and \
             {whose}.arrived",
            self.name,
            missing.len(),
            overtaken.len()
        );
    }

    /// The last words of a run that has passed.
    pub(crate) fn say(&self, what: &str) {
        println!("{}: {} kills, {what}", self.name, self.kills);
    }
}

/// Keeps the directory of a run that has failed.
impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let directory = self.setup.directory.path().display();
            eprintln!("{}: failed with GATEWIRE_SEED={}; logs and state are kept in {directory}", self.name, self.seed);
            std::mem::forget(Arc::clone(&self.setup.directory));
        }
    }
}

/// How long gatewire lives: not even through its start, or about as long as connecting and a few bursts take, or past
/// `spill_after`.
fn lifetime(rng: &mut Rng) -> Duration {
    let most = match rng.u8(..10) {
        0..3 => 25,
        3..9 => 160,
        _ => 1400,
    };
    milliseconds(rng, most)
}

/// A random time below so many milliseconds.
pub(crate) fn milliseconds(rng: &mut Rng, below: u64) -> Duration {
    Duration::from_micros(rng.u64(..below * 1000))
}
