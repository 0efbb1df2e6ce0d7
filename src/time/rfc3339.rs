//! A point in time as JSON has it.

use std::fmt;
use std::ops::Deref;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// RFC 3339 in UTC, always with three digits of a second, so that two of them compare as texts as they do as times. jiff itself
/// isn't built with serde: its timestamps leave out zeros at the end, and none of them gets into JSON by mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rfc3339(pub(crate) Timestamp);

const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));

impl Rfc3339 {
    /// Appends it to a text.
    pub(crate) fn print(self, out: &mut Vec<u8>) {
        // Writing to a `Vec` can't fail.
        let _ = PRINTER.print_timestamp(&self.0, out);
    }
}

impl fmt::Display for Rfc3339 {
    /// As JSON has it: for lines of the journal, whose times are looked for in the status.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&PRINTER.timestamp_to_string(&self.0))
    }
}

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&PRINTER.timestamp_to_string(&self.0))
    }
}

impl<'de> Deserialize<'de> for Rfc3339 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Rfc3339, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Rfc3339).map_err(serde::de::Error::custom)
    }
}

impl From<Timestamp> for Rfc3339 {
    fn from(time: Timestamp) -> Rfc3339 {
        Rfc3339(time)
    }
}

impl Deref for Rfc3339 {
    type Target = Timestamp;

    fn deref(&self) -> &Timestamp {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_in_the_order_of_their_times() {
        let text = |ms| serde_json::to_value(Rfc3339(Timestamp::from_millisecond(ms).unwrap())).unwrap();
        assert_eq!(text(1_650), "1970-01-01T00:00:01.650Z");
        assert_eq!(text(2_000), "1970-01-01T00:00:02.000Z");
        let texts: Vec<_> = (0..3_000).map(|ms| text(ms).as_str().unwrap().to_owned()).collect();
        assert!(texts.is_sorted());
        assert_eq!(Rfc3339(Timestamp::from_millisecond(3_010).unwrap()).to_string(), "1970-01-01T00:00:03.010Z");
        let read: Rfc3339 = serde_json::from_value(text(1_650)).unwrap();
        assert_eq!(read.as_millisecond(), 1_650);
        assert!(serde_json::from_str::<Rfc3339>("\"yesterday\"").is_err());
    }
}
