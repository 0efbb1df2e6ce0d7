//! The three files of `[tls]`: read, checked against each other, and made into a TLS configuration.
//!
//! [`load`] reports everything that is wrong at once. What makes the files unusable is a [`Problem`]; what may be this
//! machine's clock or is merely unwise is a [`Warning`], and the attempt to connect goes on.

mod broker;
mod der;
mod fingerprint;
mod form;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod key;
mod label;
mod mend;
mod name;
mod pem;
mod problems;
mod server;
#[cfg(test)]
mod tests;
mod validity;
mod web;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, TrustAnchor};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, ClientConfig, RootCertStore};
use x509_parser::certificate::X509Certificate;
use x509_parser::parse_x509_certificate;

use crate::certificate::{Whose, id_of};
use crate::config::{self, KeyFile};
use crate::owner::quoted;
use crate::pkcs11::{TokenKey, Uri};
pub(crate) use broker::{BrokerCredentials, load_for_broker};
pub(crate) use fingerprint::Fingerprint;
use problems::Subject;
pub(crate) use problems::{CredentialsProblems, FileFault, Problem, Role};
#[cfg(test)]
pub(crate) use server::Descent;
use server::MAX_NAMED;
pub(crate) use server::{ServerCertificate, Verifier};
pub(crate) use validity::{Outside, Validity, Warning, exposed_pin};
pub(crate) use web::{WebProblem, WebTrust, load_for_web};

/// The port on which IoT Core tells MQTT from HTTPS by ALPN, and the name it wants there.
const ALPN_PORT: u16 = 443;
const ALPN: &[u8] = b"x-amzn-mqtt-ca";

/// Credentials that belong together, ready for TLS.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    /// Without ALPN.
    tls: Arc<ClientConfig>,
    verifier: Arc<Verifier>,
    cert_file: PathBuf,
    whose: Whose,
    validity: Validity,
    certificate_id: Arc<str>,
    warnings: Vec<Warning>,
    fingerprint: Fingerprint,
    contents: Arc<TrustContents>,
    /// There is nothing in the file of the CAs but them.
    is_ca_file_pure: bool,
    /// The key, if it is in a token.
    token_key: Option<Arc<TokenKey>>,
}

/// What the files hold. The key is the one that belongs to the certificate.
#[derive(Debug, PartialEq, Eq)]
struct TrustContents {
    roots: Vec<TrustAnchor<'static>>,
    chain: Vec<CertificateDer<'static>>,
}

impl Credentials {
    /// The TLS configuration for a server on `port`. IoT Core takes MQTT with client certificates on port 443 only when
    /// ALPN names it.
    pub(crate) fn client_config(&self, port: u16) -> Arc<ClientConfig> {
        if port != ALPN_PORT {
            return Arc::clone(&self.tls);
        }
        let mut with_alpn = (*self.tls).clone();
        with_alpn.alpn_protocols = vec![ALPN.to_vec()];
        Arc::new(with_alpn)
    }

    /// What looks at the server's certificate.
    pub(crate) fn verifier(&self) -> &Arc<Verifier> {
        &self.verifier
    }

    /// The key, if it is in a token: nobody has looked yet whether it is there.
    pub(crate) fn token_key(&self) -> Option<&Arc<TokenKey>> {
        self.token_key.as_ref()
    }

    /// Where the key is, if it is in a token.
    pub(crate) fn token(&self) -> Option<&Arc<Uri>> {
        self.token_key.as_ref().map(|key| key.uri())
    }

    /// From when to when the client certificate is valid.
    pub(crate) fn validity(&self) -> Validity {
        self.validity
    }

    /// The client certificate's id at IoT Core: the SHA-256 of its DER, in hexadecimal.
    pub(crate) fn certificate_id(&self) -> &Arc<str> {
        &self.certificate_id
    }

