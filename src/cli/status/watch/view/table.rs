//! Tables, with columns as wide as they need to be. Pure.

use ratatui::text::{Line, Span};

use super::View;
use crate::cli::output::Tone;
use crate::cli::status::watch::rows::ListRow;
use crate::printable::printable;

/// What a first column takes at most: there has to be room for the others.
const MAX_NAME: usize = 24;

/// A row of a table.
pub(super) struct TableRow {
    pub(super) cells: Vec<String>,
    /// `None`: as anything.
    pub(super) tone: Option<Tone>,
}

impl View {
    /// A table with its heads; its first row has the rank `base`.
    pub(super) fn table(&mut self, base: usize, heads: &[&str], rows: Vec<TableRow>) {
        let cells: Vec<Vec<String>> =
            rows.iter().map(|row| row.cells.iter().map(|cell| shown(cell)).collect()).collect();
        let width = |column: usize| {
            let longest = cells.iter().filter_map(|row| row.get(column)).map(|cell| Span::raw(cell).width()).max();
            let longest = longest.unwrap_or(0).max(heads[column].len());
            if column == 0 { longest.min(MAX_NAME) } else { longest }
        };
        let widths: Vec<usize> = (0..heads.len()).map(width).collect();
        let cut = self.rows.look.glyphs.cut();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            cells.zip(&widths).map(|(cell, width)| padded(cell, *width, cut)).collect::<Vec<_>>().join("  ")
        };
        let head = self.rows.span(Some(Tone::Heading), line(&mut heads.iter().copied()).trim_end());
        let lines = rows.iter().zip(&cells).enumerate().map(|(i, (row, cells))| {
            let text = line(&mut cells.iter().map(String::as_str));
            // What is wrong comes first.
            let rank = if row.tone == Some(Tone::Bad) { base } else { base + i };
            ListRow { rank, is_whole: true, line: Line::from(self.rows.span(row.tone, text.trim_end())) }
        });
        let lines = lines.collect();
        self.rows.list(base, head, lines);
    }
}

fn shown(cell: &str) -> String {
    printable(cell).into_owned()
}

/// `cell` with blanks up to this width, or cut to it.
fn padded(cell: &str, width: usize, cut: &str) -> String {
    let has = Span::raw(cell).width();
    if has <= width {
        return format!("{cell}{:1$}", "", width - has);
    }
    let mut kept = String::new();
    for c in cell.chars() {
        let with = format!("{kept}{c}");
        if Span::raw(with.as_str()).width() + 1 > width {
            break;
        }
        kept = with;
    }
    let blanks = width.saturating_sub(Span::raw(kept.as_str()).width() + 1);
    format!("{kept}{cut}{:1$}", "", blanks)
}
