//! The view: what is drawn of what is known, on a terminal of any size. Pure.

mod lists;
mod table;

use jiff::SignedDuration;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{RenderDirection, Sparkline, Widget as _};

use super::hour::{Column, columns};
use super::look::Look;
use super::model::{Known, Model, Moment};
use super::rates::{self, Way};
use super::rows::{Content, ListRow, Rows};
use super::trouble::{self, Trouble, When};
use crate::cli::output::Tone;
use crate::cli::status::history;
use crate::cli::status::said::Words;
use crate::cli::status::words::{bytes, columns_of, nothing_waits, relative, span, total, waits, wrapped};
use crate::printable::printable;
use crate::status::document::{Document, Drain, LinkDocument, OutboxDocument};

/// Where values begin; and where there isn't room for that.
const INDENT: usize = 13;
const NARROW_INDENT: usize = 11;

/// The width below which it is narrow.
const NARROW: usize = 50;

/// The highest that a curve gets, in rows.
const MAX_CURVE: usize = 4;

/// What an answer may take until it is said that it is late.
const LATE: SignedDuration = SignedDuration::from_secs(3);

/// Ranks: what there is less room for has a higher one.
mod rank {
    pub(super) const TITLE: usize = 0;
    pub(super) const LINK: usize = 1;
    pub(super) const OUTBOX: usize = 2;
    pub(super) const TROUBLE: usize = 3;
    pub(super) const HOUR: usize = 4;
    pub(super) const CURVE: usize = 5;
    pub(super) const MORE: usize = 6;
    pub(super) const DETAIL: usize = 8;
    /// Of the rows of all lists, the first; each next one has the next.
    pub(super) const LIST: usize = 10;
    /// Of what goes on with a line, and of what explains one.
    pub(super) const REST: usize = 11;
}

/// Draws what is known.
pub(super) fn draw(model: &Model, now: Moment, look: Look, buffer: &mut Buffer) {
    let area = buffer.area;
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    let view = View { now, words: Words { now: now.wall, has_times: false }, width, rows: Rows::new(look) };
    let (rows, curve) = view.of(model, height);
    let mut y = area.top();
    for content in rows {
        let left = area.bottom().saturating_sub(y);
        if left == 0 {
            break;
        }
        match content {
            Content::Line(line) | Content::Head(line) => {
                put(buffer, (area.left(), y), &line, look);
                y += 1;
            }
            Content::Curve { label, way } => {
                let height = u16::try_from(curve).unwrap_or(1).min(left);
                let row = Rect { x: area.left(), y, width: area.width, height };
                draw_curve(model, (&label, way), look, (row, buffer));
                y += height;
            }
        }
    }
}

/// Puts a line there, with a mark if not all of it has room.
fn put(buffer: &mut Buffer, (x, y): (u16, u16), line: &Line<'_>, look: Look) {
    let width = buffer.area.right().saturating_sub(x);
    buffer.set_line(x, y, line, width);
    if line.width() > usize::from(width) && width > 0 {
        let last = x + width - 1;
        // The mark would be the second half of a character that is two columns wide.
        if width > 1 && columns_of(buffer[(last - 1, y)].symbol()) > 1 {
            buffer[(last - 1, y)].set_symbol(" ");
        }
        buffer.set_string(last, y, look.glyphs.cut(), look.style(Tone::Aside));
    }
}

