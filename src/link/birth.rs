//! What is said of the birth, which the session publishes on each connection.

use super::Link;
use super::refusals::{may_be_the_policy, remedy, terms_remedy};
use crate::message::Target;
use crate::mqtt::Rejection;
use crate::mqtt::reason::ReasonCode;
use crate::mqtt::session::Refusal;
use crate::net::Network;

impl<N: Network> Link<N> {
    /// The server has ended a few connections in a row for it: `how`.
    pub(super) fn birth_left_out(&self, how: &str, code: Option<ReasonCode>) {
        let remedy = self.birth_remedy(code);
        self.say_birth_refused(how, "It is left out for an hour, and everything else is sent", &remedy);
    }

    /// The server doesn't take it, and that is all.
    pub(super) fn birth_refused(&self, refusal: &Refusal) {
        let (is_sent, remedy) = match refusal {
            Refusal::Refuses(Rejection::PubAck(reason)) => (true, self.birth_remedy(Some(reason.code))),
            Refusal::Refuses(rejection) => (false, terms_remedy(rejection).trim_end_matches('.').to_owned()),
            Refusal::Ends(reason) => (true, self.birth_remedy(reason.as_ref().map(|reason| reason.code))),
        };
        let consequence = match is_sent {
            true => "It is sent on each connection all the same",
            false => "It isn't sent as long as that is so, and everything else is",
        };
        self.say_birth_refused(&refusal.to_string(), consequence, &remedy);
    }

    pub(super) fn birth_taken(&self) {
        log::info!(GATEWIRE_EVENT = "birth_taken"; "IoT Core takes the birth (connection.birth) again");
    }

    fn birth_remedy(&self, code: Option<ReasonCode>) -> String {
        let setup = self.setup();
        let birth = setup.connection.birth.as_ref().filter(|_| may_be_the_policy(code));
        let missing = birth.map(|birth| Target { topic: birth.topic.clone(), retain: birth.retain }.needs());
        remedy(missing.as_deref(), code)
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
