//! `[jobs]` and `[commands]`.

use super::Reader;
use super::copies::Wanted;
use crate::actions::Actions;
use crate::config::document::Value;
use crate::config::section::Section;
use crate::config::values::{DAY, MINUTE, SECOND, duration};
use crate::config::{Commands, Jobs, Provisioning};
use crate::count::count;
use crate::limits::{MAX_SUBSCRIPTIONS, may_be_thing};
use crate::message::Qos;
use crate::services::{Names, Service};

impl Reader<'_> {
    pub(in crate::config) fn jobs(&self) -> Option<Jobs> {
        self.root.get("jobs")?;
        let section = Section::of(self.root, "jobs", self.report);
        let has_socket = section.node("socket").is_some();
        let socket = if has_socket { self.socket(&section, None) } else { None };
        for key in ["mode", "group"] {
            if !has_socket && section.node(key).is_some() {
                section.error(key, "is for `socket`, which isn't there; leave it out");
            }
        }
        section.finish();
        (has_socket == socket.is_some()).then_some(Jobs { socket })
    }

    pub(in crate::config) fn commands(&self) -> Option<Commands> {
        self.root.get("commands")?;
        let section = Section::of(self.root, "commands", self.report);
        let max_age = section.get_or("max_age", 5 * MINUTE, duration(SECOND..=DAY));
        section.finish();
        Some(Commands { max_age })
    }

    /// What services need beside their own keys: the name of a thing, room for their filters, and something to do.
    pub(in crate::config) fn check_services(&self, actions: &Actions, provisioning: Option<&Provisioning>) {
        let services = [Service::Jobs, Service::Commands].map(|service| (service, self.root.get(service.name())));
        let configured: Vec<_> = services.iter().filter_map(|(service, entry)| Some((*service, (*entry)?))).collect();
        let thing = &self.fixed.thing;
        if let (Some((service, _)), Some(place), false) =
            (configured.first(), &self.client_id_place, may_be_thing(thing))
        {
            let text = format!(
                "`connection.client_id`: [{}] needs the name of this gateway's thing at AWS IoT, and \"{thing}\" can't be one (letters, \
                 digits, `:`, `_` and `-`, at most 128): write it below [connection], `thing = \"NAME\"`",
                service.name()
            );
            return self.report.error(place, &text);
        }
        let names = Names { thing, template: provisioning.map_or("", |provisioning| &provisioning.template) };
        // A new certificate is asked for in one of two ways, and not at the same time.
        let at_times = provisioning.and_then(|provisioning| match self.root.get("jobs") {
            Some(_) => Some(Service::Rotator),
            None => provisioning.renew_before.map(|_| Service::Provisioning),
        });
        let at_times = at_times.and_then(|service| Some((service, self.root.get("provisioning")?)));
        let counted: Vec<_> = configured.iter().copied().chain(at_times).collect();
        for (number, (service, entry)) in counted.iter().enumerate() {
            let (name, filters) = (&entry.key, service.filters(names).unwrap_or_default());
            let wanted = filters.iter().map(|filter| Wanted {
                key: name.clone(),
                name: name.clone(),
                filter: filter.clone(),
                qos: Qos::AtLeastOnce,
                place: entry.place.clone(),
            });
            if let Some(all) = self.count_filters(wanted) {
                let (own, most) = (count(filters.len(), "filter"), self.max_subscriptions);
                let of_others = ["forward", "bridge"].iter().any(|others| self.root.get(others).is_some());
                let later = counted[number + 1..].iter().filter_map(|(later, _)| later.filters(names).ok());
                let needed = all + later.map(|filters| filters.len()).sum::<usize>();
                let way = match needed <= MAX_SUBSCRIPTIONS as usize {
                    true => format!("write `max_subscriptions = {needed}` below [connection]"),
                    false if of_others => {
                        "a wildcard in [[forward]] or [[bridge.down]] covers several topics".to_owned()
                    }
                    false => "raise it".to_owned(),
                };
                let text = format!(
                    "`{name}`: with the {own} of [{name}] there are {}, connection.max_subscriptions allows {most}; {way}",
                    count(all, "filter")
                );
                self.report.error(&entry.place, &text);
            }
        }
        let has_socket = match self.root.get("jobs").map(|entry| &entry.node.value) {
            Some(Value::Table(table)) => table.get("socket").is_some(),
            _ => false,
        };
        for (service, entry) in configured.iter().filter(|_| self.root.get("action").is_none()) {
            let (name, one) = match service {
                Service::Jobs if has_socket => continue,
                Service::Jobs => ("no [[action]] and no `socket`", "job"),
                _ => ("no [[action]]", "command"),
            };
            let built_in = match (service, self.root.get("provisioning")) {
                (Service::Jobs, Some(_)) => "gatewire:reload, gatewire:diagnose and ROTATE_CERTIFICATE",
                _ => "gatewire:reload and gatewire:diagnose",
            };
            let text =
                format!("`{}`: there is {name}, so that every {one} is rejected but for {built_in}", service.name());
            self.report.warning(&entry.place, &text);
        }
        if let (Some(entry), true, false) = (self.root.get("action"), configured.is_empty(), actions.is_empty()) {
            let text = "`action`: nothing asks for it: write `[jobs]` for AWS IoT Jobs, `[commands]` for its commands, or both";
            self.report.warning(&entry.place, text);
        }
    }
}
