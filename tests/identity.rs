//! The daemon with `[provisioning]`: what it does before there is an identity, when there is one, and when that can't be used.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "identity/damaged.rs"]
mod damaged;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use support::cloud::fleet::Fleet;
use support::cloud::front::{Attempt, Refusal, Stage, Who};
use support::cloud::service::{Kind, Mood};
use support::daemon::{Gatewire, Setup};
use support::eventually;
use support::preload::preload;

/// What holds the name of the thing, and beside it what doesn't.
const REST: &str = r#"
[[publish]]
name = "named"
topic = "gateways/{{client_id}}/hello"
every = "1d"
payload = "from {{thing}}"
[[publish]]
name = "plain"
topic = "fleet/hello"
every = "1d"
payload = "from somebody"
[[ingest]]
name = "publish"
socket = "DIR/publish.sock"
topics = ["gateways/{{thing}}/#", "fleet/#"]
[[forward]]
name = "messages"
socket = "DIR/messages.sock"
filters = ["gateways/{{thing}}/set"]
[jobs]
socket = "DIR/jobs.sock"
"#;

fn identity(setup: &Setup, name: &str) -> PathBuf {
    setup.directory.path().join("state/identity").join(name)
}

fn away(file: &Path) -> PathBuf {
    file.with_added_extension("away")
}

/// The `identity` of the status, once that is in this state.
fn wait_for(gatewire: &Gatewire, state: &str) -> serde_json::Value {
    eventually(&format!("the identity is {state}"), || {
        Some(gatewire.status()["identity"].clone()).filter(|identity| identity["state"] == state)
    })
}

/// Does what a line of advice says, without sudo.
fn follow(advice: &str) {
    let command = advice.split("`sudo ").nth(1).and_then(|rest| rest.split('`').next()).expect(advice);
    let command = command.replace("&& sudo ", "&& ");
    let done = std::process::Command::new("sh").args(["-c", &command]).status().unwrap();
    assert!(done.success(), "{command}");
}

#[test]
fn what_is_in_the_way_of_the_identity_is_found_by_check_and_its_advice_works_as_printed() {
    let fleet = Fleet::start();
    let setup = fleet.setup("7", REST);
    let at = |name: &str| setup.directory.path().join("state").join(name);
    fs::create_dir_all(at("identity.next")).unwrap();
    let fifo = |path: PathBuf| nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let link = |path: PathBuf| std::os::unix::fs::symlink(at("elsewhere"), path).unwrap();
    let directory = |path: PathBuf| fs::create_dir(path).unwrap();
    let file = |path: PathBuf| fs::write(path, "x").unwrap();
    /// Where, what is put there, the exit code, what is said.
    type Case<'a> = (&'a str, &'a dyn Fn(PathBuf), i32, &'a str);
    let cases: [Case<'_>; 9] = [
        ("identity.lock", &directory, 1, "is a directory, and gatewire's own file belongs there"),
        ("identity.lock", &fifo, 1, "is a FIFO, and gatewire's own file"),
        ("identity.lock", &link, 1, "is a symbolic link, and gatewire's own file"),
        ("identity", &fifo, 78, "is a FIFO, and gatewire's own directory"),
        ("identity", &file, 78, "is a file, and gatewire's own directory"),
        ("identity", &link, 78, "is a symbolic link, and gatewire's own directory"),
        ("identity.previous", &file, 78, "is a file, and gatewire's own directory"),
        ("identity.next/progress.json", &fifo, 1, "is a FIFO, and gatewire's own file"),
        ("identity.next/progress.json", &directory, 1, "is a directory, and gatewire's own file"),
    ];
    for (name, make, expected, said) in cases {
        make(at(name));
        let (code, _, stderr) = setup.output("check");
        assert!(code == expected && stderr.contains(said), "{name}: {code} {stderr}");
        follow(&stderr);
        let (code, _, stderr) = setup.output("check");
        assert_eq!(code, 0, "{name}: {stderr}");
        let aside = at(&format!("{}.aside", name.rsplit('/').next().unwrap()));
        fs::remove_file(&aside).or_else(|_| fs::remove_dir(&aside)).unwrap();
    }
    // The daemon says the same, and goes on once it is done.
    directory(at("identity.lock"));
    let gatewire = setup.start();
    let line = gatewire.wait_for("gatewire's own file belongs there");
    follow(&line);
    wait_for(&gatewire, "ready");
    gatewire.stop();
}

