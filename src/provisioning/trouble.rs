//! Why it didn't go on, in words.

use std::fmt;

use crate::identity::{CertificateError, DiskError, KeyError};
use crate::pkcs11::TokenFault;

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// A key and a request for a certificate are made.
    Key,
    /// It connects with the claim.
    Connect,
    CreateCertificate,
    RegisterThing,
    /// It connects with the new certificate.
    Trial,
}

impl Stage {
    /// As status, journal and `gatewire provision` name it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Stage::Key => "key",
            Stage::Connect => "connect",
            Stage::CreateCertificate => "create-certificate",
            Stage::RegisterThing => "register-thing",
            Stage::Trial => "trial",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whose doing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The server wasn't reached: nobody has refused anything.
    Network,
    /// The server refused the connection, ended it or didn't answer.
    Server,
    /// What was asked for was rejected, or the answer can't be used.
    Answer,
    /// Something on this machine.
    Here,
}

/// Why a stage wasn't completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) stage: Stage,
    pub(crate) blame: Blame,
    /// AWS's `errorCode`, or a `snake_case` word of ours.
    pub(crate) code: String,
    /// What was tried, on what, and what came back. No full stop is at its end.
    pub(crate) message: String,
    /// What to do, in whole sentences, or nothing.
    pub(crate) advice: String,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.stage, self.message)?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, ". {}", self.advice) }
    }
}

impl Trouble {
    pub(crate) fn of_disk(stage: Stage, error: &DiskError) -> Trouble {
        Trouble {
            stage,
            blame: Blame::Here,
            code: "disk".to_owned(),
            message: error.to_string(),
            advice: format!("Nothing of the identity is lost. {}", error.advice()),
        }
    }

    pub(crate) fn of_key(error: &KeyError) -> Trouble {
        Trouble {
            stage: Stage::Key,
            blame: Blame::Here,
            code: "key".to_owned(),
            message: error.to_string(),
            advice: String::new(),
        }
    }

    /// Without a secret that somebody has quoted.
    pub(super) fn without(mut self, secret: &str) -> Trouble {
        self.message = self.message.replace(secret, "[token]");
        self
    }

    /// The token can't be asked to sign the request.
    pub(crate) fn of_token(fault: &TokenFault) -> Trouble {
        Trouble {
            stage: Stage::Key,
            blame: Blame::Here,
            code: fault.code().to_owned(),
            message: fault.to_string(),
            advice: fault.advice(),
        }
    }

    pub(super) fn of_certificate(error: CertificateError) -> Trouble {
        Trouble {
            stage: Stage::CreateCertificate,
            blame: Blame::Answer,
            code: "bad_certificate".to_owned(),
            message: format!("the certificate that came can't be used: {error}"),
            advice: "Where a certificate provider signs for this account, look at what it signs.".to_owned(),
        }
    }

    /// The thing that was registered can't be this client.
    pub(super) fn of_client_id(thing: &str, said: &str) -> Trouble {
        Trouble {
            stage: Stage::RegisterThing,
            blame: Blame::Answer,
            code: "thing_name".to_owned(),
            message: format!("the thing's name `{thing}` {said}"),
            advice: "Change ThingName in the template, or have the configuration make something shorter of it."
                .to_owned(),
        }
    }

    /// Likewise of one that was registered before the configuration was another.
    pub(super) fn of_configuration(thing: &str, said: &str) -> Trouble {
        Trouble { stage: Stage::Trial, blame: Blame::Here, ..Trouble::of_client_id(thing, said) }
    }

    /// An answer that isn't what AWS documents.
    pub(super) fn of_answer(stage: Stage, what: &str) -> Trouble {
        Trouble {
            stage,
            blame: Blame::Answer,
            code: "bad_answer".to_owned(),
            message: format!("the answer can't be used: {what}"),
            advice: "IoT Core doesn't answer so: see whether connection.endpoint is its, and what else answers there."
                .to_owned(),
        }
    }
}
