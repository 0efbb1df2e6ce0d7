//! A job document as a tree, in which each value knows its place.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

use super::plan::DocumentFault;
use super::shown;

/// The deepest that arrays and objects may lie in each other: AWS's documents have 6 levels.
pub(super) const MAX_DEPTH: usize = 32;

/// A JSON value.
#[derive(Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Boolean(bool),
    /// `None`: not a whole number from 0 on.
    Number(Option<u64>),
    Text(String),
    Array(Vec<Json>),
    /// No key is there twice.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// What a person calls it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Boolean(_) => "a boolean",
            Json::Number(_) => "a number",
            Json::Text(_) => "a string",
            Json::Array(_) => "an array",
            Json::Object(_) => "an object",
        }
    }
}

/// # Errors
/// The text isn't JSON, a key is there twice in an object (programs differ in which of the two counts), or it is nested too deeply.
pub(super) fn parse(text: &str) -> Result<Json, DocumentFault> {
    let path = RefCell::default();
    let mut reader = serde_json::Deserializer::from_str(text);
    let parsed = Seed { path: &path, depth: 0 }.deserialize(&mut reader);
    let parsed = parsed.and_then(|json| reader.end().map(|()| json));
    parsed.map_err(|error| {
        let is_ours = error.classify() == serde_json::error::Category::Data;
        let (line, column) = (error.line(), error.column());
        let said = error.to_string();
        // What is ours says by its path where it stands.
        let said = said.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&said);
        match is_ours {
            true => DocumentFault { path: path.take(), text: said.to_owned() },
            false => DocumentFault {
                path: String::new(),
                text: format!("it isn't JSON: {}, in line {line}, column {column}", shown(said)),
            },
        }
    })
}

/// Reads a value; the path stays where reading failed.
struct Seed<'p> {
    path: &'p RefCell<String>,
    depth: usize,
}

impl Seed<'_> {
    /// Reads what lies below, at `part` of the path.
    fn below<T>(&self, part: &str, read: impl FnOnce(Seed<'_>) -> T) -> (T, usize) {
        let before = self.path.borrow().len();
        self.path.borrow_mut().push_str(part);
        (read(Seed { path: self.path, depth: self.depth + 1 }), before)
    }

    fn check_depth<E: serde::de::Error>(&self) -> Result<(), E> {
        match self.depth < MAX_DEPTH {
            true => Ok(()),
            false => Err(E::custom(format!("it is nested too deeply, more than {MAX_DEPTH} levels"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Boolean(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(Some(value)))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Number(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Number(None))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        self.check_depth()?;
        let mut items = Vec::new();
        loop {
            let (item, before) = self.below(&format!("[{}]", items.len()), |seed| access.next_element_seed(seed));
            let Some(item) = item? else {
                self.path.borrow_mut().truncate(before);
                return Ok(Json::Array(items));
            };
            self.path.borrow_mut().truncate(before);
            items.push(item);
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        self.check_depth()?;
        let mut members: Vec<(String, Json)> = Vec::new();
        while let Some(key) = access.next_key::<String>()? {
            let part = part(&self.path.borrow(), &key);
            let is_there = members.iter().any(|(known, _)| *known == key);
            let (value, before) = self.below(&part, |seed| match is_there {
                true => Err(A::Error::custom("it is there twice")),
                false => access.next_value_seed(seed),
            });
            let value = value?;
            self.path.borrow_mut().truncate(before);
            members.push((key, value));
        }
        Ok(Json::Object(members))
    }
}

/// How a key is written behind a path.
fn part(path: &str, key: &str) -> String {
    let dot = if path.is_empty() { "" } else { "." };
    format!("{dot}{}", shown(key))
}

/// A value that may be there, and its place.
#[derive(Debug, Clone)]
pub(super) struct At<'j> {
    pub(super) path: String,
    /// `None`: it isn't there, or null.
    json: Option<&'j Json>,
}

impl<'j> At<'j> {
    pub(super) fn root(json: &'j Json) -> At<'j> {
        At { path: String::new(), json: Some(json) }
    }

    /// The member `key`; there is none in what is no object.
    pub(super) fn get(&self, key: &str) -> At<'j> {
        let json = match self.json {
            Some(Json::Object(members)) => members.iter().find(|(known, _)| known == key).map(|(_, json)| json),
            _ => None,
        };
        At { path: self.path.clone() + &part(&self.path, key), json: json.filter(|json| **json != Json::Null) }
    }

    pub(super) fn is_there(&self) -> bool {
        self.json.is_some()
    }

    pub(super) fn fault(&self, text: impl Into<String>) -> DocumentFault {
        DocumentFault { path: self.path.clone(), text: text.into() }
    }

    fn wrong(&self, expected: &str) -> DocumentFault {
        match self.json {
            None => self.fault("it is missing"),
            Some(json) => self.fault(format!("it must be {expected}, not {}", json.kind())),
        }
    }

    /// An object that must be there.
    pub(super) fn object(self) -> Result<At<'j>, DocumentFault> {
        match self.json {
            Some(Json::Object(_)) => Ok(self),
            _ => Err(self.wrong("an object")),
        }
    }

    /// The items of an array that must be there.
    pub(super) fn items(&self) -> Result<Vec<At<'j>>, DocumentFault> {
        match self.json {
            Some(Json::Array(items)) => {
                let at = |(number, json)| At { path: format!("{}[{number}]", self.path), json: Some(json) };
                Ok(items.iter().enumerate().map(at).collect())
            }
            _ => Err(self.wrong("an array")),
        }
    }

    /// A string that must be there; it may be empty.
    pub(super) fn text(&self) -> Result<&'j str, DocumentFault> {
        match self.json {
            Some(Json::Text(text)) => Ok(text),
            _ => Err(self.wrong("a string")),
        }
    }

    /// Likewise, and not empty.
    pub(super) fn word(&self) -> Result<&'j str, DocumentFault> {
        match self.text()? {
            "" => Err(self.fault("it must not be empty")),
            text => Ok(text),
        }
    }

    /// What `read` makes of it, if it is there.
    pub(super) fn optional<T>(
        &self,
        read: impl FnOnce(&Self) -> Result<T, DocumentFault>,
    ) -> Result<Option<T>, DocumentFault> {
        self.is_there().then(|| read(self)).transpose()
    }

    /// A boolean, or its name in a string; false if it isn't there.
    pub(super) fn flag(&self) -> Result<bool, DocumentFault> {
        match self.json {
            None => Ok(false),
            Some(Json::Boolean(flag)) => Ok(*flag),
            Some(Json::Text(text)) => match text.as_str() {
                "true" => Ok(true),
                "false" | "" => Ok(false),
                _ => Err(self.fault(format!("it must be \"true\" or \"false\", not \"{}\"", shown(text)))),
            },
            Some(_) => Err(self.wrong("true or false")),
        }
    }

    /// A whole number from 0 on, if it is there.
    pub(super) fn number(&self) -> Result<Option<u32>, DocumentFault> {
        match self.json {
            None => Ok(None),
            Some(Json::Number(Some(number))) => Ok(Some(u32::try_from(*number).unwrap_or(u32::MAX))),
            Some(Json::Number(None)) => Err(self.fault("it must be a whole number, and not negative")),
            Some(_) => Err(self.wrong("a whole number")),
        }
    }
}
