//! MQTT's packets as the front needs them, in either version: what is asked for, and topics put in the place of others, see
//! [`super::caller`].

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

const CONNECT: u8 = 1;
const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const SUBSCRIBE: u8 = 8;
const UNSUBSCRIBE: u8 = 10;

/// One packet.
#[derive(Debug)]
pub(super) struct Packet {
    first: u8,
    body: Vec<u8>,
}

/// What a CONNECT says.
#[derive(Debug)]
pub(super) struct Connect {
    pub client_id: String,
    pub clean: bool,
    pub is_v5: bool,
}

/// A client behind the front.
pub(super) struct Client {
    pub certificate: String,
    pub client_id: String,
    pub is_v5: bool,
}

impl Packet {
    /// `None` at the end.
    pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Packet>> {
        let first = match stream.read_u8().await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            first => first?,
        };
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let byte = stream.read_u8().await?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        Ok(Some(Packet { first, body }))
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        [&[self.first], &varint(self.body.len())[..], &self.body].concat()
    }

    fn kind(&self) -> u8 {
        self.first >> 4
    }

    pub(super) fn connect(&self) -> Option<Connect> {
        if self.kind() != CONNECT {
            return None;
        }
        let (_, rest) = text(&self.body)?;
        let (is_v5, clean) = (*rest.first()? == 5, rest.get(1)? & 2 != 0);
        let rest = rest.get(4..)?;
        let rest = if is_v5 { after_properties(rest)? } else { rest };
        Some(Connect { client_id: text(rest)?.0, clean, is_v5 })
    }

    /// A CONNECT has been accepted.
    pub(super) fn is_welcome(&self) -> bool {
        self.kind() == CONNACK && self.body.get(1) == Some(&0)
    }

    /// The topic that it publishes to, or the filters that it subscribes to.
    pub(super) fn names(&self, is_v5: bool) -> Vec<String> {
        match self.kind() {
            PUBLISH => text(&self.body).map(|(topic, _)| topic).into_iter().collect(),
            SUBSCRIBE => self.filters(is_v5).map(|(_, filters)| filters).unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    pub(super) fn is_publish(&self) -> bool {
        self.kind() == PUBLISH
    }

    /// Where its filters begin, and what they are.
    fn filters(&self, is_v5: bool) -> Option<(usize, Vec<String>)> {
        let mut rest = self.body.get(2..)?;
        if is_v5 {
            rest = after_properties(rest)?;
        }
        let (start, mut filters) = (self.body.len() - rest.len(), Vec::new());
        while !rest.is_empty() {
            let (filter, after) = text(rest)?;
            filters.push(filter);
            rest = if self.kind() == SUBSCRIBE { after.get(1..)? } else { after };
        }
        Some((start, filters))
    }

    /// As mosquitto gets it of this client.
    pub(super) fn up(self, client: &Client) -> Packet {
        let Client { certificate, client_id, is_v5 } = client;
        match self.kind() {
            PUBLISH => self.with_topic(|topic| {
                is_asked(topic).then(|| format!("front/from/{}/{certificate}/{topic}", hex(client_id)))
            }),
            SUBSCRIBE | UNSUBSCRIBE => self.with_filters(*is_v5, |filter| {
                is_answered_alone(filter).then(|| format!("front/to/{}/{filter}", hex(client_id)))
            }),
            _ => self,
        }
    }

    /// As this client gets it of mosquitto.
    pub(super) fn down(self, client_id: &str) -> Packet {
        match self.kind() {
            PUBLISH => {
                self.with_topic(|topic| Some(topic.strip_prefix(&format!("front/to/{}/", hex(client_id)))?.to_owned()))
            }
            _ => self,
        }
    }

    fn with_topic(self, other: impl Fn(&str) -> Option<String>) -> Packet {
        match text(&self.body).and_then(|(topic, rest)| Some([written(&other(&topic)?), rest.to_vec()].concat())) {
            Some(body) => Packet { body, ..self },
            None => self,
        }
    }

    fn with_filters(self, is_v5: bool, other: impl Fn(&str) -> Option<String>) -> Packet {
        let Some((start, filters)) = self.filters(is_v5) else { return self };
        let (before, mut rest) = self.body.split_at(start);
        let mut body = before.to_vec();
        for filter in filters {
            body.extend(written(&other(&filter).unwrap_or_else(|| filter.clone())));
            let options = if self.first >> 4 == SUBSCRIBE { 1 } else { 0 };
            let after = &rest[2 + filter.len()..];
            body.extend(&after[..options]);
            rest = &after[options..];
        }
        Packet { first: self.first, body }
    }
}

/// CONNACK with a refusal: "not authorized", "server unavailable".
pub(super) fn refusal(is_v5: bool, is_away: bool) -> Vec<u8> {
    match (is_v5, is_away) {
        (true, true) => vec![0x20, 3, 0, 0x88, 0],
        (true, false) => vec![0x20, 3, 0, 0x87, 0],
        (false, true) => vec![0x20, 2, 0, 3],
        (false, false) => vec![0x20, 2, 0, 5],
    }
}

/// What is answered to who has asked alone.
fn is_answered_alone(topic: &str) -> bool {
    topic.starts_with("$aws/certificates/") || topic.starts_with("$aws/provisioning-templates/")
}

/// A request for which it is to be known with which certificate it has come.
fn is_asked(topic: &str) -> bool {
    is_answered_alone(topic) || topic.starts_with("awslabs/things/")
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn text(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = bytes.split_at_checked(2)?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([length[0], length[1]])))?;
    Some((String::from_utf8(text.to_vec()).ok()?, rest))
}

fn written(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat()
}

fn after_properties(bytes: &[u8]) -> Option<&[u8]> {
    let (mut length, mut shift, mut at) = (0_usize, 0, 0);
    loop {
        let byte = *bytes.get(at)?;
        length |= usize::from(byte & 0x7f) << shift;
        (shift, at) = (shift + 7, at + 1);
        if byte & 0x80 == 0 {
            return bytes.get(at + length..);
        }
    }
}

fn varint(mut length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = u8::try_from(length & 0x7f).unwrap();
        length >>= 7;
        if length == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}
