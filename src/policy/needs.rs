//! What a configuration needs of a policy.

use std::collections::{BTreeMap, BTreeSet};

use super::Action;
use super::pattern::Pattern;
use super::resource::escaped;
use super::topics::{Parent, Topics, topics_of, topics_of_image};
use crate::actions::ROTATE;
use crate::config::Config;
use crate::mapping::for_iot_core;
use crate::message::{Qos, TopicFilter, needed};
use crate::services::Service;

/// What something is needed for: a statement of the least policy each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    Connect,
    PublishSchedule,
    PublishIngest,
    PublishWill,
    PublishBirth,
    PublishBridge,
    PublishServices,
    Retain,
    SubscribeForward,
    ReceiveForward,
    SubscribeBridge,
    ReceiveBridge,
    SubscribeServices,
    ReceiveServices,
}

impl Purpose {
    /// The name of the statement: letters and digits only.
    pub(crate) fn sid(self) -> &'static str {
        match self {
            Purpose::Connect => "Connect",
            Purpose::PublishSchedule => "PublishSchedule",
            Purpose::PublishIngest => "PublishIngest",
            Purpose::PublishWill => "PublishWill",
            Purpose::PublishBirth => "PublishBirth",
            Purpose::PublishBridge => "PublishBridge",
            Purpose::PublishServices => "PublishServices",
            Purpose::Retain => "Retain",
            Purpose::SubscribeForward => "SubscribeForward",
            Purpose::ReceiveForward => "ReceiveForward",
            Purpose::SubscribeBridge => "SubscribeBridge",
            Purpose::ReceiveBridge => "ReceiveBridge",
            Purpose::SubscribeServices => "SubscribeServices",
            Purpose::ReceiveServices => "ReceiveServices",
        }
    }

    pub(crate) fn action(self) -> Action {
        match self {
            Purpose::Connect => Action::Connect,
            Purpose::PublishSchedule
            | Purpose::PublishIngest
            | Purpose::PublishWill
            | Purpose::PublishBirth
            | Purpose::PublishBridge
            | Purpose::PublishServices => Action::Publish,
            Purpose::Retain => Action::RetainPublish,
            Purpose::SubscribeForward | Purpose::SubscribeBridge | Purpose::SubscribeServices => Action::Subscribe,
            Purpose::ReceiveForward | Purpose::ReceiveBridge | Purpose::ReceiveServices => Action::Receive,
        }
    }
}

/// An action on a resource, without which something in the configuration doesn't work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) purpose: Purpose,
    /// As a policy names it, behind region and account: `topic/gateways/*`.
    pub(crate) resource: String,
    /// What is really used of it, which the wildcards of a policy may only approach.
    pub(crate) strings: Vec<Pattern>,
    /// The places of the configuration that need it.
    pub(crate) sources: Vec<String>,
}

/// Whether programs on the ingest sockets ask for `retain`, which the configuration doesn't tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IngestRetain {
    Unused,
    Used,
}

