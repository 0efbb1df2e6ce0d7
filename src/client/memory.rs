//! What is remembered from one start of the daemon to the next: which filters the server's session holds.
//!
//! With that, a start that finds its session kept asks for nothing that stands already (on a SUBSCRIBE IoT Core sends its
//! retained messages again), and takes back the filters that the configuration has lost since. The server may have begun a new
//! session and forgotten all without our having noted that, if the daemon is killed just then; so before each CONNECT what is
//! remembered is marked as doubtful, and afterwards, when all filters stand, as sure again.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config;
use crate::message::{Qos, TopicFilter};
use crate::mqtt::Protocol;
use crate::mqtt::session::Remembered;
use crate::store::{self, Store, Write};

/// The name of the note about the session with IoT Core.
const LINK: &str = "filters";

/// A disk that takes longer than this isn't waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// The note about the server's session.
#[derive(Debug)]
pub(crate) struct SessionMemory {
    store: Rc<Store>,
    name: Cow<'static, str>,
    /// What the note is to say, but for its `sure` and `filters`.
    blank: SessionNote,
    /// What it says on the disk, as far as is known.
    noted: RefCell<Option<SessionNote>>,
    /// What it said, if that was of another session.
    other: RefCell<Option<OtherSession>>,
    /// Whether the server's session may be one that the note calls another: only brokers that are no IoT Core keep one session for
    /// both versions of MQTT, or have several addresses.
    may_be_same: bool,
    /// On the disk the note is still of another session, which this one may be.
    is_of_other: Cell<bool>,
}

/// So many filters of other sessions are remembered.
const MAX_ELSEWHERE: usize = 1024;

/// A session that was held before this one, and isn't any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OtherSession {
    pub(crate) endpoint: String,
    pub(crate) client_id: String,
    /// The version of MQTT.
    pub(crate) protocol: String,
}

/// As it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SessionNote {
    endpoint: String,
    client_id: String,
    /// The sessions of MQTT 3.1.1 and MQTT 5 don't interchange.
    protocol: String,
    sure: bool,
    filters: BTreeMap<String, u8>,
    /// Those that some filters have in the session.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    subscription_identifiers: BTreeMap<String, u32>,
    /// What was held with other values of `protocol`, `broker` or `client_id`, and may be held still.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    elsewhere: BTreeSet<String>,
}

impl SessionMemory {
    /// Of the link to IoT Core. `None`: the server keeps no session, so there is nothing to remember.
    pub(crate) fn of_link(config: &config::Connection, store: &Rc<Store>) -> Option<SessionMemory> {
        let blank = SessionNote::of_link(config);
        (!config.session_expiry.is_zero()).then(|| SessionMemory {
            store: Rc::clone(store),
            name: LINK.into(),
            blank,
            noted: RefCell::default(),
            other: RefCell::default(),
            may_be_same: false,
            is_of_other: Cell::default(),
        })
    }

    /// Of a bridge's connection to its local broker.
    pub(crate) fn of_bridge(config: &config::Bridge, store: &Rc<Store>) -> SessionMemory {
        let blank = SessionNote::blank(config.broker.to_string(), &config.client_id, config.protocol);
        SessionMemory {
            store: Rc::clone(store),
            name: format!("{LINK} of bridge {}", config.name).into(),
            blank,
            noted: RefCell::default(),
            other: RefCell::default(),
            may_be_same: true,
            is_of_other: Cell::default(),
        }
    }

    /// What is noted of this session. For a bridge also what is noted of the others that it had: which of them the broker takes for
    /// the same, its CONNACK doesn't say.
    pub(crate) async fn recall(&self) -> Remembered {
        let text = tokio::time::timeout(PATIENCE, self.store.note(self.name.clone())).await;
        let text = text.ok().and_then(Result::ok).flatten();
        let note: Option<SessionNote> = text.and_then(|text| serde_json::from_str(&text).ok());
        let (note, other) = match note {
            Some(note) if note.is_of(&self.blank) => (Some(note), None),
            other => (None, other),
        };
        *self.other.borrow_mut() = other.as_ref().and_then(SessionNote::session);
        let other = other.filter(|_| self.may_be_same);
        self.is_of_other.set(other.is_some());
        let note = note.or_else(|| Some(other?.of_other(&self.blank)));
        let remembered = note.as_ref().map(SessionNote::remembered).unwrap_or_default();
        *self.noted.borrow_mut() = note;
        remembered
    }

    /// The session that the note was of, if it is another and so; told once.
    pub(crate) fn other_if(&self, is_so: impl FnOnce(&OtherSession) -> bool) -> Option<OtherSession> {
        self.other.borrow_mut().take_if(|other| is_so(other))
    }

    /// Whether the note is still that of another session, so that it has to be doubted whatever is asked for again.
    pub(crate) fn is_of_other(&self) -> bool {
        self.is_of_other.get()
    }

