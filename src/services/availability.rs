//! Whether a service can be used. Pure.

use std::time::{Duration, Instant};

use crate::message::TopicFilter;

/// A service that is refused is tried again after so long, and at a reload.
pub(super) const TRY_AGAIN: Duration = Duration::from_secs(24 * 3600);

/// So many connections in a row may end because a filter of a service has no SUBACK: a network that loses packets does that, too.
const MAX_UNANSWERED: u32 = 3;

/// Whether a service can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Availability {
    /// There is no connection, or not all of its filters stand: nothing is sent to it.
    Waiting,
    /// All of its filters stand.
    Ready,
    /// IoT Core ends the connection for it, or answers with a failure: it isn't subscribed to.
    Refused {
        /// What IoT Core does, and on what.
        why: String,
        /// When it is tried again.
        again_at: Instant,
    },
}

/// A service that is configured.
#[derive(Debug)]
pub(super) struct Usable {
    pub(super) filters: Vec<TopicFilter>,
    pub(super) availability: Availability,
    /// Since when it is so.
    pub(super) since: Instant,
    /// Connections in a row that were ended because a filter of it had no SUBACK.
    unanswered: u32,
}

impl Usable {
    pub(super) fn new(filters: Vec<TopicFilter>, now: Instant) -> Usable {
        Usable { filters, availability: Availability::Waiting, since: now, unanswered: 0 }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.availability == Availability::Ready
    }

    pub(super) fn is_refused(&self) -> bool {
        matches!(self.availability, Availability::Refused { .. })
    }

    /// When it is tried again, if it is refused.
    pub(super) fn again_at(&self) -> Option<Instant> {
        match self.availability {
            Availability::Refused { again_at, .. } => Some(again_at),
            Availability::Waiting | Availability::Ready => None,
        }
    }

    /// Whether all of its filters stand in the server's session, by themselves or by others with all of their topics.
    pub(super) fn stands<'a>(&self, standing: impl Iterator<Item = &'a TopicFilter> + Clone) -> bool {
        let stands = |filter: &TopicFilter| standing.clone().any(|other| other == filter || other.covers(filter));
        self.filters.iter().all(stands)
    }

    /// Another connection is ended because a filter of it had no SUBACK. Whether that is enough of them.
    pub(super) fn unanswered(&mut self) -> bool {
        self.unanswered += 1;
        self.unanswered >= MAX_UNANSWERED
    }

    /// Whether that is something else than before.
    pub(super) fn becomes(&mut self, availability: Availability, now: Instant) -> bool {
        let is_news = self.availability != availability;
        if is_news {
            // A service that is ready, or tried again after a while, begins with none.
            if availability != Availability::Waiting || self.is_refused() {
                self.unanswered = 0;
            }
            self.availability = availability;
            self.since = now;
        }
        is_news
    }
}
