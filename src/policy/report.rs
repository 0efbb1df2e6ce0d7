//! How an existing policy compares with what a configuration needs, in words.

use std::fmt::{self, Write as _};

use super::document::Document;
use super::evaluate::{self, Doubt, Reason, Unknown, Verdict};
use super::least::statement_for;
use super::needs::Need;
use super::resource::Variables;
use super::scope::Scope;
use super::width::{self, What, Wider};

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
        variables: &Variables,
        mut notes: Vec<String>,
    ) -> Report {
        let grants = evaluate::grants(document, variables);
        if grants.iter().any(|grant| grant.resources.iter().any(|resource| resource.names_thing)) {
            notes.push(format!(
                "${{iot:Connection.Thing.ThingName}} is taken to be \"{}\"; IoT Core knows it only if the certificate is \
                 attached to that thing",
                variables.thing
            ));
        }
        let wider = width::of(&grants, &needs, &scope);
        let judged = needs.into_iter().map(|need| {
            let verdict = evaluate::judge(&need, &grants, &scope);
            (need, verdict)
        });
        Report { verdicts: judged.collect(), wider, notes, scope }
    }

    /// Whether nothing is denied for sure.
    pub(crate) fn is_allowed(&self) -> bool {
        self.count(|verdict| matches!(verdict, Verdict::Denied(_))) == 0
    }

    fn count(&self, is: fn(&Verdict) -> bool) -> usize {
        self.verdicts.iter().filter(|(_, verdict)| is(verdict)).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for (need, verdict) in &self.verdicts {
            verdict_lines(&mut text, need, verdict, &self.scope)?;
        }
        for wider in &self.wider {
            writeln!(text, "wider      {}: {}", wider.statement, width_words(&wider.what))?;
        }
        for note in &self.notes {
            writeln!(text, "note       {note}")?;
        }
        let total = self.verdicts.len();
        let allowed = self.count(|verdict| matches!(verdict, Verdict::Allowed));
        let undecided = self.count(|verdict| matches!(verdict, Verdict::Undecided(_)));
        write!(text, "the policy allows {allowed} of {total} needs")?;
        for (count, word) in [(total - allowed - undecided, "denied"), (undecided, "undecided")] {
            if count > 0 {
                write!(text, ", {count} {word}")?;
            }
        }
        // What stands in a policy or a topic must not act on the reader's terminal.
        for c in text.chars() {
            if c.is_control() && c != '\n' { write!(f, "{}", c.escape_default())? } else { f.write_char(c)? }
        }
        writeln!(f)
    }
}

fn verdict_lines(text: &mut String, need: &Need, verdict: &Verdict, scope: &Scope) -> fmt::Result {
    let what = format!("{} on {}, for {}", need.purpose.action(), need.resource, need.sources.join(", "));
    match verdict {
        Verdict::Allowed => writeln!(text, "allowed    {what}"),
        Verdict::Undecided(doubts) => {
            writeln!(text, "undecided  {what}")?;
            doubts.iter().try_for_each(|doubt| writeln!(text, "           {}", doubt_words(doubt)))
        }
        Verdict::Denied(reasons) => {
            writeln!(text, "denied     {what}")?;
            for reason in reasons {
                writeln!(text, "           {}", reason_words(reason, need))?;
                if matches!(reason, Reason::NotAllowed { .. }) {
                    writeln!(text, "           add {}", statement_for(need, scope))?;
                }
            }
            Ok(())
        }
    }
}

fn reason_words(reason: &Reason, need: &Need) -> String {
    match reason {
        Reason::NotAllowed { partly: false, .. } => "no statement allows it".to_owned(),
        Reason::NotAllowed { example, partly: true } => {
            format!("the statements allow a part of it only: not {example}, for one")
        }
        Reason::Forbidden { statement, resource, example } => {
            let part = if *example == need.resource { String::new() } else { format!(" ({example}, for one)") };
            format!("{statement} forbids it by {resource}{part}, and Deny wins: narrow or remove that")
        }
    }
}

fn doubt_words(Doubt { statement, resource, unknown }: &Doubt) -> String {
    match unknown {
        Unknown::Variables(names) => {
            let names: Vec<String> = names.iter().map(|name| format!("${{{name}}}")).collect();
            format!("{statement}: only IoT Core knows {} in {resource}", names.join(" and "))
        }
        Unknown::Conditions(conditions) => {
            format!("{statement}: only IoT Core knows whether its condition holds ({})", conditions.join(", "))
        }
        Unknown::Wildcards => format!("{statement}: their wildcards are too intertwined to be compared"),
    }
}

fn width_words(what: &What) -> String {
    match what {
        What::Action { text, suffices } if suffices.is_empty() => format!("gatewire never uses {text}"),
        What::Action { text, suffices } => {
            let names: Vec<&str> = suffices.iter().map(|action| action.name()).collect();
            format!("{text} may allow other actions, too; {} would do", names.join(", "))
        }
        What::Resource { text, action, suffices } if suffices.is_empty() => {
            format!("{action} on {text} isn't needed")
        }
        What::Resource { text, action, suffices } => {
            format!("{action} on {text} allows more than is needed; {} would do", first_of(suffices))
        }
        What::Idle { text, takes } => {
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
