//! The last executions of jobs and commands, for `gatewire jobs`. Pure.
//!
//! It goes to the disk as a note of its own in the same change as the journal of the service, before an action begins and when it is
//! over: so it says of no execution what the journal doesn't.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::jobs::{Fate, Identity};
use crate::printable::printable;
use crate::time::Rfc3339;

/// The name of its note in the store.
pub(crate) const NOTE: &str = "jobs";

/// So many are kept.
const MAX_EXECUTIONS: usize = 100;

/// The most characters of a text.
const MAX_TEXT: usize = 128;
const MAX_REASON: usize = 400;

/// What an execution has that isn't over.
const UNDER_WAY: &str = "IN_PROGRESS";

/// What one has of which nobody knows how it is over.
const UNKNOWN: &str = "UNKNOWN";

/// What an execution is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Job,
    Command,
}

/// Which execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subject {
    kind: Kind,
    /// The job's id; of a command, the id of the execution.
    id: String,
    /// The number of a job's execution.
    execution: Option<i64>,
}

/// One execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// When it was over; of one under way, when it was begun.
    at: Rfc3339,
    #[serde(flatten)]
    subject: Subject,
    /// What did it; none where nothing was begun.
    action: Option<String>,
    /// As AWS calls it: `IN_PROGRESS`, `SUCCEEDED`, `FAILED`, `REJECTED`, `CANCELED`, `TIMED_OUT`, `REMOVED`; or `UNKNOWN`.
    status: String,
    /// Why it is so, as far as that is known.
    reason: Option<String>,
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct History {
    /// The newest last.
    executions: VecDeque<Entry>,
}

impl Subject {
    pub(crate) fn job(identity: &Identity) -> Subject {
        Subject { kind: Kind::Job, id: cut(&identity.job, MAX_TEXT), execution: Some(identity.number) }
    }

    pub(crate) fn command(execution: &str) -> Subject {
        Subject { kind: Kind::Command, id: cut(execution, MAX_TEXT), execution: None }
    }
}

impl History {
    /// Reads a note. One that can't be read is as good as none.
    pub(crate) fn read(note: &str) -> History {
        let mut history: History = serde_json::from_str(note).unwrap_or_default();
        history.trim();
        history
    }