#[test]
fn garbage_beside_an_identity_is_named_and_the_daemon_connects_with_that() {
    let fleet = Fleet::start();
    let setup = fleet.setup("7", "");
    assert_eq!(setup.output("provision").0, 0);
    fs::write(setup.directory.path().join("state/identity.next"), "garbage").unwrap();
    let (code, _, stderr) = setup.output("check");
    assert!(code == 1 && stderr.contains("identity.next is a file, and gatewire's own directory belongs"), "{stderr}");
    let gatewire = setup.connect();
    follow(&gatewire.wait_for("identity.next is a file, and gatewire's own directory belongs there"));
    eventually("nothing is in the way", || {
        Some(gatewire.status()["identity"].clone()).filter(|identity| identity["next_attempt"].is_null())
    });
    assert_eq!(gatewire.stop().0, 0);
    assert_eq!(setup.output("check").0, 0);
}

#[test]
fn a_state_directory_that_was_moved_to_another_disk_is_used_through_its_link() {
    let fleet = Fleet::start();
    let setup = fleet.setup("7", "");
    let at = |name: &str| setup.directory.path().join(name);
    std::os::unix::fs::symlink(at("disk"), at("link")).unwrap();
    let setup = setup.again().env("STATE_DIRECTORY", at("link"));
    // The disk isn't mounted.
    for command in ["check", "provision"] {
        let (code, _, stderr) = setup.output(command);
        assert!(code == 1 && stderr.contains("no directory is there: mount the disk"), "{command}: {code} {stderr}");
    }
    fs::create_dir(at("disk")).unwrap();
    for command in ["check", "provision", "check"] {
        let (code, _, stderr) = setup.output(command);
        assert_eq!(code, 0, "{command}: {stderr}");
    }
    assert!(at("disk/identity/thing.json").is_file() && at("link").is_symlink());
    let gatewire = setup.connect();
    assert_eq!(gatewire.status()["identity"]["thing"], "gateway-7");
    assert_eq!(gatewire.stop().0, 0);
}

#[test]
fn an_identity_behind_a_link_is_put_in_its_place_as_the_advice_says_and_never_lost() {
    let fleet = Fleet::start();
    let setup = fleet.setup("7", "");
    assert_eq!(setup.output("provision").0, 0);
    let first = fs::read(identity(&setup, "thing.json")).unwrap();
    fs::create_dir(setup.directory.path().join("disk")).unwrap();
    for name in ["", "private.pem.key", "thing.json"] {
        let (own, moved) = (identity(&setup, name), setup.directory.path().join("disk/it's moved"));
        let own = PathBuf::from(own.to_str().unwrap().trim_end_matches('/'));
        fs::rename(&own, &moved).unwrap();
        std::os::unix::fs::symlink(&moved, &own).unwrap();
        let (code, _, stderr) = setup.output("run");
        assert!(
            code == 78 && stderr.contains("What it leads to looks like a part of the identity: `sudo rm "),
            "{name}: {stderr}"
        );
        follow(&stderr);
        assert!(!own.is_symlink() && own.exists() && moved.exists(), "{name}");
        fs::remove_dir_all(&moved).or_else(|_| fs::remove_file(&moved)).unwrap();
    }
    // Nobody is told to put something else there, such as a file of root's.
    let (own, foreign) = (identity(&setup, "thing.json"), setup.directory.path().join("disk/foreign"));
    fs::write(&foreign, "root:*:1::::::\n").unwrap();
    fs::rename(&own, own.with_extension("kept")).unwrap();
    std::os::unix::fs::symlink(&foreign, &own).unwrap();
    let (code, _, stderr) = setup.output("run");
    assert!(code == 78 && stderr.contains("puts it aside") && !stderr.contains("disk/foreign"), "{stderr}");
    fs::rename(own.with_extension("kept"), &own).unwrap();
    let gatewire = setup.connect();
    assert_eq!(fs::read(identity(&setup, "thing.json")).unwrap(), first);
    assert_eq!(gatewire.stop().0, 0);
}

