//! The commands of the quick start of docs/provisioning.md, run as they stand there: those for the cloud by the AWS CLI, with moto in the
//! place of AWS's control plane; those for the gateway with a daemon whose cloud does what the template of the page says.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use support::CERTIFICATES;
use support::cloud::fleet::Fleet;
use support::cloud::provisioning::Template;
use support::daemon::Setup;
use support::documented::{ControlPlane, Shell, blocks, commands, program, section};

const SERIAL: &str = "10000000abcdef01";
const THING: &str = "gateway-10000000abcdef01";

/// The configuration of the page, here: for this broker, with sockets and files in the directory of the test.
fn setup(text: &str, fleet: &Fleet) -> Setup {
    let text =
        text.replace("xxxxxxxxxxxxxx-ats.iot.eu-west-1.amazonaws.com", "localhost").replace("{{serial}}", SERIAL);
    let text = text.replace("/etc/gatewire", "DIR");
    let port = fleet.port;
    let rest = "[tls]\nca_file = \"DIR/certs/AmazonRootCA1.pem\"\n[status]\nsocket = \"DIR/status.sock\"\n[outbox]\npath = \"DIR/gatewire.db\"\n";
    let setup =
        Setup::with_text(&format!("{text}\n{rest}")).edit("[connection]\n", &format!("[connection]\nport = {port}\n"));
    for directory in ["certs", "conf.d", "state"] {
        fs::create_dir(setup.directory.path().join(directory)).unwrap();
    }
    let state = setup.directory.path().join("state");
    setup.env("STATE_DIRECTORY", state)
}

/// The gateway: what the page does there.
fn pi(setup: &Setup) -> Shell {
    let directory = setup.directory.path();
    let (shown, binary, tools) = (directory.display(), env!("CARGO_BIN_EXE_gatewire"), directory.join("tools"));
    let gatewire = format!("STATE_DIRECTORY={shown}/state exec {binary} --config {shown}/gatewire.toml \"$@\"");
    program(&tools.join("gatewire"), &gatewire);
    program(&tools.join("sudo"), "if [ \"$1\" = -u ]; then shift 2; fi\nexec \"$@\"");
    // The users of the package aren't here.
    program(
        &tools.join("install"),
        "a=()\nwhile [ $# -gt 0 ]; do case $1 in -o|-g) shift 2 ;; *) a+=(\"$1\"); shift ;; esac; done\nexec /usr/bin/install \"${a[@]}\"",
    );
    let mut command = Command::new("bash");
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    command.current_dir(directory).env("PATH", path);
    Shell::start(&mut command)
}

#[test]
fn each_command_of_the_quick_start_does_what_it_says() {
    let text = section("provisioning.md", "## Quick start");
    let fleet = Fleet::start();
    let setup = setup(blocks(&text, "toml")[0], &fleet);
    let here = setup.directory.path().to_owned();
    let mut plane = ControlPlane::start();
    let work = tempfile::tempdir().unwrap();
    let bin = work.path().join("bin");
    program(
        &bin.join("scp"),
        &format!("for f; do f=${{f/#pi@PI:/{0}/}}; a+=(\"$f\"); done; exec cp \"${{a[@]}}\"", here.display()),
    );
    program(&bin.join("curl"), &format!("cp {} .", CERTIFICATES.path("AmazonRootCA1.pem").display()));
    fs::write(work.path().join("template.json"), blocks(&text, "json")[0]).unwrap();
    let (mut shell, mut pi) = (plane.shell(work.path()), pi(&setup));
    let mut daemon = None;

    for block in blocks(&text, "sh") {
        let is_of_pi = block.starts_with("# pi\n");
        assert!(is_of_pi || block.starts_with("# cloud\n"), "{block}");
        for command in commands(block) {
            match command.as_str() {
                // Of the claim as the cloud of this test has it: moto's isn't signed by its CA.
                command if command.contains("scp claim.pem.crt") => {
                    let [certificate, key] = ["claim.pem.crt", "claim.pem.key"].map(|name| work.path().join(name));
                    fs::write(certificate, &fleet.claim.certificate).unwrap();
                    fs::write(key, &fleet.claim.key).unwrap();
                    shell.run(command);
                }
                "sudo systemctl stop gatewire" => assert!(daemon.is_none()),
                "sudo systemctl enable --now gatewire" => daemon = Some(setup.connect()),
                command if is_of_pi => {
                    let said = pi.run(&command.replace("/etc/gatewire", &here.display().to_string()));
                    if command.contains("gatewire provision") {
                        assert!(said.contains(THING), "{said}");
                        let own = fleet.cloud.with(|aws| aws.certificates.active(THING).unwrap().clone());
                        plane.register(THING, &own.pem, &json!({"SerialNumber": SERIAL}));
                    }
                    if command == "gatewire status" {
                        assert!(said.contains(THING), "{said}");
                    }
                }
                command => {
                    let said = shell.run(command);
                    if command.contains("create-provisioning-template") {
                        let body = shell.run(
                            "aws iot describe-provisioning-template --template-name gateways --query templateBody --output text",
                        );
                        let template = Template::of("gateways", &serde_json::from_str(&body).unwrap());
                        fleet.cloud.with(|aws| *aws.provisioning.template("gateways") = template);
                    }
                    if command.contains("list-things --query 'things[].thingName'") {
                        assert_eq!(serde_json::from_str::<Value>(&said).unwrap(), json!([THING]));
                    }
                    if command.contains("list-thing-principals") {
                        assert_eq!(
                            serde_json::from_str::<Value>(&said).unwrap()["principals"].as_array().unwrap().len(),
                            1
                        );
                    }
                }
            }
        }
    }
    let policy = fs::read_to_string(here.join("policy.json")).unwrap();
    assert!(policy.contains(":client/${iot:Connection.Thing.ThingName}\""), "{policy}");
    assert!(!policy.contains(THING));
    let status = daemon.unwrap().status();
    assert_eq!((&status["identity"]["thing"], &status["identity"]["state"]), (&json!(THING), &json!("ready")));
    assert_eq!(status["identity"]["configuration"], json!({"Site": "north"}));
}
