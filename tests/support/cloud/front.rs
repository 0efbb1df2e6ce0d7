//! What stands before mosquitto: TLS, a look at the client's certificate as AWS takes it, and a policy. It knows who has come with what.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme,
};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::Shared;
use super::certificates::{self, State};
use super::packets::{Client, Packet, refusal};
use crate::support::CERTIFICATES;

/// Whose connections are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    Anybody,
    /// With a certificate that is in each image.
    Claims,
    /// With any other.
    Devices,
    /// With the certificate of this id.
    Certificate(String),
    /// With a certificate that was signed after the one of this id.
    NewerThan(String),
}

/// How a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// By an alert of TLS, as a certificate that doesn't count is.
    Alert,
    /// Closed once TLS stands, without a word.
    Close,
    /// CONNACK: not authorized.
    NotAuthorized,
    /// CONNACK: server unavailable.
    Unavailable,
}

/// Where a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stage {
    #[default]
    Begun,
    /// Refused by the front, or not let in by mosquitto.
    Refused,
    /// CONNACK has let it in.
    Connected,
    /// It was connected.
    Ended,
}

/// A TCP connection that somebody has made.
#[derive(Debug, Clone, Default)]
pub struct Attempt {
    /// The id of the certificate that was shown, once it was.
    pub certificate: String,
    /// Once there was a CONNECT.
    pub client_id: String,
    /// Clean session, or clean start.
    pub clean: bool,
    pub stage: Stage,
}

/// What the front knows, and what it is to do.
#[derive(Debug)]
pub(super) struct Desk {
    pub attempts: Vec<Attempt>,
    /// Whom it refuses, and how often from now on.
    pub refusals: Vec<(Who, Refusal, usize)>,
    /// Topics and filters that its policy doesn't allow to anybody.
    pub forbidden: Vec<String>,
    /// How a claim's client id begins.
    pub claim_prefix: String,
    cuts: BTreeMap<usize, oneshot::Sender<()>>,
}

impl Default for Desk {
    fn default() -> Desk {
        let (attempts, refusals, forbidden, cuts) = Default::default();
        Desk { attempts, refusals, forbidden, claim_prefix: "claim-".to_owned(), cuts }
    }
}

/// See the module. It ends with this.
pub(super) struct Front {
    pub port: u16,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Front {
    /// On a port of its own, with mosquitto's socket at `path`.
    pub(super) fn start(shared: Arc<Shared>, path: PathBuf) -> Front {
        Front::start_at("127.0.0.1:0", shared, path)
    }

    pub(super) fn start_at(address: &str, shared: Arc<Shared>, path: PathBuf) -> Front {
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                let accept = async {
                    loop {
                        let Ok((tcp, _)) = listener.accept().await else { continue };
                        tokio::spawn(connection(Arc::clone(&shared), tcp, path.clone()));
                    }
                };
                tokio::select! { () = accept => {} _ = stopped => {} }
            });
        });
        Front { port, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Has the attempt changed.
    fn note(&self, attempt: usize, change: impl FnOnce(&mut Attempt)) {
        change(&mut self.state.lock().unwrap().desk.attempts[attempt]);
        self.changed.notify_all();
    }

    /// Whether the one with this certificate is meant.
    pub(super) fn is_meant(&self, who: &Who, id: &str) -> bool {
        let state = self.state.lock().unwrap();
        let all = state.service.certificates.all();
        let place = |id: &str| all.iter().position(|known| known.id == id);
        let is_claim = place(id).is_some_and(|place| all[place].is_claim);
        match who {
            Who::Anybody => true,
            Who::Claims => is_claim,
            Who::Devices => !is_claim,
            Who::Certificate(of) => of == id,
            Who::NewerThan(of) => place(id) > place(of),
        }
    }

    /// How it is refused, if it is; `is_tls`: before TLS stands.
    fn refusal(&self, id: &str, is_tls: bool) -> Option<Refusal> {
        let refusals = self.state.lock().unwrap().desk.refusals.clone();
        let is_due = |(who, how, times): &(Who, Refusal, usize)| {
            *times > 0 && (*how == Refusal::Alert) == is_tls && self.is_meant(who, id)
        };
        let index = refusals.iter().position(is_due)?;
        let refusal = &mut self.state.lock().unwrap().desk.refusals[index];
        refusal.2 -= 1;
        Some(refusal.1)
    }

    /// Ends the connections of these, as a network does that is gone.
    pub(super) fn cut(&self, who: &Who) -> usize {
        let attempts = self.state.lock().unwrap().desk.attempts.clone();
        let meant = |attempt: &usize| self.is_meant(who, &attempts[*attempt].certificate);
        let all: Vec<usize> = self.state.lock().unwrap().desk.cuts.keys().copied().collect();
        let meant: Vec<usize> = all.into_iter().filter(meant).collect();
        let mut state = self.state.lock().unwrap();
        meant.into_iter().filter_map(|attempt| state.desk.cuts.remove(&attempt)).count()
    }

    /// Why the policy of a certificate doesn't allow this, if it doesn't; whether a test has wanted that.
    fn forbids(&self, client: &Client, packet: &Packet) -> bool {
        let mut state = self.state.lock().unwrap();
        let names = packet.names(client.is_v5);
        if names.iter().any(|name| state.desk.forbidden.contains(name)) {
            return true;
        }
        let is_claim = state.service.certificates.get(&client.certificate).is_some_and(|known| known.is_claim);
        let is_allowed = |name: &&String| {
            let provision = name.starts_with("$aws/provisioning-templates/") && name.contains("/provision/");
            name.starts_with("$aws/certificates/create") || provision
        };
        let Some(name) = names.iter().find(|name| is_claim && !is_allowed(name)) else { return false };
        let what = if packet.is_publish() { "publishes to" } else { "subscribes to" };
        state.service.object(format!("the claim {what} {name}"));
        true
    }

    /// Likewise, for a client id.
    fn forbids_client(&self, certificate: &str, client_id: &str) -> bool {
        let mut state = self.state.lock().unwrap();
        let Some(known) = state.service.certificates.get(certificate) else { return true };
        let prefix = match &known.thing {
            Some(thing) => thing.clone(),
            None => state.desk.claim_prefix.clone(),
        };
        let is_forbidden = !client_id.starts_with(&prefix);
        if is_forbidden {
            state.service.object(format!("{client_id:?} is no client id that begins with {prefix:?}"));
        }
        is_forbidden
    }
}

