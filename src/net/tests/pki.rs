//! Certificates made for a test, and the files of `[tls]` that hold them.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SignatureAlgorithm, date_time_ymd,
};
use tempfile::TempDir;

use crate::certificate::Whose;
use crate::config;

/// A CA.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, both PEM.
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Years in which a certificate is valid: from the first of January to the first of January.
pub(crate) const ALWAYS: Range<i32> = 2000..2200;

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// One that this one has signed.
    pub(crate) fn intermediate(&self, name: &str) -> Authority {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Authority(CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.0).unwrap())
    }

    /// One whose own certificate expired long ago.
    pub(crate) fn expired(name: &str) -> Authority {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for `names` (DNS names or IP addresses), for servers and clients.
    pub(crate) fn issue(&self, names: &[&str], years: Range<i32>) -> Issued {
        self.issue_with(names, years, &rcgen::PKCS_ECDSA_P256_SHA256)
    }

    pub(crate) fn issue_with(&self, names: &[&str], years: Range<i32>, alg: &'static SignatureAlgorithm) -> Issued {
        let key = KeyPair::generate_for(alg).unwrap();
        let mut params = CertificateParams::new(names.iter().map(|name| name.to_string()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "device");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = date_time_ymd(years.start, 1, 1);
        params.not_after = date_time_ymd(years.end, 1, 1);
        Issued { certificate: params.signed_by(&key, &self.0).unwrap().pem(), key: key.serialize_pem() }
    }
}

/// The files of `[tls]` in a directory that goes with this.
pub(crate) struct Files {
    dir: TempDir,
    pub(crate) tls: config::Tls,
}

impl Files {
    pub(crate) fn new(ca: &str, certificate: &str, key: &str) -> Files {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let key_file = config::KeyFile::File(path("key.pem"));
        let tls = config::Tls { ca_file: path("ca.pem"), cert_file: path("cert.pem"), key_file, whose: Whose::ByHand };
        let files = Files { dir, tls };
        files.write("ca.pem", ca);
        files.write("cert.pem", certificate);
        files.write("key.pem", key);
        files
    }

    /// A client certificate of `authority`, and `authority` as the server's CA.
    pub(crate) fn of(authority: &Authority) -> Files {
        let client = authority.issue(&[], ALWAYS);
        Files::new(&authority.pem(), &client.certificate, &client.key)
    }

    /// The file of the key.
    pub(crate) fn key(&self) -> &Path {
        self.tls.key_file.path().unwrap()
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file that only its owner may read.
    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, contents).unwrap();
        set_mode(&path, 0o600);
        path
    }
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
