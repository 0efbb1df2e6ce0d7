//! What goes in and out of the [`Machine`](super::Machine).

use std::time::Instant;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::identity::Which;
use crate::services::jobs::Identity as Job;
use crate::time::Rfc3339;

/// The time, by a clock that nobody sets and by the one on the wall.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) at: Instant,
    pub(crate) wall: Timestamp,
}

/// Why there is to be another certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Cause {
    Job(Job),
    /// The end of the present one is near.
    Renewal,
}

/// How far the new identity is, as it is noted beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Something is missing yet.
    Unfinished,
    /// It has all that it needs to connect.
    Trial,
    /// A commit may have been sent.
    Committing,
    /// The way back was taken, and why. `committing`: after a commit may have been sent.
    GivenUp { why: String, committing: bool },
}

/// What an earlier life of the daemon has left of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnfinishedRotation {
    pub(crate) cause: Cause,
    pub(crate) stage: Stage,
}

/// What a rotation has come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RotationEnd {
    pub(crate) cause: Cause,
    /// Why the new certificate isn't in force; `None`: it is.
    pub(crate) failed: Option<String>,
}

/// Why the last rotation has failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failed {
    pub(crate) cause: Cause,
    pub(crate) why: String,
    /// By the clock on the wall.
    pub(crate) at: Rfc3339,
}

/// How long new certificates have been tried for this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tried {
    pub(crate) cause: Cause,
    /// Noted before it passes, and so never too little, however often the daemon is ended.
    pub(crate) seconds: u64,
}

/// What has to be known after a restart, when there is no new identity any more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// The last that has ended.
    #[serde(default)]
    pub(crate) ended: Option<RotationEnd>,
    /// When the last renewal began, by the clock on the wall.
    #[serde(default)]
    pub(crate) renewed_at: Option<Rfc3339>,
    #[serde(default)]
    pub(crate) tried: Option<Tried>,
    /// `None`: none has failed, or one has succeeded since.
    #[serde(default)]
    pub(crate) failed: Option<Failed>,
}

/// What is asked of AWS. Asked again until there is an answer, or it is withdrawn; but for [`Question::CreateFromCsr`], which makes a
/// certificate each time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    /// Of the rotator: a certificate for the key.
    Create(Job),
    /// Of the rotator: that the old one goes. Only from a connection with the new one.
    Commit(Job),
    /// CreateCertificateFromCsr
    CreateFromCsr,
    /// RegisterThing, with what proves that the certificate was given to us.
    Register { token: String },
}

/// What AWS has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answered {
    /// A certificate for our key, as PEM; and of CreateCertificateFromCsr what proves that it was given to us.
    Certificate {
        pem: String,
        token: Option<String>,
    },
    /// `deviceConfiguration`. The name of the thing is the one that it had.
    Registered {
        configuration: Map<String, Value>,
    },
    Committed,
}

/// Why there is no answer that could be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoAnswer {
    /// Safe to show.
    pub(crate) text: String,
    /// Asking again wouldn't change it.
    pub(crate) is_final: bool,
}

/// What is to be done, in this order. Of those that are answered only one is without an answer at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// A new identity is begun in the place of one that was left, with a key and a request for a certificate.
    /// Answered by [`Machine::stored`](super::Machine::stored).
    Prepare(Cause),
    /// Its certificate is to be on the disk, and how far it is. Answered by `stored`.
    StoreCertificate { pem: String, stage: Stage },
    /// What AWS has said of the thing is to be on the disk, and how far the new identity is. Answered by `stored`.
    StoreConfiguration { configuration: Map<String, Value>, stage: Stage },
    /// How far it is is to be on the disk. Answered by `stored`.
    Store(Stage),
    /// The new identity takes the place of the old one. Answered by `stored`.
    PutInForce(Cause),
    /// The new identity goes away. Answered by `stored`.
    Discard,
    /// This is to be noted in the database. Answered by `stored`.
    Record(Note),
    /// Likewise, whenever it can be. Not answered.
    Note(Note),
    /// Answered by [`Machine::answered`](super::Machine::answered), unless it is withdrawn before.
    Ask(Question),
    /// What was asked isn't of interest any more.
    Withdraw,
    /// The link is to connect with this one, at once.
    Use(Which),
    /// Likewise, when it makes its next attempt anyway.
    UseAtNextAttempt(Which),
    /// It is over.
    Over(RotationEnd),
}

/// How far a rotation is, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Key,
    CreateCertificate,
    RegisterThing,
    Trial,
    Commit,
    PutInForce,
    GoBack,
}

impl Step {
    /// As the status document and the log call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Step::Key => "key",
            Step::CreateCertificate => "create-certificate",
            Step::RegisterThing => "register-thing",
            Step::Trial => "trial",
            Step::Commit => "commit",
            Step::PutInForce => "put-in-force",
            Step::GoBack => "go-back",
        }
    }
}
