//! Configurations and policies together.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::context::Context;
use super::document::{Document, parse};
use super::needs::{IngestRetain, Need};
use super::report::Report;
use super::scope::Scope;
use super::{least, needs};
use crate::config::{self, Config, Environment};
use crate::template::Machine;

mod generated;
mod verdicts;

fn config(client_id: &str, rest: &str) -> Config {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gatewire.toml");
    let connection =
        format!("[connection]\nendpoint = \"localhost\"\nclient_id = \"{client_id}\"\nprotocol = \"3.1.1\"\n");
    fs::write(&path, connection + rest).unwrap();
    let environment = Environment {
        hostname: "pi4".to_owned(),
        machine: Machine::default(),
        thing: |_| None,
        credentials_directory: None,
        runtime_directory: None,
        state_directory: None,
        group_exists: |_| true,
    };
    config::read(&path, &environment).unwrap().config
}

fn publish(name: &str, topic: &str, retain: bool) -> String {
    format!("[[publish]]\nname = \"{name}\"\ntopic = \"{topic}\"\nevery = \"1m\"\npayload = \"x\"\nretain = {retain}\n")
}

fn forward(filters: &str) -> String {
    format!("[[forward]]\nname = \"f\"\nsocket = \"/f.sock\"\nfilters = [{filters}]\n")
}

fn ingest(topics: &str) -> String {
    format!("[[ingest]]\nname = \"i\"\nsocket = \"/i.sock\"\ntopics = [{topics}]\n")
}

fn scope() -> Scope {
    Scope::new("eu-west-1", "123456789012")
}

fn least(config: &Config) -> Value {
    least::policy(&needs::of(config, IngestRetain::Unused), &scope())
}

fn document(policy: &Value) -> Document {
    parse(policy.to_string().as_bytes()).unwrap()
}

/// That of a client with this id, whose thing has its name.
fn context(client_id: &str) -> Context {
    Context { client_id: client_id.to_owned(), ..Context::unknown() }
}

fn compared(needs: Vec<Need>, policy: &Value) -> Report {
    Report::new(&document(policy), needs, scope(), &context("thing-1"), Vec::new())
}

/// Resources without region and account, by statement.
fn resources(policy: &Value) -> Vec<(String, Vec<String>)> {
    let bare = |value: &Value| value.as_str().unwrap().strip_prefix(&scope().to_string()).unwrap().to_owned();
    let statements = policy["Statement"].as_array().unwrap().iter();
    let named = statements.map(|statement| {
        let resources = match &statement["Resource"] {
            Value::Array(many) => many.iter().map(bare).collect(),
            one => vec![bare(one)],
        };
        (statement["Sid"].as_str().unwrap().to_owned(), resources)
    });
    named.collect()
}

fn expected(statements: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
    let owned = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
    statements.iter().map(|(sid, resources)| ((*sid).to_owned(), owned(resources))).collect()
}

