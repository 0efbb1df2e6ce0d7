//! The identity as metrics, where gatewire makes it itself.

use super::MetricKind::Gauge;
use super::{Metrics, seconds};
use crate::status::document::IdentityDocument;

impl Metrics {
    pub(super) fn identity(&mut self, identity: Option<&IdentityDocument>) {
        let Some(identity) = identity else { return };
        self.family("identity_state", Gauge, "1 for the state that the identity is in, 0 for the others.");
        for name in ["none", "provisioning", "ready", "rotating"] {
            self.sample("identity_state", &[("state", name)], f64::from(u8::from(identity.state == name)));
        }
        let help = "When the identity is asked for again; absent if that isn't planned.";
        self.time("identity_next_attempt_timestamp_seconds", help, identity.next_attempt);
        if let Some((error, at)) = identity.last_error.as_ref().and_then(|error| Some((error, error.at?))) {
            let name = "identity_last_error_timestamp_seconds";
            self.family(name, Gauge, "When the identity was last asked for in vain, and how that failed.");
            self.sample(name, &[("code", &error.code)], seconds(at));
        }
    }
}
