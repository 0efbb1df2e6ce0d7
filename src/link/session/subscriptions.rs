//! What we are subscribed to, what we want to be, and what is on its way between the two.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::PacketIdentifier;
use crate::limits::MAX_FILTERS_PER_SUBSCRIBE;
use crate::link::reason::{Reason, ReasonCode};
use crate::message::{Qos, TopicFilter};

/// The filters of the session.
#[derive(Debug)]
pub(super) struct Subscriptions {
    wanted: BTreeMap<TopicFilter, Qos>,
    /// Granted in the server's session, as far as this process has seen.
    established: BTreeSet<TopicFilter>,
    /// Refused on this connection: asked for again on the next.
    refused: BTreeSet<TopicFilter>,
    pending: Vec<Pending>,
}

/// A SUBSCRIBE without SUBACK.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) id: PacketIdentifier,
    pub(super) filters: Vec<(TopicFilter, Qos)>,
    sent_at: Instant,
}

/// What the server said about one filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Granted,
    /// The server grants less than was asked for: QoS 0 instead of 1.
    Downgraded,
    Refused(Reason),
}

impl Subscriptions {
    pub(super) fn new(wanted: BTreeMap<TopicFilter, Qos>) -> Subscriptions {
        Subscriptions { wanted, established: BTreeSet::new(), refused: BTreeSet::new(), pending: Vec::new() }
    }

    /// A connection is established. What the server's session doesn't hold has to be asked for.
    pub(super) fn restart(&mut self, session_present: bool) {
        self.pending.clear();
        self.refused.clear();
        if !session_present {
            self.established.clear();
        }
    }

    /// The next filters to ask for in one packet, or nothing.
    pub(super) fn next_request(&self) -> Vec<(TopicFilter, Qos)> {
        let missing = self.wanted.iter().filter(|(filter, _)| {
            !self.established.contains(*filter)
                && !self.refused.contains(*filter)
                && !self.pending.iter().any(|pending| pending.filters.iter().any(|(asked, _)| asked == *filter))
        });
        missing.take(MAX_FILTERS_PER_SUBSCRIBE).map(|(filter, qos)| (filter.clone(), *qos)).collect()
    }

    pub(super) fn requested(&mut self, id: PacketIdentifier, filters: Vec<(TopicFilter, Qos)>, now: Instant) {
        self.pending.push(Pending { id, filters, sent_at: now });
    }

    pub(super) fn uses(&self, id: PacketIdentifier) -> bool {
        self.pending.iter().any(|pending| pending.id == id)
    }

    /// SUBACK. Returns each filter with what became of it; `None` if it answers nothing that we asked, or not for each
    /// filter (`MQTT-3.8.4-5`).
    pub(super) fn answered(
        &mut self,
        id: PacketIdentifier,
        granted: Vec<Result<Qos, Reason>>,
    ) -> Option<Vec<(TopicFilter, Answer)>> {
        let index = self.pending.iter().position(|pending| pending.id == id)?;
        if self.pending[index].filters.len() != granted.len() {
            return None;
        }
        let asked = self.pending.swap_remove(index).filters;
        let answers = asked.into_iter().zip(granted).map(|((filter, wanted), granted)| match granted {
            Ok(qos) => {
                self.established.insert(filter.clone());
                (filter, if qos < wanted { Answer::Downgraded } else { Answer::Granted })
            }
            Err(reason) => {
                self.refused.insert(filter.clone());
                (filter, Answer::Refused(reason))
            }
        });
        Some(answers.collect())
    }

    /// Leaves out, on this connection, the filters for which `refusal` has a reason; returns them with it.
    pub(super) fn leave_out(
        &mut self,
        refusal: impl Fn(&TopicFilter) -> Option<ReasonCode>,
    ) -> Vec<(TopicFilter, Answer)> {
        let missing = self.wanted.keys().filter(|filter| !self.established.contains(*filter));
        let refused: Vec<_> = missing.filter_map(|filter| Some((filter.clone(), refusal(filter)?))).collect();
        self.refused.extend(refused.iter().map(|(filter, _)| filter.clone()));
        refused.into_iter().map(|(filter, code)| (filter, Answer::Refused(Reason::new(code.0, None)))).collect()
    }

    /// When the first SUBSCRIBE without answer is overdue.
    pub(super) fn deadline(&self, ack_timeout: Duration) -> Option<Instant> {
        self.pending.iter().map(|pending| pending.sent_at + ack_timeout).min()
    }

    /// The SUBSCRIBEs that are overdue, to be sent again with the same packet identifier.
    pub(super) fn overdue(&mut self, now: Instant, ack_timeout: Duration) -> impl Iterator<Item = &Pending> {
        self.pending.iter_mut().filter(move |pending| pending.sent_at + ack_timeout <= now).map(move |pending| {
            pending.sent_at = now;
            &*pending
        })
    }

    /// Filters asked for and not answered.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = &TopicFilter> {
        self.pending.iter().flat_map(|pending| pending.filters.iter().map(|(filter, _)| filter))
    }
}
