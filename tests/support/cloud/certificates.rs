//! The certificates of one account, without I/O: a CA of its own, what it has signed, and whether that counts. Source: "X.509 client
//! certificates", "CreateCertificateFromCsr" in the AWS IoT developer guide.

use std::fmt;
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PublicKeyData, SignatureAlgorithm,
};
use ring::signature::{ECDSA_P256_SHA256_ASN1, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use x509_parser::certificate::X509Certificate;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

/// Whether a certificate counts, as AWS writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Until RegisterThing.
    PendingActivation,
    Active,
    Inactive,
    Revoked,
}

/// One that was signed.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The SHA-256 of its DER in hex, as AWS has it.
    pub id: String,
    pub pem: String,
    pub state: State,
    /// What it is attached to.
    pub thing: Option<String>,
    /// It is in each image, and only asks for others.
    pub is_claim: bool,
}

/// A certificate with its key, both PEM.
#[derive(Debug, Clone)]
pub struct Issued {
    pub id: String,
    pub certificate: String,
    pub key: String,
}

/// See the module.
pub struct Certificates {
    issuer: CertifiedIssuer<'static, KeyPair>,
    known: Vec<Certificate>,
    validity: Option<(SystemTime, SystemTime)>,
}

/// The length of a signature of the CA, where both of its numbers have 32 bytes: each fourth has it.
const SIGNATURE: usize = 70;

/// The key that a request is for.
struct Requested {
    key: Vec<u8>,
    algorithm: &'static SignatureAlgorithm,
}

impl PublicKeyData for Requested {
    fn der_bytes(&self) -> &[u8] {
        &self.key
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

impl Default for Certificates {
    fn default() -> Certificates {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "the CA of the scripted cloud");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Certificates { issuer, known: Vec::new(), validity: None }
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.known.iter().map(|known| (&known.id, known.state, &known.thing, known.is_claim));
        f.debug_list().entries(known).finish()
    }
}

impl Certificates {
    /// The CA's own.
    pub fn authority(&self) -> String {
        self.issuer.pem()
    }

    /// When those that are signed from now on are valid; unless it is said, from 1975 to 4096.
    pub fn valid(&mut self, from: SystemTime, until: SystemTime) {
        self.validity = Some((from, until));
    }

    /// The oldest first.
    pub fn all(&self) -> &[Certificate] {
        &self.known
    }

    pub fn get(&self, id: &str) -> Option<&Certificate> {
        self.known.iter().find(|known| known.id == id)
    }

    pub fn get_mut(&mut self, id: &str) -> &mut Certificate {
        self.known.iter_mut().find(|known| known.id == id).unwrap_or_else(|| panic!("there is no certificate {id}"))
    }

    /// Those of a thing, the oldest first.
    pub fn of_thing(&self, thing: &str) -> Vec<&Certificate> {
        self.known.iter().filter(|known| known.thing.as_deref() == Some(thing)).collect()
    }

    /// The only one that counts for a thing, or none.
    ///
    /// # Panics
    /// If several count.
    pub fn active(&self, thing: &str) -> Option<&Certificate> {
        let mut active = self.of_thing(thing).into_iter().filter(|known| known.state == State::Active);
        let first = active.next();
        assert!(active.next().is_none(), "{thing} has several active certificates: {self:?}");
        first
    }

    /// One that is active, with a key: for a thing, or a claim.
    pub fn issue(&mut self, thing: Option<&str>) -> Issued {
        let (key, certificate) = self.issue_pending();
        let known = self.get_mut(&certificate.id);
        (known.state, known.thing, known.is_claim) = (State::Active, thing.map(str::to_owned), thing.is_none());
        Issued { id: certificate.id, certificate: certificate.pem, key }
    }

    /// One that isn't active yet, with its key: CreateKeysAndCertificate.
    pub fn issue_pending(&mut self) -> (String, Certificate) {
        let key = KeyPair::generate().unwrap();
        (key.serialize_pem(), self.sign(&key))
    }

    /// The certificate that a request is for, PENDING_ACTIVATION. An error: it isn't a request, or the key wasn't there to sign it.
    pub fn sign_request(&mut self, request: &str) -> Result<Certificate, String> {
        let requested = requested(request)?;
        Ok(self.sign(&requested))
    }

    fn sign(&mut self, key: &impl PublicKeyData) -> Certificate {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "AWS IoT Certificate");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if let Some((from, until)) = self.validity {
            (params.not_before, params.not_after) = (from.into(), until.into());
        }
        params.serial_number = Some(self.known.len().to_be_bytes().to_vec().into());
        // All have the same length, so that a run of the simulation with other keys is the same run.
        let signed = loop {
            let signed = params.signed_by(key, &self.issuer).unwrap();
            let (_, parsed) = X509Certificate::from_der(signed.der()).unwrap();
            if parsed.signature_value.data.len() == SIGNATURE {
                break signed;
            }
        };
        let certificate = Certificate {
            id: id(signed.der()),
            pem: signed.pem(),
            state: State::PendingActivation,
            thing: None,
            is_claim: false,
        };
        self.known.push(certificate.clone());
        certificate
    }
}

/// By which AWS knows a certificate.
pub fn id(der: &[u8]) -> String {
    ring::digest::digest(&ring::digest::SHA256, der).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn requested(request: &str) -> Result<Requested, String> {
    let (rest, pem) =
        x509_parser::pem::parse_x509_pem(request.as_bytes()).map_err(|error| format!("no PEM: {error}"))?;
    if pem.label != "CERTIFICATE REQUEST" || !rest.trim_ascii().is_empty() {
        return Err(format!("a {} with {} bytes behind it", pem.label, rest.len()));
    }
    let (_, request) = X509CertificationRequest::from_der(&pem.contents).map_err(|error| format!("no CSR: {error}"))?;
    let info = &request.certification_request_info;
    let key = info.subject_pki.subject_public_key.data.to_vec();
    let signature = &request.signature_value.data;
    let (algorithm, is_signed) = match &*info.subject_pki.algorithm.algorithm.to_id_string() {
        "1.2.840.10045.2.1" => {
            let is_signed = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &key).verify(info.raw, signature);
            (&rcgen::PKCS_ECDSA_P256_SHA256, is_signed)
        }
        "1.2.840.113549.1.1.1" => {
            let is_signed = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &key).verify(info.raw, signature);
            (&rcgen::PKCS_RSA_SHA256, is_signed)
        }
        other => return Err(format!("a key of the kind {other}")),
    };
    is_signed.map_err(|_| "the signature isn't that of the key".to_owned())?;
    Ok(Requested { key, algorithm })
}