/// A label, and the seconds that have room behind it, the newest at the right.
fn draw_curve(model: &Model, (label, way): (&str, Way), look: Look, (area, buffer): (Rect, &mut Buffer)) {
    let label_width = u16::try_from(indent(area.width.into())).unwrap_or(u16::MAX).min(area.width);
    let [width, height] = [area.width - label_width, area.height].map(usize::from);
    buffer.set_stringn(area.x, area.y, label, label_width.into(), look.style(Tone::Heading));
    let seconds = model.rates.last(way, width);
    let peak = seconds.clone().flatten().fold(0.0, f64::max);
    if area.height > 1 && peak > 0.0 {
        let text = format!("peak {}", rates::written(peak));
        buffer.set_stringn(area.x, area.y + 1, text, label_width.into(), look.style(Tone::Aside));
    }
    // Rates as eighths of a row: what isn't zero is seen.
    let highest = 8 * height as u64;
    let eighths = |rate: f64| (rate / peak * highest as f64).ceil() as u64;
    let data: Vec<Option<u64>> = seconds.rev().map(|rate| rate.map(eighths)).collect();
    let curve = Sparkline::default().data(data).max(highest).bar_set(look.glyphs.bars());
    let curve = curve.absent_value_symbol(" ").direction(RenderDirection::RightToLeft).style(look.style(Tone::Name));
    curve.render(Rect { x: area.x + label_width, width: area.width - label_width, ..area }, buffer);
}

/// `text` in lines of at most `width` columns. A word that is wider is broken: what is cut off is lost, as nobody scrolls here.
fn broken(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for mut line in wrapped(text, width) {
        while columns_of(&line) > width {
            let ends = line.char_indices().map(|(at, _)| at).skip(1);
            // At least one character, however narrow it is.
            let fits = ends.take_while(|end| columns_of(&line[..*end]) <= width).last();
            let Some(end) = fits.or_else(|| line.char_indices().nth(1).map(|(at, _)| at)) else { break };
            let rest = line.split_off(end);
            lines.push(std::mem::replace(&mut line, rest));
        }
        lines.push(line);
    }
    lines
}

fn indent(width: usize) -> usize {
    if width < NARROW { NARROW_INDENT } else { INDENT }
}

/// A view in the making.
struct View {
    now: Moment,
    words: Words,
    width: usize,
    rows: Rows,
}

impl View {
    /// Its rows, and how high a curve is.
    fn of(mut self, model: &Model, height: usize) -> (Vec<Content>, usize) {
        match &model.known {
            Known::Nothing => self.without(model, (None, "gatewire is asked")),
            Known::Unreachable(reason) => self.without(model, (Some(Tone::Bad), reason)),
            Known::Document(document) => self.with(model, document),
        }
        // Each row more is one of both curves.
        let free = height.saturating_sub(self.rows.len()) / 2;
        let curve = 1 + free.min(MAX_CURVE - 1);
        (self.rows.fitting(height.saturating_sub(2 * (curve - 1))), curve)
    }

    /// No daemon answers.
    fn without(&mut self, model: &Model, (tone, reason): (Option<Tone>, &str)) {
        self.title("gatewire status", None);
        for line in broken(&printable(reason), self.width.max(1)) {
            let line = self.rows.span(tone, &line);
            self.rows.line(rank::LINK, vec![line]);
        }
        if matches!(model.known, Known::Unreachable(_)) {
            self.rows.blank();
            let again = self.rows.span(None, "It is asked again each second.");
            self.rows.line(rank::LINK, vec![again]);
        }
        if model.rates.are_known() {
            self.rows.blank();
            self.curves(model);
        }
        let seen = model.seen.iter().rev();
        let seen = seen.map(|(at, text)| Trouble { when: When::At(*at), tone: Tone::Aside, text: text.clone() });
        let notes = model.notes.iter();
        let notes = notes.map(|text| Trouble { when: When::Now, tone: Tone::Bad, text: text.clone() });
        let troubles: Vec<Trouble> = notes.chain(seen).collect();
        if !troubles.is_empty() {
            self.troubles(troubles);
        }
    }

