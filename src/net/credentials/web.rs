//! Whom downloads trust: the machine's own store of CAs, and one of the user's beside it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::{FileFault, Verifier, authorities, client_config};
use crate::owner::quoted;
use crate::regular;

/// Where Debian, Fedora, openSUSE and Alpine keep the CAs that the machine trusts, all in one file.
const STORES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Debian's has a quarter of it, in bytes.
const MAX_STORE: u64 = 4 * 1024 * 1024;

/// Ready for TLS with a server of the web: without a certificate of ours, which is IoT Core's business alone.
#[derive(Debug, Clone)]
pub(crate) struct WebTrust {
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) verifier: Arc<Verifier>,
}

/// Why nobody can be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WebProblem {
    /// `download.ca_file` can't be used.
    CaFile { path: PathBuf, fault: Box<FileFault> },
    /// The machine has no store, and there is no `download.ca_file`.
    NoStore,
}

/// Reads the machine's own store and `ca_file`. May block.
///
/// # Errors
/// `ca_file` can't be used, or there is no CA at all.
pub(crate) fn load_for_web(ca_file: Option<&Path>) -> Result<WebTrust, WebProblem> {
    load_from(STORES.iter().map(Path::new), ca_file)
}

fn load_from<'a>(stores: impl Iterator<Item = &'a Path>, ca_file: Option<&Path>) -> Result<WebTrust, WebProblem> {
    let mut roots = RootCertStore::empty();
    for store in stores {
        let Ok(text) = regular::read(store, MAX_STORE) else { continue };
        // What is damaged in it costs that CA, and no other.
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&text).flatten());
        if !roots.is_empty() {
            break;
        }
    }
    if let Some(path) = ca_file {
        let own =
            authorities(path).map_err(|fault| WebProblem::CaFile { path: path.to_owned(), fault: Box::new(fault) })?;
        roots.extend(own.roots.roots);
    }
    if roots.is_empty() {
        return Err(WebProblem::NoStore);
    }
    let names = roots.subjects();
    let verifier = Arc::new(Verifier::new(super::verifier(roots), names));
    let mut tls = client_config(&verifier, None);
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(WebTrust { tls: Arc::new(tls), verifier })
}

impl fmt::Display for WebProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, fault) = match self {
            WebProblem::CaFile { path, fault } => (path, fault),
            WebProblem::NoStore => {
                return write!(
                    f,
                    "this machine trusts no CA: there are none in {}. `sudo apt-get install ca-certificates` brings those of the \
                     web; for one of your own set download.ca_file of the action",
                    STORES[0]
                );
            }
        };
        write!(f, "download.ca_file {}: ", path.display())?;
        match &**fault {
            FileFault::Missing { .. } => f.write_str("there is no such file. Put the CA of the server there, in PEM"),
            FileFault::Denied(denied) => write!(
                f,
                "the user {} may not read it (mode {:04o}). Copy it to where gatewire may, such as /etc/gatewire/certs, or \
                 `sudo chmod a+r {}`",
                denied.user,
                denied.mode,
                quoted(path)
            ),
            FileFault::Directory | FileFault::NotRegular => {
                f.write_str("it isn't a file. Name the file that holds the CA of the server")
            }
            FileFault::Io(kind) => {
                write!(f, "reading it failed: {kind}. Check the disk (dmesg) or copy the file again")
            }
            FileFault::NotAuthority { subject } => {
                write!(
                    f,
                    "it holds no CA certificate, but that of {subject}. Name the file of the CA that has signed that"
                )
            }
            _ => write!(
                f,
                "it holds no CA certificate in PEM, or a damaged one: `openssl x509 -noout -subject -in {}` must print the name of the CA",
                quoted(path)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tests::pki::Authority;

    #[test]
    fn the_machines_store_and_a_ca_of_ones_own_are_trusted_together() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let (none, store, own) = (at("none"), at("store"), at("own"));
        let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let machines = Authority::new("machine").pem();
        std::fs::write(&store, format!("# comment\n{damaged}{machines}")).unwrap();
        std::fs::write(&own, Authority::new("own").pem()).unwrap();
        let load = |stores: &[&Path], ca_file: Option<&Path>| load_from(stores.iter().copied(), ca_file);
        let names = |trust: WebTrust| trust.verifier.names().collect::<Vec<_>>().join(" ");
        assert_eq!(names(load(&[&none, &store], None).unwrap()), "CN=machine");
        assert_eq!(names(load(&[&store], Some(&own)).unwrap()), "CN=machine CN=own");
        assert_eq!(names(load(&[&none], Some(&own)).unwrap()), "CN=own");
        assert_eq!(load(&[&none], None).unwrap_err(), WebProblem::NoStore);
        for (file, text) in [("none", None), ("empty", Some("")), ("damaged", Some(damaged)), ("text", Some("CA"))] {
            text.into_iter().for_each(|text| std::fs::write(at(file), text).unwrap());
            let problem = load(&[&store], Some(&at(file))).unwrap_err().to_string();
            assert!(problem.starts_with(&format!("download.ca_file {}: ", at(file).display())), "{problem}");
        }
    }
}
