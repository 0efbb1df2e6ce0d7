//! `gatewire policy`: what it prints, what it says to existing policies, what it exits with.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// The policy of AWS's tutorial for connecting a device.
const TUTORIAL: &str = r#"{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": ["iot:Publish", "iot:Receive"],
      "Resource": ["arn:aws:iot:eu-west-1:123456789012:topic/test/topic"]
    },
    {
      "Effect": "Allow",
      "Action": ["iot:Subscribe"],
      "Resource": ["arn:aws:iot:eu-west-1:123456789012:topicfilter/test/topic"]
    },
    {
      "Effect": "Allow",
      "Action": ["iot:Connect"],
      "Resource": [
        "arn:aws:iot:eu-west-1:123456789012:client/test-*",
        "arn:aws:iot:eu-west-1:123456789012:client/thing-*"
      ]
    }
  ]
}
"#;

const LEAST: &str = r#"{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Sid": "Connect",
      "Effect": "Allow",
      "Action": "iot:Connect",
      "Resource": "arn:aws:iot:eu-west-1:123456789012:client/thing-gateway-01"
    },
    {
      "Sid": "PublishSchedule",
      "Effect": "Allow",
      "Action": "iot:Publish",
      "Resource": "arn:aws:iot:eu-west-1:123456789012:topic/test/topic"
    },
    {
      "Sid": "SubscribeForward",
      "Effect": "Allow",
      "Action": "iot:Subscribe",
      "Resource": "arn:aws:iot:eu-west-1:123456789012:topicfilter/test/topic"
    },
    {
      "Sid": "ReceiveForward",
      "Effect": "Allow",
      "Action": "iot:Receive",
      "Resource": "arn:aws:iot:eu-west-1:123456789012:topic/test/topic"
    }
  ]
}
"#;

const ENDPOINT: &str = "a1b2c3d4e5f6g7-ats.iot.eu-west-1.amazonaws.com";
const ACCOUNT: &str = "123456789012";

/// A configuration for the tutorial's topic, and policies beside it.
struct Files(TempDir);

impl Files {
    fn new(endpoint: &str, client_id: &str) -> Files {
        let files = Files(TempDir::new().unwrap());
        let connection =
            format!("[connection]\nendpoint = \"{endpoint}\"\nclient_id = \"{client_id}\"\nprotocol = \"3.1.1\"\n");
        let rest = "[[publish]]\nname = \"hello\"\ntopic = \"test/topic\"\nevery = \"1m\"\npayload = \"x\"\n\
                    [[forward]]\nname = \"messages\"\nfilters = [\"test/topic\"]\nsocket = \"/run/messages.sock\"\n";
        files.write("gatewire.toml", &(connection + rest));
        files
    }

    fn tutorial(client_id: &str) -> Files {
        let files = Files::new(ENDPOINT, client_id);
        files.write("tutorial.json", TUTORIAL);
        files
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatewire"));
        command.current_dir(self.0.path()).args(["--config", "gatewire.toml", "policy"]).args(arguments);
        command
    }

    fn policy(&self, arguments: &[&str]) -> Said {
        said(&self.command(arguments).output().unwrap())
    }

    fn policy_of_stdin(&self, input: &str) -> Said {
        let mut command = self.command(&["--against", "-"]);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        said(&child.wait_with_output().unwrap())
    }
}

/// Exit code, standard output, standard error.
type Said = (Option<i32>, String, String);

