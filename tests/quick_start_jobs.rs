//! The commands of docs/jobs.md and of the recipes for jobs, run as they stand there: those for the cloud by the AWS CLI, with moto in the
//! place of AWS's control plane; those for the gateway with a daemon that has the scripted cloud behind it. What root does for a
//! daemon is tested in tests/act.rs and tests/systemd; here the daemon's user does it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::cloud::jobs::{Execution, Status};
use support::cloud::{Cloud, THING};
use support::daemon::{Gatewire, Setup};
use support::documented::{ControlPlane, Shell, blocks, commands, option, program, root, section};
use support::{closed_port, eventually};

/// A recipe as an `[[action]]` here: `$DIR/bin` has the programs, and the daemon's user runs them.
fn adapted(text: &str, directory: &Path) -> String {
    let bin = directory.join("bin").display().to_string();
    text.replace("/usr/local/bin", &bin)
        .replace("/usr/bin", &bin)
        .replace("as      = \"root\"\n", "")
        .replace("as       = \"root\"\n", "")
}

/// A daemon's configuration in whose `bin` systemctl, apt-get and dpkg write what they are asked for to `asked`.
fn setup(port: u16) -> Setup {
    let setup = Setup::new(port, "");
    let directory = setup.directory.path();
    fs::create_dir_all(directory.join("conf.d")).unwrap();
    for name in ["apt-get", "dpkg", "systemctl"] {
        program(&directory.join("bin").join(name), &format!("echo {name} \"$@\" >> {}/asked", directory.display()));
    }
    setup
}

fn asked(directory: &Path) -> Vec<String> {
    let text = fs::read_to_string(directory.join("asked")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Takes a job from the one cloud to the other, until it is so; and tells the first.
fn carry(
    job: &str,
    thing: &str,
    shell: &mut Shell,
    plane: &mut ControlPlane,
    cloud: &Cloud,
    until: Status,
) -> Execution {
    let document = shell.run(&format!("aws iot get-job-document --job-id {job} --query document --output text"));
    cloud.create_job(job, serde_json::from_str(&document).unwrap());
    let execution = cloud.wait_for(job, until);
    plane.tell(thing, &execution);
    execution
}

/// With the same times in all.
fn timeless(text: &str) -> Vec<String> {
    let word = |word: &str| match word.as_bytes() {
        [_, _, b':', _, _, b':', _, _] => "TIME".to_owned(),
        [_, _, _, _, b'-', _, _, b'-', _, _] => "DATE".to_owned(),
        [.., b's', b','] => "AGO,".to_owned(),
        _ => word.to_owned(),
    };
    text.trim_end()
        .replace("less than 1s", "1s")
        .lines()
        .map(|line| line.split(' ').map(word).collect::<Vec<_>>().join(" "))
        .collect()
}

/// What the quick start does on the gateway.
struct Pi<'a> {
    gatewire: &'a Gatewire,
    shell: Shell,
}

impl Pi<'_> {
    fn start<'a>(setup: &Setup, gatewire: &'a Gatewire) -> Pi<'a> {
        let directory = setup.directory.path();
        let (shown, binary) = (directory.display(), env!("CARGO_BIN_EXE_gatewire"));
        let tools = directory.join("tools");
        program(&tools.join("gatewire"), &format!("exec {binary} --config {shown}/gatewire.toml \"$@\""));
        program(&tools.join("sudo"), "if [ \"$1\" = -u ]; then shift 2; fi\nexec \"$@\"");
        let systemctl = format!(
            "case \"$*\" in 'reload gatewire') kill -HUP {} ;; 'enable --now gatewire-action.socket') ;; *) exit 1 ;; esac",
            gatewire.pid()
        );
        program(&tools.join("systemctl"), &systemctl);
        program(&tools.join("journalctl"), &format!("cat {shown}/log"));
        let mut command = Command::new("bash");
        let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
        command.current_dir(directory).env("PATH", path);
        Pi { gatewire, shell: Shell::start(&mut command) }
    }

    fn run(&mut self, command: &str) -> String {
        let directory = self.gatewire.directory().display().to_string();
        let command =
            command.replace("/usr/share/doc/gatewire", root().to_str().unwrap()).replace("/etc/gatewire", &directory);
        let said = self.shell.run(&command);
        if command.contains("install -m 644") {
            let file = self.gatewire.path("conf.d/restart-services.toml");
            let text = adapted(&fs::read_to_string(&file).unwrap(), self.gatewire.directory());
            fs::write(&file, text).unwrap();
        }
        if command.contains("reload gatewire") {
            self.gatewire.wait_for("AWS IoT Jobs can be used");
        }
        said
    }
}

