//! Rows that compete for the height of a terminal. Pure.

use ratatui::text::{Line, Span};

use super::look::Look;
use super::rates::Way;
use crate::cli::output::Tone;
use crate::printable::printable;

/// What a row shows.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Line(Line<'static>),
    /// The head of a list, in which it is said how many rows there are if not all are shown.
    Head(Line<'static>),
    Curve {
        label: String,
        way: Way,
    },
}

/// A row; what has a lower rank stays when there is no room for all.
#[derive(Debug)]
struct Row {
    rank: usize,
    /// Which list it belongs to.
    list: Option<usize>,
    /// It isn't the rest of the row before.
    is_whole: bool,
    content: Content,
}

/// A row of a list.
pub(super) struct ListRow {
    pub(super) rank: usize,
    pub(super) is_whole: bool,
    pub(super) line: Line<'static>,
}

/// The rank of what is only there to look better.
const BLANK: usize = usize::MAX;

/// All that there is to be shown, in order.
pub(super) struct Rows {
    rows: Vec<Row>,
    lists: usize,
    pub(super) look: Look,
}

impl Rows {
    pub(super) fn new(look: Look) -> Rows {
        Rows { rows: Vec::new(), lists: 0, look }
    }

    pub(super) fn push(&mut self, rank: usize, content: Content) {
        self.rows.push(Row { rank, list: None, is_whole: true, content });
    }

    pub(super) fn line(&mut self, rank: usize, spans: Vec<Span<'static>>) {
        self.push(rank, Content::Line(Line::from(spans)));
    }

    pub(super) fn blank(&mut self) {
        self.line(BLANK, Vec::new());
    }

    /// A list: its head, and its rows. Nothing if there are none.
    pub(super) fn list(&mut self, rank: usize, head: Span<'static>, rows: Vec<ListRow>) {
        if rows.is_empty() {
            return;
        }
        self.blank();
        let list = Some(self.lists);
        self.lists += 1;
        self.rows.push(Row { rank, list, is_whole: true, content: Content::Head(Line::from(head)) });
        let row = |ListRow { rank, is_whole, line }| Row { rank, list, is_whole, content: Content::Line(line) };
        self.rows.extend(rows.into_iter().map(row));
    }

    /// Text, which may be of others.
    pub(super) fn span(&self, tone: Option<Tone>, text: &str) -> Span<'static> {
        let style = tone.map(|tone| self.look.style(tone)).unwrap_or_default();
        Span::styled(printable(text).into_owned(), style)
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Those of the best rank that fit into this height, in order.
    pub(super) fn fitting(mut self, height: usize) -> Vec<Content> {
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        // Of one rank the first stay.
        order.sort_by_key(|i| self.rows[*i].rank);
        let mut is_shown = vec![false; self.rows.len()];
        order.iter().take(height).for_each(|i| is_shown[*i] = true);
        let mut counts = vec![(0, 0); self.lists];
        for (row, is_shown) in self.rows.iter().zip(&is_shown) {
            if let (Some(list), true, Content::Line(_)) = (row.list, row.is_whole, &row.content) {
                counts[list].0 += usize::from(*is_shown);
                counts[list].1 += 1;
            }
        }
        for row in &mut self.rows {
            let Row { list: Some(list), content: Content::Head(line), .. } = row else { continue };
            let (shown, all) = counts[*list];
            if shown < all {
                line.push_span(Span::styled(format!("  ({shown} of {all})"), self.look.style(Tone::Aside)));
            }
        }
        self.rows.into_iter().zip(is_shown).filter(|(_, is_shown)| *is_shown).map(|(row, _)| row.content).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::look::Glyphs;
    use super::*;

    fn shown(height: usize) -> Vec<String> {
        let mut rows = Rows::new(Look { glyphs: Glyphs::Ascii, has_colours: false });
        let line = |rank, text: &str| ListRow { rank, is_whole: true, line: Line::from(text.to_owned()) };
        rows.line(0, vec![Span::from("title")]);
        rows.list(5, Span::from("A"), vec![line(5, "a1"), line(6, "a2"), line(5, "a3, which fails")]);
        rows.list(5, Span::from("B"), vec![line(5, "b1"), line(6, "b2")]);
        let of = |content: &Content| match content {
            Content::Line(line) | Content::Head(line) => line.to_string(),
            Content::Curve { .. } => unreachable!("there is none"),
        };
        rows.fitting(height).iter().map(of).collect()
    }

    #[test]
    fn what_matters_most_stays_and_each_list_gets_its_share() {
        assert_eq!(shown(0), Vec::<String>::new());
        assert_eq!(shown(1), ["title"]);
        assert_eq!(shown(6), ["title", "A  (2 of 3)", "a1", "a3, which fails", "B  (1 of 2)", "b1"]);
        assert_eq!(shown(8), ["title", "A", "a1", "a2", "a3, which fails", "B", "b1", "b2"]);
        assert_eq!(shown(100)[1], "");
    }
}