    fn with(&mut self, model: &Model, document: &Document) {
        let mut title = format!("gatewire {}", document.version);
        if let Some(started) = document.started {
            title.push_str(&format!(", up {}", self.words.since(started)));
        }
        if let Some(memory) = &document.memory {
            title.push_str(&format!("; memory {}", bytes(memory.resident)));
        }
        let age = self.now.wall.duration_since(model.at.wall);
        let late = (age >= LATE).then(|| format!("no answer for {}", span(age)));
        self.title(&title, late.as_deref());
        self.link(&document.link);
        self.hour(&document.link);
        self.curves(model);
        self.outbox(&document.outbox);
        self.inbox(document);
        self.meter(document.meter.as_ref());
        self.lists(document);
        self.troubles(trouble::of(model, document, self.words));
    }

    fn title(&mut self, title: &str, late: Option<&str>) {
        let clock = self.now.wall.strftime("%H:%M:%S UTC").to_string();
        let right = format!("{}, q quits", late.unwrap_or(&clock));
        let left = self.rows.span(Some(Tone::Heading), title);
        let room = self.width.saturating_sub(left.width());
        let tone = if late.is_some() { Tone::Bad } else { Tone::Aside };
        // How it is ended is more than a clock.
        let right = if right.len() < room { right } else { "q quits".to_owned() };
        let right = self.rows.span(Some(tone), &right);
        match room.checked_sub(right.width() + 1) {
            Some(gap) => self.rows.line(rank::TITLE, vec![left, Span::from(" ".repeat(gap + 1)), right]),
            None => self.rows.line(rank::TITLE, vec![left]),
        }
    }

    /// A line with a name in front, and those that go on with it, which count less.
    fn entry(&mut self, rank: usize, name: &str, tone: Option<Tone>, value: &str) {
        let indent = indent(self.width);
        let room = self.width.saturating_sub(indent).max(1);
        for (i, part) in broken(&printable(value), room).iter().enumerate() {
            let (rank, name) = if i == 0 { (rank, name) } else { (rank.max(rank::REST), "") };
            let name = self.rows.span(Some(Tone::Heading), &format!("{name:<indent$}"));
            let part = self.rows.span(tone, part);
            self.rows.line(rank, vec![name, part]);
        }
    }

    fn link(&mut self, link: &LinkDocument) {
        let (tone, state) = self.words.link(link);
        self.entry(rank::LINK, "link", Some(tone), &state);
        let LinkDocument { endpoint, port, client_id, protocol, proxy, .. } = link;
        let proxy = proxy.as_ref().map_or_else(String::new, |proxy| format!(" through the proxy {proxy}"));
        let client_id = if client_id.is_empty() { String::new() } else { format!("{client_id} at ") };
        let where_to = format!("{client_id}{endpoint}:{port}{proxy}, MQTT {protocol}");
        self.entry(rank::DETAIL, "", None, &where_to);
        if let Some(summary) = history::summary(&link.history, self.now.wall) {
            self.entry(rank::DETAIL, "", None, &summary);
        }
    }

    fn hour(&mut self, link: &LinkDocument) {
        let indent = indent(self.width);
        let look = self.rows.look;
        let columns = columns(&link.history, self.width.saturating_sub(indent));
        let mut line = vec![self.rows.span(Some(Tone::Heading), &format!("{:<indent$}", "last hour"))];
        // Neighbours of a kind are one piece.
        for same in columns.chunk_by(|one, other| one == other) {
            let tone = match same[0] {
                Column::Connected | Column::Unknown => Tone::Good,
                Column::Partly => Tone::Doubtful,
                Column::Disconnected => Tone::Bad,
            };
            line.push(self.rows.span(Some(tone), &look.glyphs.column(same[0]).repeat(same.len())));
        }
        self.rows.line(rank::HOUR, line);
        let [up, partly, down] =
            [Column::Connected, Column::Partly, Column::Disconnected].map(|column| look.glyphs.column(column));
        let legend = format!("{up} connected, {partly} partly, {down} not");
        let (from, to) = ("-60 min", "now");
        let room = columns.len().saturating_sub(from.len() + to.len() + legend.chars().count());
        if room >= 2 {
            let [left, right] = [room / 2, room - room / 2].map(|n| " ".repeat(n));
            let text = format!("{}{from}{left}{legend}{right}{to}", " ".repeat(indent));
            let text = self.rows.span(Some(Tone::Aside), &text);
            self.rows.line(rank::REST, vec![text]);
        }
    }

