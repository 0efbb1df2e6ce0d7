//! What isn't asked for: filters that the server refuses, and those for which connections have ended.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Answer, Paused, Subscriptions, Turn};
use crate::message::TopicFilter;
use crate::mqtt::reason::{Reason, ReasonCode};

/// A filter that the server refused is asked for again after this long.
const ASK_AGAIN: Duration = Duration::from_secs(3600);

/// Sooner, later each time, if that may pass: an account takes so many a second; and a policy is detached for a moment, or a server
/// that starts closes whatever it is asked, where it has granted this filter before.
const ASK_SOON: Duration = Duration::from_secs(30);

/// The most refusals that are remembered of filters that nobody wants any more: who gives one back and asks for it again gets the
/// same answer.
const MAX_UNWANTED: usize = 256;

/// Filters that readers want and that aren't asked for, as connections have ended for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PutOff {
    pub(crate) filters: Vec<TopicFilter>,
    pub(crate) until: Instant,
    /// For which they have ended, as far as is known.
    pub(crate) suspects: BTreeSet<TopicFilter>,
}

/// For how long a filter isn't asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// This server says that it can't.
    OnThisConnection,
    Until(Instant),
}

impl Refused {
    /// Until when, if that isn't the end of the connection.
    fn until(self) -> Option<Instant> {
        match self {
            Refused::OnThisConnection => None,
            Refused::Until(until) => Some(until),
        }
    }
}

impl Subscriptions {
    /// Leaves out, on this connection, the filters for which `refusal` has a reason; returns those that aren't in the server's
    /// session, and weren't left out before, with it.
    pub(in crate::mqtt::session) fn leave_out(
        &mut self,
        refusal: impl Fn(&TopicFilter) -> Option<ReasonCode>,
    ) -> Vec<(TopicFilter, Answer)> {
        let unavailable = self.wanted.keys().filter_map(|filter| Some((filter.clone(), refusal(filter)?)));
        let (standing, missing): (Vec<_>, Vec<_>) =
            unavailable.partition(|(filter, _)| self.standing.contains_key(filter));
        self.unavailable = standing.into_iter().map(|(filter, _)| filter).collect();
        let is_new = |filter: &TopicFilter| self.refused.get(filter) != Some(&Refused::OnThisConnection);
        let refused: Vec<_> = missing.into_iter().filter(|(filter, _)| is_new(filter)).collect();
        self.refused.extend(refused.iter().map(|(filter, _)| (filter.clone(), Refused::OnThisConnection)));
        refused.into_iter().map(|(filter, code)| (filter, Answer::Refused(Reason::new(code.0, None)))).collect()
    }

    /// After how long a filter is asked for again that was refused so. `None`: the server has closed the connection on it.
    pub(super) fn ask_again_after(&mut self, filter: &TopicFilter, code: Option<ReasonCode>) -> Duration {
        if code != Some(ReasonCode::QUOTA_EXCEEDED) && !self.granted.contains(filter) {
            return ASK_AGAIN;
        }
        let times = self.refused_times.entry(filter.clone()).or_default();
        let doubled = 1_u32.checked_shl(*times).and_then(|factor| ASK_SOON.checked_mul(factor));
        *times += 1;
        doubled.map_or(ASK_AGAIN, |wait| wait.min(ASK_AGAIN))
    }

    /// Until when a filter isn't asked for that the server has refused; `None`: until the next connection.
    pub(in crate::mqtt::session) fn refused_until(&self, filter: &TopicFilter) -> Option<Instant> {
        self.refused.get(filter).and_then(|refused| refused.until())
    }

    /// The server closes the connection on this filter.
    pub(in crate::mqtt::session) fn refuse(&mut self, filter: TopicFilter, now: Instant) {
        self.standing.remove(&filter);
        self.identifiers.standing.remove(&filter);
        let wait = self.ask_again_after(&filter, None);
        self.refused.insert(filter, Refused::Until(now + wait));
    }

    /// Whether a filter isn't asked for because the server refuses it, or has ended connections for others like it.
    pub(in crate::mqtt::session) fn is_refused(&self, filter: &TopicFilter) -> bool {
        self.wanted.contains_key(filter) && (self.refused.contains_key(filter) || self.is_put_off(filter))
    }

    /// Whether the server has refused a filter lately, though it may not be wanted any more.
    pub(in crate::mqtt::session) fn was_refused(&self, filter: &TopicFilter) -> bool {
        self.refused.contains_key(filter)
    }

    /// A filter that readers want is put off.
    pub(in crate::mqtt::session) fn is_put_off(&self, filter: &TopicFilter) -> bool {
        self.wishes.turn_of(filter) == Turn::Requested && self.wishes.requested.is_put_off(filter)
    }

    /// What is put off now.
    pub(in crate::mqtt::session) fn put_off(&self) -> Option<PutOff> {
        let requested = &self.wishes.requested;
        let (until, suspects) = (requested.paused_until()?, requested.suspects());
        let waits = |filter: &&TopicFilter| self.is_put_off(filter) && !self.standing.contains_key(*filter);
        Some(PutOff { filters: self.wanted.keys().filter(waits).cloned().collect(), until, suspects })
    }

    /// Whether nobody but readers wants this filter.
    pub(in crate::mqtt::session) fn is_requested(&self, filter: &TopicFilter) -> bool {
        self.wishes.turn_of(filter) == Turn::Requested
    }

    /// The filters that are without answer, if only readers want them.
    pub(in crate::mqtt::session) fn only_requested(&self) -> Vec<TopicFilter> {
        match self.unanswered().all(|filter| self.is_requested(filter)) {
            true => self.unanswered().cloned().collect(),
            false => Vec::new(),
        }
    }

    /// See [`Requested::ended`](super::requested::Requested::ended).
    pub(in crate::mqtt::session) fn ended_for(
        &mut self,
        requested: &[TopicFilter],
        is_found: bool,
        now: Instant,
    ) -> Option<Paused> {
        self.wishes.requested.ended(requested, is_found, now)
    }

    /// Forgets refusals of what nobody wants any more, the oldest first, if there are too many.
    pub(super) fn bound_refusals(&mut self) {
        let is_of_use = |filter: &TopicFilter| self.wanted.contains_key(filter) || self.refused.contains_key(filter);
        self.refused_times.retain(|filter, _| is_of_use(filter));
        self.granted.retain(is_of_use);
        let unwanted = self.refused.iter().filter(|(filter, _)| !self.wanted.contains_key(*filter));
        let mut unwanted: Vec<(Option<Instant>, TopicFilter)> =
            unwanted.map(|(filter, refused)| (refused.until(), filter.clone())).collect();
        unwanted.sort();
        let too_many = unwanted.len().saturating_sub(MAX_UNWANTED);
        for (_, filter) in unwanted.iter().take(too_many) {
            self.refused.remove(filter);
        }
    }

    /// When a filter that was refused or put off is to be asked for again.
    pub(in crate::mqtt::session) fn ask_again_at(&self) -> Option<Instant> {
        self.refused.values().filter_map(|refused| refused.until()).chain(self.wishes.requested.paused_until()).min()
    }

    /// Forgets the refusals whose time is over.
    pub(in crate::mqtt::session) fn ask_again(&mut self, now: Instant) {
        self.wishes.requested.look(now);
        self.refused.retain(|_, refused| !matches!(refused, Refused::Until(until) if *until <= now));
    }
}
