//! What is said of the birth, which the session publishes on each connection.

use super::Link;
use super::refusals::{may_be_the_policy, remedy, terms_remedy};
use super::state::BirthRefused;
use crate::journal;
use crate::message::Target;
use crate::mqtt::Rejection;
use crate::mqtt::reason::ReasonCode;
use crate::mqtt::session::Refusal;
use crate::net::Network;

impl<N: Network> Link<N> {
    /// The server has ended a few connections in a row for it: `how`.
    pub(super) fn birth_left_out(&self, how: &str, code: Option<ReasonCode>) {
        let consequence = "It is left out for an hour, and everything else is sent";
        let missing = self.birth_lacks(code);
        let remedy = remedy(missing.as_deref(), code);
        self.say_birth_refused(how, consequence, &remedy);
        self.show_birth_refused(how, missing, true);
    }

    /// The server doesn't take it, and that is all.
    pub(super) fn birth_refused(&self, refusal: &Refusal) {
        let code = match refusal {
            Refusal::Refuses(Rejection::PubAck(reason)) => Some(Some(reason.code)),
            Refusal::Ends(reason) => Some(reason.as_ref().map(|reason| reason.code)),
            Refusal::Refuses(_) => None,
        };
        let missing = code.and_then(|code| self.birth_lacks(code));
        let (consequence, remedy) = match (code, refusal) {
            (None, Refusal::Refuses(rejection)) => (
                "It isn't sent as long as that is so, and everything else is",
                terms_remedy(rejection).trim_end_matches('.').to_owned(),
            ),
            _ => ("It is sent on each connection all the same", remedy(missing.as_deref(), code.flatten())),
        };
        self.say_birth_refused(&refusal.to_string(), consequence, &remedy);
        self.show_birth_refused(&refusal.to_string(), missing, false);
    }

    pub(super) fn birth_taken(&self) {
        self.state.birth_not_refused();
        log::info!(GATEWIRE_EVENT = "birth_taken"; "IoT Core takes the birth (connection.birth) again");
    }

    /// What the policy has to allow, if it may be for that.
    fn birth_lacks(&self, code: Option<ReasonCode>) -> Option<String> {
        let setup = self.setup();
        let birth = setup.connection.birth.as_ref().filter(|_| may_be_the_policy(code))?;
        Some(Target { topic: birth.topic.clone(), retain: birth.retain }.needs())
    }

    fn show_birth_refused(&self, how: &str, missing: Option<String>, left_out: bool) {
        let setup = self.setup();
        let Some(birth) = &setup.connection.birth else { return };
        let (topic, since) = (birth.topic.to_string(), journal::now().into());
        self.state.birth_refused(BirthRefused { topic, since, reason: how.to_owned(), missing, left_out });
    }

    fn say_birth_refused(&self, how: &str, consequence: &str, remedy: &str) {
        let setup = self.setup();
        let Some(birth) = &setup.connection.birth else { return };
        log::error!(
            GATEWIRE_EVENT = "birth_refused", GATEWIRE_TOPIC = birth.topic.as_str();
            "IoT Core refuses the birth to `{}` (connection.birth): {how}. {consequence}. {remedy}; `systemctl restart gatewire` \
             tries it at once", birth.topic
        );
    }
}
