//! What existing policies are told.

use super::super::context::Certificate;
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
            "wider      statement 1: IOT:pub* may allow other actions, too; iot:Publish would be enough",
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
             iot:Connection.Thing.IsAttached \"true\")",
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
             iot:Receive would be enough",
            "wider      statement 1: gatewire never uses greengrass:Discover",
            "wider      statement 1: iot:Connect on * allows more than is needed; ARN:client/thing-1 would be enough",
            "wider      statement 1: iot:Publish on * allows more than is needed; ARN:topic/a/b would be enough",
            "wider      statement 1: iot:RetainPublish on * isn't needed",
            "wider      statement 1: iot:Subscribe on * allows more than is needed; ARN:topicfilter/a/+ would be enough",
            "wider      statement 1: iot:Receive on * allows more than is needed; ARN:topic/a/* would be enough",
            "wider      statement 2: ARN:topic/a/+ has no effect; resources of these actions begin with ARN:topicfilter/",
            "wider      statement 3: iot:RetainPublish on ARN:topic/a/b isn't needed",
        ],
    );
}

#[test]
fn a_long_list_of_what_would_do_is_cut() {
    let topics: String = (0..6).map(|n| publish(&format!("p{n}"), &format!("t/{n}"), false)).collect();
    let said = report(&config("thing-1", &topics), &[connect(), ("Allow", json!("iot:Publish"), arn("topic/*"))]);
    assert!(said.contains(":topic/t/3 and 2 more would be enough"), "{said}");
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
    assert!(said.contains("iot:\\u001b[2J\\nallowed"), "{said}");
    assert_eq!((said.matches('\u{1b}').count(), said.matches("\nallowed").count()), (0, 0), "{said}");
}

/// Statements as they are, told to a configuration of `thing-1`.
fn told(config: &Config, context: &Context, statements: Value) -> String {
    let text = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
    let text = text.replace("ARN:", "arn:aws:iot:eu-west-1:123456789012:");
    let document = parse(text.as_bytes()).unwrap();
    Report::new(&document, needs::of(config, IngestRetain::Unused), scope(), context, Vec::new()).to_string()
}

