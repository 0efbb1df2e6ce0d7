//! How it looks: with which characters and colours. Pure.

use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::bar;

use super::hour::Column;
use crate::cli::output::Tone;

/// The characters that not every terminal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Glyphs {
    Unicode,
    /// For a locale that isn't UTF-8, and for the console of Linux, whose font lacks most of the others.
    Ascii,
}

/// What there is to draw with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) glyphs: Glyphs,
    pub(super) has_colours: bool,
}

const ASCII_BARS: bar::Set<'_> = bar::Set {
    full: "#",
    seven_eighths: "#",
    three_quarters: "*",
    five_eighths: "+",
    half: "=",
    three_eighths: "-",
    one_quarter: ":",
    one_eighth: ".",
    empty: " ",
};

impl Glyphs {
    /// Those that a terminal has, by its name and by the variables of the locale in the order in which they count.
    pub(super) fn of(terminal: &str, locale: impl IntoIterator<Item = Option<String>>) -> Glyphs {
        let locale = locale.into_iter().flatten().find(|value| !value.is_empty()).unwrap_or_default();
        let locale = locale.to_ascii_lowercase();
        let is_utf8 = ["utf-8", "utf8"].iter().any(|name| locale.contains(name));
        if is_utf8 && terminal != "linux" { Glyphs::Unicode } else { Glyphs::Ascii }
    }

    pub(super) fn bars(self) -> bar::Set<'static> {
        match self {
            Glyphs::Unicode => bar::NINE_LEVELS,
            Glyphs::Ascii => ASCII_BARS,
        }
    }

    /// What stands for the rest of a line.
    pub(super) fn cut(self) -> &'static str {
        match self {
            Glyphs::Unicode => "…",
            Glyphs::Ascii => ">",
        }
    }

    pub(super) fn column(self, column: Column) -> &'static str {
        match (self, column) {
            (_, Column::Unknown) => " ",
            (Glyphs::Unicode, Column::Connected) => "█",
            (Glyphs::Unicode, Column::Partly) => "▄",
            (Glyphs::Unicode, Column::Disconnected) => "▁",
            (Glyphs::Ascii, Column::Connected) => "#",
            (Glyphs::Ascii, Column::Partly) => "+",
            (Glyphs::Ascii, Column::Disconnected) => ".",
        }
    }
}

impl Look {
    /// The colours of `gatewire status`.
    pub(super) fn style(self, tone: Tone) -> Style {
        if !self.has_colours {
            return Style::new();
        }
        match tone {
            Tone::Good => Style::new().fg(Color::Green),
            Tone::Doubtful => Style::new().fg(Color::Yellow),
            Tone::Bad => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
            Tone::Heading => Style::new().add_modifier(Modifier::BOLD),
            Tone::Name => Style::new().fg(Color::Cyan),
            Tone::Aside => Style::new().add_modifier(Modifier::DIM),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_says_so_gets_more_than_ascii() {
        let of = |terminal, all: Option<&str>, language: Option<&str>| {
            Glyphs::of(terminal, [all.map(str::to_owned), None, language.map(str::to_owned)])
        };
        assert_eq!(of("xterm", None, Some("de_DE.UTF-8")), Glyphs::Unicode);
        assert_eq!(of("xterm", Some(""), Some("C.utf8")), Glyphs::Unicode);
        assert_eq!(of("xterm", Some("C"), Some("C.utf8")), Glyphs::Ascii);
        assert_eq!(of("xterm", None, None), Glyphs::Ascii);
        assert_eq!(of("linux", None, Some("C.UTF-8")), Glyphs::Ascii);
    }
}
