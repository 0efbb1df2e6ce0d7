//! What is said about single filters and topics: not again and again.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::client::{Before, Failure, OtherSession, Say, Telling};
use crate::config;
use crate::count::count_that;
use crate::duration::told;
use crate::home_assistant::{self, Device};
use crate::journal;
use crate::limits::MAX_PROPERTIES;
use crate::message::{Qos, Topic, TopicFilter};
use crate::mqtt::Protocol;
use crate::mqtt::reason::{Reason, ReasonCode};
use crate::mqtt::server_limits::Reduced;
use crate::mqtt::session::Answer;
use crate::time;

const NO_PUBACK: &str =
    "They are sent again. The broker is overloaded or hangs: look at its log, and at the load of this machine (`top`)";
const THROTTLED: &str =
    "Nothing is lost: what waits is sent later. The broker's log says which of its limits was exceeded";

/// What was said of a bridge's connection.
#[derive(Debug, Default)]
pub(super) struct Said {
    telling: RefCell<Telling>,
    /// Filters of which it was said that the broker refuses them.
    refused: RefCell<BTreeSet<TopicFilter>>,
    /// The filters that were said to stand.
    settled: RefCell<BTreeSet<TopicFilter>>,
    /// What messages were said to go without.
    reduced: RefCell<BTreeSet<Reduced>>,
    /// Whether it was said that the broker refuses what `discovery` publishes.
    discovery_refused: Cell<bool>,
}

impl Said {
    /// The configuration has changed: what is refused now is news.
    pub(super) fn forget(&self) {
        self.refused.borrow_mut().clear();
        self.reduced.borrow_mut().clear();
        self.discovery_refused.set(false);
    }

    fn say(&self, kind: String) -> Say {
        self.telling.borrow_mut().failed(&kind, Before::Down, time::now(), journal::now())
    }

    /// The broker's answer to one filter.
    pub(super) fn subscription(&self, config: &config::Bridge, filter: &TopicFilter, answer: &Answer) {
        match answer {
            Answer::Granted => {
                self.refused.borrow_mut().remove(filter);
            }
            Answer::Downgraded if self.refused.borrow_mut().insert(filter.clone()) => log::warn!(
                GATEWIRE_EVENT = "bridge_subscribe_downgraded", GATEWIRE_BRIDGE = config.name.as_str(),
                GATEWIRE_FILTER = filter.as_str();
                "bridge {}: the broker {} granted `{filter}` with QoS 0 only: messages for it may be lost while gatewire is away. \
                 Allow QoS 1 there (mosquitto: `max_qos 1` or more)", config.name, config.broker
            ),
            Answer::Refused(reason) if self.refused.borrow_mut().insert(filter.clone()) => {
                let Failure { message, advice, .. } = refused_filter(config, filter, reason);
                log::error!(
                    GATEWIRE_EVENT = "bridge_subscribe_refused", GATEWIRE_BRIDGE = config.name.as_str(),
                    GATEWIRE_FILTER = filter.as_str();
                    "bridge {}: {message}: {}, the other filters work; it is retried in an hour. {advice}",
                    config.name, what_is_missed(config, filter)
                );
            }
            Answer::Downgraded | Answer::Refused(_) => {}
        }
    }

    /// The broker closes the connection on a filter.
    pub(super) fn filter_left_out(&self, config: &config::Bridge, filter: &TopicFilter, ends: &str) {
        log::error!(
            GATEWIRE_EVENT = "bridge_subscribe_refused", GATEWIRE_BRIDGE = config.name.as_str(),
            GATEWIRE_FILTER = filter.as_str();
            "bridge {}: the broker {} doesn't accept the filter `{filter}`: {ends}. It is left out: {}, and the other filters stay \
             subscribed; it is tried again in an hour. The broker's log has the reason", config.name, config.broker,
            what_is_missed(config, filter)
        );
    }

    /// What the session is subscribed to.
    pub(super) fn settled(&self, config: &config::Bridge, standing: &BTreeMap<TopicFilter, Qos>) {
        let standing: BTreeSet<TopicFilter> = standing.keys().cloned().collect();
        if *self.settled.borrow() == standing {
            return;
        }
        if standing.is_empty() {
            log::info!(GATEWIRE_BRIDGE = config.name.as_str(); "bridge {}: not subscribed to anything any more", config.name);
            return self.settled.borrow_mut().clear();
        }
        let shown: Vec<&str> = standing.iter().take(5).map(TopicFilter::as_str).collect();
        let more = match standing.len().saturating_sub(shown.len()) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        log::info!(
            GATEWIRE_BRIDGE = config.name.as_str();
            "bridge {}: subscribed to {}{more}", config.name, shown.join(", ")
        );
        *self.settled.borrow_mut() = standing;
    }

