//! The identity on the page, where gatewire makes it itself.

use serde_json::Value;

use super::Page;
use crate::cli::output::Tone;
use crate::cli::status::said;
use crate::cli::status::words::due;
use crate::status::document::IdentityDocument;

impl Page {
    pub(super) fn identity(&mut self, identity: Option<&IdentityDocument>) {
        let Some(identity) = identity else { return };
        let IdentityDocument { state, step, thing, configuration, next_attempt, last_error, .. } = identity;
        let named = thing.as_ref().map_or_else(String::new, |thing| format!("the thing {thing}"));
        let at = step.as_ref().map_or_else(String::new, |step| format!(", at {step}"));
        let next = next_attempt.map_or_else(String::new, |at| format!("; next attempt {}", due(at, self.now)));
        let (tone, text) = match state.as_str() {
            "ready" => (Tone::Good, named),
            "rotating" => (Tone::Good, format!("{named}; another certificate is asked for{at}{next}")),
            "provisioning" => (Tone::Doubtful, format!("none yet; it is asked for{at}{next}")),
            "none" => (Tone::Bad, format!("none{at}{next}")),
            _ => (Tone::Doubtful, "in a state that this version doesn't know".to_owned()),
        };
        self.entry("identity", Some(tone), &text);
        if !configuration.is_empty() {
            self.more(None, &format!("configuration {}", Value::Object(configuration.clone())));
        }
        if let Some(error) = last_error {
            self.more(Some(Tone::Bad), &format!("{}: {}", self.ago(error.at), said::error(error)));
            self.more(None, &error.advice);
        }
    }
}
