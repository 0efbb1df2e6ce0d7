//! The services of AWS IoT on the page.

use std::collections::BTreeMap;

use super::Page;
use crate::cli::output::Tone;
use crate::status::document::ServiceDocument;

impl Page {
    pub(super) fn services(&mut self, services: &BTreeMap<String, ServiceDocument>) {
        for (name, service) in services {
            let (tone, state) = self.words.service(service);
            self.entry(name, Some(tone), &state);
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