    fn curves(&mut self, model: &Model) {
        for (way, name) in [(Way::Out, "out"), (Way::In, "in")] {
            let mean = model.rates.mean(way).map_or_else(|| "-".to_owned(), rates::written);
            self.rows.push(rank::CURVE, Content::Curve { label: format!("{name:<3} {mean}"), way });
        }
    }

    fn outbox(&mut self, outbox: &OutboxDocument) {
        let OutboxDocument { waiting, in_flight, stored, quarantined, .. } = outbox;
        if (*waiting, *in_flight) == (0, 0) {
            self.entry(rank::OUTBOX, "outbox", None, nothing_waits(outbox.held.is_some()));
        } else {
            let oldest = outbox.oldest.map_or_else(String::new, |at| format!(", the oldest {}", self.words.since(at)));
            let size = bytes(outbox.bytes);
            let text = format!("{}{oldest}; {in_flight} in flight, {stored} stored, {size}", waits(*waiting));
            self.entry(rank::OUTBOX, "outbox", Some(Tone::Name), &text);
        }
        if let Some(Drain { messages, delivered, seconds_left }) = &outbox.drain {
            let left = seconds_left.and_then(|seconds| i64::try_from(seconds).ok());
            let left = left.map(|seconds| format!(", about {} left", span(SignedDuration::from_secs(seconds))));
            let text =
                format!("the backlog goes out: {delivered} of {messages} are delivered{}", left.unwrap_or_default());
            self.entry(rank::DETAIL, "", None, &text);
        }
        if *quarantined > 0 {
            self.entry(rank::REST, "", Some(Tone::Bad), &format!("{quarantined} set aside"));
        }
    }

    fn inbox(&mut self, document: &Document) {
        let waiting = total(document.forward.iter().map(|forward| forward.waiting));
        let oldest = document.forward.iter().filter_map(|forward| forward.oldest).min();
        let (tone, text) = match (waiting, oldest) {
            (0, _) => (None, "nothing waits for readers".to_owned()),
            (n, None) => (Some(Tone::Name), format!("{} for readers", waits(n))),
            (n, Some(at)) => {
                (Some(Tone::Name), format!("{} for readers, the oldest {}", waits(n), self.words.since(at)))
            }
        };
        if !document.forward.is_empty() {
            self.entry(rank::MORE, "inbox", tone, &text);
        }
    }

    fn troubles(&mut self, troubles: Vec<Trouble>) {
        let indent = indent(self.width);
        let mut lines = Vec::new();
        for Trouble { when, tone, text } in troubles {
            let when = match when {
                When::Now => "now".to_owned(),
                When::At(at) => relative(at.into(), self.now.wall),
                When::Earlier => "earlier".to_owned(),
            };
            for (i, part) in broken(&printable(&text), self.width.saturating_sub(indent).max(1)).iter().enumerate() {
                let when = if i == 0 { when.as_str() } else { "" };
                let when = self.rows.span(None, &format!("{when:<indent$}"));
                // The first three matter as much as anything.
                let rank = if lines.len() < 3 { rank::TROUBLE } else { rank::LIST + lines.len() - 3 };
                let line = Line::from(vec![when, self.rows.span(Some(tone), part)]);
                lines.push(ListRow { rank, is_whole: i == 0, line });
            }
        }
        if lines.is_empty() {
            let line = Line::from(self.rows.span(Some(Tone::Good), "none"));
            lines.push(ListRow { rank: rank::TROUBLE, is_whole: true, line });
        }
        let head = self.rows.span(Some(Tone::Heading), "TROUBLE");
        self.rows.list(rank::TROUBLE, head, lines);
    }
}
