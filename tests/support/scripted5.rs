//! The scripted server's side of a connection in MQTT 5.

use std::time::Duration;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::Error;
use rumqttc::v5::mqttbytes::v5::{Connect, Disconnect, DisconnectReasonCode, Packet, Publish, Subscribe};

use super::PATIENCE;
use super::scripted::{Broker, Peer};

/// The daemon at the other end.
pub struct Peer5(Peer);

impl Broker {
    /// The next connection, and its CONNECT.
    pub fn accept_5(&self) -> (Peer5, Connect) {
        let mut peer = Peer5(self.accept());
        match peer.next() {
            Some(Packet::Connect(connect, None, None)) => (peer, connect),
            other => panic!("{other:?} instead of CONNECT"),
        }
    }

    /// The next connection, with its CONNECT accepted on terms: the properties of the CONNACK.
    pub fn connected_5(&self, session_present: bool, terms: &[u8]) -> Peer5 {
        let (mut peer, _) = self.accept_5();
        peer.connack(session_present, terms);
        peer
    }
}

impl Peer5 {
    pub fn new(peer: Peer) -> Peer5 {
        Peer5(peer)
    }

    /// The next packet; `None` once the daemon has closed.
    pub fn next(&mut self) -> Option<Packet> {
        self.next_within(PATIENCE).expect("no packet")
    }

    /// Likewise; an error if neither comes in time.
    pub fn next_within(&mut self, time: Duration) -> Result<Option<Packet>, ()> {
        self.0.read(time, |input: &mut BytesMut| {
            // The codec wants a reason code, which MQTT leaves out where it is 0.
            if input.starts_with(&[0xe0, 0]) {
                let _ = input.split_to(2);
                let reason_code = DisconnectReasonCode::NormalDisconnection;
                return Some(Packet::Disconnect(Disconnect { reason_code, properties: None }));
            }
            match Packet::read(input, None) {
                Ok(packet) => Some(packet),
                Err(Error::InsufficientBytes(_)) => None,
                Err(error) => panic!("the daemon sent what isn't MQTT 5: {error:?}"),
            }
        })
    }

    /// The reason code of the DISCONNECT with which the daemon ends the connection, whatever comes before it; `None` if it ends
    /// without.
    pub fn reason(&mut self) -> Option<u8> {
        let reason = self.0.read(PATIENCE, |input: &mut BytesMut| {
            // The packets of a daemon are short: one byte says how long.
            let length = 2 + usize::from(*input.get(1)?);
            let packet = (input.len() >= length).then(|| input.split_to(length))?;
            Some((packet[0] == 0xE0).then(|| packet.get(2).copied().unwrap_or(0)))
        });
        match reason.expect("the daemon says nothing")? {
            Some(code) => Some(code),
            None => self.reason(),
        }
    }

    /// From now on it is all the same if a daemon that has gone can't be written to.
    pub fn forgive(&mut self) {
        self.0.forgive();
    }

    /// Whether no packet comes within `time`.
    pub fn is_silent(&mut self, time: Duration) -> bool {
        match self.next_within(time) {
            Err(()) => true,
            Ok(packet) => panic!("{packet:?}"),
        }
    }

    pub fn publish(&mut self) -> Publish {
        match self.next() {
            Some(Packet::Publish(publish)) => publish,
            other => panic!("{other:?} instead of PUBLISH"),
        }
    }

    /// Payload, packet identifier and DUP of the next `n` PUBLISH packets.
    pub fn received(&mut self, n: usize) -> Vec<(String, u16, bool)> {
        let text = |publish: &Publish| String::from_utf8(publish.payload.to_vec()).unwrap();
        (0..n).map(|_| self.publish()).map(|publish| (text(&publish), publish.pkid, publish.dup)).collect()
    }

    pub fn subscribe(&mut self) -> Subscribe {
        match self.next() {
            Some(Packet::Subscribe(subscribe)) => subscribe,
            other => panic!("{other:?} instead of SUBSCRIBE"),
        }
    }

    pub fn connack(&mut self, session_present: bool, properties: &[u8]) {
        let length = u8::try_from(properties.len()).unwrap();
        let head = [0x20, length + 3, u8::from(session_present), 0, length];
        self.raw(&[&head[..], properties].concat());
    }

    /// A PUBACK with a reason code; 0 is success.
    pub fn puback(&mut self, id: u16, code: u8) {
        let [high, low] = id.to_be_bytes();
        self.raw(&[0x40, 3, high, low, code]);
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.raw(bytes);
    }

    pub fn close(self) {
        self.0.close();
    }
}