#[test]
fn each_command_of_the_quick_start_does_what_it_says() {
    let text = section("jobs.md", "## Quick start");
    let (broker, cloud) = Cloud::start();
    let setup = setup(broker.port).keep_log("log");
    let gatewire = setup.connect();
    let directory = gatewire.directory();
    let mut plane = ControlPlane::start();
    let work = tempfile::tempdir().unwrap();
    program(&work.path().join("bin/scp"), &format!("cp {}/policy.json \"$2\"", directory.display()));
    let mut shell = plane.shell(work.path());
    // Of the quick start before it.
    let thing = "thing-gateway-01";
    shell.run(&format!("aws iot create-thing --thing-name {thing}"));
    let policy = json!({"Version": "2012-10-17", "Statement": []}).to_string();
    shell.run(&format!("aws iot create-policy --policy-name {thing} --policy-document '{policy}'"));
    let mut pi = Pi::start(&setup, &gatewire);

    let mut said = Vec::new();
    for block in blocks(&text, "sh") {
        let is_of_pi = block.starts_with("# pi\n");
        assert!(is_of_pi || block.starts_with("# cloud\n"), "{block}");
        for command in commands(block) {
            let output = if is_of_pi { pi.run(&command) } else { shell.run(&command) };
            if command.contains("create-job ") {
                let job = option(&command, "--job-id ");
                let until = if job.contains("sshd") { Status::Rejected } else { Status::Succeeded };
                carry(job, thing, &mut shell, &mut plane, &cloud, until);
                eventually("it is told", || gatewire.status()["services"]["jobs"]["execution"].is_null().then_some(()));
            }
            said.push((command, output));
        }
    }
    let output = |part: &str| {
        let (_, output) = said.iter().find(|(command, _)| command.contains(part)).unwrap();
        output.as_str()
    };
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(asked(directory), ["systemctl restart -- mosquitto"]);
    assert_eq!(json(output("describe-job-execution --job-id restart-mosquitto-1")), json(blocks(&text, "json")[0]));
    let rejected = json(output("describe-job-execution --job-id restart-sshd-1"));
    let reason = rejected[1]["detailsMap"]["reason"].as_str().unwrap();
    assert_eq!(rejected[0], "REJECTED");
    assert!(text.replace("\\`", "`").contains(&format!("`{reason}`")), "{reason}");
    let plain = blocks(&text, "");
    let (status, journal, table) = (plain[0], plain[1], plain[2]);
    let of_status = output("gatewire status").lines().find(|line| line.starts_with("jobs")).unwrap().to_owned();
    assert_eq!(timeless(&of_status), timeless(status));
    for line in journal.lines() {
        assert!(output("journalctl").contains(line), "{line}\n{}", output("journalctl"));
    }
    assert_eq!(timeless(output("gatewire jobs")), timeless(table));
    let toml = fs::read_to_string(root().join("docs/recipes/restart-services.toml")).unwrap();
    let bare = |text: &str| text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(bare(blocks(&text, "toml")[0]), bare(&toml));
}