#[test]
fn mqtt_wildcards_are_letters_in_topics() {
    let config = config("thing-1", &(forward(r##""building/#""##) + &publish("p", "building/vault/door", false)));
    let said = told(
        &config,
        &context("thing-1"),
        json!([
            {"Effect": "Allow", "Action": "iot:*", "Resource": "*"},
            {"Effect": "Deny", "Action": ["iot:Receive", "iot:Publish"], "Resource":
                ["ARN:topic/building/vault/#", "ARN:topic/+/vault/*", "ARN:topic/building/+/door"]},
        ]),
    );
    assert!(said.contains("the policy allows 4 of 4 needs"), "{said}");
    assert!(
        said.contains(
            "note       statement 2: topic/building/vault/# matches no topic and denies nothing: `+` and `#` are letters in a \
             policy's topics. Its wildcard is `*`: topic/building/vault/*\n"
        ),
        "{said}"
    );
    // Nor do they allow anything.
    let allow = json!({"Effect": "Allow", "Action": "iot:Receive", "Resource": "ARN:topic/building/#"});
    let said = told(&config, &context("thing-1"), allow);
    assert!(said.contains("denied     iot:Receive on topic/building/*"), "{said}");
    assert!(said.contains("matches no topic and allows nothing"), "{said}");
    // In a filter they mean themselves.
    let deny = json!([
        {"Effect": "Allow", "Action": "iot:*", "Resource": "*"},
        {"Effect": "Deny", "Action": "iot:Subscribe", "Resource": "ARN:topicfilter/building/#"},
    ]);
    assert!(told(&config, &context("thing-1"), deny).contains("denied     iot:Subscribe on topicfilter/building/#"));
}

#[test]
fn a_condition_about_the_connect_is_decided() {
    let attributes = |operator: &str, values: Value| {
        json!({"Effect": "Allow", "Action": "iot:Connect", "Resource": "ARN:client/thing-1",
            "Condition": {operator: {"iot:ConnectAttributes": values}}})
    };
    let plain = config("thing-1", "");
    let will = config("thing-1", "will = { topic = \"lost\", payload = \"x\" }\n");
    let clean = config("thing-1", "session_expiry = \"0s\"\n");
    let connect = |config: &Config, statement: &Value| {
        let context = Context::of(config, None, Certificate::Unknown("no file".to_owned()));
        told(config, &context, statement.clone()).lines().take(3).collect::<Vec<_>>().join("\n")
    };
    let all = attributes("ForAllValues:StringEquals", json!(["PersistentConnect"]));
    assert!(connect(&plain, &all).starts_with("allowed "));
    assert!(connect(&clean, &all).starts_with("allowed "));
    assert_eq!(
        connect(&will, &all),
        "denied     iot:Connect on client/thing-1, for connection.client_id\n           \
         no statement allows it\n           \
         statement 1 would allow it, but its condition doesn't hold: ForAllValues:StringEquals iot:ConnectAttributes \
         \"PersistentConnect\": it is \"PersistentConnect\" and \"LastWill\" here"
    );
    let none = attributes("ForAllValues:StringNotEquals", json!("PersistentConnect"));
    assert!(connect(&plain, &none).starts_with("denied "));
    assert!(connect(&clean, &none).starts_with("allowed "));
    let deny = json!([
        {"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"},
        {"Effect": "Deny", "Action": "iot:Connect", "Resource": "*",
            "Condition": {"ForAnyValue:StringEquals": {"iot:ConnectAttributes": ["LastWill"]}}},
    ]);
    assert!(connect(&plain, &deny).starts_with("allowed "));
    assert!(
        connect(&will, &deny)
            .contains("statement 2 forbids it by *, as its condition holds (ForAnyValue:StringEquals ")
    );
}

#[test]
fn a_condition_about_client_and_certificate_is_decided() {
    let config = config("thing-1", "");
    let fields = [("iot:certificate.subject.commonname".to_owned(), vec!["thing-1".to_owned()])];
    let certificate = Certificate::Known(fields.into());
    let context = Context { certificate, ..context("thing-1") };
    let on = |resource: &str, condition: Value| {
        let statement =
            json!({"Effect": "Allow", "Action": "iot:Connect", "Resource": resource, "Condition": condition});
        told(&config, &context, json!([statement]))
    };
    let common_name = "ARN:client/${iot:Certificate.Subject.CommonName}";
    assert!(on(common_name, json!({})).starts_with("allowed "));
    for (condition, word) in [
        (json!({"StringEquals": {"iot:ClientId": "thing-1"}}), "allowed "),
        (json!({"StringEquals": {"iot:ClientId": "thing-2"}}), "denied "),
        (json!({"StringLike": {"iot:Certificate.Subject.CommonName": "thing-*"}}), "allowed "),
        (json!({"StringNotEquals": {"iot:Certificate.Subject.CommonName": "${iot:ClientId}"}}), "denied "),
        (json!({"StringEquals": {"iot:Certificate.Subject.Organization": "ACME"}}), "denied "),
        (
            json!({"StringEquals": {"iot:ClientId": "thing-1"}, "Bool": {"iot:Connection.Thing.IsAttached": true}}),
            "undecided ",
        ),
        (json!({"StringEquals": {"iot:ClientId": "x"}, "Bool": {"iot:Connection.Thing.IsAttached": true}}), "denied "),
    ] {
        let said = on("*", condition.clone());
        assert!(said.starts_with(word), "{condition}: {said}");
    }
    let said = on("ARN:client/${iot:Certificate.Subject.Organization}", json!({}));
    assert!(said.contains("undecided ") && said.contains("the certificate has no subject.organization"), "{said}");
}

#[test]
fn a_thing_of_another_name_than_the_client_is_undecided() {
    let statements = json!([
        {"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"},
        {"Effect": "Allow", "Action": "iot:Publish", "Resource": "ARN:topic/things/${iot:Connection.Thing.ThingName}/t"},
    ]);
    let told = |client_id: &str, thing: Option<&str>, topic: &str| {
        let config = config(client_id, &publish("p", topic, false));
        let context = Context { thing: thing.map(str::to_owned), ..context(client_id) };
        told(&config, &context, statements.clone())
    };
    let said = told("thing-1", Some("thing-A"), "things/thing-A/t");
    assert!(said.contains("undecided  iot:Publish on topic/things/thing-A/t"), "{said}");
    assert!(said.contains("only if the certificate is attached to it exclusively"), "{said}");
    assert!(told("thing-1", Some("thing-1"), "things/thing-1/t").contains("allowed    iot:Publish"));
    assert!(told("thing-1", Some("thing-A"), "things/thing-1/t").contains("denied     iot:Publish"));
    let said = told("site/7", None, "things/site/7/t");
    assert!(said.contains("undecided  iot:Publish"), "{said}");
    assert!(said.contains("the client id \"site/7\" can't be the name of a thing"), "{said}");
}

#[test]
fn not_resource_is_everything_else() {
    let config = config("thing-1", &(publish("p", "a/b", false) + &publish("q", "a/secret", false)));
    let told = |statements: Value| told(&config, &context("thing-1"), statements);
    let said = told(json!([
        {"Effect": "Allow", "Action": "iot:Publish", "NotResource": "ARN:topic/a/s*"},
        {"Effect": "Allow", "Action": "iot:Connect", "NotResource": ["ARN:client/other", "ARN:client/more"]},
    ]));
    assert!(said.contains("allowed    iot:Connect"), "{said}");
    assert!(said.contains("allowed    iot:Publish on topic/a/b"), "{said}");
    assert!(said.contains("denied     iot:Publish on topic/a/secret"), "{said}");
    assert!(said.contains("note       statement 1: \"NotResource\" is read as every resource but those"), "{said}");
    let said = told(json!([
        {"Effect": "Allow", "Action": "iot:*", "Resource": "*"},
        {"Effect": "Deny", "Action": "iot:Publish", "NotResource": "ARN:topic/a/b"},
    ]));
    assert!(said.contains("allowed    iot:Publish on topic/a/b"), "{said}");
    assert!(
        said.contains(
            "statement 2 forbids it by NotResource ARN:topic/a/b"
                .replace("ARN:", "arn:aws:iot:eu-west-1:123456789012:")
                .as_str()
        ),
        "{said}"
    );
    // What two of them leave out together is left.
    let said = told(json!([
        {"Effect": "Allow", "Action": "iot:*", "NotResource": ["ARN:topic/a/*", "ARN:client/x"]},
        {"Effect": "Allow", "Action": "iot:*", "NotResource": "ARN:topic/*/secret"},
    ]));
    assert!(
        said.contains("allowed    iot:Publish on topic/a/b")
            && said.contains("denied     iot:Publish on topic/a/secret")
    );
    // What a variable leaves out may be anything.
    let said = told(json!([
        {"Effect": "Allow", "Action": "iot:*", "NotResource": "ARN:topic/${iot:Connection.Thing.ThingTypeName}/b"},
    ]));
    assert!(said.contains("allowed    iot:Connect") && said.contains("undecided  iot:Publish on topic/a/b"), "{said}");
    assert!(said.contains("allowed    iot:Publish on topic/a/secret"), "{said}");
}

#[test]
fn placeholders_are_named_as_such() {
    let said = told(
        &config("thing-1", ""),
        &context("thing-1"),
        json!([
            {"Effect": "Allow", "Action": "iot:Connect", "Resource": "arn:aws:iot:REGION:ACCOUNT_ID:client/<thing>"},
            {"Effect": "Allow", "Action": "iot:Connect", "Resource": "client/thing-1"},
        ]),
    );
    for note in [
        "statement 1: REGION in arn:aws:iot:REGION:ACCOUNT_ID:client/<thing> is a placeholder: put the region of the endpoint \
         there, eu-west-1",
        "statement 1: ACCOUNT_ID in arn:aws:iot:REGION:ACCOUNT_ID:client/<thing> is a placeholder: put the number of the \
         account there, 123456789012",
        "statement 1: <thing> in arn:aws:iot:REGION:ACCOUNT_ID:client/<thing> is a placeholder: put the real name there",
        "statement 2: client/thing-1 isn't an ARN and matches nothing; one begins with arn:aws:iot:eu-west-1:123456789012:",
    ] {
        assert!(said.contains(&format!("note       {note}\n")), "{note}\n{said}");
    }
}
