//! TLS.

use std::io::Read as _;
use std::process::Command;
use std::time::Duration;

use rustls::version::{TLS12, TLS13};

use crate::support::daemon::Setup;
use crate::support::device::{Said, both};
use crate::support::scripted::Broker;
use crate::support::{CERTIFICATES, Certificates, PATIENCE};
use crate::{FORWARD, QUICK};

const SERVER: &str = "subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth";

#[test]
fn tls_connect() {
    for version in [&TLS12, &TLS13] {
        let broker = Broker::start_from(&CERTIFICATES, "server.crt", &[version]);
        let _gatewire = Setup::new(broker.port, "").start();
        let mut peer = broker.accept();
        peer.handshake().unwrap();
        assert_eq!(peer.asked_for(), (Some("localhost".to_owned()), None));
    }
}

/// The server's certificate is refused with an alert, the connection closed before anything of MQTT is said, and all that
/// again at the next attempt.
fn refused(broker: &Broker, alert: &str, code: &str) {
    let gatewire = Setup::with_connection(broker.port, QUICK, "").start();
    for _ in 0..3 {
        let mut peer = broker.accept();
        let error = peer.handshake().unwrap_err();
        assert!(error.to_string().contains(alert), "{error}");
        assert!(peer.is_closed());
    }
    gatewire.wait_for_failure(code);
}

#[test]
fn tls_incorrect_subject_name_server_cert() {
    CERTIFICATES.issue("incorrect.crt", "server.key", &SERVER.replace("localhost", "elsewhere.example"), 1);
    refused(&Broker::start_as("incorrect.crt"), "BadCertificate", "tls_wrong_name");
}

#[test]
fn tls_unsecure_server_cert() {
    // Signed by its own key, from what `issue` has left.
    let own = CERTIFICATES.issue("self.crt", "server.key", SERVER, 1);
    let mut openssl = Command::new("openssl");
    openssl.args(["x509", "-req", "-days", "1", "-signkey"]).arg(CERTIFICATES.path("server.key"));
    openssl.arg("-extfile").arg(CERTIFICATES.path("self.crt.ext"));
    openssl.arg("-in").arg(CERTIFICATES.path("self.crt.csr")).arg("-out").arg(own);
    assert!(openssl.output().unwrap().status.success());
    refused(&Broker::start_as("self.crt"), "UnknownCA", "tls_unknown_ca");
    // A CA of the right name with another key.
    let other = Certificates::make("thing-1", "ec");
    refused(&Broker::start_from(&other, "server.crt", rustls::ALL_VERSIONS), "DecryptError", "tls_unknown_ca");
}

#[test]
fn tls_expired_server_cert() {
    CERTIFICATES.issue("expired-server.crt", "server.key", SERVER, -1);
    refused(&Broker::start_as("expired-server.crt"), "CertificateExpired", "tls_server_expired");
}

/// In IoT Core's security policies for TLS 1.2 and 1.3; of those for TLS 1.2, what has forward secrecy and AEAD. 0x00ff isn't a
/// cipher suite, it says that renegotiation is safe (RFC 5746).
const SUPPORTED: [u16; 8] = [0x1301, 0x1302, 0x1303, 0xc02b, 0xc02c, 0xc02f, 0xc030, 0x00ff];
const RECOMMENDED: [u16; 4] = [0x1301, 0x1302, 0xc02b, 0xc02f];

#[test]
fn tls_support_aws_iot_cipher_suites() {
    let broker = Broker::start();
    let _gatewire = Setup::new(broker.port, "").start();
    let mut tcp = broker.accept_tcp();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut header = [0; 5];
    tcp.read_exact(&mut header).unwrap();
    let mut hello = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    tcp.read_exact(&mut hello).unwrap();
    assert_eq!((header[0], hello[0]), (22, 1), "a ClientHello");
    // Type and length, version, random, then the session id with its length (RFC 8446, 4.1.2).
    let after_session = 4 + 2 + 32 + 1 + usize::from(hello[38]);
    let length = usize::from(u16::from_be_bytes([hello[after_session], hello[after_session + 1]]));
    let suites = &hello[after_session + 2..after_session + 2 + length];
    let offered: Vec<u16> = suites.chunks(2).map(|suite| u16::from_be_bytes([suite[0], suite[1]])).collect();
    assert!(offered.iter().all(|suite| SUPPORTED.contains(suite)), "{offered:04x?}");
    assert!(RECOMMENDED.iter().all(|suite| offered.contains(suite)), "{offered:04x?}");
}

#[test]
fn tls_receive_maximum_size_fragments() {
    both(|version| {
        let broker = Broker::start();
        let gatewire = Setup::new(broker.port, FORWARD).speaking(version.name()).start();
        let mut device = broker.connected_device(version, false);
        let (id, _) = device.subscribe();
        device.suback(id, 1);
        let mut reader = gatewire.client("f.sock");
        // Eight records of 16 KiB, the most that TLS has, and a rest.
        let payload = "x".repeat(128 * 1024);
        device.message("commands/large", &payload, 7);
        assert_eq!(reader.payload(), payload);
        assert_eq!(device.next(), Some(Said::PubAck(7)));
    });
}

#[test]
fn tls_large_size_server_cert() {
    // A certificate for many names and a chain that isn't needed: more than a record holds.
    let names: Vec<String> = (0..300).map(|n| format!("DNS:a-rather-long-name-number-{n}.example")).collect();
    let extensions = SERVER.replace("DNS:localhost", &format!("DNS:localhost,{}", names.join(",")));
    let leaf = std::fs::read_to_string(CERTIFICATES.issue("large.crt", "server.key", &extensions, 1)).unwrap();
    let chain = leaf.clone() + &leaf.repeat(2);
    assert!(chain.len() > 40_000, "{}", chain.len());
    std::fs::write(CERTIFICATES.path("large.crt"), chain).unwrap();
    for version in [&TLS12, &TLS13] {
        let broker = Broker::start_from(&CERTIFICATES, "large.crt", &[version]);
        let gatewire = Setup::new(broker.port, "").speaking("3.1.1").start();
        let mut peer = broker.connected(false);
        gatewire.wait_for("connected to");
        assert!(peer.is_silent(Duration::from_millis(100)));
    }
}
