//! The cloud as a client of mosquitto: one connection, in MQTT 5, by a Unix socket, which mosquitto has beside its port.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::v5::{
    Connect, ConnectProperties, Filter, Packet, PubAck, Publish, PublishProperties, RetainForwardRule, Subscribe,
};
use rumqttc::v5::mqttbytes::{Error, QoS};

use super::service::Message;

/// What things say to services, with what services say to them.
const FILTERS: [&str; 3] = ["$aws/things/+/jobs/#", "$aws/commands/#", "front/from/#"];

/// A connection on which the filters stand.
pub(super) struct Connection {
    stream: UnixStream,
    input: BytesMut,
}

impl Connection {
    /// A session by this name; it stays for a day.
    pub(super) fn open(path: &Path, client_id: &str) -> io::Result<Connection> {
        let mut connection = Connection { stream: UnixStream::connect(path)?, input: BytesMut::new() };
        let mut properties = ConnectProperties::new();
        properties.session_expiry_interval = Some(24 * 3600);
        let connect = Connect {
            keep_alive: 0,
            client_id: client_id.to_owned(),
            clean_start: false,
            properties: Some(properties),
        };
        connection.write(&Packet::Connect(connect, None, None))?;
        Ok(connection)
    }

    pub(super) fn subscribe(&mut self) -> io::Result<()> {
        let filters = FILTERS.map(|path| Filter {
            path: path.to_owned(),
            qos: QoS::AtLeastOnce,
            // It isn't told what it says itself.
            nolocal: true,
            preserve_retain: true,
            retain_forward_rule: RetainForwardRule::Never,
        });
        let mut subscribe = Subscribe::new_many(filters, None);
        subscribe.pkid = 1;
        self.write(&Packet::Subscribe(subscribe))
    }

    /// One end to write to, while another reads.
    pub(super) fn writer(&self) -> io::Result<UnixStream> {
        self.stream.try_clone()
    }

    /// The next packet.
    pub(super) fn read(&mut self) -> io::Result<Packet> {
        loop {
            if !self.input.is_empty() {
                match Packet::read(&mut self.input, None) {
                    Ok(packet) => return Ok(packet),
                    Err(Error::InsufficientBytes(_)) => {}
                    Err(error) => return Err(io::Error::other(format!("{error:?}"))),
                }
            }
            let mut buffer = [0; 16384];
            match self.stream.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => self.input.extend_from_slice(&buffer[..n]),
            }
        }
    }

    fn write(&mut self, packet: &Packet) -> io::Result<()> {
        write(&mut self.stream, packet)
    }
}

fn write(stream: &mut UnixStream, packet: &Packet) -> io::Result<()> {
    let mut bytes = BytesMut::new();
    packet.write(&mut bytes, None).map_err(|error| io::Error::other(format!("{error:?}")))?;
    stream.write_all(&bytes)
}

/// Says something with QoS 1.
pub(super) fn publish(stream: &mut UnixStream, message: &Message, id: u16) -> io::Result<()> {
    let properties = message
        .expires_in
        .map(|seconds| PublishProperties { message_expiry_interval: Some(seconds), ..PublishProperties::default() });
    let mut publish = Publish::new(message.topic.clone(), QoS::AtLeastOnce, message.payload.clone(), properties);
    publish.pkid = id;
    write(stream, &Packet::Publish(publish))
}

/// It has been heard.
pub(super) fn acknowledge(stream: &mut UnixStream, id: u16) -> io::Result<()> {
    write(stream, &Packet::PubAck(PubAck::new(id, None)))
}