/// Everything `config` needs, sorted by purpose and then as in the configuration; nothing twice.
pub(crate) fn of(config: &Config, ingest_retain: IngestRetain) -> Vec<Need> {
    let mut needs = Needs::default();
    needs.exact(Purpose::Connect, &config.connection.client_id, "connection.client_id");
    if let Some(will) = &config.connection.will {
        needs.exact(Purpose::PublishWill, will.topic.as_str(), "connection.will");
        if will.retain {
            needs.exact(Purpose::Retain, will.topic.as_str(), "connection.will");
        }
    }
    if let Some(birth) = &config.connection.birth {
        needs.exact(Purpose::PublishBirth, birth.topic.as_str(), "connection.birth");
        if birth.retain {
            needs.exact(Purpose::Retain, birth.topic.as_str(), "connection.birth");
        }
    }
    for publish in &config.publish {
        let source = format!("publish \"{}\"", publish.name);
        needs.exact(Purpose::PublishSchedule, publish.topic.as_str(), &source);
        if publish.retain {
            needs.exact(Purpose::Retain, publish.topic.as_str(), &source);
        }
    }
    for ingest in &config.ingest {
        let source = format!("ingest \"{}\"", ingest.name);
        for filter in &ingest.topics {
            // IoT Core retains nothing under `$aws/`.
            let may_retain = ingest_retain == IngestRetain::Used && !filter.as_str().starts_with("$aws/");
            for topics in topics_of(filter.levels(), Parent::Matches) {
                if may_retain {
                    needs.topics(Purpose::Retain, topics.clone(), &source);
                }
                needs.topics(Purpose::PublishIngest, topics, &source);
            }
        }
    }
    let wanted = config.filters();
    let subscribed: BTreeSet<&TopicFilter> = needed(&wanted, |_| false).map(|(filter, _)| filter).collect();
    for forward in &config.forward {
        let source = format!("forward \"{}\"", forward.name);
        for filter in &forward.filters {
            // What another filter covers isn't subscribed to.
            if subscribed.contains(filter) {
                needs.exact(Purpose::SubscribeForward, filter.as_str(), &source);
            }
            for topics in received(filter) {
                needs.topics(Purpose::ReceiveForward, topics, &source);
            }
        }
    }
    for (forward, allow) in config.forward.iter().filter_map(|forward| Some((forward, forward.allow.as_ref()?))) {
        let source = format!("readers of forward \"{}\"", forward.name);
        // Whatever they ask for within it.
        for topics in allow.filters.iter().flat_map(received) {
            needs.topics(Purpose::SubscribeForward, topics.clone(), &source);
            needs.topics(Purpose::ReceiveForward, topics, &source);
        }
    }
    for bridge in &config.bridge {
        let source = format!("bridge \"{}\"", bridge.name);
        for rule in &bridge.up {
            // Of what IoT Core can't have nothing is sent.
            let images = rule
                .mapping()
                .images()
                .into_iter()
                .filter(|image| image.is_ever(|topic| for_iot_core(topic, &rule.to)));
            for topics in images.flat_map(|image| topics_of_image(&image)) {
                if rule.retain {
                    needs.topics(Purpose::Retain, topics.clone(), &source);
                }
                needs.topics(Purpose::PublishBridge, topics, &source);
            }
        }
        for rule in &bridge.down {
            if subscribed.contains(&rule.from) {
                needs.exact(Purpose::SubscribeBridge, rule.from.as_str(), &source);
            }
            for topics in received(&rule.from) {
                needs.topics(Purpose::ReceiveBridge, topics, &source);
            }
        }
    }
    needs.services(config, &wanted);
    needs.sorted()
}

/// The topics that IoT Core asks the policy about before it delivers a message. AWS's documentation doesn't say whether those
/// of a shared subscription begin with its group; its samples allow both, so both are needed.
fn received(filter: &TopicFilter) -> Vec<Topics> {
    let levels = filter.levels();
    let group = filter.as_str().strip_suffix(levels).unwrap_or_default();
    let mut topics = topics_of(levels, Parent::Apart);
    if !group.is_empty() {
        topics.extend(topics_of(filter.as_str(), Parent::Apart));
    }
    topics
}

#[derive(Default)]
struct Needs(Vec<Need>);

impl Needs {
    /// A resource without wildcards.
    fn exact(&mut self, purpose: Purpose, name: &str, source: &str) {
        self.topics(purpose, Topics { resource: escaped(name), strings: vec![Pattern::literal(name)] }, source);
    }

    fn topics(&mut self, purpose: Purpose, topics: Topics, source: &str) {
        let begin = purpose.action().resource_type();
        let resource = format!("{begin}{}", topics.resource);
        match self.0.iter_mut().find(|need| need.purpose == purpose && need.resource == resource) {
            Some(need) if need.sources.iter().any(|known| known == source) => {}
            Some(need) => need.sources.push(source.to_owned()),
            None => {
                let strings = topics.strings.iter().map(|strings| Pattern::literal(begin).then(strings)).collect();
                self.0.push(Need { purpose, resource, strings, sources: vec![source.to_owned()] });
            }
        }
    }

    /// What `[jobs]` and `[commands]` need, and another certificate, where `wanted` is subscribed to otherwise.
    fn services(&mut self, config: &Config, wanted: &BTreeMap<TopicFilter, Qos>) {
        let names = config.names();
        for service in config.services().into_iter().chain(config.services_at_times()) {
            let source = match service {
                Service::Jobs | Service::Commands => format!("[{}]", service.name()),
                Service::Rotator => ROTATE.to_owned(),
                Service::Provisioning => "provisioning.renew_before".to_owned(),
            };
            for topics in service.requests(names).iter().flat_map(|filter| topics_of(filter, Parent::Apart)) {
                self.topics(Purpose::PublishServices, topics, &source);
            }
            // The configuration has checked the name of the thing.
            for filter in service.filters(names).unwrap_or_default() {
                if !wanted.keys().any(|other| *other == filter || other.covers(&filter)) {
                    self.exact(Purpose::SubscribeServices, filter.as_str(), &source);
                }
                for topics in received(&filter) {
                    self.topics(Purpose::ReceiveServices, topics, &source);
                }
            }
        }
    }

    fn sorted(mut self) -> Vec<Need> {
        self.0.sort_by_key(|need| need.purpose);
        self.0
    }
}