    /// The broker doesn't take what gatewire itself publishes on `topic`. Of `discovery` that is said once, not for each of its topics.
    pub(super) fn announcement_refused(&self, config: &config::Bridge, topic: &Topic, why: &str) {
        let (name, broker) = (config.name.as_str(), &config.broker);
        if Some(topic) == config.status_topic.as_ref() {
            let key = if config.discovery.is_some() { "discovery and status_topic" } else { "status_topic" };
            log::error!(
                GATEWIRE_EVENT = "bridge_status_refused", GATEWIRE_BRIDGE = name, GATEWIRE_TOPIC = topic.as_str();
                "bridge {name}: the broker {broker} doesn't take the status on `{topic}`: {why}. Everything else goes on. Let gatewire's user \
                 publish there, retained (mosquitto: `topic write {topic}` in its ACL file, and `retain_available true`), or remove {key}"
            );
            return;
        }
        let Some(device) = &config.discovery else { return };
        if !self.discovery_refused.replace(true) {
            let Failure { message, advice, .. } = discovery_refused(config, device, topic.as_str(), why);
            log::error!(
                GATEWIRE_EVENT = "bridge_discovery_refused", GATEWIRE_BRIDGE = name, GATEWIRE_TOPIC = topic.as_str();
                "bridge {name}: {message}. Everything else goes on. {advice}"
            );
        }
    }

    /// Messages go to the broker without something that its CONNACK rules out (MQTT 5).
    pub(super) fn reduced(&self, config: &config::Bridge, reduced: Reduced) {
        if !self.reduced.borrow_mut().insert(reduced) {
            return;
        }
        let what = match reduced {
            Reduced::Qos => {
                "accepts QoS 0 only: messages go there with QoS 0, and may be lost on the way. Allow QoS 1 there (mosquitto: `max_qos 1` or more)"
            }
            Reduced::Retain => {
                "retains no messages: those that are retained at IoT Core go there without that. Allow it there (mosquitto: `retain_available true`)"
            }
        };
        log::warn!(
            GATEWIRE_EVENT = "bridge_publish_downgraded", GATEWIRE_BRIDGE = config.name.as_str();
            "bridge {}: the broker {} {what}", config.name, config.broker
        );
    }

    /// Another session than before is used from now on.
    pub(super) fn session_left(&self, config: &config::Bridge, left: &OtherSession) {
        let OtherSession { endpoint, client_id, protocol } = left;
        log::warn!(
            GATEWIRE_EVENT = "bridge_session_left", GATEWIRE_BRIDGE = config.name.as_str(), GATEWIRE_CLIENT_ID = client_id.as_str();
            "bridge {}: until now it connected to {endpoint} as `{client_id}` with MQTT {protocol}. If the broker {} has another session \
             for what is set now, messages that wait for the old one aren't fetched: to have them, set `broker`, `client_id` and \
             `protocol` back until nothing waits", config.name, config.broker
        );
    }

    /// Messages to the broker have had no PUBACK in time and are sent again (MQTT 3.1.1).
    pub(super) fn overdue(&self, config: &config::Bridge, topic: &Topic, count: usize) {
        let advice = match self.say("overdue".to_owned()) {
            Say::InFull(_) => format!(". {NO_PUBACK}"),
            Say::Briefly(_) => String::new(),
            Say::Nothing => return,
        };
        log::warn!(
            GATEWIRE_EVENT = "bridge_puback_missing", GATEWIRE_BRIDGE = config.name.as_str(), GATEWIRE_TOPIC = topic.as_str();
            "bridge {}: {} no answer from the broker {}, the first of them to `{topic}`{advice}", config.name,
            count_that(count as u64, "message", "has", "have"), config.broker
        );
    }

    /// A SUBSCRIBE has had no SUBACK in time and is sent again (MQTT 3.1.1).
    pub(super) fn subscribe_overdue(&self, config: &config::Bridge, filter: &TopicFilter) {
        let advice = match self.say("subscribe overdue".to_owned()) {
            Say::InFull(_) => ". The broker is overloaded or hangs: look at its log",
            Say::Briefly(_) => "",
            Say::Nothing => return,
        };
        log::warn!(
            GATEWIRE_EVENT = "bridge_suback_missing", GATEWIRE_BRIDGE = config.name.as_str(), GATEWIRE_FILTER = filter.as_str();
            "bridge {}: no answer from the broker {} to the SUBSCRIBE for `{filter}` in time; it is sent again{advice}", config.name,
            config.broker
        );
    }

