//! The least policy: a statement a purpose, no resource that another covers.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::context::Context;
use super::needs::{Need, Purpose};
use super::pattern::Pattern;
use super::resource::Resource;
use super::scope::Scope;
use crate::count::count;

/// The longest document IoT Core takes, in characters that aren't white space.
const MAX_DOCUMENT: usize = 2048;

/// The least policy for `needs`. One that would be too long allows of each service of a thing all of its topics, and then to publish
/// requests where their answers come, as AWS's own examples do.
pub(crate) fn policy(needs: &[Need], scope: &Scope) -> Value {
    let least = document(needs, scope);
    if length(&least) <= MAX_DOCUMENT {
        return least;
    }
    let needs: Vec<Need> = needs.iter().cloned().map(of_the_whole_service).collect();
    let whole = document(&needs, scope);
    if length(&whole) <= MAX_DOCUMENT {
        return whole;
    }
    let (of_services, others): (Vec<Need>, Vec<Need>) =
        needs.into_iter().partition(|need| matches!(need.purpose, Purpose::PublishServices | Purpose::ReceiveServices));
    let mut shorter = document(&others, scope);
    if let Some(statements) = shorter["Statement"].as_array_mut().filter(|_| !of_services.is_empty()) {
        statements.push(of_requests_and_answers(&of_services, scope));
    }
    shorter
}

/// A request's topic and those of its answers, which begin like it, in one resource for both actions.
fn of_requests_and_answers(needs: &[Need], scope: &Scope) -> Value {
    let resources: BTreeSet<String> = needs
        .iter()
        .map(|need| {
            let begin = need.resource.strip_suffix("/*").unwrap_or(&need.resource);
            format!("{scope}{begin}*")
        })
        .collect();
    json!({
        "Sid": "PublishReceiveServices",
        "Effect": "Allow",
        "Action": [Purpose::PublishServices.action().name(), Purpose::ReceiveServices.action().name()],
        "Resource": resources,
    })
}

fn of_the_whole_service(mut need: Need) -> Need {
    let is_of_one =
        matches!(need.purpose, Purpose::PublishServices | Purpose::SubscribeServices | Purpose::ReceiveServices);
    let common = ["/jobs/", "/executions/", "/certificate/"]
        .into_iter()
        .find_map(|level| Some(need.resource.find(level)? + level.len()));
    if let Some(end) = common.filter(|_| is_of_one) {
        need.resource.truncate(end);
        need.resource.push('*');
    }
    need
}

/// In characters that aren't white space.
fn length(value: &Value) -> usize {
    value.to_string().chars().filter(|c| !c.is_whitespace()).count()
}

fn document(needs: &[Need], scope: &Scope) -> Value {
    let mut statements: Vec<Value> = Vec::new();
    let needs = without_covered(needs);
    for same in needs.chunk_by(|a, b| a.purpose == b.purpose) {
        let resources: Vec<String> = same.iter().map(|need| format!("{scope}{}", need.resource)).collect();
        statements.extend(same.first().map(|need| statement(Some(need.purpose), need.purpose, &resources)));
    }
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// The statement that allows one need, on a line.
pub(super) fn statement_for(need: &Need, scope: &Scope) -> String {
    statement(None, need.purpose, &[format!("{scope}{}", need.resource)]).to_string()
}

fn statement(sid: Option<Purpose>, purpose: Purpose, resources: &[String]) -> Value {
    let resource = match resources {
        [one] => json!(one),
        more => json!(more),
    };
    let mut statement = serde_json::Map::new();
    if let Some(sid) = sid {
        statement.insert("Sid".to_owned(), json!(sid.sid()));
    }
    statement.insert("Effect".to_owned(), json!("Allow"));
    statement.insert("Action".to_owned(), json!(purpose.action().name()));
    statement.insert("Resource".to_owned(), resource);
    Value::Object(statement)
}

/// The wildcards of a need, as a policy's.
pub(super) fn wildcards(need: &Need) -> Pattern {
    // Escapes are all the variables that a need holds.
    Resource::read(&need.resource, &Context::unknown()).pattern
}

/// Leaves out what another resource of the same action covers; of two alike, the later one.
fn without_covered(needs: &[Need]) -> Vec<&Need> {
    let wild: Vec<Pattern> = needs.iter().map(wildcards).collect();
    let covers = |a: usize, b: usize| wild[b].outside(&[&wild[a]]) == Ok(None);
    let is_covered = |index: usize| {
        (0..needs.len()).any(|other| {
            other != index
                && needs[other].purpose.action() == needs[index].purpose.action()
                && covers(other, index)
                && (other < index || !covers(index, other))
        })
    };
    needs.iter().enumerate().filter(|(index, _)| !is_covered(*index)).map(|(_, need)| need).collect()
}

/// What is to be done about a policy that is longer than IoT Core takes.
pub(crate) fn too_long(policy: &Value) -> Option<String> {
    let total = length(policy);
    if total <= MAX_DOCUMENT {
        return None;
    }
    let statements = policy["Statement"].as_array().into_iter().flatten();
    let largest = statements.max_by_key(|statement| length(statement))?;
    let resources = largest["Resource"].as_array().map_or(1, Vec::len);
    Some(format!(
        "the policy has {total} characters without white space, IoT Core takes {MAX_DOCUMENT}. Its largest statement is {} \
         with {}: put their topics below a common level and name them with one `#` or `+` in the \
         configuration, or divide the statements between two policies and attach both to the certificate",
        largest["Sid"].as_str().unwrap_or_default(),
        count(resources, "resource")
    ))
}
