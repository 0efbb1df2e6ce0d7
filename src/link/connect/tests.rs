use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ProtocolVersion, RootCertStore, SupportedProtocolVersion, version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::link::diagnosis::Phase;
use crate::mqtt::Protocol;
use crate::net::tests::pki::{ALWAYS, Authority, Files, Issued};
use crate::net::{DnsFault, credentials};

const MINUTE: Duration = Duration::from_secs(60);

const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS12, &version::TLS13];
const TLS12_ONLY: &[&SupportedProtocolVersion] = &[&version::TLS12];

/// A server that wants a certificate of `clients`.
fn server_config(issued: &Issued, clients: &Authority, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
    let provider = Arc::new(default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(clients.pem().as_bytes()).unwrap()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap(),
        )
        .unwrap()
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn connection(host: &str, port: u16, connect_timeout: Duration) -> config::Connection {
    config::Connection {
        protocol: Protocol::Mqtt5,
        endpoint: host.to_owned(),
        port,
        client_id: "thing-1".to_owned(),
        thing: "thing-1".to_owned(),
        is_named: true,
        session_expiry: Duration::ZERO,
        keep_alive: KeepAlive::Fixed(Duration::from_secs(30)),
        connect_timeout,
        ack_timeout: Duration::from_secs(10),
        backoff: config::Backoff {
            first: Duration::ZERO,
            min: Duration::ZERO,
            max: Duration::ZERO,
            stable_after: Duration::ZERO,
        },
        rate_limit: config::RateLimit { messages_per_second: 1, bytes_per_second: 1, burst: 1, connects_per_second: 1 },
        proxy: None,
        will: None,
        birth: None,
        topic_alias: false,
    }
}

fn connector(host: &str, port: u16, files: &Files) -> LinkConnector<Connector> {
    connector_within(MINUTE, host, port, files)
}

fn connector_within(connect_timeout: Duration, host: &str, port: u16, files: &Files) -> LinkConnector<Connector> {
    let connection = connection(host, port, connect_timeout);
    LinkConnector::once(&connection, &credentials::load(&files.tls, SystemTime::now()).unwrap())
}

/// As for port 443, which a test can't have itself.
fn connector_as_for_443(port: u16, files: &Files) -> LinkConnector<Connector> {
    let credentials = credentials::load(&files.tls, SystemTime::now()).unwrap();
    let connection = connection("localhost", port, MINUTE);
    let way = net::Options { tls: credentials.client_config(443), ..way(&connection, &credentials, Purpose::Link) };
    LinkConnector { connector: Connector::new(way, &Rc::default()), identity: identity(&connection, &credentials) }
}

/// What a server saw of a client.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    server_name: Option<String>,
    alpn: Option<Vec<u8>>,
    certificates: usize,
}

/// Takes one client, echoes one byte and tells what it saw.
async fn serve_one(listener: TcpListener, config: ServerConfig) -> io::Result<Seen> {
    let (tcp, _) = listener.accept().await?;
    let mut stream = TlsAcceptor::from(Arc::new(config)).accept(tcp).await?;
    let byte = stream.read_u8().await?;
    stream.write_u8(byte).await?;
    stream.flush().await?;
    let (_, tls) = stream.get_ref();
    Ok(Seen {
        server_name: tls.server_name().map(str::to_owned),
        alpn: tls.alpn_protocol().map(<[u8]>::to_vec),
        certificates: tls.peer_certificates().map_or(0, <[_]>::len),
    })
}

/// Connects, sends a byte and reads it back; what the steps were; what the server saw.
async fn exchange(
    mut connector: LinkConnector<Connector>,
    listener: TcpListener,
    config: ServerConfig,
) -> (Vec<Step>, Seen) {
    let server = tokio::spawn(serve_one(listener, config));
    let mut steps = Vec::new();
    let mut connection = connector.connect(&mut |step| steps.push(step)).await.unwrap();
    connection.stream.write_u8(7).await.unwrap();
    assert_eq!(connection.stream.read_u8().await.unwrap(), 7);
    assert!(connection.deadline > Instant::now());
    (steps, server.await.unwrap().unwrap())
}

