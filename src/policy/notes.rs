//! What a reader of a comparison should know of how the policy was read.

use super::context::Context;
use super::document::{Effect, Statement};
use super::evaluate::Grant;
use super::resource::Resource;
use super::scope::{self, Scope};

/// The notes about all statements, in their order; none twice.
pub(crate) fn of(grants: &[Grant<'_>], scope: &Scope, context: &Context) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    let mut add = |note: String| {
        if !notes.contains(&note) {
            notes.push(note);
        }
    };
    if grants.iter().any(|grant| grant.resources.iter().any(|resource| resource.names_thing)) {
        add(format!(
            "${{iot:Connection.Thing.ThingName}} is taken to be \"{}\"; IoT Core knows it only if the certificate is attached \
             to that thing",
            context.thing()
        ));
    }
    for grant in grants {
        let statement = grant.statement;
        if statement.all_but {
            add(format!(
                "{statement}: \"NotResource\" is read as every resource but those it names. AWS shows it in an example only; \
                \"Resource\" is the safe way"
            ));
        }
        for resource in &grant.resources {
            letters(statement, resource).into_iter().chain(placeholders(statement, resource, scope)).for_each(&mut add);
        }
    }
    notes
}

/// That MQTT's wildcards are letters in a resource of topics, which no topic holds.
fn letters(statement: &Statement, resource: &Resource) -> Option<String> {
    let topic = resource.text.splitn(6, ':').nth(5)?.strip_prefix("topic/")?;
    if !topic.contains(['+', '#']) {
        return None;
    }
    let wild = topic.replace(['+', '#'], "*");
    let does = match (statement.effect, statement.all_but) {
        (Effect::Allow, false) => "allows nothing",
        (Effect::Deny, false) => "denies nothing",
        (_, true) => "leaves nothing out",
    };
    Some(format!(
        "{statement}: topic/{topic} matches no topic and {does}: `+` and `#` are letters in a policy's topics. Its wildcard is \
         `*`: topic/{wild}"
    ))
}

/// What was to be replaced when the policy was copied from somewhere.
fn placeholders(statement: &Statement, resource: &Resource, scope: &Scope) -> Vec<String> {
    let mut found = Vec::new();
    let mut add = |placeholder: &str, what: &str| {
        found.push(format!("{statement}: {placeholder} in {} is a placeholder: {what}", resource.text));
    };
    let parts: Vec<&str> = resource.text.splitn(6, ':').collect();
    let &["arn", _, _, region, account, name] = parts.as_slice() else {
        if resource.text != "*" && !resource.text.starts_with("arn:") && !resource.text.starts_with(['*', '?', '$']) {
            found.push(format!(
                "{statement}: {} isn't an ARN and matches nothing; one begins with {scope}",
                resource.text
            ));
        }
        return found;
    };
    let is_open = |field: &str| field.contains(['*', '?']) || field.contains("${");
    if !region.is_empty() && !is_open(region) && scope::region(region).is_err() {
        add(region, &format!("put the region of the endpoint there, {}", scope.region));
    }
    if !account.is_empty() && !is_open(account) && scope::account(account).is_err() {
        add(account, &format!("put the number of the account there, {}", scope.account));
    } else if SAMPLES.contains(&account) && account != scope.account {
        add(account, &format!("it is the account of AWS's samples, yours is {}", scope.account));
    }
    for placeholder in marked(name) {
        add(&placeholder, "put the real name there");
    }
    found
}

/// Accounts that stand in AWS's documentation.
const SAMPLES: [&str; 3] = ["123456789012", "111122223333", "444455556666"];

/// Words in `name` that are marked as not meant literally: `<thing>`, `{{thing}}`, `${thing}`, `YOUR_THING`.
fn marked(name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (open, close) in [("<", ">"), ("{{", "}}"), ("${", "}")] {
        let mut rest = name;
        while let Some((_, after)) = rest.split_once(open) {
            let Some((word, next)) = after.split_once(close) else { break };
            // The variables of AWS have a colon in their names, and three are signs.
            let is_variable = open == "${" && (word.contains(':') || ["*", "?", "$"].contains(&word));
            if !word.is_empty() && !is_variable {
                found.push(format!("{open}{word}{close}"));
            }
            rest = next;
        }
    }
    let is_yours = |word: &&str| {
        let lower = word.to_ascii_lowercase();
        ["your-", "your_", "my-thing-name", "replace-", "replace_"].iter().any(|begin| lower.starts_with(begin))
    };
    found.extend(name.split(['/', '<', '>', '{', '}']).filter(is_yours).map(str::to_owned));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_found_and_names_are_not() {
        for (name, found) in [
            ("client/<thing name>", &["<thing name>"] as &[&str]),
            ("topic/{{thing}}/x", &["{{thing}}"]),
            ("topic/${ThingName}", &["${ThingName}"]),
            ("topic/YOUR_TOPIC/x", &["YOUR_TOPIC"]),
            ("topic/${iot:ClientId}/${*}", &[]),
            ("topic/ACCOUNT/a<b/your", &[]),
        ] {
            assert_eq!(marked(name), found, "{name}");
        }
    }
}