    /// Whether the client certificate brings that of its CA along: IoT Core may register such a one by itself (JITP, JITR).
    pub(crate) fn brings_authority(&self) -> bool {
        self.contents.chain.len() > 1
    }

    /// What the files looked like when they were read.
    pub(crate) fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Whether a connection made with one is as good as one made with the other, whatever has become of the files.
    pub(crate) fn are_same(&self, other: &Credentials) -> bool {
        self.contents == other.contents
    }

    /// What is doubtful about the CAs of `tls.ca_file` for the endpoint of an account at IoT Core: public ones that don't sign
    /// for it. Of a CA that nobody knows only the server's certificate tells.
    pub(crate) fn doubt_about_ca(&self, host: &str, ca_file: &Path) -> Option<String> {
        // Where they are from: Amazon's own but one, and those that signed for it before 2018 or sign for others.
        const OTHERS: [&str; 6] =
            ["Amazon", "VeriSign", "Symantec", "DigiCert", "Internet Security Research Group", "Let's Encrypt"];
        const RIGHT: [&str; 2] = ["Amazon Root CA 1", "Starfield"];
        let names: Vec<Box<str>> = self.verifier.names().collect();
        let is_of = |name: &str, parts: &[&str]| parts.iter().any(|part| name.contains(part));
        let is_meant = host.contains("-ats.iot.") && host.ends_with(".amazonaws.com");
        if !is_meant || names.iter().any(|name| is_of(name, &RIGHT)) || !names.iter().any(|name| is_of(name, &OTHERS)) {
            return None;
        }
        let held: Vec<String> = names.iter().take(MAX_NAMED).map(|name| format!("\"{name}\"")).collect();
        const URL: &str = "https://www.amazontrust.com/repository/AmazonRootCA1.pem";
        const NAME: &str = "AmazonRootCA1.pem";
        // Others may need what is in the file, such as a CA of the system's.
        let beside = ca_file.with_file_name(NAME);
        let remedy = match beside == ca_file {
            true if self.is_ca_file_pure && names.iter().all(|name| is_of(name, &OTHERS)) => {
                format!("replace it with that: `sudo curl -fsSo {} {URL}`", quoted(ca_file))
            }
            true => format!("add that certificate to the file: {URL}"),
            false if beside.exists() => format!("set tls.ca_file to the path of that certificate ({URL})"),
            false => {
                format!("get that, `sudo curl -fsSo {} {URL}`, and set tls.ca_file to the path of it", quoted(&beside))
            }
        };
        Some(format!(
            "tls.ca_file {} holds {}, but the certificates of IoT Core's endpoints usually come from \"Amazon Root CA 1\": if `gatewire \
             check --connect --tls-only` fails, {remedy}",
            ca_file.display(),
            held.join(" and "),
        ))
    }

    /// What was worth a warning when the files were read.
    pub(crate) fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// What is worth a warning about the client certificate's validity at `now`: for the log, once a day.
    pub(crate) fn validity_warning(&self, now: SystemTime) -> Option<Warning> {
        self.validity.warning(&self.whose, &self.cert_file, now)
    }

    /// Whose certificate it is.
    pub(crate) fn whose(&self) -> &Whose {
        &self.whose
    }
}

