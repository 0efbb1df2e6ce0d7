//! How an existing policy compares with what a configuration needs, in words.

use std::fmt;

use super::context::Context;
use super::document::Document;
use super::evaluate::{self, Doubt, Reason, Unknown, Verdict};
use super::least::statement_for;
use super::needs::Need;
use super::notes;
use super::scope::Scope;
use super::width::{self, What, Wider};
use crate::config::meant;
use crate::printable::printable;

/// The comparison of a policy with the needs of a configuration.
#[derive(Debug)]
pub(crate) struct Report {
    scope: Scope,
    verdicts: Vec<(Need, Verdict)>,
    wider: Vec<Wider>,
    notes: Vec<String>,
}

impl Report {
    /// Compares `document` with `needs`; `notes` are about how they were read.
    pub(crate) fn new(
        document: &Document,
        needs: Vec<Need>,
        scope: Scope,
        context: &Context,
        mut notes: Vec<String>,
    ) -> Report {
        let grants = evaluate::grants(document, context);
        notes.extend(notes::of(&grants, &scope, context));
        let wider = width::of(&grants, &needs, &scope);
        let judged = needs.into_iter().map(|need| {
            let verdict = evaluate::judge(&need, &grants, &scope, context);
            (need, verdict)
        });
        Report { verdicts: judged.collect(), wider, notes, scope }
    }

    /// Whether nothing is denied for sure.
    pub(crate) fn is_allowed(&self) -> bool {
        self.count(|verdict| matches!(verdict, Verdict::Denied(_))) == 0
    }

    fn sum(&self) -> String {
        let total = self.verdicts.len();
        let allowed = self.count(|verdict| matches!(verdict, Verdict::Allowed));
        let undecided = self.count(|verdict| matches!(verdict, Verdict::Undecided(_)));
        let mut text = format!("the policy allows {allowed} of {total} needs");
        for (count, word) in [(total - allowed - undecided, "denied"), (undecided, "undecided")] {
            if count > 0 {
                text += &format!(", {count} {word}");
            }
        }
        text
    }

    fn count(&self, is: fn(&Verdict) -> bool) -> usize {
        self.verdicts.iter().filter(|(_, verdict)| is(verdict)).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdicts = self.verdicts.iter().flat_map(|(need, verdict)| verdict_lines(need, verdict, &self.scope));
        let wider =
            self.wider.iter().map(|found| format!("wider      {}: {}", found.statement, width_words(&found.what)));
        let notes = self.notes.iter().map(|note| format!("note       {note}"));
        for line in verdicts.chain(wider).chain(notes).chain([self.sum()]) {
            // What stands in a policy or a topic must neither act on the reader's terminal nor pass for a line of ours.
            writeln!(f, "{}", printable(&line))?;
        }
        Ok(())
    }
}

fn verdict_lines(need: &Need, verdict: &Verdict, scope: &Scope) -> Vec<String> {
    let word = match verdict {
        Verdict::Allowed => "allowed",
        Verdict::Undecided(_) => "undecided",
        Verdict::Denied(_) => "denied",
    };
    let (action, resource, sources) = (need.purpose.action(), &need.resource, need.sources.join(", "));
    let mut lines = vec![format!("{word:<9}  {action} on {resource}, for {sources}")];
    let mut add = |text: String| lines.push(format!("           {text}"));
    match verdict {
        Verdict::Allowed => {}
        Verdict::Undecided(doubts) => doubts.iter().map(doubt_words).for_each(add),
        Verdict::Denied(reasons) => {
            for reason in reasons {
                add(reason_words(reason, need));
                if let Reason::NotAllowed { unmet, .. } = reason {
                    unmet.iter().for_each(|unmet| {
                        add(format!(
                            "{} would allow it, but its condition doesn't hold: {}",
                            unmet.statement, unmet.why
                        ));
                    });
                    add(format!("add {}", statement_for(need, scope)));
                }
            }
        }
    }
    lines
}

fn reason_words(reason: &Reason, need: &Need) -> String {
    match reason {
        Reason::NotAllowed { partly: false, .. } => "no statement allows it".to_owned(),
        Reason::NotAllowed { example, partly: true, .. } => {
            format!("the statements allow a part of it only: not {example}, for one")
        }
        Reason::Forbidden { statement, conditions, resource, example } => {
            let part = if *example == need.resource { String::new() } else { format!(" ({example}, for one)") };
            let holds = match conditions.is_empty() {
                true => String::new(),
                false => format!(", as its condition holds ({})", conditions.join(", ")),
            };
            format!("{statement} forbids it by {resource}{part}{holds}, and Deny wins: narrow or remove that")
        }
    }
}

fn doubt_words(Doubt { statement, resource, unknown }: &Doubt) -> String {
    match unknown {
        Unknown::Variables(names) => {
            let shown: Vec<String> = names.iter().map(|variable| format!("${{{}}}", variable.name)).collect();
            let mut whys: Vec<&str> = names.iter().filter_map(|variable| variable.why.as_deref()).collect();
            whys.dedup();
            let why = if whys.is_empty() { String::new() } else { format!(": {}", whys.join("; ")) };
            format!("{statement}: only IoT Core knows {} in {resource}{why}", shown.join(" and "))
        }
        Unknown::Conditions(conditions) => {
            format!("{statement}: only IoT Core knows whether its condition holds ({})", conditions.join(", "))
        }
        Unknown::Wildcards => format!("{statement}: their wildcards are too intertwined to be compared"),
    }
}

/// What gatewire can need.
const ACTIONS: [&str; 5] = ["iot:Connect", "iot:Publish", "iot:RetainPublish", "iot:Subscribe", "iot:Receive"];

fn width_words(what: &What) -> String {
    match what {
        What::Action { text, suffices } if suffices.is_empty() => match meant(text, &ACTIONS) {
            Some(action) => format!("gatewire never uses {text}; did you mean {action}?"),
            None => format!("gatewire never uses {text}"),
        },
        What::Action { text, suffices } => {
            let names: Vec<&str> = suffices.iter().map(|action| action.name()).collect();
            format!("{text} may allow other actions, too; {} would be enough", names.join(", "))
        }
        What::Resource { text, action, suffices } if suffices.is_empty() => {
            format!("{action} on {text} isn't needed")
        }
        What::Resource { text, action, suffices } => {
            format!("{action} on {text} allows more than is needed; {} would be enough", first_of(suffices))
        }
        What::Idle { text, takes } => {
            let mut takes = takes.clone();
            takes.sort_unstable();
            takes.dedup();
            format!("{text} has no effect; resources of these actions begin with {}", takes.join(" or "))
        }
    }
}

/// A list that can be read: the first ones, and how many more there are.
fn first_of(all: &[String]) -> String {
    const SHOWN: usize = 4;
    match all.len().saturating_sub(SHOWN) {
        0 => all.join(", "),
        more => format!("{} and {more} more", all[..SHOWN].join(", ")),
    }
}