/// The error of connecting to a server with `config`.
async fn refusal(host: &str, files: &Files, config: ServerConfig) -> LinkError {
    let (listener, port) = listener().await;
    let server = tokio::spawn(serve_one(listener, config));
    let mut connector = connector(host, port, files);
    let error = match connector.connect(&mut |_| {}).await {
        Err(error) => error,
        // With TLS 1.3 the server's verdict comes with the first read.
        Ok(mut connection) => {
            let failure = connection.stream.read_u8().await.unwrap_err();
            LinkError::from_io(&failure, &connection.peer, Phase::AwaitingConnack)
        }
    };
    assert!(server.await.unwrap().is_err(), "the server should have seen the failure too");
    error
}

/// The error of connecting to a server that speaks no TLS but does what `behave` does with its client.
async fn refusal_of<F: Future<Output = ()> + Send + 'static>(
    timeout: Duration,
    behave: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> LinkError {
    let (listener, port) = listener().await;
    let server = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        behave(tcp).await;
    });
    let mut connector = connector_within(timeout, "127.0.0.1", port, &Files::of(&Authority::new("ca")));
    let error = connector.connect(&mut |_| {}).await.unwrap_err();
    server.abort();
    error
}

#[tokio::test]
async fn a_name_is_resolved_connected_and_secured_with_sni_and_the_client_certificate() {
    let authority = Authority::new("ca");
    let (listener, port) = listener().await;
    let config = server_config(&authority.issue(&["localhost"], ALWAYS), &authority, BOTH);
    let (steps, seen) = exchange(connector("localhost", port, &Files::of(&authority)), listener, config).await;
    assert_eq!(seen, Seen { server_name: Some("localhost".to_owned()), alpn: None, certificates: 1 });
    let [Step::Resolved { addresses, .. }, Step::TcpConnected { address, .. }, Step::TlsEstablished { .. }] =
        &steps[..]
    else {
        panic!("{steps:?}")
    };
    assert!(addresses.contains(address));
    assert_eq!(*address, SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    assert!(steps[2].to_string().starts_with("TLS: TLSv1_3, TLS13_AES_256_GCM_SHA384 ("), "{}", steps[2]);
    let certificate = "; certificate from \"CN=ca\", valid until 2200-01-01T00:00:00Z";
    assert!(steps[2].to_string().ends_with(certificate), "{}", steps[2]);
}

#[tokio::test]
async fn an_ip_address_is_an_endpoint_too_and_tls_1_2_is_spoken() {
    let authority = Authority::new("ca");
    let (listener, port) = listener().await;
    let config = server_config(&authority.issue(&["127.0.0.1"], ALWAYS), &authority, TLS12_ONLY);
    let (steps, seen) = exchange(connector("127.0.0.1", port, &Files::of(&authority)), listener, config).await;
    assert_eq!(seen, Seen { server_name: None, alpn: None, certificates: 1 });
    assert!(matches!(
        steps[..],
        [Step::TcpConnected { .. }, Step::TlsEstablished { version: Some(ProtocolVersion::TLSv1_2), .. }]
    ));
}

#[tokio::test]
async fn on_port_443_alpn_names_mqtt() {
    let authority = Authority::new("ca");
    let (listener, port) = listener().await;
    let files = Files::of(&authority);
    let mut config = server_config(&authority.issue(&["localhost"], ALWAYS), &authority, BOTH);
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"x-amzn-mqtt-ca".to_vec()];
    let connector = connector_as_for_443(port, &files);
    let (_, seen) = exchange(connector, listener, config).await;
    assert_eq!(seen.alpn.as_deref(), Some(&b"x-amzn-mqtt-ca"[..]));
}

#[tokio::test]
async fn a_server_whose_certificate_cannot_be_trusted_is_refused() {
    let (authority, other) = (Authority::new("ca"), Authority::new("other"));
    let files = Files::of(&authority);
    for (issued, code, said) in [
        (
            other.issue(&["localhost"], ALWAYS),
            "tls_unknown_ca",
            "isn't from a CA in tls.ca_file; it says that \"CN=other\" has",
        ),
        (authority.issue(&["a.example", "b.example"], ALWAYS), "tls_wrong_name", "another name: a.example, b.example"),
        (authority.issue(&["localhost"], 2000..2001), "tls_server_expired", "expired on 2001-01-01T00:00:00Z"),
        (authority.issue(&["localhost"], 2150..2200), "tls_server_not_yet_valid", "valid from 2150-01-01T00:00:00Z"),
    ] {
        let error = refusal("localhost", &files, server_config(&issued, &authority, BOTH)).await;
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().contains(said), "{error}");
    }
}

