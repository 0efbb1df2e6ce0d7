//! What a client's line holds: the members of one JSON object, of which only some names are known.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A JSON string, borrowed where it holds no escapes.
#[derive(Deserialize)]
pub(crate) struct JsonText<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// An object's values as they stand in the line.
#[derive(Debug)]
pub(crate) struct Members<'a, const N: usize> {
    /// In the order of the known keys; `None` for one that isn't there.
    pub(crate) values: [Option<&'a RawValue>; N],
    /// The first key that isn't known.
    pub(crate) unknown: Option<Cow<'a, str>>,
    /// A known key that is there more than once.
    pub(crate) twice: Option<&'static str>,
}

impl<'a, const N: usize> Members<'a, N> {
    /// Takes `line` apart. Whether the values are of the right kind is for the caller to see.
    ///
    /// # Errors
    /// It isn't one JSON object.
    pub(crate) fn of(line: &'a str, keys: &'static [&'static str; N]) -> serde_json::Result<Members<'a, N>> {
        let mut deserializer = serde_json::Deserializer::from_str(line);
        let members = Known(keys).deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(members)
    }
}

/// The keys that are known.
struct Known<const N: usize>(&'static [&'static str; N]);

impl<'de, const N: usize> DeserializeSeed<'de> for Known<N> {
    type Value = Members<'de, N>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Members<'de, N>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Known<N> {
    type Value = Members<'de, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de, N>, A::Error> {
        let mut members = Members { values: [None; N], unknown: None, twice: None };
        while let Some(JsonText(key)) = map.next_key()? {
            match self.0.iter().position(|known| *known == key) {
                Some(index) => {
                    if members.values[index].replace(map.next_value()?).is_some() {
                        members.twice = Some(self.0[index]);
                    }
                }
                None => {
                    map.next_value::<IgnoredAny>().map_err(A::Error::custom)?;
                    members.unknown.get_or_insert(key);
                }
            }
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 2] = ["a", "b"];

    fn members(line: &str) -> serde_json::Result<Members<'_, 2>> {
        Members::of(line, &KEYS)
    }

    #[test]
    fn values_stand_in_the_order_of_the_keys_as_they_were_written() {
        let members = members(r#" {"b": [1,  2], "a":"\u0041"} "#).unwrap();
        assert_eq!(members.values.map(|value| value.map(RawValue::get)), [Some(r#""\u0041""#), Some("[1,  2]")]);
        assert!(members.unknown.is_none() && members.twice.is_none());
    }

    #[test]
    fn what_isnt_known_and_what_is_there_twice_is_named() {
        let members = members(r#"{"a":1,"c":{},"\u0061":2,"d":3}"#).unwrap();
        assert_eq!((members.unknown.as_deref(), members.twice), (Some("c"), Some("a")));
    }

    #[test]
    fn only_one_object_is_a_line() {
        for line in ["", "[]", "1", "null", "{}{}", "{} x", "{\"a\":}", "{\"a\":1", "{\"a\":\"\\ud800\",\"\\ud800\":1}"]
        {
            assert!(members(line).is_err(), "{line}");
        }
    }
}
