//! What becomes of the identity, for those who ask: the status socket and `systemctl status`.

use std::cell::RefCell;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Identity;
use crate::time::Rfc3339;

/// `identity.state` of the status document.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// There is none, and none can be asked for.
    #[default]
    None,
    /// There is none, and one is asked for.
    Provisioning,
    /// It is in force.
    Ready,
    /// It is in force, and another is asked for.
    Rotating,
}

/// `identity.last_error` of the status document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct IdentityError {
    /// AWS's `errorCode`, or a `snake_case` word.
    pub(crate) code: String,
    /// What was tried, on what, and what came back.
    pub(crate) message: String,
    /// What to do.
    pub(crate) advice: String,
    pub(crate) at: Rfc3339,
}

/// The `identity` of the status document.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct IdentityStatus {
    state: Phase,
    /// What is being done, or failed; `None` if there is nothing to do.
    step: Option<&'static str>,
    thing: Option<String>,
    /// `deviceConfiguration` of the provisioning template.
    configuration: Map<String, Value>,
    /// When the certificate in force expires.
    not_after: Option<Rfc3339>,
    next_attempt: Option<Rfc3339>,
    last_error: Option<IdentityError>,
}

/// Shared by those who make an identity, who write it, and those who read.
#[derive(Debug, Default)]
pub(crate) struct IdentityState(RefCell<IdentityStatus>);

impl IdentityState {
    /// It is in force, or there is none (any more).
    pub(crate) fn found(&self, identity: Option<&Identity>) {
        *self.0.borrow_mut() = match identity {
            Some(identity) => IdentityStatus {
                state: Phase::Ready,
                thing: Some(identity.thing.clone()),
                configuration: identity.configuration.clone(),
                ..IdentityStatus::default()
            },
            None => IdentityStatus::default(),
        };
    }

    /// Likewise, once the configuration was read anew. What was said of the same identity, and of what is done with it, stays so.
    pub(crate) fn found_again(&self, identity: Option<&Identity>) {
        let is_known = identity.is_some_and(|identity| {
            let status = self.0.borrow();
            status.thing.as_ref() == Some(&identity.thing) && status.configuration == identity.configuration
        });
        if !is_known {
            self.found(identity);
        }
    }

    /// A step towards another one has begun.
    pub(crate) fn goes_on(&self, state: Phase, step: &'static str) {
        let mut status = self.0.borrow_mut();
        (status.state, status.step, status.next_attempt) = (state, Some(step), None);
    }

    /// Nothing is made any more; what is in force stays so.
    pub(crate) fn rests(&self) {
        let mut status = self.0.borrow_mut();
        (status.state, status.step, status.next_attempt) = (Phase::Ready, None, None);
    }

    /// The present step has failed; `next_attempt`: when it is tried again.
    pub(crate) fn failed(
        &self,
        state: Phase,
        step: &'static str,
        error: IdentityError,
        next_attempt: Option<Timestamp>,
    ) {
        let mut status = self.0.borrow_mut();
        (status.state, status.step, status.next_attempt) = (state, Some(step), next_attempt.map(Into::into));
        status.last_error = Some(error);
    }

    /// Whether the next attempt is yet to come.
    pub(crate) fn waits(&self) -> bool {
        self.0.borrow().next_attempt.is_some()
    }

    /// `not_after` is when the certificate in force expires.
    pub(crate) fn status(&self, not_after: Option<Timestamp>) -> IdentityStatus {
        IdentityStatus { not_after: not_after.map(Into::into), ..self.0.borrow().clone() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::identity::KeyPlace;

    fn document(state: &IdentityState) -> Value {
        serde_json::to_value(state.status(None)).unwrap()
    }

    #[test]
    fn an_identity_that_is_in_force_has_nothing_of_the_attempts_before_it() {
        let state = IdentityState::default();
        assert_eq!(document(&state)["state"], "none");
        let at = Timestamp::from_second(1_800_000_000).unwrap();
        let error = IdentityError {
            code: "AccessDeniedException".to_owned(),
            message: "m".to_owned(),
            advice: "a".to_owned(),
            at: at.into(),
        };
        state.goes_on(Phase::Provisioning, "connect");
        state.failed(Phase::Provisioning, "register-thing", error, Some(at));
        let found = document(&state);
        assert_eq!((&found["state"], &found["step"]), (&json!("provisioning"), &json!("register-thing")));
        assert_eq!(found["last_error"]["code"], "AccessDeniedException");
        assert_eq!(found["next_attempt"], found["last_error"]["at"]);
        state.goes_on(Phase::Provisioning, "connect");
        assert_eq!(document(&state)["next_attempt"], Value::Null, "it is tried now");
        assert_eq!(document(&state)["last_error"]["message"], "m", "until it has worked");

        let configuration = json!({"room": "7"}).as_object().unwrap().clone();
        let (thing, certificate_id) = ("gw-7".to_owned(), "id".to_owned());
        let identity = Identity { thing, configuration, certificate_id, key: KeyPlace::File };
        state.found(Some(&identity));
        assert_eq!(
            document(&state),
            json!({"state": "ready", "step": null, "thing": "gw-7", "configuration": {"room": "7"}, "not_after": null,
                   "next_attempt": null, "last_error": null})
        );
        state.goes_on(Phase::Rotating, "trial");
        assert_eq!(document(&state)["thing"], "gw-7", "it is in force all the same");
        let (before, mut identity) = (document(&state), identity);
        state.found_again(Some(&identity));
        assert_eq!(document(&state), before, "a reload changes nothing of that");
        identity.thing = "gw-8".to_owned();
        state.found_again(Some(&identity));
        assert_eq!((&document(&state)["thing"], &document(&state)["state"]), (&json!("gw-8"), &json!("ready")));
        state.found_again(None);
        assert_eq!(document(&state)["state"], "none");
    }
}