#[test]
fn the_least_policy_names_what_the_configuration_does() {
    let text = publish("a", "test/topic", false)
        + &publish("b", "$aws/rules/store/{{client_id}}/t", false)
        + &publish("c", "last", true)
        + &ingest(r#""gateways/{{client_id}}/#", "x/+/y", "test/topic""#)
        + &forward(r#""test/topic", "cmd/+/#""#);
    assert_eq!(
        resources(&least(&config("thing-1", &text))),
        expected(&[
            ("Connect", &["client/thing-1"]),
            ("PublishSchedule", &["topic/test/topic", "topic/$aws/rules/store/thing-1/t", "topic/last"]),
            ("PublishIngest", &["topic/gateways/thing-1", "topic/gateways/thing-1/*", "topic/x/*/y"]),
            ("Retain", &["topic/last"]),
            ("SubscribeForward", &["topicfilter/test/topic", "topicfilter/cmd/+/#"]),
            ("ReceiveForward", &["topic/test/topic", "topic/cmd/*/*"]),
        ])
    );
}

#[test]
fn a_will_is_published_and_retained_under_the_policy_of_its_client() {
    // Behind the last line of `[connection]`.
    let will = |text: &str| resources(&least(&config("thing-1", &format!("will = {{ {text} }}\n"))));
    assert_eq!(
        will(r#"topic = "lost/{{client_id}}", payload = "x", retain = true"#)[1..],
        expected(&[("PublishWill", &["topic/lost/thing-1"]), ("Retain", &["topic/lost/thing-1"])])
    );
    assert_eq!(will(r#"topic = "lost", payload = "x""#)[1..], expected(&[("PublishWill", &["topic/lost"])]));
}

#[test]
fn a_birth_is_published_and_retained_under_the_policy_of_its_client() {
    let birth = |text: &str| resources(&least(&config("thing-1", &format!("birth = {{ {text} }}\n"))));
    assert_eq!(
        birth(r#"topic = "up/{{client_id}}", payload = "x", retain = true"#)[1..],
        expected(&[("PublishBirth", &["topic/up/thing-1"]), ("Retain", &["topic/up/thing-1"])])
    );
    assert_eq!(birth(r#"topic = "up", payload = "x""#)[1..], expected(&[("PublishBirth", &["topic/up"])]));
}

#[test]
fn what_another_resource_covers_is_left_out() {
    let text = publish("a", "a/b", false)
        + &publish("b", "c", false)
        + &ingest(r##""a/#", "a/+/x", "c""##)
        + &forward(r##""#", "a/+", "+/b""##);
    assert_eq!(
        resources(&least(&config("thing-1", &text))),
        expected(&[
            ("Connect", &["client/thing-1"]),
            ("PublishSchedule", &["topic/c"]),
            ("PublishIngest", &["topic/a", "topic/a/*"]),
            // What "#" covers isn't subscribed to.
            ("SubscribeForward", &["topicfilter/#"]),
            ("ReceiveForward", &["topic/*"]),
        ])
    );
}

#[test]
fn a_shared_subscription_is_allowed_with_and_without_its_group() {
    assert_eq!(
        resources(&least(&config("thing-1", &forward(r#""$share/workers/jobs/+""#))))[1..],
        expected(&[
            ("SubscribeForward", &["topicfilter/$share/workers/jobs/+"]),
            ("ReceiveForward", &["topic/jobs/*", "topic/$share/workers/jobs/*"]),
        ])
    );
}

#[test]
fn wildcards_of_policies_in_names_are_escaped() {
    let text = publish("a", "a*/b?/${c}", false) + &forward(r#""x*/+""#);
    assert_eq!(
        resources(&least(&config("g*", &text))),
        expected(&[
            ("Connect", &["client/g${*}"]),
            ("PublishSchedule", &["topic/a${*}/b${?}/${$}{c}"]),
            ("SubscribeForward", &["topicfilter/x${*}/+"]),
            ("ReceiveForward", &["topic/x${*}/*"]),
        ])
    );
}

#[test]
fn ingest_may_retain_only_if_asked_for() {
    let config = config("thing-1", &ingest(r#""a/+", "$aws/rules/r/#""#));
    assert_eq!(resources(&least(&config)).len(), 2);
    let needs = needs::of(&config, IngestRetain::Used);
    assert_eq!(resources(&least::policy(&needs, &scope()))[2..], expected(&[("Retain", &["topic/a/*"])]));
}

#[test]
fn a_policy_that_is_too_long_is_told() {
    let many = |count: usize| (0..count).map(|n| publish(&format!("p{n}"), &format!("topics/{n}"), false)).collect();
    let policy = |count| {
        let text: String = many(count);
        least(&config("thing-1", &text))
    };
    assert_eq!(least::too_long(&policy(20)), None);
    let told = least::too_long(&policy(40)).unwrap();
    assert!(told.contains("IoT Core takes 2048. Its largest statement is PublishSchedule with 40 resources"), "{told}");
}

#[test]
fn where_a_policy_would_be_too_long_all_topics_of_a_service_are_allowed() {
    let services = "[jobs]\nsocket = \"/run/gatewire/jobs.sock\"\n[commands]\n";
    let of = |thing: &str| least(&config(thing, services));
    let all = |policy: &serde_json::Value, thing: &str| {
        resources(policy).iter().any(|(_, resources)| resources.contains(&format!("topic/$aws/things/{thing}/jobs/*")))
    };
    assert!(!all(&of("thing-1"), "thing-1"));
    let thing = "t".repeat(60);
    let policy = of(&thing);
    assert!(all(&policy, &thing) && least::too_long(&policy).is_none(), "{policy}");
    let needs = needs::of(&config(&thing, services), IngestRetain::Unused);
    assert!(needs.len() > 15, "{needs:?}");
}
