//! What the client publishes.

use std::time::Instant;

use super::behaviour::{Refuses, happens};
use super::message::{Origin, Taken};
use super::timers::Action;
use super::{Cloud, ConnectionId, NOT_AUTHORIZED, PACKET_TOO_LARGE, PROTOCOL_ERROR, TOPIC_ALIAS_INVALID};
use crate::limits::{MAX_IN_FLIGHT, MAX_PAYLOAD, MAX_TOPIC_BYTES, MAX_TOPIC_SLASHES};
use crate::mqtt::Protocol;
use crate::simulation::server::heard::Publish;
use crate::simulation::server::judge::Where;
use crate::simulation::server::say;

impl Cloud {
    pub(super) fn published(&mut self, id: ConnectionId, mut publish: Publish, now: Instant) {
        if let Err(text) = self.find_topic(id, &mut publish) {
            self.fault(id, text, now);
            return self.close(id, Some(TOPIC_ALIAS_INVALID), now);
        }
        let (faults, end) = self.judge_publish(id, &publish, now);
        for fault in faults {
            self.fault(id, &fault, now);
        }
        if let Some(code) = end {
            return self.close(id, Some(code), now);
        }
        if self.services.forbids(id, &publish.message.topic) {
            self.fault(id, &format!("PUBLISH to {} with the claim", publish.message.topic), now);
        }
        let protocol = self.connections.get(&id).and_then(|connection| connection.protocol());
        let refusal = self.behaviour.refusals.iter().find(|refusal| refusal.meets(&publish.message));
        let refusal = refusal.map(|refusal| refusal.how).or_else(|| self.services.refuses(&publish.message.topic));
        if refusal.is_some() {
            self.refused.push(publish.message.payload.clone());
        }
        match refusal {
            Some(Refuses::Closes) => return self.close(id, None, now),
            Some(Refuses::Disconnects(code)) => return self.close(id, Some(code), now),
            Some(Refuses::Fails(_)) if protocol == Some(Protocol::Mqtt311) => return self.close(id, None, now),
            Some(Refuses::Fails(code)) => return self.acknowledge(id, &publish, code, now),
            Some(Refuses::Silently) => return,
            None => {}
        }
        if self.is_discarded(id, now) {
            return;
        }
        let Publish { message, dup, id: packet, .. } = &publish;
        let (message, dup, packet) = (message.clone(), *dup, *packet);
        self.taken.push(Taken {
            topic: message.topic.clone(),
            payload: message.payload.clone(),
            qos: message.qos,
            retain: message.retain,
            dup,
            properties: message.properties.clone(),
            at: now,
            connection: id,
            id: packet,
        });
        if message.qos > 0 {
            self.acknowledge(id, &publish, 0, now);
        }
        self.services.hear(id, &message, now);
        self.route(message, Origin::Client, now);
    }

