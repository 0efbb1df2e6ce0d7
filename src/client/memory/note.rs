//! What the note about a session says, and when it has to say something else. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::OtherSession;
use crate::config;
use crate::message::{Qos, TopicFilter};
use crate::mqtt::Protocol;
use crate::mqtt::session::Remembered;

/// As it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SessionNote {
    endpoint: String,
    client_id: String,
    /// The sessions of MQTT 3.1.1 and MQTT 5 don't interchange.
    protocol: String,
    pub(super) sure: bool,
    filters: BTreeMap<String, u8>,
    /// Of those, the ones that the session may hold or not though all else is sure: readers have asked for them, and such a change
    /// isn't written each time.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    doubtful: BTreeSet<String>,
    /// Those that some filters have in the session.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    subscription_identifiers: BTreeMap<String, u32>,
    /// What was held with other values of `protocol`, `broker` or `client_id`, and may be held still.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    elsewhere: BTreeSet<String>,
}

/// So many filters of other sessions are remembered.
const MAX_ELSEWHERE: usize = 1024;

impl SessionNote {
    pub(super) fn of_link(config: &config::Connection) -> SessionNote {
        SessionNote::blank(config.endpoint.clone(), &config.client_id, config.protocol)
    }

    pub(super) fn blank(endpoint: String, client_id: &str, protocol: Protocol) -> SessionNote {
        SessionNote {
            endpoint,
            client_id: client_id.to_owned(),
            protocol: protocol.as_str().to_owned(),
            sure: false,
            filters: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            subscription_identifiers: BTreeMap::new(),
            elsewhere: BTreeSet::new(),
        }
    }

    /// A note in another form is another version's, and one about another session says nothing of this: as good as none.
    pub(super) fn read(text: &str, blank: &SessionNote) -> Option<SessionNote> {
        let note: SessionNote = serde_json::from_str(text).ok()?;
        note.is_of(blank).then_some(note)
    }

    pub(super) fn is_of(&self, blank: &SessionNote) -> bool {
        let SessionNote { endpoint, client_id, protocol, .. } = self;
        [endpoint, client_id, protocol] == [&blank.endpoint, &blank.client_id, &blank.protocol]
    }

    /// Which session it is of, if that was subscribed to anything.
    pub(super) fn session(&self) -> Option<OtherSession> {
        let SessionNote { endpoint, client_id, protocol, .. } = self.clone();
        (!self.filters.is_empty()).then_some(OtherSession { endpoint, client_id, protocol })
    }

    /// What it says of a session that may be the one it is of, or one before: each filter may be there or not.
    pub(super) fn of_other(self, blank: &SessionNote) -> SessionNote {
        let qos = Qos::AtLeastOnce.level();
        let mut elsewhere: BTreeSet<String> = self.filters.keys().cloned().chain(self.elsewhere).collect();
        while elsewhere.len() > MAX_ELSEWHERE {
            elsewhere.pop_last();
        }
        let filters = elsewhere.iter().map(|filter| (filter.clone(), qos)).collect();
        SessionNote { filters, subscription_identifiers: self.subscription_identifiers, elsewhere, ..blank.clone() }
    }

    pub(super) fn remembered(&self) -> Remembered {
        let filters = self
            .filters
            .iter()
            .filter_map(|(filter, qos)| Some((TopicFilter::noted(filter), Qos::try_from(i64::from(*qos)).ok()?)));
        let identifiers =
            self.subscription_identifiers.iter().map(|(filter, identifier)| (TopicFilter::noted(filter), *identifier));
        let doubtful = self.doubtful.iter().map(|filter| TopicFilter::noted(filter)).collect();
        Remembered { filters: filters.collect(), identifiers: identifiers.collect(), doubtful, sure: self.sure }
    }

    /// The same, of which nothing is sure.
    pub(super) fn unsure(self) -> SessionNote {
        SessionNote { sure: false, ..self }
    }

    /// The note that says what the session holds, and no more of that, after this one.
    pub(super) fn with_exactly(&self, standing: &Standing) -> SessionNote {
        SessionNote { elsewhere: self.elsewhere.clone(), ..standing.exact.clone() }
    }

    /// The note that says what the session holds, after this one. What readers have had changed before may change again.
    pub(super) fn with(&self, standing: &Standing) -> SessionNote {
        let mut note = self.with_exactly(standing);
        note.doubtful.clone_from(&standing.requested);
        for (filter, qos) in self.filters.iter().filter(|(filter, _)| standing.own.contains(*filter)) {
            if self.doubtful.contains(filter) || self.is_wrong_of(filter, standing) {
                note.filters.entry(filter.clone()).or_insert(*qos);
                note.doubtful.insert(filter.clone());
            }
        }
        note
    }

    fn is_wrong_of(&self, filter: &str, Standing { exact, .. }: &Standing) -> bool {
        let identifier = self.subscription_identifiers.get(filter);
        self.filters.get(filter) != exact.filters.get(filter)
            || (identifier.is_some() && identifier != exact.subscription_identifiers.get(filter))
    }
}

/// What the server's session holds.
#[derive(Debug)]
pub(super) struct Standing {
    /// The note that says that, and nothing else.
    exact: SessionNote,
    requested: BTreeSet<String>,
    own: BTreeSet<String>,
}

/// When the note has to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// It says enough.
    Never,
    Now,
    /// For filters that readers have asked for.
    Later,
}