    /// The broker takes no messages for now (MQTT 5).
    pub(super) fn throttled(&self, config: &config::Bridge, topic: &Topic, wait: Duration) {
        let advice = match self.say("throttled".to_owned()) {
            Say::InFull(_) => format!(". {THROTTLED}"),
            Say::Briefly(_) => String::new(),
            Say::Nothing => return,
        };
        log::warn!(
            GATEWIRE_EVENT = "bridge_throttled", GATEWIRE_BRIDGE = config.name.as_str(), GATEWIRE_TOPIC = topic.as_str();
            "bridge {}: the broker {} accepts no more messages for now (0x97, quota exceeded), the first of them to `{topic}`; the \
             next is sent in {}{advice}", config.name, config.broker, told(wait)
        );
    }

    /// A message of the broker comes without its properties.
    pub(super) fn properties_left_out(&self, config: &config::Bridge, topic: &Topic) {
        if matches!(self.say(format!("properties {topic}")), Say::InFull(_)) {
            log::warn!(
                GATEWIRE_EVENT = "bridge_properties_left_out", GATEWIRE_BRIDGE = config.name.as_str(),
                GATEWIRE_TOPIC = topic.as_str();
                "bridge {}: a message on `{topic}` carries more than {} KiB of properties: it goes on without them", config.name,
                MAX_PROPERTIES / 1024
            );
        }
    }
}

/// The broker doesn't take what `discovery` publishes.
pub(super) fn discovery_refused(config: &config::Bridge, device: &Device, topic: &str, why: &str) -> Failure {
    let message = format!(
        "the broker {} doesn't take what `discovery` tells Home Assistant, the first of it on `{topic}`: {why}",
        config.broker
    );
    let [configs, states] = device.published();
    let advice = format!(
        "Let gatewire's user publish there, retained (mosquitto: `topic write {configs}` and `topic write {states}` in its ACL file, \
         and `retain_available true`), or remove `discovery`."
    );
    Failure { code: "bridge_discovery_refused", message, advice }
}

/// A filter that the broker doesn't subscribe us to.
pub(super) fn refused_filter(config: &config::Bridge, filter: &TopicFilter, reason: &Reason) -> Failure {
    let code = match config.protocol {
        Protocol::Mqtt311 => String::new(),
        Protocol::Mqtt5 => format!(" with reason code {reason}"),
    };
    let message = format!("the broker {} refused to subscribe us to `{filter}`{code}", config.broker);
    Failure { code: "bridge_subscribe_refused", message, advice: filter_advice(config, filter, reason) }
}

/// What doesn't happen without a filter.
fn what_is_missed(config: &config::Bridge, filter: &TopicFilter) -> &'static str {
    match is_of_discovery(config, filter) {
        true => "gatewire doesn't hear when Home Assistant starts, and tells it only what is retained",
        false => "nothing goes up for it",
    }
}

/// Whether `discovery` needs it, and no rule.
fn is_of_discovery(config: &config::Bridge, filter: &TopicFilter) -> bool {
    config.discovery.is_some()
        && *filter == home_assistant::status_filter()
        && !config.up.iter().any(|rule| rule.from == *filter)
}

/// What to do about a filter that the broker refuses.
fn filter_advice(config: &config::Bridge, filter: &TopicFilter, reason: &Reason) -> String {
    match (config.protocol, reason.code) {
        (Protocol::Mqtt311, _) | (_, ReasonCode::NOT_AUTHORIZED | ReasonCode::UNSPECIFIED) => {
            let filter = filter.levels();
            match &config.login {
                Some(login) => format!(
                    "Its access rules must let the user `{}` read it (mosquitto: `topic read {filter}` below `user {}` in its ACL \
                     file, then `systemctl reload mosquitto`).",
                    login.username, login.username
                ),
                None => format!(
                    "Its access rules must let clients without a login read it (mosquitto: `topic read {filter}` in its ACL file, \
                     before the first `user`, then `systemctl reload mosquitto`)."
                ),
            }
        }
        _ if is_of_discovery(config, filter) => {
            "It is for `discovery`: remove that, or see the broker's log.".to_owned()
        }
        _ => "Change `from` of its [[bridge.up]].".to_owned(),
    }
}
