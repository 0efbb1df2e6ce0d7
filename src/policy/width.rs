//! What a policy allows without need.

use super::Action;
use super::document::Effect;
use super::evaluate::{Grant, action_matches};
use super::least::wildcards;
use super::needs::Need;
use super::pattern::Pattern;
use super::resource::Resource;
use super::scope::Scope;

/// Something in a statement that could be narrower.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wider {
    pub(crate) statement: String,
    pub(crate) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// An action that is never asked for, or a wildcard that stands for more than these.
    Action { text: String, suffices: Vec<Action> },
    /// A resource that goes beyond what an action needs.
    Resource { text: String, action: Action, suffices: Vec<String> },
    /// A resource that no action of the statement is ever asked about, which is mostly a mistake.
    Idle { text: String, takes: Vec<String> },
}

/// Everything in the statements that allow something that is wider than `needs`, in their order.
pub(crate) fn of(grants: &[Grant<'_>], needs: &[Need], scope: &Scope) -> Vec<Wider> {
    let mut found = Vec::new();
    for grant in grants.iter().filter(|grant| grant.statement.effect == Effect::Allow) {
        let mut add = |what| found.push(Wider { statement: grant.statement.to_string(), what });
        grant.statement.actions.iter().filter_map(|text| of_action(text, needs)).for_each(&mut add);
        for resource in &grant.resources {
            of_resource(grant, resource, needs, scope).into_iter().for_each(&mut add);
        }
    }
    found
}

fn of_action(text: &str, needs: &[Need]) -> Option<What> {
    let named: Vec<Action> = Action::ALL.into_iter().filter(|action| action_matches(text, *action)).collect();
    let is_needed = |action: &Action| needs.iter().any(|need| need.purpose.action() == *action);
    let suffices: Vec<Action> = named.iter().copied().filter(is_needed).collect();
    let is_wildcard = text.contains(['*', '?']);
    // An action by its name that nothing needs shows with its resources.
    (is_wildcard || named.is_empty()).then(|| What::Action { text: text.to_owned(), suffices })
}

fn of_resource(grant: &Grant<'_>, resource: &Resource, needs: &[Need], scope: &Scope) -> Vec<What> {
    let named: Vec<Action> = Action::ALL.into_iter().filter(|action| grant.names(*action)).collect();
    // What it may be where IoT Core fills in a variable is for IoT Core to say.
    // Nor is what a statement leaves out wider than needed.
    if named.is_empty() || !resource.unknown.is_empty() || grant.statement.all_but {
        return Vec::new();
    }
    let asked = |action: &Action| {
        let all = format!("{scope}{}*", action.resource_type());
        Pattern::glob(&all).overlap(&resource.pattern).is_some()
    };
    let asked: Vec<Action> = named.iter().copied().filter(asked).collect();
    if asked.is_empty() {
        let mut takes: Vec<String> = named.iter().map(|action| format!("{scope}{}", action.resource_type())).collect();
        takes.dedup();
        return vec![What::Idle { text: resource.text.clone(), takes }];
    }
    asked.into_iter().filter_map(|action| beyond(action, resource, needs, scope)).collect()
}

/// What would suffice for `action`, if `resource` goes beyond what is needed.
fn beyond(action: Action, resource: &Resource, needs: &[Need], scope: &Scope) -> Option<What> {
    let begin = Pattern::literal(&scope.to_string());
    let needs: Vec<(&Need, Pattern)> = needs
        .iter()
        .filter(|need| need.purpose.action() == action)
        .map(|need| (need, begin.clone().then(&wildcards(need))))
        .collect();
    let patterns: Vec<&Pattern> = needs.iter().map(|(_, pattern)| pattern).collect();
    if resource.pattern.outside(&patterns) == Ok(None) {
        return None;
    }
    let used = needs.iter().filter(|(_, pattern)| pattern.overlap(&resource.pattern).is_some());
    let mut suffices: Vec<String> = Vec::new();
    for (need, _) in used {
        let text = format!("{scope}{}", need.resource);
        if !suffices.contains(&text) {
            suffices.push(text);
        }
    }
    Some(What::Resource { text: resource.text.clone(), action, suffices })
}
