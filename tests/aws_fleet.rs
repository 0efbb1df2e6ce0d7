//! packaging/aws/fleet.yaml and the commands of docs/aws.md, run as they stand there: by the AWS CLI, with moto in the place of AWS; a
//! daemon on the gateway whose cloud does what the stack's template says. The stack's functions are run by Python.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "aws_fleet/rotation.rs"]
mod rotation;
mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::CERTIFICATES;
use support::cloud::fleet::Fleet;
use support::cloud::jobs::Status;
use support::cloud::provisioning::Template;
use support::daemon::{Gatewire, Setup};
use support::documented::{ControlPlane, Shell, blocks, commands, option, program, python, root, section};
use support::mosquitto::Subscriber;

const SERIAL: &str = "10000000abcdef01";
const THING: &str = "gateway-10000000abcdef01";
const HERE: &str = "packaging/aws/fleet.yaml";
/// The AWS CLI's, for what the account has.
const POLICIES: [&str; 2] = ["gateways", "gateways-services"];

/// The configuration of the page, here: for this broker, with sockets and files in the directory of the test.
fn setup(text: &str, fleet: &Fleet) -> Setup {
    let text =
        text.replace("xxxxxxxxxxxxxx-ats.iot.eu-west-1.amazonaws.com", "localhost").replace("{{serial}}", SERIAL);
    let text = text.replace("/etc/gatewire", "DIR").replace("/run/gatewire", "DIR");
    let rest = "[tls]\nca_file = \"DIR/certs/AmazonRootCA1.pem\"\n[status]\nsocket = \"DIR/status.sock\"\n[outbox]\npath = \"DIR/gatewire.db\"\n";
    let port = format!("[connection]\nport = {}\n", fleet.port);
    let setup = Setup::with_text(&format!("{text}\n{rest}")).edit("[connection]\n", &port);
    let directory = setup.directory.path();
    for name in ["certs", "claim", "state"] {
        fs::create_dir(directory.join(name)).unwrap();
    }
    fs::copy(CERTIFICATES.path("AmazonRootCA1.pem"), directory.join("certs/AmazonRootCA1.pem")).unwrap();
    let (certificate, key) = fleet.claim_files();
    fs::copy(certificate, directory.join("claim/certificate.pem.crt")).unwrap();
    fs::copy(key, directory.join("claim/private.pem.key")).unwrap();
    let state = directory.join("state");
    setup.env("STATE_DIRECTORY", state)
}

