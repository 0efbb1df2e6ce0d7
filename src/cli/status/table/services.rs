//! The services of AWS IoT on the page.

use std::collections::BTreeMap;

use super::Page;
use crate::cli::output::Tone;
use crate::status::document::ServiceDocument;
use crate::time::Rfc3339;

impl Page {
    pub(super) fn services(&mut self, services: &BTreeMap<String, ServiceDocument>) {
        for (name, service) in services {
            let since = |at: Option<Rfc3339>| at.map_or_else(String::new, |at| format!(" {}", self.since(at)));
            let (tone, state) = match service.state.as_str() {
                "ready" => (Tone::Good, format!("ready{}", since(service.since))),
                "waiting" if service.reason.is_some() => (Tone::Doubtful, "waits".to_owned()),
                "waiting" => (Tone::Doubtful, "waits for the connection".to_owned()),
                "refused" => (Tone::Bad, format!("refused{}", since(service.since))),
                _ => (Tone::Doubtful, "in a state that this version doesn't know".to_owned()),
            };
            let execution = service.execution.as_ref().map(|id| format!("; {id} is under way")).unwrap_or_default();
            self.entry(name, Some(tone), &format!("{state}{execution}"));
            if let Some(reason) = &service.reason {
                self.more(Some(Tone::Bad), reason);
            }
            if service.readers == Some(0) {
                self.more(None, "no program reads jobs.sock: what no action takes waits");
            }
            if service.waiting > 0 {
                let (n, verb) = (service.waiting, if service.waiting == 1 { "waits" } else { "wait" });
                self.more(None, &format!("{n} more {verb}"));
            }
        }
    }
}
