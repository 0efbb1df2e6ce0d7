//! Need by need, what a policy says: as IoT Core decides, where Deny wins, and undecided where only IoT Core can know.

use super::Action;
use super::condition::Truth;
use super::context::Context;
use super::document::{Document, Effect, Statement};
use super::needs::Need;
use super::pattern::{Pattern, TooComplex, common_outside};
use super::resource::{Resource, Variable};
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

    /// Whether its conditions hold for `action`: all of them have to.
    fn conditions(&self, action: Action, context: &Context) -> Conditions {
        let mut unknown = Vec::new();
        for condition in &self.statement.conditions {
            match condition.decide(action, context) {
                Truth::Holds => {}
                Truth::Fails(why) => return Conditions::Fail(format!("{condition}: {why}")),
                Truth::Unknown(why) => {
                    unknown.push(why.map_or(condition.to_string(), |why| format!("{condition}: {why}")));
                }
            }
        }
        if unknown.is_empty() { Conditions::Hold } else { Conditions::Unknown(unknown) }
    }

    /// What it is about, if its conditions hold.
    fn terms<'a>(&'a self, conditions: &Conditions) -> Vec<Term<'a>> {
        let doubt = |resource: &str, variables: &[Variable]| {
            let unknown = match (variables, conditions) {
                ([], Conditions::Unknown(conditions)) => Unknown::Conditions(conditions.clone()),
                ([], _) => return None,
                (variables, _) => Unknown::Variables(variables.to_vec()),
            };
            Some(Doubt { statement: self.statement.to_string(), resource: resource.to_owned(), unknown })
        };
        if !self.statement.all_but {
            let term = |resource: &'a Resource| Term {
                covers: Covers::Matching(&resource.pattern),
                statement: self.statement,
                text: resource.text.clone(),
                doubt: doubt(&resource.text, &resource.unknown),
            };
            return self.resources.iter().map(term).collect();
        }
        let text = format!("NotResource {}", self.statement.resources.join(", "));
        let (known, uncertain): (Vec<&Resource>, Vec<&Resource>) =
            self.resources.iter().partition(|resource| resource.unknown.is_empty());
        let all_but =
            |resources: &[&'a Resource]| Covers::AllBut(resources.iter().map(|resource| &resource.pattern).collect());
        let all: Vec<&Resource> = self.resources.iter().collect();
        let certain =
            Term { covers: all_but(&all), statement: self.statement, text: text.clone(), doubt: doubt(&text, &[]) };
        // What an unknown variable leaves out at most, it may leave in.
        let variables: Vec<Variable> = uncertain.iter().flat_map(|resource| resource.unknown.clone()).collect();
        let possible = (!variables.is_empty()).then(|| Term {
            covers: all_but(&known),
            statement: self.statement,
            text: text.clone(),
            doubt: doubt(&text, &variables),
        });
        [certain].into_iter().chain(possible).collect()
    }
}

/// Whether all conditions of a statement hold.
enum Conditions {
    Hold,
    /// The one that doesn't, and why.
    Fail(String),
    /// Those that only IoT Core can decide.
    Unknown(Vec<String>),
}

/// A part of what a statement is about.
struct Term<'a> {
    covers: Covers<'a>,
    statement: &'a Statement,
    /// As it stands in the document.
    text: String,
    /// Why nobody but IoT Core knows whether it counts.
    doubt: Option<Doubt>,
}

enum Covers<'a> {
    Matching(&'a Pattern),
    /// Whatever none of these matches.
    AllBut(Vec<&'a Pattern>),
}

/// The names of actions aren't case-sensitive.
pub(crate) fn action_matches(pattern: &str, action: Action) -> bool {
    Pattern::glob(&pattern.to_ascii_lowercase()).matches(&action.name().to_ascii_lowercase())
}

/// Reads the resources of a document.
pub(crate) fn grants<'a>(document: &'a Document, context: &Context) -> Vec<Grant<'a>> {
    let read = |statement: &'a Statement| Grant {
        statement,
        resources: statement.resources.iter().map(|text| Resource::read(text, context)).collect(),
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
        /// The statements that would allow some of it but for a condition that doesn't hold.
        unmet: Vec<Unmet>,
    },
    /// A statement with `"Effect": "Deny"`.
    Forbidden {
        statement: String,
        /// Its conditions, which hold.
        conditions: Vec<String>,
        resource: String,
        example: String,
    },
}

/// A statement that doesn't count because of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unmet {
    pub(crate) statement: String,
    /// The condition, and what it is compared with.
    pub(crate) why: String,
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
    Variables(Vec<Variable>),
    Conditions(Vec<String>),
    /// The wildcards can't be compared in reasonable time.
    Wildcards,
}