    /// A CONNECT is to be sent: it may make all of it untrue.
    pub(crate) async fn doubt(&self) {
        let doubtful = match &*self.noted.borrow() {
            Some(note) if note.sure || self.is_of_other() => SessionNote { sure: false, ..note.clone() },
            _ => return,
        };
        // If the disk doesn't take it, waiting won't mend that.
        let _ = tokio::time::timeout(PATIENCE, self.write(doubtful)).await;
    }

    /// The session holds these filters, and no others.
    pub(crate) async fn remember(&self, standing: BTreeMap<TopicFilter, Qos>, identifiers: BTreeMap<TopicFilter, u32>) {
        let filters: BTreeMap<String, u8> =
            standing.into_iter().map(|(filter, qos)| (filter.to_string(), qos.level())).collect();
        if filters.is_empty() && self.noted.borrow().is_none() {
            return;
        }
        let subscription_identifiers =
            identifiers.into_iter().map(|(filter, identifier)| (filter.to_string(), identifier)).collect();
        let elsewhere = self.noted.borrow().as_ref().map(|note| note.elsewhere.clone()).unwrap_or_default();
        let note = SessionNote { sure: true, filters, subscription_identifiers, elsewhere, ..self.blank.clone() };
        if self.noted.borrow().as_ref() != Some(&note) {
            self.write(note).await;
        }
    }

    async fn write(&self, note: SessionNote) {
        // A map of strings: nothing in it can fail to be written.
        let Ok(text) = serde_json::to_string(&note) else { return };
        *self.noted.borrow_mut() = Some(note);
        self.is_of_other.set(false);
        if self.store.write(Write::of_notes(vec![(self.name.clone(), text)])).await.is_err() {
            // What it says now, nobody knows; the next time it is written whatever it says.
            if let Some(note) = &mut *self.noted.borrow_mut() {
                note.sure = false;
            }
        }
    }
}

/// The filters that the server's session may hold by what a daemon has noted in the store at `path`; `None` if it has noted
/// nothing, or that can't be read. For when no daemon runs.
pub(crate) fn noted_at(path: &Path, config: &config::Connection) -> Option<BTreeSet<TopicFilter>> {
    let note = SessionNote::read(&store::note_at(path, LINK).ok()??, &SessionNote::of_link(config))?;
    Some(note.remembered().filters.into_keys().collect())
}

impl SessionNote {
    fn of_link(config: &config::Connection) -> SessionNote {
        SessionNote::blank(config.endpoint.clone(), &config.client_id, config.protocol)
    }

    fn blank(endpoint: String, client_id: &str, protocol: Protocol) -> SessionNote {
        SessionNote {
            endpoint,
            client_id: client_id.to_owned(),
            protocol: protocol.as_str().to_owned(),
            sure: false,
            filters: BTreeMap::new(),
            subscription_identifiers: BTreeMap::new(),
            elsewhere: BTreeSet::new(),
        }
    }

    /// A note in another form is another version's, and one about another session says nothing of this: as good as none.
    fn read(text: &str, blank: &SessionNote) -> Option<SessionNote> {
        let note: SessionNote = serde_json::from_str(text).ok()?;
        note.is_of(blank).then_some(note)
    }

    fn is_of(&self, blank: &SessionNote) -> bool {
        let SessionNote { endpoint, client_id, protocol, .. } = self;
        [endpoint, client_id, protocol] == [&blank.endpoint, &blank.client_id, &blank.protocol]
    }

    /// Which session it is of, if that was subscribed to anything.
    fn session(&self) -> Option<OtherSession> {
        let SessionNote { endpoint, client_id, protocol, .. } = self.clone();
        (!self.filters.is_empty()).then_some(OtherSession { endpoint, client_id, protocol })
    }

    /// What it says of a session that may be the one it is of, or one before: each filter may be there or not.
    fn of_other(self, blank: &SessionNote) -> SessionNote {
        let qos = Qos::AtLeastOnce.level();
        let mut elsewhere: BTreeSet<String> = self.filters.keys().cloned().chain(self.elsewhere).collect();
        while elsewhere.len() > MAX_ELSEWHERE {
            elsewhere.pop_last();
        }
        let filters = elsewhere.iter().map(|filter| (filter.clone(), qos)).collect();
        SessionNote { filters, subscription_identifiers: self.subscription_identifiers, elsewhere, ..blank.clone() }
    }

    fn remembered(&self) -> Remembered {
        let filters = self
            .filters
            .iter()
            .filter_map(|(filter, qos)| Some((TopicFilter::noted(filter), Qos::try_from(i64::from(*qos)).ok()?)));
        let identifiers =
            self.subscription_identifiers.iter().map(|(filter, identifier)| (TopicFilter::noted(filter), *identifier));
        Remembered { filters: filters.collect(), identifiers: identifiers.collect(), sure: self.sure }
    }
}
