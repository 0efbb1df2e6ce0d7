//! Need by need, what a policy says: as IoT Core decides, where Deny wins, and undecided where only IoT Core can know.

use super::Action;
use super::document::{Document, Effect, Statement};
use super::needs::Need;
use super::pattern::Pattern;
use super::resource::{Resource, Variables};
use super::scope::Scope;

/// A statement with its resources read.
#[derive(Debug)]
pub(crate) struct Grant<'a> {
    pub(crate) statement: &'a Statement,
    pub(crate) resources: Vec<Resource>,
}

impl Grant<'_> {
    /// Whether the statement is about `action`.
    pub(crate) fn names(&self, action: Action) -> bool {
        self.statement.actions.iter().any(|pattern| action_matches(pattern, action))
    }

    /// Why nobody but IoT Core knows whether the statement counts for `resource`.
    fn doubt(&self, resource: &Resource) -> Option<Doubt> {
        let unknown = match (resource.unknown.as_slice(), self.statement.conditions.as_slice()) {
            ([], []) => return None,
            (variables @ [_, ..], _) => Unknown::Variables(variables.to_vec()),
            ([], conditions) => Unknown::Conditions(conditions.to_vec()),
        };
        Some(Doubt { statement: self.statement.to_string(), resource: resource.text.clone(), unknown })
    }
}

/// The names of actions aren't case-sensitive.
pub(crate) fn action_matches(pattern: &str, action: Action) -> bool {
    Pattern::glob(&pattern.to_ascii_lowercase()).matches(&action.name().to_ascii_lowercase())
}

/// Reads the resources of a document.
pub(crate) fn grants<'a>(document: &'a Document, variables: &Variables) -> Vec<Grant<'a>> {
    let read = |statement: &'a Statement| Grant {
        statement,
        resources: statement.resources.iter().map(|text| Resource::read(text, variables)).collect(),
    };
    document.statements.iter().map(read).collect()
}

/// What a policy says to a need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allowed,
    /// It depends on what only IoT Core knows.
    Undecided(Vec<Doubt>),
    /// At least for a part of what is needed.
    Denied(Vec<Reason>),
}

/// Why something is denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reason {
    /// No statement allows it, or not all of it.
    NotAllowed {
        /// Something that isn't allowed, behind region and account.
        example: String,
        /// Some of what is needed is allowed.
        partly: bool,
    },
    /// A statement with `"Effect": "Deny"`.
    Forbidden { statement: String, resource: String, example: String },
}

/// What would decide it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Doubt {
    pub(crate) statement: String,
    pub(crate) resource: String,
    pub(crate) unknown: Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unknown {
    Variables(Vec<String>),
    Conditions(Vec<String>),
    /// The wildcards can't be compared in reasonable time.
    Wildcards,
}

/// Decides a need.
pub(crate) fn judge(need: &Need, grants: &[Grant<'_>], scope: &Scope) -> Verdict {
    let asked = Asked::new(need, scope);
    let (mut reasons, mut doubts) = (Vec::new(), Vec::new());
    for (grant, resource) in relevant(grants, need, Effect::Deny) {
        let Some(example) = asked.overlap(&resource.pattern) else { continue };
        match grant.doubt(resource) {
            Some(doubt) => doubts.push(doubt),
            None => reasons.push(Reason::Forbidden {
                statement: grant.statement.to_string(),
                resource: resource.text.clone(),
                example,
            }),
        }
    }
    let (certain, possible) = allowed(grants, need);
    match asked.outside(&possible) {
        Some(Escape::Found(example)) => {
            let partly = possible.iter().any(|(pattern, _)| asked.overlap(pattern).is_some());
            reasons.push(Reason::NotAllowed { example, partly });
        }
        Some(Escape::Unknown) => doubts.extend(asked.doubts(&possible)),
        None if certain.len() < possible.len() && asked.outside(&certain).is_some() => {
            doubts.extend(asked.doubts(&possible))
        }
        None => {}
    }
    match (reasons.is_empty(), doubts.is_empty()) {
        (false, _) => Verdict::Denied(reasons),
        (true, false) => Verdict::Undecided(doubts),
        (true, true) => Verdict::Allowed,
    }
}

/// The resources of all statements of an effect on the action of `need`.
fn relevant<'a>(
    grants: &'a [Grant<'a>],
    need: &Need,
    effect: Effect,
) -> impl Iterator<Item = (&'a Grant<'a>, &'a Resource)> {
    let action = need.purpose.action();
    let of_effect = grants.iter().filter(move |grant| grant.statement.effect == effect && grant.names(action));
    of_effect.flat_map(|grant| grant.resources.iter().map(move |resource| (grant, resource)))
}

/// What is allowed, and what makes it doubtful.
type Allowed<'a> = Vec<(&'a Pattern, Option<Doubt>)>;

/// What the policy allows for sure, and what it allows at most.
fn allowed<'a>(grants: &'a [Grant<'a>], need: &Need) -> (Allowed<'a>, Allowed<'a>) {
    let found = relevant(grants, need, Effect::Allow);
    let possible: Allowed<'a> = found.map(|(grant, resource)| (&resource.pattern, grant.doubt(resource))).collect();
    let certain = possible.iter().filter(|(_, doubt)| doubt.is_none()).cloned().collect();
    (certain, possible)
}

/// The strings of a need, as IoT Core compares them with a policy.
struct Asked {
    begin: String,
    strings: Vec<Pattern>,
}

/// Something needed that some patterns don't match.
enum Escape {
    Found(String),
    Unknown,
}

impl Asked {
    fn new(need: &Need, scope: &Scope) -> Asked {
        let begin = scope.to_string();
        let strings = need.strings.iter().map(|strings| Pattern::literal(&begin).then(strings)).collect();
        Asked { begin, strings }
    }

    /// Something needed that `pattern` matches.
    fn overlap(&self, pattern: &Pattern) -> Option<String> {
        self.strings.iter().find_map(|strings| strings.overlap(pattern)).map(|found| self.shown(&found))
    }

    /// Something needed that nothing allows.
    fn outside(&self, allowed: &Allowed<'_>) -> Option<Escape> {
        let patterns: Vec<&Pattern> = allowed.iter().map(|(pattern, _)| *pattern).collect();
        let mut unknown = None;
        for strings in &self.strings {
            match strings.outside(&patterns) {
                Ok(None) => {}
                Ok(Some(found)) => return Some(Escape::Found(self.shown(&found))),
                Err(_) => unknown = Some(Escape::Unknown),
            }
        }
        unknown
    }

    /// What is doubtful about what has to do with this need; that the search was given up, if nothing is.
    fn doubts(&self, allowed: &Allowed<'_>) -> Vec<Doubt> {
        let relevant = allowed.iter().filter(|(pattern, _)| self.overlap(pattern).is_some());
        let doubts: Vec<Doubt> = relevant.filter_map(|(_, doubt)| doubt.clone()).collect();
        match doubts.is_empty() {
            false => doubts,
            true => vec![Doubt {
                statement: "all statements together".to_owned(),
                resource: String::new(),
                unknown: Unknown::Wildcards,
            }],
        }
    }

    fn shown(&self, found: &str) -> String {
        found.strip_prefix(&self.begin).unwrap_or(found).to_owned()
    }
}