fn said(output: &Output) -> Said {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_least_policy_is_printed() {
    let files = Files::new(ENDPOINT, "thing-gateway-01");
    let printed = (Some(0), LEAST.to_owned(), String::new());
    assert_eq!(files.policy(&["--account", ACCOUNT]), printed);
    assert_eq!(files.policy(&["--account", ACCOUNT, "--region", "eu-west-1"]), printed);
    let (code, other, warning) = files.policy(&["--account", ACCOUNT, "--region", "cn-north-1"]);
    assert_eq!((code, other), (Some(0), LEAST.replace("arn:aws:iot:eu-west-1:", "arn:aws-cn:iot:cn-north-1:")));
    assert_eq!(warning, format!("warning: --region cn-north-1 isn't that of connection.endpoint, {ENDPOINT}\n"));
}

#[test]
fn what_is_printed_satisfies_the_configuration() {
    let (code, report, _) = Files::new(ENDPOINT, "thing-gateway-01").policy_of_stdin(LEAST);
    assert_eq!(code, Some(0));
    assert_eq!(
        report.lines().collect::<Vec<_>>(),
        [
            "allowed    iot:Connect on client/thing-gateway-01, for connection.client_id",
            "allowed    iot:Publish on topic/test/topic, for publish \"hello\"",
            "allowed    iot:Subscribe on topicfilter/test/topic, for forward \"messages\"",
            "allowed    iot:Receive on topic/test/topic, for forward \"messages\"",
            "note       the account is taken from the policy: 123456789012 (--account gives another)",
            "the policy allows 4 of 4 needs",
        ]
    );
}

#[test]
fn the_tutorials_policy_allows_its_thing_and_more() {
    let (code, report, errors) = Files::tutorial("thing-gateway-01").policy(&["--against", "tutorial.json"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let wider: Vec<&str> = report.lines().filter(|line| line.starts_with("wider")).collect();
    assert_eq!(
        wider,
        [
            "wider      statement 3: iot:Connect on arn:aws:iot:eu-west-1:123456789012:client/test-* isn't needed",
            "wider      statement 3: iot:Connect on arn:aws:iot:eu-west-1:123456789012:client/thing-* allows more than is \
             needed; arn:aws:iot:eu-west-1:123456789012:client/thing-gateway-01 would be enough",
        ]
    );
    assert!(report.ends_with("the policy allows 4 of 4 needs\n"), "{report}");
}

#[test]
fn the_tutorials_policy_denies_another_client_id() {
    let (code, report, errors) = Files::tutorial("gateway-01").policy(&["--against", "tutorial.json"]);
    assert_eq!((code, errors.as_str()), (Some(1), ""));
    assert_eq!(
        report.lines().take(3).collect::<Vec<_>>(),
        [
            "denied     iot:Connect on client/gateway-01, for connection.client_id",
            "           no statement allows it",
            "           add {\"Effect\":\"Allow\",\"Action\":\"iot:Connect\",\
             \"Resource\":\"arn:aws:iot:eu-west-1:123456789012:client/gateway-01\"}",
        ]
    );
    assert!(report.ends_with("the policy allows 3 of 4 needs, 1 denied\n"), "{report}");
}

#[test]
fn region_and_account_are_compared_when_given() {
    let files = Files::tutorial("thing-gateway-01");
    let (code, report, _) = files.policy(&["--against", "tutorial.json", "--account", "210987654321"]);
    assert_eq!(code, Some(1));
    assert!(report.ends_with("the policy allows 0 of 4 needs, 4 denied\n"), "{report}");
    // Where neither tells them they are the policy's.
    let files = Files::new("localhost", "thing-gateway-01");
    let (code, report, _) = files.policy_of_stdin(TUTORIAL);
    assert_eq!(code, Some(0));
    assert!(
        report.contains("note       the region is taken from the policy: eu-west-1 (--region gives another)"),
        "{report}"
    );
}

#[test]
fn a_thing_may_have_another_name_than_the_client() {
    let files = Files::new(ENDPOINT, "thing-gateway-01");
    files.write("p.json", &LEAST.replace("client/thing-gateway-01", "client/${iot:Connection.Thing.ThingName}"));
    assert_eq!(files.policy(&["--against", "p.json"]).0, Some(0));
    let (code, report, _) = files.policy(&["--against", "p.json", "--thing", "other"]);
    assert_eq!(code, Some(1));
    assert!(report.contains("${iot:Connection.Thing.ThingName} is taken to be \"other\""), "{report}");
}

#[test]
fn what_is_undecided_alone_exits_0() {
    let conditional = LEAST.replacen(
        "\"Effect\"",
        "\"Condition\": {\"Bool\": {\"iot:Connection.Thing.IsAttached\": \"true\"}}, \"Effect\"",
        1,
    );
    let (code, report, _) = Files::new(ENDPOINT, "thing-gateway-01").policy_of_stdin(&conditional);
    assert_eq!(code, Some(0));
    assert!(report.starts_with("undecided  iot:Connect on client/thing-gateway-01"), "{report}");
    assert!(report.ends_with("the policy allows 3 of 4 needs, 1 undecided\n"), "{report}");
}

#[test]
fn a_command_line_that_lacks_something_exits_64() {
    let files = Files::new("localhost", "thing-1");
    for (arguments, told) in [
        (&[] as &[&str], "--account <ACCOUNT>"),
        (&["--account", "1234"], "an account is a number of 12 digits"),
        (&["--account", ACCOUNT, "--region", "Ireland"], "a region is written like eu-west-1"),
        (&["--account", ACCOUNT], "connection.endpoint (localhost) doesn't tell the region"),
        (&["--account", ACCOUNT, "--thing", "x"], "--against <FILE>"),
        (&["--against", "p.json", "--thing", "a b"], "the name of a thing has letters"),
    ] {
        let (code, stdout, stderr) = files.policy(arguments);
        assert_eq!((code, stdout.as_str()), (Some(64), ""), "{arguments:?}");
        assert!(stderr.contains(told), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_policy_or_configuration_that_cannot_be_used_exits_78() {
    let files = Files::new(ENDPOINT, "thing-1");
    files.write("broken.json", "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [,]\n}");
    files.write("iam.json", r#"{"Statement":{"Effect":"Allow","NotAction":"iot:Connect","Resource":"*"}}"#);
    for (file, told) in [
        ("broken.json", "broken.json:3:17: not JSON: expected value\n"),
        (
            "iam.json",
            "iam.json: \"Version\": \"2012-10-17\" is missing, without which IoT Core takes no policy\n\
             iam.json: statement 1: IoT Core's policies know no \"NotAction\", only IAM's do\n",
        ),
        ("none.json", "none.json: the policy can't be read: No such file or directory (os error 2)\n"),
    ] {
        assert_eq!(files.policy(&["--against", file]), (Some(78), String::new(), told.to_owned()));
    }
    assert_eq!(files.policy_of_stdin("x").2, "standard input:1:1: not JSON: a policy begins with {\n");
    files.write("gatewire.toml", "[connection]\nprt = 1\n");
    let (code, _, stderr) = files.policy(&["--account", ACCOUNT]);
    assert_eq!(code, Some(78));
    assert!(stderr.contains("gatewire.toml:2: `connection.prt`: unknown key"), "{stderr}");
}

#[test]
fn a_policy_that_is_too_long_is_a_warning() {
    let files = Files::new(ENDPOINT, "thing-1");
    let topics: Vec<String> = (0..60).map(|n| format!("\"topics/{n}\"")).collect();
    fs::create_dir(files.0.path().join("conf.d")).unwrap();
    let ingest = format!("[[ingest]]\nname = \"up\"\nsocket = \"/run/up.sock\"\ntopics = [{}]\n", topics.join(", "));
    files.write("conf.d/10.toml", &ingest);
    let (code, stdout, stderr) = files.policy(&["--account", ACCOUNT]);
    assert_eq!(code, Some(0));
    assert!(stdout.contains("topic/topics/59\""), "{stdout}");
    assert!(
        stderr.starts_with("warning: the policy has ") && stderr.contains("PublishIngest with 60 resources"),
        "{stderr}"
    );
}

#[test]
fn several_policies_count_together() {
    let files = Files::new(ENDPOINT, "thing-gateway-01");
    let mut parts: serde_json::Value = serde_json::from_str(LEAST).unwrap();
    let statements = parts["Statement"].as_array_mut().unwrap();
    let first = statements.split_off(2);
    let second = std::mem::replace(statements, first);
    files.write("first.json", &parts.to_string());
    parts["Statement"] = second.into();
    files.write("second.json", &parts.to_string());
    assert_eq!(files.policy(&["--against", "first.json"]).0, Some(1));
    let (code, report, _) = files.policy(&["--against", "first.json", "--against", "second.json"]);
    assert_eq!(code, Some(0), "{report}");
    let deny = LEAST.replace("Allow", "Deny");
    files.write("deny.json", &deny);
    let (code, report, _) = files.policy(&["--against", "second.json", "--against", "deny.json"]);
    assert_eq!(code, Some(1));
    assert!(report.contains("deny.json: statement 1 (Connect) forbids it"), "{report}");
    let (code, _, stderr) =
        files.policy(&["--against", "none.json", "--against", "first.json", "--against", "no.json"]);
    assert_eq!((code, stderr.matches("the policy can't be read").count()), (Some(78), 2), "{stderr}");
    let (code, _, stderr) = files.policy(&["--against", "-", "--against", "-"]);
    assert_eq!(code, Some(64), "{stderr}");
}

#[test]
fn a_policy_is_read_however_it_was_saved() {
    let files = Files::new(ENDPOINT, "thing-gateway-01");
    let utf16: Vec<u8> = "\u{feff}".encode_utf16().chain(LEAST.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let string = serde_json::to_vec(LEAST).unwrap();
    for saved in [format!("\u{feff}{LEAST}").into_bytes(), utf16, string] {
        fs::write(files.0.path().join("saved.json"), saved).unwrap();
        let (code, report, stderr) = files.policy(&["--against", "saved.json"]);
        assert_eq!(code, Some(0), "{report}{stderr}");
    }
    fs::write(files.0.path().join("saved.json"), b"{\n\"Version\": \"\xe4\"}").unwrap();
    let (code, _, stderr) = files.policy(&["--against", "saved.json"]);
    assert_eq!(code, Some(78));
    assert!(stderr.starts_with("saved.json: the file isn't text in UTF-8: byte 13 of line 2"), "{stderr}");
}

#[test]
fn the_certificate_answers_for_its_variables() {
    let certificates = support::Certificates::make("thing-gateway-01", "ec");
    let files = Files::new(ENDPOINT, "thing-gateway-01");
    let policy = LEAST.replace("client/thing-gateway-01", "client/${iot:Certificate.Subject.CommonName}");
    // Without the file nobody here knows.
    let (code, report, _) = files.policy_of_stdin(&policy);
    assert_eq!(code, Some(0));
    assert!(report.contains("undecided  iot:Connect") && report.contains("certificate.pem.crt"), "{report}");
    let config = fs::read_to_string(files.0.path().join("gatewire.toml")).unwrap();
    let cert_file = certificates.path("certificate.pem.crt");
    files.write("gatewire.toml", &format!("{config}[tls]\ncert_file = {cert_file:?}\n"));
    let (code, report, _) = files.policy_of_stdin(&policy);
    assert_eq!(code, Some(0));
    assert!(report.starts_with("allowed    iot:Connect"), "{report}");
    let conditional = |name: &str| {
        let condition = format!(
            "\"Condition\": {{\"StringEquals\": {{\"iot:Certificate.Subject.CommonName\": \"{name}\"}}}}, \"Effect\""
        );
        files.policy_of_stdin(&LEAST.replacen("\"Effect\"", &condition, 1))
    };
    assert_eq!(conditional("thing-gateway-01").0, Some(0));
    let (code, report, _) = conditional("another");
    assert_eq!(code, Some(1));
    assert!(report.contains("its condition doesn't hold: StringEquals iot:Certificate.Subject.CommonName"), "{report}");
}