async fn connection(shared: Arc<Shared>, tcp: TcpStream, path: PathBuf) {
    let (cut, is_cut) = oneshot::channel();
    let attempt = {
        let desk = &mut shared.state.lock().unwrap().desk;
        desk.attempts.push(Attempt::default());
        let attempt = desk.attempts.len() - 1;
        desk.cuts.insert(attempt, cut);
        attempt
    };
    tokio::select! {
        _ = serve(&shared, tcp, path, attempt) => {}
        _ = is_cut => {}
    }
    let ended = |stage| if stage == Stage::Connected { Stage::Ended } else { Stage::Refused };
    shared.state.lock().unwrap().desk.cuts.remove(&attempt);
    shared.note(attempt, |attempt| attempt.stage = ended(attempt.stage));
}

async fn serve(shared: &Arc<Shared>, tcp: TcpStream, path: PathBuf, attempt: usize) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut tls = TlsAcceptor::from(Arc::new(config(shared, attempt))).accept(tcp).await?;
    let certificate = shared.state.lock().unwrap().desk.attempts[attempt].certificate.clone();
    let refused = shared.refusal(&certificate, false);
    if refused == Some(Refusal::Close) {
        return tls.shutdown().await;
    }
    let Some(packet) = Packet::read(&mut tls).await? else { return Ok(()) };
    let connect = packet.connect().ok_or_else(|| io::Error::other("no CONNECT"))?;
    let client = Client { certificate, client_id: connect.client_id, is_v5: connect.is_v5 };
    shared.note(attempt, |attempt| (attempt.client_id, attempt.clean) = (client.client_id.clone(), connect.clean));
    if refused.is_some() || shared.forbids_client(&client.certificate, &client.client_id) {
        tls.write_all(&refusal(client.is_v5, refused == Some(Refusal::Unavailable))).await?;
        return tls.shutdown().await;
    }
    let (mut from_broker, mut to_broker) = UnixStream::connect(path).await?.into_split();
    to_broker.write_all(&packet.bytes()).await?;
    let (mut from_client, mut to_client) = tokio::io::split(tls);
    let up = async {
        while let Some(packet) = Packet::read(&mut from_client).await? {
            if shared.forbids(&client, &packet) {
                return Ok(());
            }
            to_broker.write_all(&packet.up(&client).bytes()).await?;
        }
        to_broker.shutdown().await
    };
    let down = async {
        while let Some(packet) = Packet::read(&mut from_broker).await? {
            if packet.is_welcome() {
                shared.note(attempt, |attempt| attempt.stage = Stage::Connected);
            }
            to_client.write_all(&packet.down(&client.client_id).bytes()).await?;
            to_client.flush().await?;
        }
        to_client.shutdown().await
    };
    tokio::select! { result = up => result, result = down => result }
}

/// TLS for one connection.
fn config(shared: &Arc<Shared>, attempt: usize) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    let authority = shared.state.lock().unwrap().service.certificates.authority();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let chain = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let verifier = Arc::new(Verifier { chain, shared: Arc::clone(shared), attempt });
    let own = CertificateDer::pem_file_iter(CERTIFICATES.path("server.crt")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(CERTIFICATES.path("server.key")).unwrap();
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_client_cert_verifier(verifier).with_single_cert(own, key).unwrap();
    config.alpn_protocols = vec![b"x-amzn-mqtt-ca".to_vec()];
    config
}

/// Whether a client's certificate is one of the account's, and counts.
#[derive(Debug)]
struct Verifier {
    chain: Arc<dyn ClientCertVerifier>,
    shared: Arc<Shared>,
    attempt: usize,
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let id = certificates::id(certificate);
        self.shared.note(self.attempt, |attempt| attempt.certificate.clone_from(&id));
        let verified = self.chain.verify_client_cert(certificate, intermediates, now)?;
        let state = self.shared.state.lock().unwrap().service.certificates.get(&id).map(|known| known.state);
        if state != Some(State::Active) || self.shared.refusal(&id, true).is_some() {
            return Err(Error::InvalidCertificate(CertificateError::Revoked));
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
