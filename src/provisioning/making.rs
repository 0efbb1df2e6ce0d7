//! The identity that is being made: its files, and its key. All of this waits for the disk, the processor or the token.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::trouble::{Stage, Trouble};
use crate::certificate;
use crate::config::{self, KeyFile};
use crate::identity::{
    Directory, DiskError, Identity, KeyError, KeyKind, KeyPlace, Progress, Signer, Which, certificate_of, csr, parse,
};
use crate::net::credentials;
use crate::pkcs11::{TokenKey, Uri};
use crate::time;

/// Where the key comes from.
#[derive(Debug, Clone)]
pub(crate) enum KeySource {
    /// It is made here.
    Made(KeyKind),
    /// It is in a token, and stays the same.
    Token(Arc<Uri>),
}

impl KeySource {
    /// The one that the configuration names.
    pub(crate) fn of(provisioning: &config::Provisioning, tls: &config::Tls) -> KeySource {
        match &tls.key_file {
            KeyFile::File(_) => KeySource::Made(provisioning.key),
            KeyFile::Token(uri) => KeySource::Token(Arc::clone(uri)),
        }
    }

    /// What is said of it in a line.
    pub(super) fn said(&self) -> &'static str {
        match self {
            KeySource::Made(KeyKind::EcP256) => "a key is made (EC P-256)",
            KeySource::Made(KeyKind::Rsa2048) => "a key is made (RSA 2048)",
            KeySource::Token(_) => "the key is in a token",
        }
    }

    pub(crate) fn place(&self) -> KeyPlace {
        match self {
            KeySource::Made(_) => KeyPlace::File,
            KeySource::Token(_) => KeyPlace::Token,
        }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Making {
    directory: Directory,
    source: KeySource,
}

impl Making {
    pub(crate) fn new(directory: Directory, source: KeySource) -> Making {
        Making { directory, source }
    }

    /// How far it has come, if what is there is whole: a key that can be read, and the certificate that belongs to it.
    ///
    /// # Errors
    /// The disk can't be read.
    pub(crate) fn progress(&self) -> Result<Option<Progress>, DiskError> {
        let Some(progress) = self.directory.next()? else { return Ok(None) };
        let certificate = self.directory.next_certificate()?;
        let needs_certificate = progress.certificate_id.is_some();
        let is_whole = match progress.key {
            // Whose it is is seen in the trial: the token may not be there now.
            KeyPlace::Token => certificate.is_some() || !needs_certificate,
            KeyPlace::File => {
                let key = self.directory.next_key()?.and_then(|pem| parse(&pem).ok());
                let id = key.as_ref().zip(certificate).and_then(|(key, pem)| certificate_of(key, &pem).ok());
                key.is_some() && (!needs_certificate || id == progress.certificate_id)
            }
        };
        Ok(Some(progress).filter(|_| is_whole))
    }

    /// Makes a key, and begins with this progress.
    pub(crate) fn begin(&self, progress: &Progress) -> Result<(), Trouble> {
        let key = match &self.source {
            KeySource::Made(kind) => {
                Some(self.directory.platform().generate(*kind).map_err(|error| Trouble::of_key(&error))?)
            }
            KeySource::Token(_) => None,
        };
        self.directory.begin(key.as_ref(), progress).map_err(|error| Trouble::of_disk(Stage::Key, &error))
    }

    pub(crate) fn save(&self, stage: Stage, progress: &Progress, certificate: Option<&str>) -> Result<(), Trouble> {
        let saved = match certificate {
            Some(pem) => self.directory.note_certificate(pem, progress),
            None => self.directory.note(progress),
        };
        saved.map_err(|error| Trouble::of_disk(stage, &error))
    }

    pub(crate) fn put_in_force(&self, identity: &Identity) -> Result<(), Trouble> {
        self.directory.put_in_force(identity).map_err(|error| Trouble::of_disk(Stage::Trial, &error))
    }

    /// A request for a certificate, and what the answer has to belong to.
    pub(crate) fn request(&self, common_name: &str) -> Result<(String, Arc<Signer>), Trouble> {
        let of_disk = |error| Trouble::of_disk(Stage::Key, &error);
        let of_key = |error: KeyError| Trouble::of_key(&error);
        if let KeySource::Token(uri) = &self.source {
            let key = Arc::new(TokenKey::find(uri).map_err(|fault| Trouble::of_token(&fault))?);
            let request = csr(&*key, common_name);
            let request = request
                .map_err(|error| key.last_fault().map_or_else(|| of_key(error), |fault| Trouble::of_token(&fault)))?;
            return Ok((request, key));
        }
        let pem = self.directory.next_key().map_err(of_disk)?;
        let key = pem.ok_or(KeyError::Unreadable).and_then(|pem| parse(&pem)).map_err(of_key)?;
        let request = self.directory.platform().csr(&key, common_name).map_err(of_key)?;
        Ok((request, Arc::new(key)))
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// What the trial is made with: the authorities of `tls`, and the key if that is in a token.
    pub(crate) fn tls(&self, tls: &config::Tls) -> config::Tls {
        let paths = self.directory.paths(Which::Next);
        let key_file = match &self.source {
            KeySource::Made(_) => KeyFile::File(paths.key),
            KeySource::Token(_) => tls.key_file.clone(),
        };
        let (ca_file, whose) = (tls.ca_file.clone(), certificate::Whose::Next);
        config::Tls { ca_file, cert_file: paths.certificate, key_file, whose }
    }

    /// Whether what is in force can be used: key and certificate can be read and belong together. `tls` names the authorities, and
    /// the key if that is in a token. Whoever reads the credentials comes to the same.
    pub(super) fn is_usable(&self, tls: &config::Tls) -> bool {
        let paths = self.directory.paths(Which::Current);
        let key_file = match &self.source {
            KeySource::Made(_) => KeyFile::File(paths.key),
            KeySource::Token(_) => tls.key_file.clone(),
        };
        let tls = config::Tls { cert_file: paths.certificate, key_file, ..tls.clone() };
        credentials::load(&tls, time::system()).map_or_else(|problems| !problems.are_of_identity(), |_| true)
    }

    /// Waits for what others do with the files.
    pub(crate) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(self.directory.turn()).acquire_owned().await.ok()
    }
}