    /// The note.
    pub(crate) fn text(&self) -> String {
        // Strings and numbers: nothing in it can fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The newest last.
    pub(crate) fn executions(&self) -> impl Iterator<Item = &Entry> {
        self.executions.iter()
    }

    /// An execution begins, or is resumed; since when it is under way stays as it was noted first.
    pub(crate) fn begun(&mut self, subject: Subject, action: &str, at: Rfc3339) {
        let before = self.executions.iter().find(|entry| entry.subject == subject && entry.status == UNDER_WAY);
        let at = before.map_or(at, |entry| entry.at);
        let action = Some(cut(action, MAX_TEXT));
        self.put(Entry { at, subject, action, status: UNDER_WAY.to_owned(), reason: None });
    }

    /// It is over. Without an action it is that with which it was begun.
    pub(crate) fn over(
        &mut self,
        subject: Subject,
        action: Option<&str>,
        status: &str,
        reason: Option<&str>,
        at: Rfc3339,
    ) {
        let before = self.executions.iter().find(|entry| entry.subject == subject);
        let action =
            action.map(|action| cut(action, MAX_TEXT)).or_else(|| before.and_then(|entry| entry.action.clone()));
        let status = if is_status(status) { status } else { UNKNOWN };
        let reason = reason.map(|reason| cut(reason, MAX_REASON)).filter(|reason| !reason.is_empty());
        self.put(Entry { at, subject, action, status: status.to_owned(), reason });
    }

    /// A job is over, as `fate` says.
    pub(crate) fn job_over(&mut self, identity: &Identity, action: Option<&str>, fate: &Fate, at: Rfc3339) {
        let (status, reason) = match fate {
            Fate::Reported(outcome) => (outcome.status.as_str(), outcome.why()),
            // A rejection says so of a job that was deleted.
            Fate::Moot(said) if said == "ResourceNotFound" => ("REMOVED", None),
            // What AWS says of one that is over, when it is asked for it: not how. This gateway has told no result.
            Fate::Moot(said) if said == "TerminalStateReached" => {
                ("CANCELED", Some("it was cancelled at AWS, or has timed out there".to_owned()))
            }
            Fate::Moot(said) if is_status(said) => (said.as_str(), None),
            Fate::Moot(said) => (UNKNOWN, Some(format!("AWS says {said}"))),
        };
        // That of a rejected one, which isn't begun.
        let told = match fate {
            Fate::Reported(outcome) => outcome.details.get("action"),
            Fate::Moot(_) => None,
        };
        self.over(Subject::job(identity), action.or(told), status, reason.as_deref(), at);
    }

    /// After a start: what is under way by the list alone, and by no journal, is over, and nobody knows how. Returns whether there was
    /// any.
    pub(crate) fn settle(&mut self, is_under_way: impl Fn(&Subject) -> bool) -> bool {
        let mut found = false;
        for entry in self.executions.iter_mut().filter(|entry| entry.status == UNDER_WAY) {
            if !is_under_way(&entry.subject) {
                entry.status = UNKNOWN.to_owned();
                found = true;
            }
        }
        found
    }

    /// At the end, in the place of what was said of the same execution before.
    fn put(&mut self, entry: Entry) {
        self.executions.retain(|other| other.subject != entry.subject);
        self.executions.push_back(entry);
        self.trim();
    }

    /// The oldest go; what is under way stays as long as there is something else.
    fn trim(&mut self) {
        while self.executions.len() > MAX_EXECUTIONS {
            let oldest = self.executions.iter().position(|entry| entry.status != UNDER_WAY);
            self.executions.remove(oldest.unwrap_or(0));
        }
    }
}

/// What AWS calls a status.
fn is_status(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

/// The beginning of a text, in which what can't be shown is written as JSON would.
fn cut(text: &str, most: usize) -> String {
    let shown = printable(text);
    match shown.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &shown[..end]),
        None => shown.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::services::jobs::{Details, Outcome, Status};

    fn at(second: i64) -> Rfc3339 {
        Timestamp::from_second(second).unwrap().into()
    }

    fn job(id: &str, number: i64) -> Identity {
        Identity { job: id.to_owned(), number }
    }

    fn lines(history: &History) -> Vec<String> {
        let line = |entry: &Entry| {
            let Subject { id, execution, .. } = &entry.subject;
            let number = execution.map_or_else(|| "-".to_owned(), |number| number.to_string());
            let (action, reason) = (entry.action.as_deref().unwrap_or("-"), entry.reason.as_deref().unwrap_or("-"));
            format!("{} {id} {number} {action} {} {reason}", entry.at.as_second(), entry.status)
        };
        history.executions().map(line).collect()
    }

    #[test]
    fn each_execution_is_there_once_as_it_is_now() {
        let mut history = History::default();
        history.begun(Subject::job(&job("a", 1)), "restart", at(1));
        history.over(Subject::command("c"), Some("reload"), "SUCCEEDED", None, at(2));
        history.begun(Subject::job(&job("a", 1)), "restart", at(3));
        assert_eq!(lines(&history), ["2 c - reload SUCCEEDED -", "1 a 1 restart IN_PROGRESS -"]);
        let told = |status, details: &[(&str, &str)]| {
            let details = details.iter().fold(Details::default(), |details, (key, value)| details.with(key, value));
            Fate::Reported(Outcome { status, details })
        };
        let noisy = told(Status::Failed, &[("reason", "it wrote 3 lines on stderr"), ("exit_code", "0")]);
        history.job_over(&job("a", 1), None, &noisy, at(4));
        history.job_over(&job("d", 1), Some("x"), &told(Status::Failed, &[("exit_code", "3")]), at(4));
        history.job_over(&job("d", 2), Some("x"), &told(Status::Succeeded, &[("exit_code", "0")]), at(4));
        history.begun(Subject::job(&job("a", 2)), "restart", at(5));
        for (number, fate) in (3..).zip(["CANCELED", "TIMED_OUT", "ResourceNotFound", "TerminalStateReached"]) {
            history.job_over(&job("b", number), Some("x"), &Fate::Moot(fate.to_owned()), at(6));
        }
        let expected = [
            "2 c - reload SUCCEEDED -",
            "4 a 1 restart FAILED it wrote 3 lines on stderr",
            "4 d 1 x FAILED ended with exit code 3",
            "4 d 2 x SUCCEEDED -",
            "5 a 2 restart IN_PROGRESS -",
            "6 b 3 x CANCELED -",
            "6 b 4 x TIMED_OUT -",
            "6 b 5 x REMOVED -",
            "6 b 6 x CANCELED it was cancelled at AWS, or has timed out there",
        ];
        assert_eq!(lines(&history), expected);
        assert_eq!(History::read(&history.text()), history);
        assert!(!history.settle(|subject| *subject == Subject::job(&job("a", 2))));
        assert!(history.settle(|_| false));
        assert_eq!(lines(&history)[4], "5 a 2 restart UNKNOWN -");
    }

    #[test]
    fn the_note_has_the_form_that_scripts_read() {
        let mut history = History::default();
        history.over(Subject::job(&job("a", 1)), None, "REJECTED", Some("no action\ntakes it"), at(0));
        let note = r#"{"executions":[{"at":"1970-01-01T00:00:00.000Z","kind":"job","id":"a","execution":1,"action":null,"status":"REJECTED","reason":"no action\\ntakes it"}]}"#;
        assert_eq!(history.text(), note);
        for unreadable in ["", "{}", "[]", r#"{"executions":[{"at":"today"}]}"#] {
            assert_eq!(History::read(unreadable), History::default());
        }
    }

    /// Up to 300 of some character: hundreds of texts with a choice for each would take minutes.
    fn long_text() -> impl Strategy<Value = String> {
        (any::<char>(), 0..300usize).prop_map(|(character, count)| character.to_string().repeat(count))
    }

    proptest! {
        #[test]
        fn it_is_bounded_and_what_is_under_way_stays(
            steps in prop::collection::vec((any::<bool>(), 0..150u32, long_text()), 0..400),
        ) {
            let mut history = History::default();
            history.begun(Subject::job(&job("long", 1)), "backup", at(0));
            for (time, (begins, number, text)) in (1..).zip(&steps) {
                let subject = Subject::command(&number.to_string());
                match *begins && *number < 20 {
                    true => history.begun(subject, text, at(time)),
                    false => history.over(subject, Some(text), "FAILED", Some(text), at(time)),
                }
                prop_assert!(history.executions.len() <= MAX_EXECUTIONS);
            }
            let of_long = history.executions().filter(|entry| entry.subject == Subject::job(&job("long", 1))).count();
            prop_assert_eq!(of_long, 1);
            prop_assert!(history.text().len() < MAX_EXECUTIONS * 4 * 700);
            prop_assert_eq!(History::read(&history.text()), history);
        }
    }
}
