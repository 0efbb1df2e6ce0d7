//! A server that does what the test says, for what a real broker won't do on command. It speaks MQTT 3.1.1; see
//! [`super::scripted5`] for MQTT 5.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{
    ConnAck, Connect, ConnectReturnCode, Packet, PubAck, Publish, SubAck, Subscribe, SubscribeReasonCode,
};
use rumqttc::mqttbytes::{Error, QoS};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};
use socket2::SockRef;

use super::{CERTIFICATES, Certificates, PATIENCE, found_within};

const MAX: usize = 1 << 24;

/// A TLS server that asks for `thing-1`'s certificate.
pub struct Broker {
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    pub port: u16,
}

impl Broker {
    pub fn start() -> Broker {
        Broker::start_as("server.crt")
    }

    /// With another certificate for the server's key.
    pub fn start_as(certificate: &str) -> Broker {
        Broker::start_from(&CERTIFICATES, certificate, rustls::ALL_VERSIONS)
    }

    /// With the certificate and key of a server of `own`, and only some versions of TLS.
    pub fn start_from(own: &Certificates, certificate: &str, versions: &[&'static SupportedProtocolVersion]) -> Broker {
        let certificates = |of: &Certificates, name| {
            CertificateDer::pem_file_iter(of.path(name)).unwrap().collect::<Result<Vec<_>, _>>().unwrap()
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates(&CERTIFICATES, "AmazonRootCA1.pem"));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
        let key = PrivateKeyDer::from_pem_file(own.path("server.key")).unwrap();
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(certificates(own, certificate), key)
            .unwrap();
        // As IoT Core on port 443; who doesn't ask for it gets in all the same.
        tls.alpn_protocols = vec![b"x-amzn-mqtt-ca".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        Broker { listener, tls: Arc::new(tls), port }
    }

    /// The next TCP connection.
    pub fn accept_tcp(&self) -> TcpStream {
        self.listener.set_nonblocking(true).unwrap();
        let stream = super::eventually("a connection", || self.listener.accept().ok()).0;
        stream.set_nonblocking(false).unwrap();
        stream
    }

    /// The next TLS connection.
    pub fn accept(&self) -> Peer {
        self.secure(self.accept_tcp())
    }

    /// Likewise; `None` if none comes in time.
    pub fn accept_within(&self, time: Duration) -> Option<Peer> {
        self.listener.set_nonblocking(true).unwrap();
        let (stream, _) = found_within(time, || self.listener.accept().ok())?;
        stream.set_nonblocking(false).unwrap();
        Some(self.secure(stream))
    }

    /// TLS on a connection that came otherwise.
    pub fn secure(&self, tcp: TcpStream) -> Peer {
        tcp.set_nodelay(true).unwrap();
        let tls = ServerConnection::new(Arc::clone(&self.tls)).unwrap();
        Peer { stream: StreamOwned::new(tls, tcp), input: BytesMut::new(), forgiving: false }
    }

    /// The next connection, with its CONNECT accepted.
    pub fn connected(&self, session_present: bool) -> Peer {
        let mut peer = self.accept();
        peer.connect();
        peer.connack(session_present);
        peer
    }
}

/// The daemon at the other end of a connection.
pub struct Peer {
    stream: StreamOwned<ServerConnection, TcpStream>,
    input: BytesMut,
    forgiving: bool,
}

impl Peer {
    /// The next packet; `None` once the daemon has closed.
    pub fn next(&mut self) -> Option<Packet> {
        self.next_within(PATIENCE).expect("no packet")
    }

    /// Likewise; an error if neither comes in time.
    pub fn next_within(&mut self, time: Duration) -> Result<Option<Packet>, ()> {
        self.read(time, |input| match Packet::read(input, MAX) {
            Ok(packet) => Some(packet),
            Err(Error::InsufficientBytes(_)) => None,
            Err(error) => panic!("the daemon sent what isn't MQTT: {error:?}"),
        })
    }

    /// What `take` finds in the bytes that come; `None` once the daemon has closed.
    pub fn read<P>(&mut self, time: Duration, take: impl Fn(&mut BytesMut) -> Option<P>) -> Result<Option<P>, ()> {
        let deadline = Instant::now() + time;
        loop {
            if let Some(found) = (!self.input.is_empty()).then(|| take(&mut self.input)).flatten() {
                return Ok(Some(found));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(());
            }
            self.stream.sock.set_read_timeout(Some(left)).unwrap();
            let mut buffer = [0; 16384];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(n) => self.input.extend_from_slice(&buffer[..n]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Err(()),
                Err(error) if is_end(&error) => return Ok(None),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Whether no packet comes within `time`.
    pub fn is_silent(&mut self, time: Duration) -> bool {
        match self.next_within(time) {
            Err(()) => true,
            Ok(packet) => panic!("{packet:?}"),
        }
    }

    /// TLS alone; fails with the daemon's alert if it doesn't like our certificate.
    pub fn handshake(&mut self) -> io::Result<()> {
        self.stream.sock.set_read_timeout(Some(PATIENCE)).unwrap();
        while self.stream.conn.is_handshaking() {
            self.stream.conn.complete_io(&mut self.stream.sock)?;
        }
        Ok(())
    }

    /// Whether the daemon has closed, whatever of TLS it has said before.
    pub fn is_closed(&mut self) -> bool {
        self.stream.sock.set_read_timeout(Some(PATIENCE)).unwrap();
        let rest = self.stream.sock.read_to_end(&mut Vec::new());
        rest.is_ok() || rest.is_err_and(|error| is_end(&error))
    }

    /// What the daemon asked for in its ClientHello: the server's name, and the protocol by ALPN.
    pub fn asked_for(&self) -> (Option<String>, Option<Vec<u8>>) {
        let tls = &self.stream.conn;
        (tls.server_name().map(str::to_owned), tls.alpn_protocol().map(<[u8]>::to_vec))
    }

    pub fn connect(&mut self) -> Connect {
        match self.next() {
            Some(Packet::Connect(connect)) => connect,
            other => panic!("{other:?} instead of CONNECT"),
        }
    }

    pub fn publish(&mut self) -> Publish {
        match self.next() {
            Some(Packet::Publish(publish)) => publish,
            other => panic!("{other:?} instead of PUBLISH"),
        }
    }

    pub fn subscribe(&mut self) -> Subscribe {
        match self.next() {
            Some(Packet::Subscribe(subscribe)) => subscribe,
            other => panic!("{other:?} instead of SUBSCRIBE"),
        }
    }

    pub fn send(&mut self, packet: &Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, MAX).unwrap();
        self.raw(&bytes);
    }

    /// From now on it is all the same if a daemon that has gone can't be written to: reading tells.
    pub fn forgive(&mut self) {
        self.forgiving = true;
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        match self.stream.write_all(bytes).and_then(|()| self.stream.flush()) {
            Err(error) if self.forgiving && is_end(&error) => {}
            written => written.unwrap(),
        }
    }

    pub fn connack(&mut self, session_present: bool) {
        self.send(&Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, session_present)));
    }

    pub fn puback(&mut self, id: u16) {
        self.send(&Packet::PubAck(PubAck::new(id)));
    }

    /// Grants everything that a SUBSCRIBE asks for.
    pub fn grant(&mut self, subscribe: &Subscribe) {
        let codes = subscribe.filters.iter().map(|_| SubscribeReasonCode::Success(QoS::AtLeastOnce)).collect();
        self.send(&Packet::SubAck(SubAck::new(subscribe.pkid, codes)));
    }

    pub fn message(&mut self, topic: &str, payload: &str, id: u16) {
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, payload);
        publish.pkid = id;
        self.send(&Packet::Publish(publish));
    }

    /// Ends the connection with a TCP reset.
    pub fn reset(self) {
        SockRef::from(&self.stream.sock).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Closes as a server does that has had enough.
    pub fn close(mut self) {
        self.stream.conn.send_close_notify();
        let _ = self.stream.conn.complete_io(&mut self.stream.sock);
    }
}

fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

/// The payload as text.
pub fn text(publish: &Publish) -> String {
    String::from_utf8(publish.payload.to_vec()).unwrap()
}