/// A shell on the gateway, with the board's serial number as the kernel shows it.
fn pi(setup: &Setup) -> Shell {
    let directory = setup.directory.path();
    let (shown, binary, tools) = (directory.display(), env!("CARGO_BIN_EXE_gatewire"), directory.join("tools"));
    program(&tools.join("gatewire"), &format!("exec {binary} --config {shown}/gatewire.toml \"$@\""));
    fs::write(directory.join("serial-number"), format!("{SERIAL}\0")).unwrap();
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    Shell::start(Command::new("bash").current_dir(directory).env("PATH", path))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// What AWS IoT asks the hook when a gateway registers.
fn registers(serial: &str) -> Value {
    json!({
        "claimCertificateId": "c1", "certificateId": "d2", "certificatePem": "",
        "templateArn": "arn:aws:iot:eu-west-1:123456789012:provisioningtemplate/gateways",
        "clientId": "claim-1", "parameters": {"SerialNumber": serial},
    })
}

/// What the page's commands meet.
struct World {
    plane: ControlPlane,
    shell: Shell,
    fleet: Fleet,
    setup: Setup,
    pi: Shell,
    messages: Subscriber,
    daemon: Option<Gatewire>,
}

impl World {
    fn start(configuration: &str, directory: &Path) -> World {
        let fleet = Fleet::start();
        let setup = setup(configuration, &fleet);
        let to = setup.directory.path().display();
        program(&directory.join("bin/scp"), &format!("cp \"${{@:1:$#-1}}\" {to}"));
        let ca = CERTIFICATES.path("AmazonRootCA1.pem");
        program(&directory.join("bin/curl"), &format!("cp {} .", ca.display()));
        fs::write(directory.join("serials.txt"), "10000000abcdef02\n10000000abcdef03\n").unwrap();
        let plane = ControlPlane::start();
        let shell = plane.shell(directory);
        let messages = fleet.broker.subscribe_with("$aws/rules/#", &[], "%t");
        let pi = pi(&setup);
        World { plane, shell, fleet, setup, pi, messages, daemon: None }
    }

    /// Whether the hook allows a serial number, as the stack is now.
    fn allows(&self, serial: &str) -> bool {
        let mut hook = self.plane.function("Hook", &[("TABLE", "gateways-serials"), ("HOURS", "24")]);
        hook.call(&registers(serial))["allowProvisioning"].as_bool().unwrap()
    }

    /// A gateway is flashed and switched on: it becomes what the stack's template makes of it.
    fn first_boot(&mut self) {
        let body = self
            .shell
            .run("aws iot describe-provisioning-template --template-name gateways --query templateBody --output text");
        let template = Template::of("gateways", &json(&body));
        self.fleet.cloud.with(|aws| *aws.provisioning.template("gateways") = template);
        assert!(self.allows(SERIAL));
        self.daemon = Some(self.setup.connect());
        self.register();
        assert_eq!(self.messages.next(), format!("$aws/rules/gateways_messages/gateways/{THING}/hello"));
    }

    fn register(&mut self) {
        let own = self.fleet.cloud.with(|aws| aws.certificates.active(THING).unwrap().clone());
        self.plane.register(THING, &own.pem, &json!({"SerialNumber": SERIAL}));
    }

    /// A job of the one cloud goes to the other.
    fn carry(&mut self, job: &str) {
        let document =
            self.shell.run(&format!("aws iot get-job-document --job-id {job} --query document --output text"));
        self.fleet.cloud.with(|aws| aws.jobs.create(THING, job, json(&document), 0));
        let until = if job.starts_with("reboot") { Status::Rejected } else { Status::Succeeded };
        let execution = self.fleet.wait_for(job, until);
        self.plane.tell(THING, &execution);
    }

    fn run_of_pi(&mut self, command: &str) {
        let here = command.replace("/proc/device-tree/serial-number", "serial-number");
        let said = self.pi.run(&here);
        match command.split(' ').next().unwrap() {
            "tr" => assert_eq!(said, SERIAL),
            "gatewire" => {
                assert!(!said.contains("\ndenied") && !said.contains("\nundecided"), "{said}");
                assert!(!said.contains("which isn't needed") && said.contains("needs\n"), "{said}");
            }
            _ => panic!("{command}"),
        }
    }

    fn run_of_cloud(&mut self, command: &str) {
        let of_one = command.starts_with("aws dynamodb put-item");
        if of_one {
            assert!(!self.allows(SERIAL));
        }
        if command.contains("list-things-in-thing-group --thing-group-name gateways") && self.daemon.is_none() {
            self.first_boot();
        }
        let here = command.replace("/usr/share/gatewire/aws/fleet.yaml", root().join(HERE).to_str().unwrap());
        let said = self.shell.run(&here);
        if of_one || command.starts_with("while ") {
            assert!(self.allows(if of_one { SERIAL } else { "10000000abcdef02" }));
            assert!(!self.allows("10000000ABCDEF01") && !self.allows(""));
        }
        if command.starts_with("aws iot create-job ") {
            self.carry(option(command, "--job-id "));
        }
        if command.contains("describe-stacks") {
            for part in ["aws iot attach-policy --policy-name gateways-claim", "template        = \"gateways\""] {
                assert!(said.contains(part), "{said}");
            }
        } else if command.contains("describe-job-execution") {
            assert_eq!(json(&said)[0], "SUCCEEDED");
            assert_eq!(json(&said)[1]["detailsMap"]["action"], "gatewire:diagnose");
        } else if command.contains("list-job-executions-for-job --job-id diagnose-1") {
            assert_eq!(json(&said)["executionSummaries"].as_array().unwrap().len(), 1);
        } else if command.contains("--status FAILED") {
            assert_eq!(json(&said), json!([]));
        } else if command.starts_with("aws iot list-things-in-thing-group") {
            assert_eq!(json(&said)["things"], json!([THING]));
        } else if command.contains("attributes.serial:") {
            assert_eq!(json(&said)["things"][0]["thingName"], THING);
        } else if command.contains("dynamodb scan") {
            let mut left: Vec<String> = serde_json::from_str(&said).unwrap();
            left.sort();
            assert_eq!(left, ["10000000abcdef03"]);
        } else if command.contains("list-targets-for-policy") {
            assert_eq!(json(&said)["targets"], json!([]));
        } else if command.contains("dynamodb delete-item") {
            assert!(!self.allows(SERIAL));
        }
    }
}

#[test]
fn each_command_of_the_page_does_what_it_says() {
    let text = section("aws.md", "");
    let work = tempfile::tempdir().unwrap();
    let mut world = World::start(blocks(&text, "toml")[0], work.path());
    for block in blocks(&text, "sh") {
        let is_of_pi = block.starts_with("# pi\n");
        assert!(is_of_pi || block.starts_with("# cloud\n"), "{block}");
        for command in commands(block) {
            if is_of_pi {
                world.run_of_pi(&command);
            } else {
                world.run_of_cloud(&command);
            }
        }
    }
    let rotated = world.fleet.cloud.with(|aws| aws.certificates.of_thing(THING).len());
    assert_eq!(rotated, 2, "a job of the page has rotated the certificate");
    for left in
        ["list-policies --query policies", "list-things --query things", "list-job-templates --query jobTemplates"]
    {
        assert_eq!(json(&world.shell.run(&format!("aws iot {left}"))), json!([]), "{left}");
    }
}

/// A stack of the template with these parameters.
fn deploy(shell: &mut Shell, parameters: &str) {
    deploy_as("fleet", shell, parameters);
}

/// Likewise, with a name: moto can't change one.
fn deploy_as(stack: &str, shell: &mut Shell, parameters: &str) {
    let template = root().join(HERE).display().to_string();
    shell.run(&format!(
        "aws cloudformation deploy --stack-name {stack} --template-file {template} --capabilities CAPABILITY_IAM \
         --parameter-overrides {parameters}"
    ));
}

/// The policies of the account, by their names.
fn policy(shell: &mut Shell, name: &str) -> String {
    shell.run(&format!("aws iot get-policy --policy-name {name} --query policyDocument --output text"))
}

#[test]
fn the_policies_are_what_gatewire_asks_for_and_short_enough() {
    let (plane, work) = (ControlPlane::start(), tempfile::tempdir().unwrap());
    let mut shell = plane.shell(work.path());
    deploy(&mut shell, "Fleet=gateways");
    for name in POLICIES {
        fs::write(work.path().join(format!("{name}.json")), policy(&mut shell, name)).unwrap();
    }
    // All that the template is made for.
    let whole = section("aws.md", "");
    let whole = blocks(&whole, "toml")[0].replace("xxxxxxxxxxxxxx", "a1b2c3d4e5f6g7").replace(
        "client_id = \"{{thing}}\"\n",
        "client_id = \"{{thing}}\"\nwill = { topic = \"gateways/{{client_id}}/link\", payload = \"down\", retain = true }\n",
    );
    fs::write(work.path().join("gatewire.toml"), whole + "[commands]\n").unwrap();
    let gatewire = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatewire"));
        command.current_dir(work.path()).args(["--config", "gatewire.toml", "policy"]).args(arguments);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let [messages, services] = POLICIES.map(|name| format!("{name}.json"));
    let (code, said) = gatewire(&["--against", &messages, "--against", &services]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("\nundecided") && !said.contains("isn't needed") && said.contains("needs\n"), "{said}");
    let (code, claim) = gatewire(&["--claim", "--account", "123456789012"]);
    assert_eq!((code, json(&claim)), (Some(0), json(&policy(&mut shell, "gateways-claim"))));

    // Under the longest names that there are.
    let longest = "f".repeat(24);
    deploy_as("longest", &mut shell, &format!("Fleet={longest}"));
    for name in ["", "-services", "-claim"] {
        let text = policy(&mut shell, &format!("{longest}{name}"));
        let text = text.replace("arn:aws:iot:eu-west-1:", "arn:aws-us-gov:iot:us-gov-east-1:");
        let length = text.chars().filter(|c| !c.is_whitespace()).count();
        assert!(length <= 2048, "{name}: {length}");
    }
}

#[test]
fn what_is_left_out_by_a_parameter_is_left_out() {
    let (plane, work) = (ControlPlane::start(), tempfile::tempdir().unwrap());
    let mut shell = plane.shell(work.path());
    let mut resources = |parameters: &str| {
        deploy(&mut shell, parameters);
        let query = "StackResources[].[ResourceType,LogicalResourceId]";
        let command = format!("aws cloudformation describe-stack-resources --stack-name fleet --query '{query}'");
        let resources: Vec<(Option<String>, Option<String>)> = serde_json::from_str(&shell.run(&command)).unwrap();
        let names: Vec<String> = resources.into_iter().filter_map(|(_, name)| name).collect();
        let template = "aws iot describe-provisioning-template --template-name f --query preProvisioningHook";
        let hook = json(&shell.run(template));
        let outputs = "aws cloudformation describe-stacks --stack-name fleet --query 'Stacks[0].Outputs[].OutputValue'";
        let outputs: Vec<String> = serde_json::from_str(&shell.run(outputs)).unwrap();
        for output in outputs.iter().filter(|output| output.contains("aws ") && !output.contains("create-job")) {
            commands(output).iter().for_each(|command| drop(shell.run(command)));
        }
        shell.run("aws dynamodb list-tables; aws iot list-topic-rules");
        shell.run("for arn in $(aws iot list-targets-for-policy --policy-name f-claim --query 'targets[]' --output text); do aws iot detach-policy --policy-name f-claim --target $arn; done");
        shell.run("aws cloudformation delete-stack --stack-name fleet");
        (names, hook)
    };
    let has = |names: &[String], name: &str| names.iter().any(|known| known == name);
    let (names, hook) = resources("Fleet=f OnlyKnownSerialNumbers=no Rotation=no Destination=none");
    for name in ["Hook", "Serials", "RotationFunction", "RotationRule", "MessagesRule", "MessagesLog", "MessagesBucket"]
    {
        assert!(!has(&names, name), "{name}");
    }
    assert_eq!(hook, Value::Null);
    let (names, hook) = resources("Fleet=f Destination=s3");
    for name in ["Hook", "Serials", "RotationFunction", "RotationRule", "MessagesRule", "MessagesBucket"] {
        assert!(has(&names, name), "{name}");
    }
    assert!(!has(&names, "MessagesLog"));
    assert_eq!(hook["targetArn"], "arn:aws:lambda:eu-west-1:123456789012:function:f-hook");
}

#[test]
fn the_template_is_without_a_fault_in_the_eyes_of_cfn_lint() {
    let mut command = Command::new(python("cfn-lint"));
    command.args(["--regions", "eu-west-1", "us-east-1", "us-gov-west-1", "--template"]).arg(root().join(HERE));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.is_empty(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_serial_number_is_worth_a_certificate_once_but_for_lost_answers_and_renewals() {
    let (plane, work) = (ControlPlane::start(), tempfile::tempdir().unwrap());
    let mut shell = plane.shell(work.path());
    deploy(&mut shell, "Fleet=gateways");
    let put =
        format!("aws dynamodb put-item --table-name gateways-serials --item '{{\"serial\":{{\"S\":\"{SERIAL}\"}}}}'");
    let hook = |hours: &str| plane.function("Hook", &[("TABLE", "gateways-serials"), ("HOURS", hours)]);
    let (mut within, mut later) = (hook("24"), hook("0"));
    let asks = |claim: &str| {
        let mut event = registers(SERIAL);
        event["claimCertificateId"] = json!(claim);
        event
    };
    let (yes, no) = (json!({"allowProvisioning": true}), json!({"allowProvisioning": false}));
    assert_eq!(within.call(&asks("c1")), no);
    shell.run(&put);
    assert_eq!([within.call(&asks("c1")), within.call(&asks("c1"))], [yes.clone(), yes.clone()]);
    // By the claim no more; by the certificate that it has, `d2`.
    assert_eq!([later.call(&asks("c1")), later.call(&asks("d2"))], [no.clone(), yes.clone()]);
    shell.run(&put);
    assert_eq!([later.call(&asks("c1")), later.call(&asks("c1"))], [yes, no]);
}
