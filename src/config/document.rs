//! TOML files as one tree in which each value knows its place.

use std::path::Path;
use std::rc::Rc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::explain::{explain, told_once};
use super::places::Place;
use super::report::Report;

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    String(String),
    Integer(i64),
    /// More than 64 bits.
    LongInteger,
    Float(f64),
    Boolean(bool),
    Datetime(String),
    Array(Vec<Node>),
    Table(Table),
}

/// Keys in the order written.
#[derive(Debug)]
pub(super) struct Table {
    /// Of its header, or its first key.
    pub(super) place: Place,
    pub(super) entries: Vec<Entry>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Of the key.
    pub(super) place: Place,
    pub(super) node: Node,
}

impl Value {
    /// What a person calls it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::String(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::LongInteger => "an integer of more than 64 bits",
            Value::Float(_) => "a number with a fraction",
            Value::Boolean(_) => "a boolean",
            Value::Datetime(_) => "a date or time",
            Value::Array(_) => "an array",
            Value::Table(_) => "a table",
        }
    }
}

impl Table {
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Lays `later` over this: tables merge, arrays of tables append, of anything else the later one counts.
    pub(super) fn merge(&mut self, later: Table) {
        for entry in later.entries {
            let Some(known) = self.entries.iter_mut().find(|known| known.key == entry.key) else {
                self.entries.push(entry);
                continue;
            };
            match (&mut known.node.value, entry.node.value) {
                (Value::Table(known), Value::Table(later)) => known.merge(later),
                (Value::Array(known), Value::Array(mut later)) if is_of_tables(known) && is_of_tables(&later) => {
                    known.append(&mut later);
                }
                (known_value, later) => {
                    *known_value = later;
                    known.node.place = entry.node.place;
                    known.place = entry.place;
                }
            }
        }
    }
}

fn is_of_tables(array: &[Node]) -> bool {
    array.iter().all(|node| matches!(node.value, Value::Table(_)))
}

/// Parses one file. What of it isn't TOML is reported, the rest is used, so that all errors come at once.
pub(super) fn parse(text: &str, file: &Rc<Path>, order: usize, report: &Report) -> Table {
    let source =
        DocumentSource { line_ends: text.match_indices('\n').map(|(offset, _)| offset).collect(), file, order };
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let refused: Vec<(usize, String)> = errors
            .iter()
            .map(|error| (source.place(error.span().unwrap_or(0..0).start).line, error.message().to_owned()))
            .collect();
        for fault in told_once(explain(text, &refused)) {
            report.unread(&source.at_line(fault.line), &fault.text, fault.unknown);
        }
    }
    source.table(0, table.into_inner())
}

struct DocumentSource<'a> {
    /// Offsets, so that a place is found without going through the text again.
    line_ends: Vec<usize>,
    file: &'a Rc<Path>,
    order: usize,
}

impl DocumentSource<'_> {
    fn place(&self, offset: usize) -> Place {
        self.at_line(1 + self.line_ends.partition_point(|end| *end < offset))
    }

    fn at_line(&self, line: usize) -> Place {
        Place { order: self.order, file: Rc::clone(self.file), line }
    }

    fn table(&self, offset: usize, table: DeTable<'_>) -> Table {
        let entry = |(key, value): (Spanned<_>, Spanned<DeValue<'_>>)| {
            let place = self.place(key.span().start);
            let key: std::borrow::Cow<'_, str> = key.into_inner();
            Entry { key: key.into_owned(), place, node: self.node(value) }
        };
        Table { place: self.place(offset), entries: table.into_iter().map(entry).collect() }
    }

    fn node(&self, value: Spanned<DeValue<'_>>) -> Node {
        let start = value.span().start;
        let value = match value.into_inner() {
            DeValue::String(text) => Value::String(text.into_owned()),
            DeValue::Integer(integer) => {
                i64::from_str_radix(integer.as_str(), integer.radix()).map_or(Value::LongInteger, Value::Integer)
            }
            DeValue::Float(float) => Value::Float(float.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(boolean) => Value::Boolean(boolean),
            DeValue::Datetime(datetime) => Value::Datetime(datetime.to_string()),
            DeValue::Array(items) => Value::Array(items.into_iter().map(|item| self.node(item)).collect()),
            DeValue::Table(table) => Value::Table(self.table(start, table)),
        };
        Node { place: self.place(start), value }
    }
}

/// All keys in a table and in the tables in it.
pub(super) fn keys_below(node: &Node) -> Vec<&str> {
    match &node.value {
        Value::Table(table) => table
            .entries
            .iter()
            .flat_map(|entry| [vec![entry.key.as_str()], keys_below(&entry.node)].concat())
            .collect(),
        Value::Array(items) => items.iter().flat_map(keys_below).collect(),
        _ => Vec::new(),
    }
}
