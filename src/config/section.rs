//! Takes the keys of one table, one after another, and says what is wrong with each.

use std::cell::RefCell;

use super::document::{Entry, Node, Table, Value, keys_below};
use super::known::{self, Known};
use super::places::Place;
use super::report::Report;

/// A table that is being read.
pub(super) struct Section<'a> {
    /// As it is written in front of a key: `connection`, `publish`.
    name: String,
    table: Option<&'a Table>,
    /// Where to complain about what isn't there.
    place: Place,
    report: &'a Report,
    /// Something is wrong with it as a whole, which is reported: what seems to be missing follows from that.
    is_in_doubt: bool,
    /// The keys asked for so far: those that exist.
    known: RefCell<Vec<&'static str>>,
}

/// Takes complaints about the parts of one value, each at its own place.
pub(super) struct Complaints<'a> {
    /// As it is written: `forward.filters`.
    key: String,
    report: &'a Report,
}

/// How the table at `key` is written.
fn example(key: &str) -> &'static str {
    match key {
        "will" => "{ topic = \"gateways/{{client_id}}/link\", payload = \"lost\" }",
        "birth" => "{ topic = \"gateways/{{client_id}}/link\", payload = \"up\" }",
        "backoff" => "{ min = \"1s\", max = \"2m\" }",
        "rate_limit" => "{ messages_per_second = 100 }",
        "keep" => "{ messages = 10000, bytes = \"16 MiB\" }",
        "tls" => "{ ca_file = \"/etc/gatewire/house-ca.pem\" }",
        "batch" => "{ max = 50, within = \"10s\" }",
        "budget" => "{ month = \"50 MB\" }",
        "download" => "{ hosts = [\"*.s3.eu-west-1.amazonaws.com\"], max_size = \"200 MiB\" }",
        _ => "{ ... }",
    }
}

impl Complaints<'_> {
    /// Nothing is said with no words: then it was said elsewhere.
    pub(super) fn at(&self, part: &Node, text: String) {
        if !text.is_empty() {
            self.report.error(&part.place, &format!("`{}`: {text}", self.key));
        }
    }

    pub(super) fn warn(&self, part: &Node, text: &str) {
        self.report.warning(&part.place, &format!("`{}`: {text}", self.key));
    }
}

impl<'a> Section<'a> {
    /// The table at `key` of `parent`; one that isn't there is empty.
    pub(super) fn of(parent: &'a Table, key: &'static str, report: &'a Report) -> Section<'a> {
        let (table, place, is_in_doubt) = match parent.get(key) {
            None => (None, parent.place.clone(), false),
            Some(entry) => match &entry.node.value {
                Value::Table(table) => (Some(table), entry.place.clone(), false),
                // What it holds is looked at as it is meant.
                Value::Array(items) if items.iter().all(|item| matches!(item.value, Value::Table(_))) => {
                    let text = format!(
                        "`{key}`: there is only one; write its header `[{key}]`, with one bracket on each side"
                    );
                    report.error(&entry.place, &text);
                    let first = items
                        .first()
                        .and_then(|item| if let Value::Table(table) = &item.value { Some(table) } else { None });
                    (first, entry.place.clone(), true)
                }
                other => {
                    report.error(&entry.place, &format!("`{key}`: must be a table, [{key}], not {}", other.kind()));
                    (None, entry.place.clone(), true)
                }
            },
        };
        Section { is_in_doubt, ..Section::new(key.to_owned(), table, place, report) }
    }

    /// The same, where something is wrong with it as a whole, which is reported.
    pub(super) fn in_doubt(self, is_in_doubt: bool) -> Section<'a> {
        Section { is_in_doubt, ..self }
    }

