//! What is said of the birth, which the session publishes on each connection.

use std::time::Duration;

use super::Link;
use super::refusals::{may_be_the_policy, remedy, terms_remedy};
use super::state::BirthRefused;
use crate::journal;
use crate::message::Target;
use crate::mqtt::Rejection;
use crate::mqtt::reason::ReasonCode;
use crate::mqtt::session::Refusal;
use crate::net::Network;

/// After a remedy.
const AGAIN: &str = "`systemctl reload gatewire` tries it again at once";

/// Why the birth isn't taken.
struct Why {
    how: String,
    /// What the policy has to allow, if it is for that.
    missing: Option<String>,
    /// What to do, a sentence or more.
    advice: String,
}

impl<N: Network> Link<N> {
    /// The server has ended a few connections in a row for it: `how`.
    pub(super) fn birth_left_out(&self, how: &str, code: Option<ReasonCode>) {
        let why = self.why(how.to_owned(), code);
        self.birth_not_taken(why, "It is left out for an hour, and everything else is sent", true);
    }

    /// The server doesn't take it, and that is all.
    pub(super) fn birth_refused(&self, refusal: &Refusal) {
        let how = refusal.to_string();
        let code = match refusal {
            Refusal::Refuses(Rejection::PubAck(reason)) => Some(reason.code),
            Refusal::Ends(reason) => reason.as_ref().map(|reason| reason.code),
            Refusal::Refuses(rejection) => {
                let why = Why { how, missing: None, advice: terms_remedy(rejection).to_owned() };
                return self.birth_not_taken(why, "It isn't sent as long as that is so, and everything else is", false);
            }
        };
        self.birth_not_taken(self.why(how, code), "It is sent on each connection all the same", false);
    }

    /// The server hasn't acknowledged it for so long.
    pub(super) fn birth_unanswered(&self, waited: Duration) {
        let why = Why {
            how: format!("no PUBACK has come within {} s", waited.as_secs_f64()),
            missing: None,
            advice: "The server may have lost it: its log may say why (CloudWatch, AWSIotLogsV2). `systemctl restart gatewire` \
                     connects and sends it again"
                .to_owned(),
        };
        self.birth_not_taken(why, "Everything else is sent", false);
    }

    pub(super) fn birth_taken(&self) {
        self.state.birth_not_refused();
        log::info!(GATEWIRE_EVENT = "birth_taken"; "IoT Core takes the birth (connection.birth) again");
    }

    fn why(&self, how: String, code: Option<ReasonCode>) -> Why {
        // Codes that say nothing may stand for a policy, too; and who asked too much need only ask again.
        let is_uncertain = code.is_some_and(|code| code != ReasonCode::NOT_AUTHORIZED);
        match (self.birth_needs().filter(|_| may_be_the_policy(code)), code) {
            (Some(needs), _) if is_uncertain => {
                let log = "The server's log may say why (CloudWatch, AWSIotLogsV2)";
                let advice = format!("{log}; it may be that the certificate's policy lacks {needs}. {AGAIN}");
                Why { how, missing: None, advice }
            }
            (None, Some(ReasonCode::QUOTA_EXCEEDED)) => {
                let limit =
                    "The server has no room for it just now, or a limit of the account was passed (Service Quotas)";
                Why { how, missing: None, advice: format!("{limit}. {AGAIN}") }
            }
            (missing, code) => {
                let advice = format!("{}; {AGAIN}", remedy(missing.as_deref(), code));
                Why { how, missing, advice }
            }
        }
    }

    /// What the policy has to allow for it.
    fn birth_needs(&self) -> Option<String> {
        let setup = self.setup();
        let birth = setup.connection.birth.as_ref()?;
        Some(Target { topic: birth.topic.clone(), retain: birth.retain }.needs())
    }

    /// Says it, and shows it.
    fn birth_not_taken(&self, why: Why, consequence: &str, left_out: bool) {
        let setup = self.setup();
        let Some(birth) = &setup.connection.birth else { return };
        let Why { how, missing, advice } = why;
        log::error!(
            GATEWIRE_EVENT = "birth_refused", GATEWIRE_TOPIC = birth.topic.as_str();
            "IoT Core doesn't take the birth to `{}` (connection.birth): {how}. {consequence}. {advice}", birth.topic
        );
        let (topic, since) = (birth.topic.to_string(), journal::now().into());
        self.state.birth_refused(BirthRefused { topic, since, reason: how, missing, advice, left_out });
    }
}