/// Reads and checks the files of `[tls]`.
///
/// # Errors
/// Every problem of every file, in the order CA, certificate, key. A certificate outside its validity is none of them.
pub(crate) fn load(tls: &config::Tls, now: SystemTime) -> Result<Credentials, CredentialsProblems> {
    // Before they are read: what changes meanwhile is noticed the next time.
    let fingerprint = Fingerprint::of(tls);
    let mut problems = Vec::new();
    let roots = noted(Role::Ca, &tls.ca_file, authorities(&tls.ca_file), &mut problems);
    let chain = noted(Role::Certificate, &tls.cert_file, chain(&tls.cert_file), &mut problems);
    let (key, token_key) = match (&tls.key_file, &chain) {
        (KeyFile::File(file), chain) => {
            let key = noted(Role::Key, file, key::read(file), &mut problems);
            if let (Some(chain), Some(key)) = (chain, &key) {
                problems.extend(mismatch(&tls.cert_file, file, chain, &*key.signing));
            }
            (key, None)
        }
        (KeyFile::Token(uri), Some(chain)) => {
            let key = noted(Role::Certificate, &tls.cert_file, key::in_token(uri, chain), &mut problems);
            key.map_or((None, None), |(key, token_key)| (Some(key), Some(token_key)))
        }
        (KeyFile::Token(_), None) => (None, None),
    };
    let (Some(Authorities { roots, key_mode: ca_key_mode, is_pure }), Some(chain), Some(key), true) =
        (roots, chain, key, problems.is_empty())
    else {
        return Err(CredentialsProblems(problems));
    };
    let mut warnings: Vec<Warning> = chain.validity.warning(&tls.whose, &tls.cert_file, now).into_iter().collect();
    warnings.extend(validity::exposures(tls, key.mode, chain.key_mode, ca_key_mode));
    let contents = Arc::new(TrustContents { roots: roots.roots.clone(), chain: chain.certificates.clone() });
    let names = roots.subjects();
    let verifier = Arc::new(Verifier::new(verifier(roots), names));
    Ok(Credentials {
        certificate_id: id_of(&chain.certificates[0]).into(),
        cert_file: tls.cert_file.clone(),
        whose: tls.whose.clone(),
        validity: chain.validity,
        fingerprint,
        contents,
        is_ca_file_pure: is_pure,
        token_key,
        warnings,
        tls: Arc::new(client_config(&verifier, Some((chain.certificates, key.signing)))),
        verifier,
    })
}

/// The client's certificate alone, as DER.
///
/// # Errors
/// What is wrong with the file.
pub(crate) fn certificate(path: &Path) -> Result<CertificateDer<'static>, CredentialsProblems> {
    let first = |chain: Chain| chain.certificates.into_iter().next();
    chain(path).map_or_else(Err, |chain| first(chain).ok_or(FileFault::Empty)).map_err(|fault| {
        CredentialsProblems(vec![Problem::File { role: Role::Certificate, path: path.to_owned(), fault }])
    })
}

/// The value, or `None` and the fault added to `problems`.
fn noted<T>(role: Role, path: &Path, result: Result<T, FileFault>, problems: &mut Vec<Problem>) -> Option<T> {
    result.map_err(|fault| problems.push(Problem::File { role, path: path.to_owned(), fault })).ok()
}

/// The CA certificates that a server's certificate may descend from.
struct Authorities {
    roots: RootCertStore,
    /// The permission bits of their file if a private key is in it, too.
    key_mode: Option<u32>,
    /// There is nothing else in the file.
    is_pure: bool,
}

fn authorities(path: &Path) -> Result<Authorities, FileFault> {
    let contents = pem::read(path)?;
    let (key_mode, sections) = (contents.key_mode(), contents.sections);
    let roots = authorities_of(contents)?;
    Ok(Authorities { is_pure: roots.len() == sections, roots, key_mode })
}

fn authorities_of(contents: pem::Contents) -> Result<RootCertStore, FileFault> {
    if contents.certificates.is_empty() {
        return Err(contents.instead_of_certificates());
    }
    let mut roots = RootCertStore::empty();
    let mut unusable = None;
    for (index, der) in contents.certificates.into_iter().enumerate() {
        let fault = match parsed(index, &der) {
            Err(fault) => fault,
            Ok(certificate) if !may_be_authority(&certificate) => {
                FileFault::NotAuthority { subject: Subject::of(&certificate) }
            }
            Ok(_) => match roots.add(der) {
                Ok(()) => continue,
                Err(_) => FileFault::BadCertificate { number: index + 1 },
            },
        };
        unusable.get_or_insert(fault);
    }
    // A bundle may hold some that we can't use, as long as one remains.
    match unusable {
        Some(fault) if roots.is_empty() => Err(fault),
        _ => Ok(roots),
    }
}