    /// A table of its own, as in an array.
    pub(super) fn whole(name: &str, table: &'a Table, report: &'a Report) -> Section<'a> {
        Section::new(name.to_owned(), Some(table), table.place.clone(), report)
    }

    /// An inline table at `key`.
    pub(super) fn section(&self, key: &'static str) -> Section<'a> {
        let node = self.node(key);
        let table = match node.map(|node| &node.value) {
            Some(Value::Table(table)) => Some(table),
            Some(other) => {
                self.error(key, &format!("must be a table, such as {}, not {}", example(key), other.kind()));
                None
            }
            None => None,
        };
        let place = table.map_or(self.place.clone(), |table| table.place.clone());
        let name = format!("{}.{key}", self.name);
        Section::new(name, table, place, self.report)
    }

    /// Likewise; `None` if there is none, or what is there isn't a table, which is reported.
    pub(super) fn optional_section(&self, key: &'static str) -> Option<Section<'a>> {
        Some(self.section(key)).filter(|section| section.table.is_some())
    }

    /// Whether a key of its rules stands among those of a bridge.
    pub(super) fn has_key_of_rule(&self) -> bool {
        let entries = self.table.iter().flat_map(|table| &table.entries);
        entries.into_iter().any(|entry| known::about_bridge_rule(&self.name, &entry.key).is_some())
    }

    /// The tables of the array at `key`, as below `[[bridge.up]]`. What isn't one is reported.
    pub(super) fn tables(&self, key: &'static str) -> Vec<Section<'a>> {
        let (Some(node), name) = (self.node(key), self.full(key)) else { return Vec::new() };
        let text = format!("there may be several; write its header `[[{name}]]`, with two brackets on each side");
        let whole = |node: &'a Node| match &node.value {
            Value::Table(table) => Some(Section::whole(&name, table, self.report)),
            _ => None,
        };
        match &node.value {
            Value::Array(items) => {
                let wrong = items.iter().filter(|item| whole(item).is_none());
                wrong.for_each(|item| self.report.error(&item.place, &format!("`{name}`: {text}")));
                items.iter().filter_map(whole).collect()
            }
            _ => {
                self.error(key, &text);
                // What it holds is looked at as it is meant.
                whole(node).map(|section| section.in_doubt(true)).into_iter().collect()
            }
        }
    }

    fn new(name: String, table: Option<&'a Table>, place: Place, report: &'a Report) -> Section<'a> {
        Section { name, table, place, report, is_in_doubt: false, known: RefCell::default() }
    }

    /// The value at `key`, if there is one.
    pub(super) fn node(&self, key: &'static str) -> Option<&'a Node> {
        self.known.borrow_mut().push(key);
        Some(&self.table?.get(key)?.node)
    }

    /// How a key is written with the section in front.
    pub(super) fn full(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }

    /// The place of a key, or of the table if it isn't there.
    pub(super) fn place(&self, key: &str) -> Place {
        self.table.and_then(|table| table.get(key)).map_or(&self.place, |entry| &entry.place).clone()
    }

    /// Nothing is said with no words: then it was said elsewhere.
    pub(super) fn error(&self, key: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        self.report.error(&self.place(key), &format!("`{}.{key}`: {text}", self.name));
    }

    /// It may be there under another name, which [`Section::finish`] tells.
    pub(super) fn missing(&self, key: &'static str, text: &str) {
        if self.is_in_doubt || self.of_another().is_some() {
            return;
        }
        let own = known::section(&self.name).map_or(&[][..], |section| section.keys);
        let is_meant = |other: &str| !own.contains(&other) && known::meant(other, &[key]) == Some(key);
        let is_below = |entry: &Entry| {
            !own.contains(&entry.key.as_str()) && keys_below(&entry.node).iter().any(|below| own.contains(below))
        };
        if self.table.is_some_and(|table| table.entries.iter().any(|entry| is_meant(&entry.key) || is_below(entry))) {
            return;
        }
        self.report.missing(&self.place(key), key, &format!("`{}.{key}`: {text}", self.name));
    }

    pub(super) fn warning(&self, key: &str, text: &str) {
        self.report.warning(&self.place(key), &format!("`{}.{key}`: {text}", self.name));
    }

    /// The value at `key`, read by `read`; `None` if it isn't there or is wrong, which is reported.
    pub(super) fn get<T>(&self, key: &'static str, read: impl FnOnce(&'a Node) -> Result<T, String>) -> Option<T> {
        read(self.node(key)?).map_err(|text| self.error(key, &text)).ok()
    }

    /// Likewise, with a value for a key that isn't there.
    pub(super) fn get_or<T>(
        &self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&'a Node) -> Result<T, String>,
    ) -> T {
        self.get(key, read).unwrap_or(default)
    }

    /// Likewise, for a key that must be there; `example` shows how it is written.
    pub(super) fn require<T>(
        &self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&'a Node) -> Result<T, String>,
    ) -> Option<T> {
        if self.node(key).is_none() {
            self.missing(key, &format!("is missing; it is written like `{key} = {example}`"));
        }
        self.get(key, read)
    }

    /// Likewise, for a value of several parts, which `read` complains about one by one.
    pub(super) fn require_parts<T>(
        &self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&'a Node, &Complaints<'_>) -> Option<T>,
    ) -> Option<T> {
        read(self.require(key, example, Ok)?, &self.complaints(key))
    }

    /// Likewise, for a key that need not be there.
    pub(super) fn get_parts<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&'a Node, &Complaints<'_>) -> Option<T>,
    ) -> Option<T> {
        read(self.node(key)?, &self.complaints(key))
    }

    /// For a value of several parts, each of which is complained about by itself.
    pub(super) fn complaints(&self, key: &str) -> Complaints<'a> {
        Complaints { key: self.full(key), report: self.report }
    }

    /// The section to which all its keys that aren't of this one belong, and the first of them: its header is missing, or wrong.
    fn of_another(&self) -> Option<(&'static Known, &'a Entry)> {
        let own = known::section(&self.name)?.keys;
        let aliens: Vec<&Entry> =
            self.table?.entries.iter().filter(|entry| !own.contains(&entry.key.as_str())).collect();
        let keys: Vec<&str> = aliens.iter().map(|entry| entry.key.as_str()).collect();
        Some((known::only_home(&keys)?, *aliens.first()?))
    }

    /// What does what is meant by an unknown key, where that isn't another key of this section.
    fn about_another_way(&self, key: &str) -> Option<String> {
        let header = known::section(&self.name).map(known::header);
        known::about_another_way(&self.name, &header.unwrap_or_default(), key)
    }

    /// Reports what nobody asked for.
    pub(super) fn finish(self) {
        let known = self.known.borrow();
        if let Some((home, first)) = self.of_another() {
            self.report.meant_elsewhere(home.keys.iter().copied());
            let text = format!(
                "`{}.{}`: unknown key; it and others here belong to `{}`: is that header missing above them?",
                self.name,
                first.key,
                known::header(home)
            );
            return self.report.error(&first.place, &text);
        }
        for entry in self.table.iter().flat_map(|table| &table.entries) {
            if known.contains(&entry.key.as_str()) {
                continue;
            }
            let section =
                known::section(&entry.key).filter(|_| matches!(entry.node.value, Value::Table(_) | Value::Array(_)));
            if let Some(hint) = known::about_bridge_rule(&self.name, &entry.key) {
                self.report.error(&entry.place, &format!("`{}.{}`: unknown key; {hint}", self.name, entry.key));
                continue;
            }
            // One that is there already is less likely meant.
            let is_absent = |key: &&&str| self.table.is_none_or(|table| table.get(key).is_none());
            let absent: Vec<&str> = known.iter().filter(is_absent).copied().collect();
            let meant = known::meant(&entry.key, &absent).or_else(|| known::meant(&entry.key, &known));
            let hint = match meant.filter(|_| self.about_another_way(&entry.key).is_none()) {
                None if let Some(way) = self.about_another_way(&entry.key) => way,
                None if entry.key == self.name => format!("its keys are written without `{}.` here", self.name),
                None if known::section(&self.name)
                    .is_some_and(|own| keys_below(&entry.node).iter().any(|key| own.keys.contains(key))) =>
                {
                    let header = known::section(&self.name).map(known::header).unwrap_or_default();
                    format!("write the header `{header}`, and the name below it, `name = \"{}\"`", entry.key)
                }
                None if section.is_some() => {
                    self.report.meant_elsewhere(keys_below(&entry.node));
                    let header = section.map(known::header).unwrap_or_default();
                    format!("it is a section of its own, `{header}`")
                }
                Some(name) => format!("did you mean `{name}`?"),
                None => match known::homes(&entry.key) {
                    Some(homes) => format!("it belongs to {homes}"),
                    None => {
                        let mut names = known.clone();
                        names.sort_unstable();
                        names.dedup();
                        match &names[..] {
                            [only] => format!("there is only {only}"),
                            names => format!("there are {}", names.join(", ")),
                        }
                    }
                },
            };
            self.report.error(&entry.place, &format!("`{}.{}`: unknown key; {hint}", self.name, entry.key));
        }
    }
}