impl Standing {
    pub(super) fn new<'a>(
        blank: &SessionNote,
        (filters, identifiers): (BTreeMap<TopicFilter, Qos>, BTreeMap<TopicFilter, u32>),
        is_requested: impl Fn(&TopicFilter) -> bool,
        own: impl Iterator<Item = &'a TopicFilter>,
    ) -> Standing {
        let requested = filters.keys().filter(|filter| is_requested(filter)).map(ToString::to_string).collect();
        let exact = SessionNote {
            sure: true,
            filters: filters.into_iter().map(|(filter, qos)| (filter.to_string(), qos.level())).collect(),
            subscription_identifiers: identifiers
                .into_iter()
                .map(|(filter, identifier)| (filter.to_string(), identifier))
                .collect(),
            ..blank.clone()
        };
        Standing { exact, requested, own: own.map(ToString::to_string).collect() }
    }

    /// What is `noted` may name more than the session holds, as long as it doesn't say that it is sure of that.
    pub(super) fn due(&self, noted: Option<&SessionNote>) -> Due {
        let Some(noted) = noted.filter(|noted| noted.sure) else { return Due::Now };
        let exact = &self.exact;
        let is_certain = |filter: &&String| !noted.doubtful.contains(*filter);
        let has_other_identifier =
            |filter: &String| noted.subscription_identifiers.get(filter) != exact.subscription_identifiers.get(filter);
        let mut certain = noted.filters.keys().filter(is_certain);
        if certain.any(|filter| noted.is_wrong_of(filter, self) || has_other_identifier(filter)) {
            return Due::Now;
        }
        let is_noted = |filter: &&String| noted.filters.contains_key(*filter);
        let missing: Vec<&String> = exact.filters.keys().filter(|filter| !is_noted(filter)).collect();
        match missing.iter().all(|filter| self.requested.contains(*filter)) {
            true if missing.is_empty() => Due::Never,
            true => Due::Later,
            false => Due::Now,
        }
    }
}

/// What readers ask for changes as often as they like: for that the note is written so often in so long, which wears no card.
const FOR_READERS: (usize, Duration) = (16, Duration::from_secs(3600));

/// When the note was written only for what readers ask for, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Pace(VecDeque<Instant>);

impl Pace {
    /// When it may be written for that again, if not now.
    pub(super) fn not_before(&mut self, now: Instant) -> Option<Instant> {
        let (times, span) = FOR_READERS;
        self.0.retain(|at| *at + span > now);
        self.0.front().filter(|_| self.0.len() >= times).map(|at| *at + span)
    }

    pub(super) fn written(&mut self, now: Instant) {
        self.0.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blank() -> SessionNote {
        SessionNote::blank("host".to_owned(), "gw1", Protocol::Mqtt5)
    }

    /// The configuration has a and b, and readers have asked for the rest.
    fn standing(filters: &[&str]) -> Standing {
        let filter = |text: &&str| TopicFilter::new(text).unwrap();
        let own = ["a", "b"].map(|text| filter(&text));
        let filters = filters.iter().map(|text| (filter(text), Qos::AtLeastOnce)).collect();
        Standing::new(&blank(), (filters, BTreeMap::new()), |filter| !own.contains(filter), own.iter())
    }

    #[test]
    fn what_readers_ask_for_is_written_sixteen_times_an_hour_at_most() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        let mut now = start;
        let mut written = Vec::new();
        // Every second of a day something new.
        while now < start + Duration::from_secs(86_400) {
            if pace.not_before(now).is_none_or(|at| at <= now) {
                pace.written(now);
                written.push(now);
            }
            now += Duration::from_secs(1);
        }
        assert_eq!(written.len(), 24 * 16);
        assert!(written[15] <= start + Duration::from_secs(15), "the first ones at once");
        assert!(written.windows(17).all(|of| of[16] - of[0] >= Duration::from_secs(3600)));
    }

    #[test]
    fn what_readers_ask_for_is_not_written_each_time_and_the_note_never_is_sure_of_it() {
        let first = standing(&["a", "b"]);
        assert_eq!(first.due(None), Due::Now);
        let noted = blank().with(&first);
        assert_eq!((first.due(Some(&noted)), &noted), (Due::Never, &first.exact));
        assert_eq!(standing(&["a", "b", "x"]).due(Some(&noted)), Due::Later);
        let noted = noted.with(&standing(&["a", "b", "x"]));
        let remembered = noted.remembered();
        assert_eq!(remembered.filters.len(), 3);
        assert_eq!(remembered.doubtful, [TopicFilter::new("x").unwrap()].into());
        // It comes and goes.
        for filters in [&["a", "b"][..], &["a", "b", "x"]] {
            assert_eq!(standing(filters).due(Some(&noted)), Due::Never);
        }
        // What is given up isn't named for ever.
        let other = noted.with(&standing(&["a", "b", "y"]));
        assert!(!other.filters.contains_key("x"));
        // After a CONNECT nothing is sure.
        assert_eq!(first.due(Some(&SessionNote { sure: false, ..noted })), Due::Now);
    }

    #[test]
    fn what_of_the_configuration_changes_for_readers_is_written_once() {
        let noted = blank().with(&standing(&["a", "b"]));
        // A reader's filter covers a.
        let covered = standing(&["b", "+"]);
        assert_eq!(covered.due(Some(&noted)), Due::Now);
        let noted = noted.with(&covered);
        for filters in [&["a", "b"][..], &["b", "+"], &["a", "b", "+"]] {
            assert_eq!(standing(filters).due(Some(&noted)), Due::Never, "{filters:?}");
        }
        assert_eq!(noted.remembered().doubtful.len(), 2);
        assert_eq!(standing(&["a", "+"]).due(Some(&noted)), Due::Now, "b is another");
    }
}