/// Version 1 certificates can't say whether they are a CA's, and what signed itself is its own authority.
fn may_be_authority(certificate: &X509Certificate<'_>) -> bool {
    let says_nothing = certificate.extensions().is_empty();
    certificate.is_ca() || says_nothing || certificate.subject().as_raw() == certificate.issuer().as_raw()
}

/// The client's certificate and those between it and its CA.
struct Chain {
    /// Not empty; the client's own is the first.
    certificates: Vec<CertificateDer<'static>>,
    validity: Validity,
    /// The permission bits of their file if a private key is in it, too.
    key_mode: Option<u32>,
}

fn chain(path: &Path) -> Result<Chain, FileFault> {
    chain_of(pem::read(path)?)
}

fn chain_of(mut contents: pem::Contents) -> Result<Chain, FileFault> {
    let key_mode = contents.key_mode();
    let certificates = std::mem::take(&mut contents.certificates);
    let Some((own, issuers)) = certificates.split_first() else {
        return Err(contents.instead_of_certificates());
    };
    let validity = Validity::of(&parsed(0, own)?);
    for (index, issuer) in issuers.iter().enumerate() {
        parsed(index + 1, issuer)?;
    }
    Ok(Chain { certificates, validity, key_mode })
}

fn parsed<'a>(index: usize, der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, FileFault> {
    match parse_x509_certificate(der) {
        Ok(([], certificate)) => Ok(certificate),
        // What the parser says of it is for programmers, and nobody has promised what it holds.
        Ok(_) | Err(_) => Err(FileFault::BadCertificate { number: index + 1 }),
    }
}

/// What is wrong if `key` isn't the key of the first certificate of `chain`. rustls has such a check, but it refuses
/// version 1 certificates, which people make with openssl and IoT Core takes.
fn mismatch(cert_file: &Path, key_file: &Path, chain: &Chain, key: &dyn SigningKey) -> Option<Problem> {
    let public_key = key.public_key()?;
    let owner = |der: &CertificateDer<'_>| {
        parse_x509_certificate(der).is_ok_and(|(_, certificate)| certificate.public_key().raw == public_key.as_ref())
    };
    let position = chain.certificates.iter().position(owner);
    if position == Some(0) {
        return None;
    }
    let authority = parse_x509_certificate(&chain.certificates[0])
        .ok()
        .filter(|(_, certificate)| certificate.is_ca())
        .map(|(_, certificate)| Subject::of(&certificate));
    Some(Problem::KeyMismatch {
        cert_file: cert_file.to_owned(),
        key_file: key_file.to_owned(),
        belongs_to: position.map(|index| index + 1),
        authority,
    })
}

/// TLS 1.2 and 1.3 as IoT Core speaks them, with the client's certificate and key if it has some.
fn client_config(
    verifier: &Arc<Verifier>,
    client: Option<(Vec<CertificateDer<'static>>, Arc<dyn SigningKey>)>,
) -> ClientConfig {
    let config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("the provider has cipher suites for both versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(verifier) as Arc<dyn ServerCertVerifier>);
    let mut config = match client {
        Some((chain, key)) => {
            config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key))))
        }
        None => config.with_no_client_auth(),
    };
    // IoT Core issues no session tickets: a cache would only cost memory.
    config.resumption = Resumption::disabled();
    config
}

/// rustls's verifier of server certificates.
fn verifier(roots: RootCertStore) -> Arc<WebPkiServerVerifier> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider()))
        .build()
        .expect("there is a root, and no list of revoked certificates to be wrong")
}

/// ring, less the cipher suites that are in none of IoT Core's security policies.
fn provider() -> CryptoProvider {
    let mut provider = ring::default_provider();
    provider.cipher_suites.retain(|suite| {
        !matches!(
            suite.suite(),
            CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        )
    });
    provider
}
