//! What existing policies are told.

use super::*;

fn report(config: &Config, statements: &[(&str, Value, Value)]) -> String {
    let statements: Vec<Value> = statements
        .iter()
        .map(|(effect, action, resource)| json!({ "Effect": effect, "Action": action, "Resource": resource }))
        .collect();
    let policy = json!({ "Version": "2012-10-17", "Statement": statements });
    compared(needs::of(config, IngestRetain::Unused), &policy).to_string()
}

fn arn(resource: &str) -> Value {
    json!(format!("arn:aws:iot:eu-west-1:123456789012:{resource}"))
}

fn connect() -> (&'static str, Value, Value) {
    ("Allow", json!("iot:Connect"), arn("client/thing-1"))
}

#[track_caller]
fn assert_lines(report: &str, expected: &[&str]) {
    let lines: Vec<&str> = report.lines().collect();
    let expected: Vec<String> =
        expected.iter().map(|line| line.replace("ARN:", "arn:aws:iot:eu-west-1:123456789012:")).collect();
    assert_eq!(lines, expected);
}

#[test]
fn what_is_missing_comes_with_the_statement_to_add() {
    let config = config("thing-1", &ingest(r#""a/+/b""#));
    let part = ("Allow", json!(["IOT:pub*"]), arn("topic/a/x*/b"));
    assert_lines(
        &report(&config, &[part]),
        &[
            "denied     iot:Connect on client/thing-1, for connection.client_id",
            "           no statement allows it",
            r#"           add {"Effect":"Allow","Action":"iot:Connect","Resource":"ARN:client/thing-1"}"#,
            "denied     iot:Publish on topic/a/*/b, for ingest \"i\"",
            "           the statements allow a part of it only: not topic/a//b, for one",
            r#"           add {"Effect":"Allow","Action":"iot:Publish","Resource":"ARN:topic/a/*/b"}"#,
            "wider      statement 1: IOT:pub* may allow other actions, too; iot:Publish would do",
            "the policy allows 0 of 2 needs, 2 denied",
        ],
    );
}

#[test]
fn deny_wins_where_it_meets_what_is_needed() {
    let config = config("thing-1", &(publish("p", "a/secret", false) + &ingest(r##""a/+", "#""##)));
    let all = ("Allow", json!("iot:Publish"), arn("topic/*"));
    let deny = |resource| ("Deny", json!("*"), arn(resource));
    // `+` stays within its level and `#` has nothing to do with `$aws`.
    let said = report(&config, &[connect(), all.clone(), deny("topic/$aws/*"), deny("topic/a/s*t")]);
    assert_lines(
        &said,
        &[
            "allowed    iot:Connect on client/thing-1, for connection.client_id",
            "denied     iot:Publish on topic/a/secret, for publish \"p\"",
            "           statement 4 forbids it by ARN:topic/a/s*t, and Deny wins: narrow or remove that",
            "denied     iot:Publish on topic/a/*, for ingest \"i\"",
            "           statement 4 forbids it by ARN:topic/a/s*t (topic/a/st, for one), and Deny wins: narrow or remove that",
            "denied     iot:Publish on topic/*, for ingest \"i\"",
            "           statement 4 forbids it by ARN:topic/a/s*t (topic/a/st, for one), and Deny wins: narrow or remove that",
            "the policy allows 1 of 4 needs, 3 denied",
        ],
    );
    let said = report(&config, &[connect(), all, deny("topic/$aws/*"), deny("topic/a/?/?")]);
    assert!(said.contains("allowed    iot:Publish on topic/a/*, for ingest"), "{said}");
}

#[test]
fn statements_together_may_allow_what_none_does_alone() {
    let config = config("thing-1", &ingest(r##""a/#""##));
    let parts = ("Allow", json!("iot:Publish"), json!([arn("topic/a"), arn("topic/a/"), arn("topic/a/?*")]));
    assert_lines(
        &report(&config, &[connect(), parts]),
        &[
            "allowed    iot:Connect on client/thing-1, for connection.client_id",
            "allowed    iot:Publish on topic/a, for ingest \"i\"",
            "allowed    iot:Publish on topic/a/*, for ingest \"i\"",
            "the policy allows 3 of 3 needs",
        ],
    );
}

#[test]
fn what_only_iot_core_knows_is_undecided() {
    let config = config("thing-1", &publish("p", "a/b", false));
    let variable = ("Allow", json!("iot:Publish"), arn("topic/${iot:Connection.Thing.Attributes[site]}/b"));
    let said = report(&config, &[connect(), variable.clone()]);
    assert_lines(
        &said,
        &[
            "allowed    iot:Connect on client/thing-1, for connection.client_id",
            "undecided  iot:Publish on topic/a/b, for publish \"p\"",
            "           statement 2: only IoT Core knows ${iot:Connection.Thing.Attributes[site]} in \
             ARN:topic/${iot:Connection.Thing.Attributes[site]}/b",
            "the policy allows 1 of 2 needs, 1 undecided",
        ],
    );
    // What can't be, whatever the variable holds, is denied; what is allowed anyway doesn't depend on it.
    let other = ("Allow", json!("iot:Publish"), arn("topic/${iot:Connection.Thing.Attributes[site]}/c"));
    assert!(report(&config, &[connect(), other]).contains("denied     iot:Publish"));
    let plain = ("Allow", json!("iot:Publish"), arn("topic/a/b"));
    assert!(report(&config, &[connect(), variable.clone(), plain.clone()]).contains("allowed    iot:Publish"));
    // A Deny that may hold leaves nothing certain.
    let deny = ("Deny", variable.1, variable.2);
    assert!(report(&config, &[connect(), plain, deny]).contains("undecided  iot:Publish"));
}

#[test]
fn a_condition_is_undecided() {
    let policy = json!({ "Version": "2012-10-17", "Statement": {
        "Sid": "Attached", "Effect": "Allow", "Action": "iot:Connect", "Resource": arn("client/thing-1"),
        "Condition": { "Bool": { "iot:Connection.Thing.IsAttached": ["true"] } } } });
    let report = compared(needs::of(&config("thing-1", ""), IngestRetain::Unused), &policy);
    assert!(report.is_allowed());
    assert_lines(
        &report.to_string(),
        &[
            "undecided  iot:Connect on client/thing-1, for connection.client_id",
            "           statement 1 (Attached): only IoT Core knows whether its condition holds (Bool \
             iot:Connection.Thing.IsAttached)",
            "the policy allows 0 of 1 needs, 1 undecided",
        ],
    );
}

#[test]
fn the_thing_and_the_client_are_filled_in() {
    let config = config("thing-1", &publish("p", "g/thing-1/t", false));
    let statements = [
        ("Allow", json!("iot:Connect"), arn("client/${iot:Connection.Thing.ThingName}")),
        ("Allow", json!("iot:Publish"), arn("topic/g/${iot:ClientId}/t")),
    ];
    assert_lines(
        &report(&config, &statements),
        &[
            "allowed    iot:Connect on client/thing-1, for connection.client_id",
            "allowed    iot:Publish on topic/g/thing-1/t, for publish \"p\"",
            "note       ${iot:Connection.Thing.ThingName} is taken to be \"thing-1\"; IoT Core knows it only if the \
             certificate is attached to that thing",
            "the policy allows 2 of 2 needs",
        ],
    );
}

#[test]
fn what_is_wider_than_needed_is_told_with_what_would_do() {
    let config = config("thing-1", &(publish("p", "a/b", false) + &forward(r#""a/+""#)));
    let said = report(
        &config,
        &[
            ("Allow", json!(["iot:*", "greengrass:Discover"]), json!("*")),
            ("Allow", json!("iot:Subscribe"), arn("topic/a/+")),
            ("Allow", json!(["iot:Publish", "iot:RetainPublish"]), arn("topic/a/b")),
        ],
    );
    let wider: Vec<&str> = said.lines().filter(|line| line.starts_with("wider")).collect();
    assert_lines(
        &wider.join("\n"),
        &[
            "wider      statement 1: iot:* may allow other actions, too; iot:Connect, iot:Publish, iot:Subscribe, \
             iot:Receive would do",
            "wider      statement 1: gatewire never uses greengrass:Discover",
            "wider      statement 1: iot:Connect on * allows more than is needed; ARN:client/thing-1 would do",
            "wider      statement 1: iot:Publish on * allows more than is needed; ARN:topic/a/b would do",
            "wider      statement 1: iot:RetainPublish on * isn't needed",
            "wider      statement 1: iot:Subscribe on * allows more than is needed; ARN:topicfilter/a/+ would do",
            "wider      statement 1: iot:Receive on * allows more than is needed; ARN:topic/a/* would do",
            "wider      statement 2: ARN:topic/a/+ has no effect; resources of these actions begin with ARN:topicfilter/",
            "wider      statement 3: iot:RetainPublish on ARN:topic/a/b isn't needed",
        ],
    );
}

#[test]
fn a_long_list_of_what_would_do_is_cut() {
    let topics: String = (0..6).map(|n| publish(&format!("p{n}"), &format!("t/{n}"), false)).collect();
    let said = report(&config("thing-1", &topics), &[connect(), ("Allow", json!("iot:Publish"), arn("topic/*"))]);
    assert!(said.contains(":topic/t/3 and 2 more would do"), "{said}");
}

#[test]
fn wildcards_that_cannot_be_compared_are_undecided() {
    let config = config("thing-1", &ingest(r#""+/+/+/+/+/+/+/+""#));
    let lengths: Vec<Value> = (0..60).map(|n| arn(&format!("topic/*/{}/*", "?".repeat(n)))).collect();
    let said = report(&config, &[connect(), ("Allow", json!("iot:Publish"), json!(lengths))]);
    assert!(said.contains("undecided  iot:Publish on topic/*/*/*/*/*/*/*/*"), "{said}");
    assert!(said.contains("all statements together: their wildcards are too intertwined"), "{said}");
}

#[test]
fn nothing_from_a_policy_acts_on_the_terminal_or_passes_for_a_line_of_ours() {
    let forged = json!("iot:\u{1b}[2J\nallowed    iot:Publish*");
    let said = report(&config("thing-1", ""), &[connect(), ("Allow", forged, json!("*"))]);
    assert!(said.contains("iot:\\u{1b}[2J\\nallowed"), "{said}");
    assert_eq!((said.matches('\u{1b}').count(), said.matches("\nallowed").count()), (0, 0), "{said}");
}
