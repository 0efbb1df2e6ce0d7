//! What is counted of what goes wrong, and when a count grew while somebody looked. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::cli::output::Tone;
use crate::count::{count, count_that};
use crate::status::document::{BridgeDocument, Document, RuleDocument};

/// Left out on purpose, by `every` and `on_change` of a bridge.
const WANTED: [&str; 2] = ["superseded", "unchanged"];

/// A count that isn't zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tally {
    /// The same however much it is.
    key: String,
    n: u64,
    pub(super) tone: Tone,
    pub(super) text: String,
}

/// Those that were there at the last answer, and when each has grown.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    /// Nothing was looked at yet: what is there then has been so for an unknown time.
    has_looked: bool,
    known: BTreeMap<String, (u64, Option<Timestamp>)>,
}

impl Tallies {
    /// `is_new`: the counts are those of another daemon than before.
    pub(super) fn answered(&mut self, document: &Document, is_new: bool, now: Timestamp) {
        let before = std::mem::take(&mut self.known);
        let is_first = is_new || !std::mem::replace(&mut self.has_looked, true);
        self.known = of(document)
            .into_iter()
            .map(|tally| {
                let (n, grown) = before.get(&tally.key).copied().unwrap_or_default();
                let grown = if is_first {
                    None
                } else if tally.n > n {
                    Some(now)
                } else {
                    grown
                };
                (tally.key, (tally.n, grown))
            })
            .collect();
    }

    /// When it last grew, if that was seen.
    pub(super) fn grown(&self, tally: &Tally) -> Option<Timestamp> {
        self.known.get(&tally.key)?.1
    }
}

/// All of a document.
pub(super) fn of(document: &Document) -> Vec<Tally> {
    let mut found = Vec::new();
    let mut add = |tone, key: String, n: u64, text: String| {
        if n > 0 {
            found.push(Tally { key, n, tone, text });
        }
    };
    let Document { outbox, inbox, forward, ingest, bridge, publish, .. } = document;
    for (cause, n) in &outbox.dropped {
        add(Tone::Bad, format!("outbox {cause}"), *n, format!("outbox: {}", dropped(*n, cause)));
    }
    for (key, n, what) in [
        ("unmatched", inbox.unmatched, "matched no forward"),
        ("too_large", inbox.too_large, "too large, and dropped"),
        ("unreadable", inbox.unreadable, "against the rules of MQTT, and dropped"),
    ] {
        let verb = if key == "unmatched" { String::new() } else { if n == 1 { "was " } else { "were " }.to_owned() };
        add(Tone::Doubtful, format!("inbox {key}"), n, format!("inbox: {} {verb}{what}", count(n, "message")));
    }
    for forward in forward {
        let name = &forward.name;
        for (cause, n) in &forward.dropped {
            add(Tone::Bad, format!("forward {name} {cause}"), *n, format!("forward {name}: {}", dropped(*n, cause)));
        }
        let n = forward.disconnected_slow;
        let text = format!("forward {name}: {} disconnected for not reading", count_that(n, "reader", "was", "were"));
        add(Tone::Bad, format!("forward {name} slow"), n, text);
    }
    for ingest in ingest {
        let name = &ingest.name;
        for (code, n) in &ingest.refused {
            let text = format!("ingest {name}: {} refused, {}", count_that(*n, "line", "was", "were"), spoken(code));
            add(Tone::Bad, format!("ingest {name} {code}"), *n, text);
        }
    }
    for BridgeDocument { name, up, down, .. } in bridge {
        for (way, RuleDocument { from, dropped: causes, .. }) in
            up.iter().map(|rule| ("up", rule)).chain(down.iter().map(|rule| ("down", rule)))
        {
            for (cause, n) in causes.iter().filter(|(cause, _)| !WANTED.contains(&cause.as_str())) {
                let text = format!("bridge {name}, {way} {from}: {}", dropped(*n, cause));
                add(Tone::Doubtful, format!("bridge {name} {way} {from} {cause}"), *n, text);
            }
        }
    }
    for publish in publish {
        let name = &publish.name;
        for (key, n) in [("skipped", publish.skipped), ("failed", publish.failed), ("refused", publish.refused)] {
            let text = format!("publish {name}: {} {key}", count_that(n, "run", "was", "were"));
            let text = if key == "failed" { format!("publish {name}: {} failed", count(n, "run")) } else { text };
            add(Tone::Doubtful, format!("publish {name} {key}"), n, text);
        }
    }
    found
}

fn dropped(n: u64, cause: &str) -> String {
    format!("{} dropped, {}", count_that(n, "message", "was", "were"), spoken(cause))
}

fn spoken(word: &str) -> String {
    word.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(full: u64, unmatched: u64) -> Document {
        let document = json!({
            "outbox": {"dropped": {"full": full, "expired": 0}}, "inbox": {"unmatched": unmatched},
            "bridge": [{"name": "house", "up": [{"from": "a/#", "dropped": {"unchanged": 7, "too_large": 1}}]}],
        });
        serde_json::from_value(document).unwrap()
    }

    fn told(tallies: &Tallies, document: &Document) -> Vec<(String, Option<i64>)> {
        of(document).iter().map(|tally| (tally.text.clone(), tallies.grown(tally).map(Timestamp::as_second))).collect()
    }

    #[test]
    fn what_grew_while_it_was_watched_has_a_time() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut tallies = Tallies::default();
        let (full, bridge) =
            ("outbox: 1 message was dropped, full", "bridge house, up a/#: 1 message was dropped, too large");
        tallies.answered(&document(1, 0), false, at(1));
        assert_eq!(told(&tallies, &document(1, 0)), [(full.to_owned(), None), (bridge.to_owned(), None)]);
        tallies.answered(&document(1, 2), false, at(2));
        tallies.answered(&document(1, 2), false, at(3));
        let inbox = ("inbox: 2 messages matched no forward".to_owned(), Some(2));
        assert_eq!(told(&tallies, &document(1, 2))[1], inbox);
        tallies.answered(&document(3, 2), false, at(4));
        assert_eq!(told(&tallies, &document(3, 2))[0].1, Some(4));
        // Another daemon has counted while nobody looked.
        tallies.answered(&document(9, 9), true, at(5));
        assert!(told(&tallies, &document(9, 9)).iter().all(|(_, grown)| grown.is_none()));
    }
}