    /// Puts the topic in place for which a number stands (MQTT 5, 3.3.2.3.4).
    fn find_topic(&mut self, id: ConnectionId, publish: &mut Publish) -> Result<(), &'static str> {
        let Some(alias) = publish.alias else { return Ok(()) };
        let Some(established) = self.connections.get_mut(&id).and_then(|it| it.established()) else { return Ok(()) };
        if alias == 0 || alias > established.announced.topic_alias_maximum {
            return Err("PUBLISH with a topic alias that isn't allowed [MQTT-3.3.2-8, MQTT-3.3.2-9]");
        }
        if publish.dup {
            return Err("PUBLISH sent again with a topic alias, which another connection doesn't know");
        }
        if !publish.message.topic.is_empty() {
            established.aliases.insert(alias, publish.message.topic.clone());
            return Ok(());
        }
        let topic = established.aliases.get(&alias).ok_or("PUBLISH with a topic alias that stands for nothing")?;
        publish.message.topic.clone_from(topic);
        Ok(())
    }

    /// The rules that a PUBLISH breaks, and the reason code to close the connection with, if any of them is such.
    fn judge_publish(&mut self, id: ConnectionId, publish: &Publish, now: Instant) -> (Vec<String>, Option<u8>) {
        let expected = self.behaviour.expected;
        let paced = expected.publishes.is_none_or(|rate| self.publishing.take(now, rate, expected.jitter));
        let mut faults = Vec::new();
        if !paced {
            faults.push(format!("more publications than {:?} a second and at once", expected.publishes));
        }
        let Some(established) = self.connections.get_mut(&id).and_then(|it| it.established()) else {
            return (faults, None);
        };
        let (protocol, announced) = (established.connect.protocol, &established.announced);
        let five = protocol == Protocol::Mqtt5;
        let message = &publish.message;
        let slashes = message.topic.matches('/').count();
        let is_rule = message.topic.starts_with("$aws/rules/");
        let mut end = None;
        let mut ends = |is_so: bool, text: &str, code: u8| {
            if is_so {
                faults.push(format!("PUBLISH {text}"));
                end = end.or(Some(code));
            }
        };
        let maximum = announced.maximum_packet_size.filter(|_| five).map_or(usize::MAX, |maximum| maximum as usize);
        ends(message.qos == 2, "with QoS 2, which IoT Core doesn't have", 0x9b);
        ends(
            five && message.qos == 1 && announced.maximum_qos == 0,
            "with a QoS above the Maximum QoS [MQTT-3.2.2-11]",
            0x9b,
        );
        ends(five && message.retain && !announced.retain, "retained, which isn't available [MQTT-3.2.2-14]", 0x9a);
        ends(publish.size > maximum, "above the Maximum Packet Size [MQTT-3.2.2-15]", PACKET_TOO_LARGE);
        ends(message.payload.len() > MAX_PAYLOAD, "of more than 128 KiB", PACKET_TOO_LARGE);
        ends(message.topic.len() > MAX_TOPIC_BYTES, "to a topic of more than 256 bytes", NOT_AUTHORIZED);
        let slashes_allowed = MAX_TOPIC_SLASHES + if is_rule { 3 } else { 0 };
        ends(slashes > slashes_allowed, "to a topic of more than 7 slashes", NOT_AUTHORIZED);
        let Some(session) = self.sessions.get_mut(&established.key).filter(|_| message.qos > 0) else {
            return (faults, end);
        };
        if established.requests.contains_key(&publish.id) {
            faults.push(format!(
                "PUBLISH {} with the identifier of a SUBSCRIBE that has no answer [MQTT-2.2.1-3]",
                publish.id
            ));
        }
        let at = Where { connection: id, protocol, is_new_session: established.is_new_session };
        faults.extend(session.client.publish(publish, &mut established.came, at));
        let maximum = if five { established.announced.receive_maximum.into() } else { MAX_IN_FLIGHT };
        let open = established.came.open();
        if open > maximum {
            faults.push(format!("{open} PUBLISH without PUBACK, the Receive Maximum is {maximum} [MQTT-3.3.4-7]"));
            end = end.or(Some(PROTOCOL_ERROR));
        }
        (faults, end)
    }

    fn is_discarded(&mut self, id: ConnectionId, now: Instant) -> bool {
        let Some(rate) = self.behaviour.discards_over else { return false };
        let established = self.connections.get_mut(&id).and_then(|it| it.established());
        established.is_some_and(|established| !established.pace.take(now, (rate, rate), Default::default()))
    }

    /// Answers a message with QoS 1, as late and as often as the behaviour says.
    fn acknowledge(&mut self, id: ConnectionId, publish: &Publish, code: u8, now: Instant) {
        if publish.message.qos == 0 {
            return;
        }
        let times = if happens(&mut self.random, self.behaviour.acknowledges_twice) { 2 } else { 1 };
        for _ in 0..times {
            self.answer(id, self.behaviour.puback, Action::PubAck(id, publish.id, code), now);
        }
    }

    pub(super) fn puback(&mut self, id: ConnectionId, packet: u16, code: u8) {
        let Some(established) = self.connections.get_mut(&id).and_then(|it| it.established()) else { return };
        if let Some(session) = self.sessions.get_mut(&established.key) {
            session.client.acknowledged(packet, &mut established.came);
        }
        self.say(id, say::puback(packet, code));
    }
}