#[tokio::test]
async fn a_refused_client_certificate_is_diagnosed_alike_with_both_versions_of_tls() {
    let (authority, stranger) = (Authority::new("ca"), Authority::new("stranger"));
    let server = authority.issue(&["localhost"], ALWAYS);
    let client = stranger.issue(&[], ALWAYS);
    let files = Files::new(&authority.pem(), &client.certificate, &client.key);
    let mut errors = Vec::new();
    for versions in [BOTH, TLS12_ONLY] {
        let error = refusal("localhost", &files, server_config(&server, &authority, versions)).await;
        assert_eq!(error.code(), "tls_alert_unknown_ca", "{error}");
        errors.push(error.advice());
    }
    assert_eq!(errors[0], errors[1]);
    assert!(errors[0].contains("isn't active"), "{}", errors[0]);

    let client = authority.issue(&[], 2000..2001);
    let files = Files::new(&authority.pem(), &client.certificate, &client.key);
    let error = refusal("localhost", &files, server_config(&server, &authority, BOTH)).await;
    assert_eq!(error.code(), "tls_alert_certificate_expired", "{error}");
}

#[tokio::test]
async fn a_server_without_alpn_for_mqtt_is_diagnosed() {
    let authority = Authority::new("ca");
    let (listener, port) = listener().await;
    let files = Files::of(&authority);
    let mut config = server_config(&authority.issue(&["localhost"], ALWAYS), &authority, BOTH);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let server = tokio::spawn(serve_one(listener, config));
    let mut connector = connector_as_for_443(port, &files);
    let error = connector.connect(&mut |_| {}).await.unwrap_err();
    assert_eq!(error.code(), "tls_alert_no_application_protocol", "{error}");
    assert!(server.await.unwrap().is_err());
}

#[tokio::test]
async fn what_speaks_no_tls_is_diagnosed() {
    let error = refusal_of(MINUTE, |mut tcp| async move {
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    });
    assert_eq!(error.await.code(), "tls_not_spoken");

    let error = refusal_of(MINUTE, |mut tcp| async move {
        tcp.read_u8().await.unwrap();
    });
    assert_eq!(error.await.code(), "tls_closed");

    let silent = |tcp: TcpStream| async move {
        let _open = tcp;
        std::future::pending().await
    };
    let error = refusal_of(Duration::from_secs(2), silent).await;
    assert_eq!(error.code(), "tls_timeout", "{error}");
}

#[tokio::test]
async fn a_connection_closed_after_the_handshake_is_one_closed_before_connack() {
    let authority = Authority::new("ca");
    let (listener, port) = listener().await;
    let config = server_config(&authority.issue(&["localhost"], ALWAYS), &authority, BOTH);
    let server = tokio::spawn(serve_one(listener, config));
    let mut connection = connector("localhost", port, &Files::of(&authority)).connect(&mut |_| {}).await.unwrap();
    connection.stream.write_u8(7).await.unwrap();
    connection.stream.read_u8().await.unwrap();
    server.await.unwrap().unwrap();
    let failure = connection.stream.read_u8().await.unwrap_err();
    let error = LinkError::from_io(&failure, &connection.peer, Phase::AwaitingConnack);
    assert_eq!(error.code(), "closed_before_connack", "{error}");
}

#[tokio::test]
async fn a_refusing_host_is_named_with_its_address() {
    let (listener, port) = listener().await;
    drop(listener);
    let mut connector = connector("localhost", port, &Files::of(&Authority::new("ca")));
    let error = connector.connect(&mut |_| {}).await.unwrap_err();
    assert_eq!(error.code(), "tcp_refused");
    assert!(error.message().contains(&format!("localhost:{port}")), "{error}");
    assert!(error.message().contains("127.0.0.1: connection refused"), "{error}");
}

#[tokio::test]
async fn a_name_that_is_none_is_refused_before_dns() {
    let files = Files::of(&Authority::new("ca"));
    let error = connector("https://example.com", 8883, &files).connect(&mut |_| {}).await.unwrap_err();
    assert_eq!(error, LinkError::InvalidEndpoint("https://example.com".into()));
}

#[tokio::test]
async fn a_name_without_address_fails_in_dns() {
    // Reserved never to exist (RFC 6761, 6.4); without a network the resolver can't know that.
    let mut connector = connector("gatewire.invalid", 8883, &Files::of(&Authority::new("ca")));
    let error = connector.connect(&mut |_| {}).await.unwrap_err();
    let LinkError::Dns { fault: DnsFault::NotFound | DnsFault::Temporary, .. } = error else { panic!("{error}") };
}