#[test]
fn who_has_no_identity_yet_serves_all_that_does_not_need_one_and_connects_as_soon_as_there_is_one() {
    let fleet = Fleet::start();
    fleet.cloud.treat(Kind::RegisterThing, &[Mood::Holds]);
    let all = fleet.broker.subscribe_with("fleet/#", &["-t", "gateways/#"], "%t %p");
    let setup = fleet.setup("7", REST);
    let gatewire = setup.start();
    eventually("it has asked for a thing", || {
        let status = gatewire.status();
        (status["identity"]["step"] == "register-thing").then_some(())
    });
    let status = gatewire.status();
    assert_eq!((&status["identity"]["state"], &status["identity"]["thing"]), (&json!("provisioning"), &json!(null)));
    assert_eq!(status["link"]["state"], "waiting");
    assert!(status["link"].get("client_id").is_none() && status.get("certificate").is_none(), "{status}");
    let names: Vec<_> = status["publish"].as_array().unwrap().iter().map(|publish| &publish["name"]).collect();
    assert_eq!(names, ["plain"], "what holds the name waits");
    assert!(status.get("services").is_none(), "{status}");

    let mut client = gatewire.client("publish.sock");
    assert_eq!(client.ask(r#"{"topic":"fleet/door","payload":"open"}"#)["result"], "stored");
    let answer = client.ask(r#"{"topic":"gateways/gateway-7/door","payload":"open"}"#);
    assert_eq!(answer["error"], "no_identity", "{answer}");
    drop(gatewire.client("messages.sock"));
    drop(gatewire.client("jobs.sock"));
    let (code, page, _) = setup.output("status");
    assert!(code == 0 && page.contains("it waits for an identity") && page.contains("register-thing"), "{page}");

    fleet.cloud.release();
    let certificate = fleet.wait_for_identity("gateway-7");
    let found = wait_for(&gatewire, "ready");
    assert_eq!((&found["thing"], &found["configuration"]), (&json!("gateway-7"), &json!({"Site": "north"})));
    assert!(found["last_error"].is_null(), "{found}");
    eventually("it is connected", || (gatewire.status()["link"]["state"] == "connected").then_some(()));
    let status = gatewire.status();
    assert_eq!(status["link"]["client_id"], "gateway-7");
    assert_eq!(status["identity"]["not_after"], status["certificate"]["not_after"]);
    // The same client goes on.
    let answer = client.ask(r#"{"topic":"gateways/gateway-7/door","payload":"shut"}"#);
    // It is written to the disk after a second.
    assert!([json!("delivered"), json!("stored")].contains(&answer["result"]), "{answer}");
    let come: BTreeSet<String> = (0..4).map(|_| all.next()).collect();
    let expected = [
        "fleet/door open",
        "fleet/hello from somebody",
        "gateways/gateway-7/door shut",
        "gateways/gateway-7/hello from gateway-7",
    ];
    assert_eq!(come, expected.map(str::to_owned).into());
    let log = gatewire.log().join("\n");
    assert!(log.contains("the identity is in force: the thing gateway-7"), "{log}");
    assert!(log.contains("the identity is there: the configuration is read again"), "{log}");
    assert!(
        log.contains("as soon as it has an identity") && log.contains("waiting for an identity: publish "),
        "{log}"
    );
    assert!(!log.contains("gateways/thing") && !log.contains("`thing`"), "the name that stands in is nobody's: {log}");
    for (name, mode) in [("", 0o700), ("certificate.pem.crt", 0o600), ("private.pem.key", 0o600), ("thing.json", 0o600)]
    {
        let found = fs::metadata(identity(&setup, name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{name}");
    }
    let key = fs::read_to_string(identity(&setup, "private.pem.key")).unwrap();
    let secret = key.lines().nth(1).unwrap();
    assert!(!log.contains(secret) && !gatewire.status().to_string().contains(secret));
    assert_eq!(gatewire.stop().0, 0);

    // From now on nobody looks at the claim.
    let (claim, claim_key) = fleet.claim_files();
    [claim, claim_key].iter().for_each(|file| fs::remove_file(file).unwrap());
    let gatewire = setup.connect();
    assert_eq!(fleet.wait_for_identity("gateway-7").id, certificate.id);
    assert_eq!(gatewire.stop().0, 0);
}

#[test]
fn what_aws_refuses_is_said_with_its_words_everywhere_and_tried_again() {
    let fleet = Fleet::start();
    fleet.cloud.with(|aws| {
        let hook = ("SerialNumber".to_owned(), "7".to_owned(), "this one was stolen".to_owned());
        aws.provisioning.template("gateways").hook.push(hook);
    });
    let setup = fleet.setup("7", "");
    let gatewire = setup.start();
    let line = gatewire.wait_for("identity, register-thing: ");
    assert!(line.contains("AccessDenied (403): this one was stolen") && line.contains("next attempt in"), "{line}");
    let found = eventually("it waits", || {
        Some(wait_for(&gatewire, "provisioning")).filter(|identity| identity["next_attempt"].is_string())
    });
    assert_eq!(found["last_error"]["code"], "AccessDenied", "{found}");
    assert!(found["next_attempt"].is_string() && found["last_error"]["advice"].is_string(), "{found}");
    let (_, metrics, _) = setup.output_of(&["status", "--prometheus"]);
    assert!(metrics.contains("gatewire_identity_state{state=\"provisioning\"} 1"), "{metrics}");
    assert!(metrics.contains("gatewire_identity_last_error_timestamp_seconds{code=\"AccessDenied\"}"), "{metrics}");
    let (code, page, _) = setup.output("status");
    assert!(code == 0 && page.contains("this one was stolen"), "{page}");

    // Who has mended it needn't wait.
    fleet.cloud.with(|aws| aws.provisioning.template("gateways").hook.clear());
    let asked = fleet.cloud.requests(Kind::RegisterThing).len();
    gatewire.signal("HUP");
    wait_for(&gatewire, "ready");
    assert_eq!(fleet.cloud.requests(Kind::RegisterThing).len(), asked + 1);
    assert_eq!(gatewire.stop().0, 0);
}

/// A Pi has no clock that goes on without power: until a time service has set it, no certificate seems valid yet.
#[test]
fn in_1970_it_says_that_the_clock_is_wrong_and_once_that_is_set_goes_on_where_it_was() {
    let fleet = Fleet::start();
    let setup = preload(fleet.setup("7", REST), "tests/support/clock.c");
    let unset = setup.directory.path().join("unset");
    let setup = setup.env("CLOCK_UNSET", unset.clone());
    let words = ["the server's certificate is valid from", "this machine's clock says 1970-"];
    let names_the_clock = |said: &str| words.iter().all(|word| said.contains(word)) && said.contains("timedatectl");
    fs::write(&unset, "").unwrap();
    let (code, _, said) = setup.output("provision");
    assert!(code == 1 && names_the_clock(&said), "{code} {said}");
    let gatewire = setup.start();
    let line = gatewire.wait_for("the server's certificate is valid from");
    assert!(names_the_clock(&line), "{line}");
    assert_eq!(gatewire.stop().0, 0);
    assert!(fleet.cloud.requests(Kind::CreateCertificate).is_empty());

    fs::remove_file(&unset).unwrap();
    let gatewire = setup.connect();
    let first = fleet.wait_for_identity("gateway-7");
    assert_eq!(gatewire.stop().0, 0);

    // With an identity it is the same for the link: nothing of it is given up.
    fs::write(&unset, "").unwrap();
    let gatewire = setup.start();
    let line = gatewire.wait_for("the server's certificate is valid from");
    assert!(names_the_clock(&line), "{line}");
    fs::remove_file(&unset).unwrap();
    gatewire.wait_for("connected to");
    assert_eq!(fleet.wait_for_identity("gateway-7").id, first.id);
    assert_eq!(gatewire.stop().0, 0);
}

#[test]
fn without_an_identity_the_way_is_checked_with_the_claim_and_nothing_is_asked_for() {
    let fleet = Fleet::start();
    let setup = fleet.setup("7", REST);
    let (code, found, errors) = setup.output_of(&["check", "--connect"]);
    assert!(code == 0, "{found}{errors}");
    for step in [
        "this connects with the claim, and asks for nothing",
        "SUBSCRIBE: `$aws/certificates/create-from-csr/json/accepted` granted",
        "SUBSCRIBE: `$aws/provisioning-templates/gateways/provision/json/rejected` granted",
        "for the name of the thing: publish named, topics of ingest publish, [jobs]",
    ] {
        assert!(found.contains(step), "{step}\n{found}{errors}");
    }
    assert!(fleet.cloud.requests(Kind::CreateCertificate).is_empty());
    fleet.refuse(Who::Claims, Refusal::NotAuthorized, 1);
    let (code, found, errors) = setup.output_of(&["check", "--connect"]);
    assert!(code == 1 && found.contains("failed"), "{found}{errors}");
}

#[test]
fn the_policies_are_those_of_the_claim_and_of_any_gateway_of_the_fleet() {
    let fleet = Fleet::start();
    let setup = fleet.setup("7", REST);
    let policy = |arguments: &[&str]| {
        let common = ["policy", "--region", "eu-west-1", "--account", "123456789012"];
        let (code, printed, errors) = setup.output_of(&[&common, arguments].concat());
        assert_eq!((code, errors.as_str()), (0, ""), "{printed}");
        printed
    };
    let claim = policy(&["--claim"]);
    assert!(
        claim.contains("client/claim-*") && claim.contains("provisioning-templates/gateways/provision/json"),
        "{claim}"
    );
    let device = policy(&[]);
    let name = "${iot:Connection.Thing.ThingName}";
    for resource in ["client/", "topic/gateways/", "topic/$aws/things/", "topicfilter/gateways/"] {
        assert!(device.contains(&format!("{resource}{name}")), "{resource}\n{device}");
    }
    assert!(device.contains("topic/fleet/*"), "{device}");
}
