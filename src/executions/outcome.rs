//! What an execution has come to, in the words of the service that wants to know.

use crate::actions::performing::{INTERRUPTED, Performed, REASON, Told};
use crate::services::commands::{self, Reason};
use crate::services::jobs::{self, Details, Status};

/// What of it AWS takes.
pub(super) fn details(told: &Told) -> Details {
    told.iter().fold(Details::default(), |details, (key, value)| details.with(key, value))
}

pub(super) fn of_job(performed: &Performed) -> jobs::Outcome {
    let status = if performed.has_succeeded { Status::Succeeded } else { Status::Failed };
    jobs::Outcome { status, details: details(&performed.told) }
}

pub(super) fn of_command(performed: &Performed) -> commands::Outcome {
    let details = details(&performed.told);
    if performed.was_interrupted {
        return commands::Outcome::interrupted(why(&performed.told).description());
    }
    match performed.has_succeeded {
        true => commands::Outcome::succeeded(details),
        false => commands::Outcome::failed(why(&performed.told), details),
    }
}

/// A reason code, and the sentence.
fn why(told: &Told) -> Reason {
    let value = |name| told.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
    match (value(REASON), value("exit_code")) {
        (Some(INTERRUPTED), _) => Reason::interrupted(INTERRUPTED),
        (Some(reason), _) => Reason::new("FAILED", reason),
        (None, Some(code)) => Reason::new(&format!("EXIT_CODE_{code}"), &format!("ended with exit code {code}")),
        (None, None) => Reason::new("FAILED", ""),
    }
}

/// That it isn't done, and why.
pub(super) fn failed(why: &str) -> Performed {
    Performed { has_succeeded: false, was_interrupted: false, told: vec![(REASON, why.to_owned())] }
}
