//! An https server that does what a test says, and a proxy before it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::net::tests::pki::Issued;

/// A request, as it came.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) target: String,
    /// Their names in small letters.
    pub(super) fields: BTreeMap<String, String>,
}

impl Asked {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// From where on it asks.
    pub(super) fn from(&self) -> Option<usize> {
        self.field("range")
            .map(|range| range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap())
    }
}

/// What a server does when its answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Says that TLS is over, and closes.
    Close,
    /// Closes without a word.
    Cut,
    /// Nothing.
    Hang,
    /// Writes the rest of a chunked body, for ever.
    GoOn,
}

#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) bytes: Vec<u8>,
    pub(super) then: Then,
}

impl Reply {
    pub(super) fn new(head: &str, body: &[u8], then: Then) -> Reply {
        Reply { bytes: [format!("HTTP/1.1 {head}\r\n\r\n").as_bytes(), body].concat(), then }
    }

    /// With the length of the body.
    pub(super) fn whole(head: &str, body: &[u8]) -> Reply {
        Reply::new(&format!("{head}\r\nContent-Length: {}", body.len()), body, Then::Close)
    }

    /// Only so much of it, and then nothing more.
    pub(super) fn cut(mut self, body: usize) -> Reply {
        let head = self.bytes.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        self.bytes.truncate(head + body);
        Reply { then: Then::Cut, ..self }
    }

    pub(super) fn then(self, then: Then) -> Reply {
        Reply { then, ..self }
    }
}

pub(super) struct Server {
    pub(super) port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// With the certificate `issued`. `answer` is told each request and its number, from 0.
    pub(super) async fn start(issued: &Issued, answer: impl FnMut(&Asked, usize) -> Reply + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server { port: listener.local_addr().unwrap().port(), asked: Arc::default() };
        let (acceptor, asked, answer) = (acceptor(issued), Arc::clone(&server.asked), Arc::new(Mutex::new(answer)));
        tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let (acceptor, asked, answer) = (acceptor.clone(), Arc::clone(&asked), Arc::clone(&answer));
                tokio::spawn(async move {
                    // A client that trusts nobody ends it here.
                    let Ok(stream) = acceptor.accept(tcp).await else { return };
                    let mut stream = BufReader::new(stream);
                    let Some(request) = request(&mut stream).await else { return };
                    let reply = {
                        let mut asked = asked.lock().unwrap();
                        asked.push(request.clone());
                        (answer.lock().unwrap())(&request, asked.len() - 1)
                    };
                    let mut stream = stream.into_inner();
                    if stream.write_all(&reply.bytes).await.is_err() || stream.flush().await.is_err() {
                        return;
                    }
                    match reply.then {
                        Then::Close => drop(stream.shutdown().await),
                        Then::Cut => {}
                        // Until the client gives up.
                        Then::Hang => drop(stream.read_to_end(&mut Vec::new()).await),
                        Then::GoOn => {
                            let chunk = [b"4000\r\n", &[b'x'; 0x4000][..], b"\r\n"].concat();
                            while stream.write_all(&chunk).await.is_ok() {}
                        }
                    }
                });
            }
        });
        server
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn acceptor(issued: &Issued) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut config = config.with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

async fn request<S: tokio::io::AsyncRead + Unpin>(stream: &mut BufReader<S>) -> Option<Asked> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let target = lines.first()?.strip_prefix("GET ")?.strip_suffix(" HTTP/1.1")?.to_owned();
    let field = |line: &String| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    Some(Asked { target, fields: lines[1..].iter().filter_map(field).collect() })
}

/// A proxy that connects to wherever it is told, and keeps what it was told.
pub(super) struct Proxy {
    pub(super) port: u16,
    told: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub(super) async fn start() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy { port: listener.local_addr().unwrap().port(), told: Arc::default() };
        let told = Arc::clone(&proxy.told);
        tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let told = Arc::clone(&told);
                tokio::spawn(async move {
                    let mut tcp = BufReader::new(tcp);
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n") {
                        tcp.read_line(&mut head).await.unwrap();
                    }
                    let server = head.split(' ').nth(1).unwrap().to_owned();
                    told.lock().unwrap().push(head);
                    let mut server = TcpStream::connect(server).await.unwrap();
                    tcp.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
                    // Either may end it.
                    let _ = copy_bidirectional(&mut tcp, &mut server).await;
                });
            }
        });
        proxy
    }

    pub(super) fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }
}
