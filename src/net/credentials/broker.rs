//! The files of a bridge's `tls`: the CA of the local broker's certificate, and what the broker may want from us.

use std::sync::Arc;

use rustls::ClientConfig;

use super::{
    Authorities, CredentialsProblems, Role, Verifier, authorities, chain, client_config, key, mismatch, noted,
};
use crate::config;

/// Ready for TLS with a local broker.
#[derive(Debug, Clone)]
pub(crate) struct BrokerCredentials {
    tls: Arc<ClientConfig>,
    verifier: Arc<Verifier>,
}

impl BrokerCredentials {
    pub(in crate::net) fn client_config(&self) -> &Arc<ClientConfig> {
        &self.tls
    }

    /// What looks at the broker's certificate.
    pub(in crate::net) fn verifier(&self) -> &Arc<Verifier> {
        &self.verifier
    }
}

/// Reads and checks the files.
///
/// # Errors
/// Every problem of every file, in the order CA, certificate, key.
pub(crate) fn load_for_broker(tls: &config::BrokerTls) -> Result<BrokerCredentials, CredentialsProblems> {
    let mut problems = Vec::new();
    let roots = noted(Role::Ca, &tls.ca_file, authorities(&tls.ca_file), &mut problems);
    let client = tls.client.as_ref().and_then(|(cert_file, key_file)| {
        let chain = noted(Role::Certificate, cert_file, chain(cert_file), &mut problems);
        let key = noted(Role::Key, key_file, key::read(key_file), &mut problems);
        let (chain, key) = (chain?, key?);
        problems.extend(mismatch(cert_file, key_file, &chain, &*key.signing));
        Some((chain.certificates, key.signing))
    });
    let (Some(Authorities { roots, .. }), true) = (roots, problems.is_empty()) else {
        return Err(CredentialsProblems(problems));
    };
    let names = roots.subjects();
    let verifier = Arc::new(Verifier::new(super::verifier(roots), names));
    Ok(BrokerCredentials { tls: Arc::new(client_config(&verifier, client)), verifier })
}
