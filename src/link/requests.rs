//! What is said of filters that readers ask for and the server has ended connections for, and of those that are refused.

use std::time::Instant;

use super::diagnosis::{FilterRefused, Sent};
use super::{Link, after, refusals};
use crate::count::count;
use crate::duration::told;
use crate::journal;
use crate::message::TopicFilter;
use crate::mqtt::reason::Reason;
use crate::mqtt::session::{Paused, PutOff, Session};
use crate::net::{Endpoint, Network};

impl<N: Network> Link<N> {
    /// Connections have ended for filters that readers ask for: for a while none is asked for.
    pub(super) fn requests_paused(&self, Paused { filter, ends, wait }: &Paused) {
        log::error!(
            GATEWIRE_EVENT = "subscribe_refused", GATEWIRE_FILTER = filter.as_str(), GATEWIRE_COUNT = *ends;
            "{} within an hour ended while a filter was asked for that a reader wants, the last on `{filter}`. For {} no filter of a \
             reader is asked for that wasn't granted before; everything else goes on. Perhaps the certificate's policy lacks {} and \
             iot:Receive on its topics: add them, or have no program ask for it: `allow` of the [[forward]] says what programs may ask for",
            count(*ends as u64, "connection"), told(*wait), Sent::Subscribe(filter.clone()).needs()
        );
    }

    /// It is known how the subscriptions stand: which filters are refused, for the status.
    pub(super) fn note_refused(&self, session: &Session, now: Instant) {
        self.state.keep_refused(|filter| session.refusal(filter));
        let Some(PutOff { filters, until, suspects }) = session.put_off() else { return };
        let until = after(until.saturating_duration_since(now)).strftime("%H:%M:%S UTC");
        let names: Vec<String> = suspects.iter().take(3).map(|filter| format!("`{filter}`")).collect();
        let more = suspects.len().saturating_sub(names.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let reason = format!(
            "not asked for before {until}: connections have ended while readers asked for {}{more}; perhaps the policy lacks \
             iot:Subscribe for that",
            names.join(", ")
        );
        for filter in filters {
            self.state.filter_refused(&filter, reason.clone(), None, journal::now());
        }
    }

    /// SUBACK has a failure, or the CONNACK rules the filter out. `until` when it isn't asked for; `None`: until the next connection.
    pub(super) fn filter_refused(&self, filter: &TopicFilter, reason: &Reason, until: Option<Instant>) {
        let (said, missing) = refusals::suback_failure(filter, reason);
        if self.service_refused(filter, &said, missing.as_deref()) {
            return;
        }
        let setup = self.setup();
        let refused = FilterRefused {
            protocol: setup.connection.protocol,
            filter: filter.clone(),
            reason: reason.clone(),
            is_iot_core: Endpoint::from(&setup.connection).is_iot_core(),
            whose: setup.tls.whose.clone(),
        };
        self.state.filter_refused(&refused.filter, said, missing, journal::now());
        let again = refusals::when(until);
        log::error!(
            GATEWIRE_EVENT = "subscribe_refused", GATEWIRE_FILTER = refused.filter.as_str();
            "{refused}: no messages arrive for it, the other filters work; it is retried {again}. {}",
            refused.advice()
        );
    }
}
