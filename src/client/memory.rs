//! What is remembered from one start of the daemon to the next: which filters the server's session holds.
//!
//! With that, a start that finds its session kept asks for nothing that stands already (on a SUBSCRIBE IoT Core sends its
//! retained messages again), and takes back the filters that the configuration has lost since. The server may have begun a new
//! session and forgotten all without our having noted that, if the daemon is killed just then; so before each CONNECT what is
//! remembered is marked as doubtful, and afterwards, when all filters stand, as sure again.

mod note;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use crate::config;
use crate::message::{Qos, TopicFilter};
use crate::mqtt::session::Remembered;
use crate::store::{self, Store, Write};
use crate::time;
use note::{Due, Pace, SessionNote, Standing};

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
    /// What the session holds, as far as is known.
    standing: RefCell<Option<Standing>>,
    /// When it may be written only for what readers ask for, and whether it is to be.
    for_readers: RefCell<Pace>,
    waits: Cell<bool>,
    /// It is another's turn to write.
    is_over: Cell<bool>,
    /// What it said, if that was of another session.
    other: RefCell<Option<OtherSession>>,
    /// Whether the server's session may be one that the note calls another: only brokers that are no IoT Core keep one session for
    /// both versions of MQTT, or have several addresses.
    may_be_same: bool,
    /// On the disk the note is still of another session, which this one may be.
    is_of_other: Cell<bool>,
}

/// A session that was held before this one, and isn't any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OtherSession {
    pub(crate) endpoint: String,
    pub(crate) client_id: String,
    /// The version of MQTT.
    pub(crate) protocol: String,
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
            standing: RefCell::default(),
            for_readers: RefCell::default(),
            waits: Cell::default(),
            is_over: Cell::default(),
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
            standing: RefCell::default(),
            for_readers: RefCell::default(),
            waits: Cell::default(),
            is_over: Cell::default(),
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
        let is_due = |note: &&SessionNote| note.sure || self.is_of_other();
        let doubtful = match (&*self.noted.borrow(), &*self.standing.borrow()) {
            (Some(note), Some(standing)) if is_due(&note) => note.with(standing).unsure(),
            (Some(note), None) if is_due(&note) => note.clone().unsure(),
            _ => return,
        };
        // If the disk doesn't take it, waiting won't mend that.
        let _ = tokio::time::timeout(PATIENCE, self.write(doubtful)).await;
    }

    /// The session holds these filters, and no others. Of those, readers have asked for the `requested`, and the configuration for what
    /// is its `own`, as far as that stands.
    pub(crate) async fn remember(
        &self,
        standing: (BTreeMap<TopicFilter, Qos>, BTreeMap<TopicFilter, u32>),
        requested: impl Fn(&TopicFilter) -> bool,
        own: impl Iterator<Item = &TopicFilter>,
    ) {
        if standing.0.is_empty() && self.noted.borrow().is_none() {
            return;
        }
        *self.standing.borrow_mut() = Some(Standing::new(&self.blank, standing, requested, own));
        match self.due() {
            Due::Never => {}
            Due::Now => self.note().await,
            Due::Later => self.note_for_readers().await,
        }
    }

    fn due(&self) -> Due {
        let standing = self.standing.borrow();
        standing.as_ref().map_or(Due::Never, |standing| standing.due(self.noted.borrow().as_ref()))
    }

    async fn note(&self) {
        let note = match (&*self.noted.borrow(), &*self.standing.borrow()) {
            (_, None) => return,
            (Some(noted), Some(standing)) => noted.with(standing),
            (None, Some(standing)) => self.blank.with(standing),
        };
        self.write(note).await;
    }

    async fn note_for_readers(&self) {
        if self.waits.replace(true) {
            return;
        }
        let at = self.for_readers.borrow_mut().not_before(time::now());
        if let Some(at) = at {
            tokio::time::sleep_until(at.into()).await;
        }
        self.waits.set(false);
        // What is due at once, because there is another connection, isn't for this to write: nothing is sure of it yet.
        if !self.is_over.get() && self.due() == Due::Later {
            self.for_readers.borrow_mut().written(time::now());
            self.note().await;
        }
    }

    /// The daemon stops: if the note is sure, it says all that the session holds.
    pub(crate) async fn end(&self) {
        self.is_over.set(true);
        let exact = match (&*self.noted.borrow(), &*self.standing.borrow()) {
            (Some(noted), Some(standing)) if noted.sure => noted.with_exactly(standing),
            _ => return,
        };
        if self.noted.borrow().as_ref() != Some(&exact) {
            let _ = tokio::time::timeout(PATIENCE, self.write(exact)).await;
        }
    }

    /// It is another session from now on: nothing more is written of this.
    pub(crate) fn give_up(&self) {
        self.is_over.set(true);
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