/// All recipes together, with the jobs that docs/recipes.md has for them.
#[test]
fn each_job_of_the_recipes_is_taken_by_its_action() {
    let text = section("recipes.md", "## Jobs");
    let (broker, cloud) = Cloud::start();
    let setup = setup(broker.port);
    let directory = setup.directory.path().to_owned();
    program(&directory.join("bin/install-model.sh"), "exit 9");
    for name in ["restart-services", "reboot", "packages", "upgrade-gatewire", "install-model"] {
        let recipe = fs::read_to_string(root().join(format!("docs/recipes/{name}.toml"))).unwrap();
        let recipe = adapted(&recipe, &directory).replace("my-models.s3.eu-west-1.amazonaws.com", "127.0.0.1");
        // Nothing can be downloaded from there, and for a while that may be the network's fault.
        let recipe = recipe.replace("timeout  = \"15m\"", "timeout  = \"1s\"");
        fs::write(directory.join(format!("conf.d/{name}.toml")), recipe).unwrap();
    }
    let mut gatewire = setup.connect();
    let mut plane = ControlPlane::start();
    let work = tempfile::tempdir().unwrap();
    fs::write(work.path().join("model.bin"), "MODL").unwrap();
    let mut shell = plane.shell(work.path());
    shell.run(&format!("aws iot create-thing --thing-name {THING}"));
    shell.run(&format!("arn=$(aws iot describe-thing --thing-name {THING} --query thingArn --output text)"));

    let [block] = blocks(&text, "sh")[..] else { panic!("{text}") };
    // A document goes over several lines, in quotes.
    let commands = block.split("\naws ").flat_map(|part| part.split("\nsum=")).enumerate();
    let commands = commands.map(|(number, part)| match part {
        part if part.starts_with("$(sha256sum") => format!("sum={part}"),
        part if number == 0 => part.to_owned(),
        part => format!("aws {part}"),
    });
    let mut jobs = Vec::new();
    for command in commands {
        shell.run(&command);
        if !command.starts_with("aws iot create-job ") {
            continue;
        }
        let job = option(&command, "--job-id ").to_owned();
        jobs.push(job.clone());
        let (before, waits) = (asked(&directory).len(), matches!(job.as_str(), "reboot-1" | "upgrade-1"));
        let until = match job.as_str() {
            "model-1" => Status::Failed,
            _ if waits => Status::InProgress,
            _ => Status::Succeeded,
        };
        let document = shell.run(&format!("aws iot get-job-document --job-id {job} --query document --output text"));
        let document =
            document.replace("my-models.s3.eu-west-1.amazonaws.com", &format!("127.0.0.1:{}", closed_port()));
        cloud.create_job(&job, serde_json::from_str(&document).unwrap());
        let execution = cloud.wait_for(&job, until);
        plane.tell(THING, &execution);
        match job.as_str() {
            // It waits for a boot that doesn't come here.
            "reboot-1" => {
                eventually("the reboot", || (asked(&directory).len() > before).then_some(()));
                assert!(cloud.cancel(&job, true));
            }
            "upgrade-1" => {
                eventually("the upgrade", || (asked(&directory).len() > before + 1).then_some(()));
                assert_eq!(gatewire.stop().0, 0);
                gatewire = setup.connect();
                cloud.wait_for(&job, Status::Succeeded);
            }
            _ => {}
        }
    }
    assert_eq!(jobs, ["restart-3", "reboot-1", "socat-1", "upgrade-1", "model-1"]);
    let apt = "-o DPkg::Lock::Timeout=300 -o DPkg::Options::=--force-confold";
    let expected = [
        "systemctl restart -- mosquitto".to_owned(),
        "systemctl reboot".to_owned(),
        "apt-get update --error-on=any".to_owned(),
        format!("apt-get install --yes {apt} -- socat"),
        "apt-get update --error-on=any".to_owned(),
        format!("apt-get install --yes --only-upgrade {apt} gatewire"),
        "dpkg --force-confold --configure --pending".to_owned(),
    ];
    assert_eq!(asked(&directory), expected);
}

#[test]
fn the_model_is_installed_as_a_whole_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let (models, script) = (directory.path().join("models"), directory.path().join("install-model.sh"));
    let text = fs::read_to_string(root().join("docs/recipes/install-model.sh")).unwrap();
    fs::write(&script, text.replace("/var/lib/models", models.to_str().unwrap())).unwrap();
    let install = |content: &str| {
        let file = directory.path().join("download");
        fs::write(&file, content).unwrap();
        Command::new("sh").arg(&script).arg(&file).output().unwrap().status.success()
    };
    assert!(install("MODL 1") && !install("<html>"));
    assert_eq!(fs::read_to_string(models.join("model.bin")).unwrap(), "MODL 1");
    assert!(install("MODL 2"));
    assert_eq!(fs::read_to_string(models.join("model.bin")).unwrap(), "MODL 2");
    assert_eq!(fs::read_dir(&models).unwrap().count(), 1);
}
