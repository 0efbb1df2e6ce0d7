//! What the client publishes.

use std::time::Instant;

use super::session::Connection;
use super::{Action, Broker};
use crate::mqtt::Protocol;
use crate::simulation::cloud::message::Taken;
use crate::simulation::server::behaviour::Refuses;
use crate::simulation::server::heard::Publish;
use crate::simulation::server::judge::Where;
use crate::simulation::server::{ConnectionId, PACKET_TOO_LARGE, PROTOCOL_ERROR, QUOTA_EXCEEDED, say};

impl Broker {
    pub(super) fn client_publishes(&mut self, id: ConnectionId, publish: Publish, now: Instant) {
        if let Some(code) = self.judge_publish(id, &publish, now) {
            return self.close(id, Some(code), now);
        }
        let Some(protocol) = self.connections.get(&id).and_then(Connection::protocol) else { return };
        let refusal = self.behaviour.refusals.iter().find(|refusal| refusal.meets(&publish.message));
        let how = refusal.map(|refusal| refusal.how);
        if how.is_some_and(|how| how != Refuses::Fails(QUOTA_EXCEEDED) || protocol == Protocol::Mqtt311) {
            self.refused.insert(publish.message.payload.to_vec());
        }
        match how {
            Some(Refuses::Closes) => return self.close(id, None, now),
            Some(Refuses::Disconnects(code)) => return self.close(id, Some(code), now),
            // As mosquitto does what an access list forbids.
            Some(Refuses::Fails(_)) if protocol == Protocol::Mqtt311 => return self.acknowledge(id, &publish, 0, now),
            Some(Refuses::Fails(code)) => return self.acknowledge(id, &publish, code, now),
            Some(Refuses::Silently) => return,
            None => {}
        }
        let message = publish.message.clone();
        self.taken.push(Taken {
            topic: message.topic.clone(),
            payload: message.payload.clone(),
            qos: message.qos,
            retain: message.retain,
            dup: publish.dup,
            properties: message.properties.clone(),
            at: now,
            connection: id,
            id: publish.id,
        });
        self.acknowledge(id, &publish, 0, now);
        self.route(message, None, now);
    }

    /// Writes down which rules a PUBLISH breaks. The reason code to close the connection with, if any of them is such.
    fn judge_publish(&mut self, id: ConnectionId, publish: &Publish, now: Instant) -> Option<u8> {
        let established = self.connections.get_mut(&id)?.established()?;
        let (protocol, announced) = (established.connect.protocol, &established.announced);
        let five = protocol == Protocol::Mqtt5;
        let (message, mut end) = (&publish.message, None);
        let mut faults = Vec::new();
        let mut ends = |is_so: bool, text: &str, code: u8| {
            if is_so {
                faults.push(format!("PUBLISH {text}"));
                end = end.or(Some(code));
            }
        };
        ends(publish.alias.is_some(), "with a topic alias", 0x94);
        ends(five && message.qos > announced.maximum_qos, "with a QoS above the Maximum QoS [MQTT-3.2.2-11]", 0x9b);
        ends(five && message.retain && !announced.retain, "retained, which isn't available [MQTT-3.2.2-14]", 0x9a);
        let most = announced.maximum_packet_size.filter(|_| five).map_or(usize::MAX, |most| most as usize);
        ends(publish.size > most, "above the Maximum Packet Size [MQTT-3.2.2-15]", PACKET_TOO_LARGE);
        if let Some(session) = self.session.as_mut().filter(|_| message.qos > 0) {
            let at = Where { connection: id, protocol, is_new_session: established.is_new_session };
            faults.extend(session.client.publish(publish, &mut established.came, at));
            let (open, most) = (established.came.open(), usize::from(established.announced.receive_maximum));
            if five && open > most {
                faults.push(format!("{open} PUBLISH without PUBACK, the Receive Maximum is {most} [MQTT-3.3.4-7]"));
                end = end.or(Some(PROTOCOL_ERROR));
            }
        }
        for fault in faults {
            self.fault(id, &fault, now);
        }
        end
    }

    fn acknowledge(&mut self, id: ConnectionId, publish: &Publish, code: u8, now: Instant) {
        if publish.message.qos == 0 {
            return;
        }
        let delay = self.behaviour.puback.pick(&mut self.random);
        if let Some(delay) = delay {
            self.answer(id, delay, Action::PubAck(id, publish.id, code), now);
        }
    }

    pub(super) fn puback(&mut self, id: ConnectionId, packet: u16, code: u8) {
        let Some(established) = self.connections.get_mut(&id).and_then(Connection::established) else { return };
        if let Some(session) = &mut self.session {
            session.client.acknowledged(packet, &mut established.came);
        }
        self.say(id, say::puback(packet, code));
    }
}
