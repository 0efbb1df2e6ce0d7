//! How far a signer has come.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A step on the way to a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    Start,
    Load,
    Initialize,
    FindToken,
    Open,
    Login,
    FindKey,
    Sign,
    Finish,
}

impl fmt::Display for Step {
    /// Follows "while" or "the module failed".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Start => "starting",
            Step::Load => "loading it",
            Step::Initialize => "initializing it",
            Step::FindToken => "looking for the token",
            Step::Open => "opening a session with the token",
            Step::Login => "logging in to the token",
            Step::FindKey => "looking for the key",
            Step::Sign => "signing",
            Step::Finish => "ending the session",
        })
    }
}