/// Decides a need.
pub(crate) fn judge(need: &Need, grants: &[Grant<'_>], scope: &Scope, context: &Context) -> Verdict {
    let asked = Asked::new(need, scope);
    let action = need.purpose.action();
    let (mut reasons, mut doubts) = (Vec::new(), Vec::new());
    let (mut possible, mut unmet) = (Vec::new(), Vec::new());
    for grant in grants.iter().filter(|grant| grant.names(action)) {
        let conditions = grant.conditions(action, context);
        let terms = grant.terms(&conditions);
        match (grant.statement.effect, conditions) {
            (Effect::Deny, Conditions::Fail(_)) => {}
            (Effect::Deny, _) => terms.iter().for_each(|term| asked.forbidden(term, &mut reasons, &mut doubts)),
            (Effect::Allow, Conditions::Fail(why)) => {
                if terms.iter().any(|term| asked.meets(term)) {
                    unmet.push(Unmet { statement: grant.statement.to_string(), why });
                }
            }
            (Effect::Allow, _) => possible.extend(terms),
        }
    }
    asked.allowed(&possible, unmet, &mut reasons, &mut doubts);
    match (reasons.is_empty(), doubts.is_empty()) {
        (false, _) => Verdict::Denied(reasons),
        (true, false) => Verdict::Undecided(doubts),
        (true, true) => Verdict::Allowed,
    }
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

/// How many combinations of what several statements with `NotResource` leave out are looked at.
const MAX_COMBINATIONS: usize = 256;

impl Asked {
    fn new(need: &Need, scope: &Scope) -> Asked {
        let begin = scope.to_string();
        let strings = need.strings.iter().map(|strings| Pattern::literal(&begin).then(strings)).collect();
        Asked { begin, strings }
    }

    /// Adds what a term of a Deny does to this need.
    fn forbidden(&self, term: &Term<'_>, reasons: &mut Vec<Reason>, doubts: &mut Vec<Doubt>) {
        let example = match self.overlap(&term.covers) {
            Ok(None) => return,
            Ok(Some(example)) => example,
            Err(TooComplex) => return doubts.push(too_complex()),
        };
        match &term.doubt {
            Some(doubt) => doubts.push(doubt.clone()),
            None => reasons.push(Reason::Forbidden {
                statement: term.statement.to_string(),
                conditions: term.statement.conditions.iter().map(ToString::to_string).collect(),
                resource: term.text.clone(),
                example,
            }),
        }
    }

    /// Adds what is missing in what the policy allows at most.
    fn allowed(&self, possible: &[Term<'_>], unmet: Vec<Unmet>, reasons: &mut Vec<Reason>, doubts: &mut Vec<Doubt>) {
        let all: Vec<&Covers<'_>> = possible.iter().map(|term| &term.covers).collect();
        let certain: Vec<&Covers<'_>> =
            possible.iter().filter(|term| term.doubt.is_none()).map(|term| &term.covers).collect();
        match self.outside(&all) {
            Some(Escape::Found(example)) => {
                let partly = possible.iter().any(|term| self.meets(term));
                reasons.push(Reason::NotAllowed { example, partly, unmet });
            }
            Some(Escape::Unknown) => doubts.extend(self.doubts(possible)),
            None if certain.len() < all.len() && self.outside(&certain).is_some() => {
                doubts.extend(self.doubts(possible));
            }
            None => {}
        }
    }

    fn meets(&self, term: &Term<'_>) -> bool {
        self.overlap(&term.covers) != Ok(None)
    }

    /// Something needed that is covered.
    fn overlap(&self, covers: &Covers<'_>) -> Result<Option<String>, TooComplex> {
        for strings in &self.strings {
            let found = match covers {
                Covers::Matching(pattern) => strings.overlap(pattern),
                Covers::AllBut(patterns) => strings.outside(patterns)?,
            };
            if let Some(found) = found {
                return Ok(Some(self.shown(&found)));
            }
        }
        Ok(None)
    }

    /// Something needed that nothing allows.
    fn outside(&self, allowed: &[&Covers<'_>]) -> Option<Escape> {
        let mut patterns: Vec<&Pattern> = Vec::new();
        // What escapes "all but these" is one of these: each way to take one of each.
        let mut left_out: Vec<Vec<&Pattern>> = vec![Vec::new()];
        for covers in allowed {
            match covers {
                Covers::Matching(pattern) => patterns.push(pattern),
                Covers::AllBut(these) => {
                    if left_out.len() * these.len() > MAX_COMBINATIONS {
                        return Some(Escape::Unknown);
                    }
                    let each = left_out.iter().flat_map(|one| these.iter().map(move |next| (one, *next)));
                    left_out = each.map(|(one, next)| one.iter().copied().chain([next]).collect()).collect();
                }
            }
        }
        let mut unknown = None;
        for strings in &self.strings {
            for left_out in &left_out {
                let all: Vec<&Pattern> = [strings].into_iter().chain(left_out.iter().copied()).collect();
                match common_outside(&all, &patterns) {
                    Ok(None) => {}
                    Ok(Some(found)) => return Some(Escape::Found(self.shown(&found))),
                    Err(TooComplex) => unknown = Some(Escape::Unknown),
                }
            }
        }
        unknown
    }

    /// What is doubtful about what has to do with this need; that the search was given up, if nothing is.
    fn doubts(&self, possible: &[Term<'_>]) -> Vec<Doubt> {
        let relevant = possible.iter().filter(|term| self.meets(term));
        let doubts: Vec<Doubt> = relevant.filter_map(|term| term.doubt.clone()).collect();
        if doubts.is_empty() { vec![too_complex()] } else { doubts }
    }

    fn shown(&self, found: &str) -> String {
        found.strip_prefix(&self.begin).unwrap_or(found).to_owned()
    }
}

fn too_complex() -> Doubt {
    Doubt { statement: "all statements together".to_owned(), resource: String::new(), unknown: Unknown::Wildcards }
}
