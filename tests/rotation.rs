//! Another certificate for an identity that gatewire has made itself, by a job and in time, against a cloud that gives certificates and
//! refuses those that don't count.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use support::cloud::certificates::State;
use support::cloud::fleet::Fleet;
use support::cloud::front::{Refusal, Who};
use support::cloud::jobs::Status;
use support::cloud::service::{Kind, Mood};
use support::daemon::{Gatewire, Setup};
use support::softhsm::{PIN, SOFTHSM, Token};
use support::tpm::Tpm;
use support::{eventually, patiently};

const THING: &str = "gateway-9001";

const REST: &str = "[jobs]\n[[ingest]]\nname = \"in\"\nsocket = \"DIR/in.sock\"\ntopics = [\"readings\"]\n";

/// A gateway with an identity.
fn provisioned(fleet: &Fleet) -> Setup {
    let setup = fleet.setup("9001", REST);
    let (code, out, said) = setup.output("provision");
    assert_eq!(code, 0, "{out}{said}");
    setup
}

fn state(setup: &Setup, name: &str) -> std::path::PathBuf {
    setup.directory.path().join("state").join(name)
}

/// The certificate's id.
fn in_force(setup: &Setup) -> String {
    // For a moment there is no directory of this name.
    let json = eventually("there is an identity", || fs::read(state(setup, "identity/thing.json")).ok());
    let json: Value = serde_json::from_slice(&json).unwrap();
    json["certificate_id"].as_str().unwrap().to_owned()
}

fn is_active(fleet: &Fleet, id: &str) -> bool {
    fleet.cloud.with(|aws| aws.certificates.get(id).unwrap().state) == State::Active
}

/// Nothing of a rotation is left, and the link uses what is in force, which AWS lets in.
fn is_settled(fleet: &Fleet, setup: &Setup, gatewire: &Gatewire) {
    eventually("nothing of a rotation is left", || {
        let is_left = state(setup, "identity.next").exists() || state(setup, "identity.previous").exists();
        let status = gatewire.status();
        let (link, identity) = (&status["link"]["state"], &status["identity"]);
        let rests = identity["state"] == "ready" && identity["step"].is_null();
        (!is_left && link == "connected" && rests).then_some(())
    });
    let id = in_force(setup);
    assert!(is_active(fleet, &id), "{id}");
}

#[test]
fn what_was_decided_on_when_a_crash_came_is_what_the_daemon_connects_with() {
    let fleet = Fleet::start();
    let setup = provisioned(&fleet);
    let (old, new) = (in_force(&setup), fleet.device(THING));
    // The next identity has got its last file, and not its place.
    let next = state(&setup, "identity.next");
    fs::create_dir(&next).unwrap();
    let thing = fs::read_to_string(state(&setup, "identity/thing.json")).unwrap().replace(&old, &new.id);
    for (name, contents) in
        [("certificate.pem.crt", &new.certificate), ("private.pem.key", &new.key), ("thing.json", &thing)]
    {
        fs::write(next.join(name), contents).unwrap();
        fs::set_permissions(next.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let before = fleet.attempts().len();
    let gatewire = setup.connect();
    is_settled(&fleet, &setup, &gatewire);
    assert_eq!(in_force(&setup), new.id);
    let shown: Vec<String> =
        fleet.attempts().split_off(before).into_iter().map(|attempt| attempt.certificate).collect();
    assert!(!shown.is_empty() && shown.iter().all(|certificate| *certificate == new.id), "{shown:?}, not {old}");
    assert_eq!(gatewire.stop().0, 0);
}

#[test]
fn a_job_rotates_the_certificate_and_no_message_is_lost() {
    let fleet = Fleet::start();
    let setup = provisioned(&fleet);
    let old = in_force(&setup);
    let readings = fleet.broker.subscribe("readings");
    let gatewire = setup.connect();
    let mut client = gatewire.client("in.sock");
    let mut sent = 0usize;
    let mut send = |client: &mut support::socket::Client| {
        client.send(&format!("{{\"topic\":\"readings\",\"payload\":\"{sent}\"}}"));
        let answer = client.json();
        assert!(answer["result"] == "stored" || answer["result"] == "delivered", "{answer}");
        sent += 1;
    };
    send(&mut client);
    fleet.rotate("rotate", THING);
    let done = eventually("the job is over", || {
        send(&mut client);
        let execution = fleet.cloud.execution("rotate");
        execution.status.is_terminal().then_some(execution)
    });
    assert_eq!(done.status, Status::Succeeded, "{done:?}");
    assert!(
        fleet.cloud.requests(Kind::Update).iter().any(|update| {
            update["status"] == "IN_PROGRESS" && update["statusDetails"]["CertificateRotator"] == "true"
        }),
        "as the rotator's own client says"
    );
    send(&mut client);
    let new = in_force(&setup);
    assert!(new != old && !is_active(&fleet, &old));
    is_settled(&fleet, &setup, &gatewire);
    // At least once: what wasn't acknowledged when the connection ended comes again.
    let mut came = std::collections::BTreeSet::new();
    while came.len() < sent {
        came.insert(readings.next());
    }
    // Each connection is of the same session.
    let again = fleet.attempts_of(&Who::Certificate(new));
    assert!(again.iter().all(|attempt| attempt.client_id == THING && !attempt.clean), "{again:?}");
    gatewire.wait_for("the certificate was rotated for job rotate, execution 1");
    assert_eq!(fleet.cloud.take_violations(), Vec::<String>::new());
    gatewire.stop();
}

#[test]
fn a_rejected_request_fails_the_job_and_changes_nothing() {
    let fleet = Fleet::start();
    let setup = provisioned(&fleet);
    let old = in_force(&setup);
    let gatewire = setup.connect();
    fleet.cloud.treat(Kind::RotatorCreate, &[Mood::Refuses("no such job")]);
    fleet.rotate("rotate", THING);
    let done = fleet.wait_for("rotate", Status::Failed);
    assert!(done.details["reason"].contains("the certificate rotator rejects the request"), "{done:?}");
    is_settled(&fleet, &setup, &gatewire);
    assert_eq!(in_force(&setup), old);
    assert_eq!(gatewire.status()["identity"]["last_error"]["code"], "rotation");
    gatewire.stop();
}

#[test]
fn a_rejected_commit_goes_back_to_the_old_certificate() {
    let fleet = Fleet::start();
    let setup = provisioned(&fleet);
    let old = in_force(&setup);
    let gatewire = setup.connect();
    fleet.cloud.treat(Kind::RotatorCommit, &[Mood::Refuses("too late")]);
    fleet.rotate("rotate", THING);
    fleet.wait_for("rotate", Status::Failed);
    assert_eq!(in_force(&setup), old);
    assert!(state(&setup, "identity.next").exists(), "AWS may do it late");
    // It does.
    let next = fleet.cloud.with(|aws| {
        let next = aws.certificates.of_thing(THING).into_iter().find(|known| known.id != old).unwrap().id.clone();
        aws.certificates.get_mut(&old).state = State::Inactive;
        next
    });
    fleet.cut(&Who::Certificate(old));
    eventually("the new certificate counts", || (in_force(&setup) == next).then_some(()));
    is_settled(&fleet, &setup, &gatewire);
    gatewire.stop();
}

#[test]
fn a_commit_whose_answer_is_lost_is_sent_again() {
    let fleet = Fleet::start();
    let setup = provisioned(&fleet);
    let gatewire = setup.connect();
    fleet.cloud.treat(Kind::RotatorCommit, &[Mood::Silent]);
    fleet.rotate("rotate", THING);
    // An answer may take 15 s.
    patiently("the commit again", || (fleet.cloud.requests(Kind::RotatorCommit).len() == 2).then_some(()));
    fleet.wait_for("rotate", Status::Succeeded);
    is_settled(&fleet, &setup, &gatewire);
    assert_eq!(fleet.cloud.requests(Kind::RotatorCommit).len(), 2);
    gatewire.stop();
}

#[test]
fn a_certificate_for_another_key_and_garbage_are_asked_for_again() {
    let fleet = Fleet::start();
    let setup = provisioned(&fleet);
    let gatewire = setup.connect();
    fleet.cloud.treat(Kind::RotatorCreate, &[Mood::OtherKey]);
    fleet.rotate("rotate", THING);
    gatewire.wait_for("it is for another key");
    fleet.wait_for("rotate", Status::Succeeded);
    is_settled(&fleet, &setup, &gatewire);
    gatewire.stop();
}

#[test]
fn killed_at_each_step_it_goes_on_or_begins_anew_and_the_job_succeeds() {
    for kind in [Kind::RotatorCreate, Kind::RotatorCommit] {
        for mood in [Mood::Dead, Mood::Silent, Mood::Holds] {
            let fleet = Fleet::start();
            let setup = provisioned(&fleet);
            let gatewire = setup.connect();
            fleet.cloud.treat(kind, &[mood]);
            fleet.rotate("rotate", THING);
            eventually("it is asked", || (!fleet.cloud.requests(kind).is_empty()).then_some(()));
            gatewire.kill();
            fleet.cloud.release();
            let gatewire = setup.start();
            fleet.wait_for("rotate", Status::Succeeded);
            is_settled(&fleet, &setup, &gatewire);
            gatewire.stop();
            println!("{kind:?} {mood:?}: right");
        }
    }
}

#[test]
fn killed_while_the_new_certificate_is_refused_it_tries_that_again() {
    let fleet = Fleet::start();
    let setup = provisioned(&fleet);
    let old = in_force(&setup);
    let gatewire = setup.connect();
    fleet.refuse(Who::NewerThan(old.clone()), Refusal::NotAuthorized, usize::MAX);
    fleet.rotate("rotate", THING);
    fleet.wait_for_attempts("the new one was tried", |attempts| {
        attempts.iter().any(|attempt| attempt.client_id == THING && attempt.certificate != old).then_some(())
    });
    gatewire.kill();
    let gatewire = setup.start();
    fleet.admit();
    fleet.wait_for("rotate", Status::Succeeded);
    is_settled(&fleet, &setup, &gatewire);
    assert_ne!(in_force(&setup), old);
    gatewire.stop();
}

/// It is provisioned and rotated with a key that stays where it is, which this URI names.
fn keeps_its_key(fleet: &Fleet, uri: &str, environment: &[(&'static str, String)]) {
    let setup = fleet.setup("9001", REST).edit("[tls]\n", &format!("[tls]\nkey_file = \"{uri}\"\n"));
    let setup = environment.iter().fold(setup, |setup, (name, value)| setup.env(name, value));
    let (code, out, said) = setup.output("provision");
    assert!(code == 0 && out.contains("key: the key is in a token") && !out.contains(PIN), "{out}{said}");
    let old = in_force(&setup);
    let gatewire = setup.connect();
    fleet.rotate("rotate", THING);
    fleet.wait_for("rotate", Status::Succeeded);
    is_settled(fleet, &setup, &gatewire);
    assert_ne!(in_force(&setup), old);
    assert!(!state(&setup, "identity/private.pem.key").exists());
    assert!(!gatewire.log().join("\n").contains(PIN));
    gatewire.stop();
    // A line that is gone by mistake doesn't cost the identity.
    let before = in_force(&setup);
    let setup = setup.edit(&format!("key_file = \"{uri}\"\n"), "");
    let (code, _, said) = setup.output("run");
    assert!(code == 78 && said.contains("is in a token, and tls.key_file doesn't name it"), "{said}");
    assert_eq!(in_force(&setup), before);
}

#[test]
fn a_key_in_a_token_gets_each_certificate_and_leaves_the_token_for_none() {
    for object in ["ec", "rsa"] {
        let (fleet, token) = (Fleet::start(), Token::new());
        let configuration = token.path("softhsm2.conf").display().to_string();
        keeps_its_key(&fleet, &token.uri(object, Path::new(SOFTHSM)), &[("SOFTHSM2_CONF", configuration)]);
    }
}

#[test]
fn a_key_that_was_made_in_a_tpm_gets_each_certificate_and_stays_there() {
    let tpm = Tpm::new();
    for object in ["ec", "rsa"] {
        keeps_its_key(&Fleet::start(), &tpm.uri(object), &tpm.environment());
    }
}

#[test]
fn a_token_that_is_away_is_named_and_provisioning_goes_on_once_it_is_back() {
    let (fleet, token) = (Fleet::start(), Token::new());
    let uri = token.uri("ec", Path::new(SOFTHSM));
    let setup = fleet.setup("9001", REST).edit("[tls]\n", &format!("[tls]\nkey_file = \"{uri}\"\n"));
    let setup = setup.env("SOFTHSM2_CONF", token.path("softhsm2.conf"));
    token.pull_out();
    let (code, out, said) = setup.output("provision");
    assert!(code == 1 && said.contains("the key in the token: no token fits") && !out.contains(PIN), "{out}{said}");
    assert_eq!(fleet.cloud.requests(Kind::CreateCertificate).len(), 0);
    token.plug_in();
    let (code, out, said) = setup.output("provision");
    assert!(code == 0 && out.contains(THING), "{out}{said}");
}

#[test]
fn a_refused_pin_is_tried_again_when_provision_is_run_again() {
    let (fleet, token) = (Fleet::start(), Token::new());
    let uri = token.uri("ec", Path::new(SOFTHSM));
    let setup = fleet.setup("9001", REST).edit("[tls]\n", &format!("[tls]\nkey_file = \"{uri}\"\n"));
    let setup = setup.env("SOFTHSM2_CONF", token.path("softhsm2.conf"));
    token.write_pin("27182818");
    fs::set_permissions(token.path("pin"), fs::Permissions::from_mode(0o644)).unwrap();
    for _ in 0..2 {
        let (code, _, said) = setup.output("provision");
        assert!(
            code == 1
                && said.contains("the token refused the PIN in ")
                && said.contains("running this again makes it try again"),
            "{said}"
        );
        assert!(said.contains("warning: the file of the token's PIN") && !said.contains("systemctl reload"), "{said}");
    }
    let (code, _, said) = setup.output("check");
    assert!(code == 1 && said.contains("warning: the file of the token's PIN"), "{said}");
    // The file was right, and the token's was another.
    token.change_pin("27182818");
    let (code, out, said) = setup.output("provision");
    assert!(code == 0 && out.contains(THING), "{out}{said}");
}

#[test]
fn with_files_put_there_by_hand_the_job_is_rejected_with_the_reason() {
    let (broker, cloud) = support::cloud::Cloud::start();
    // Nor is it offered to a program.
    for jobs in ["[jobs]\n", "[jobs]\nsocket = \"DIR/jobs.sock\"\n"] {
        let gatewire = Setup::new(broker.port, jobs).connect();
        let job = format!("rotate-{}", jobs.len());
        cloud.create_job(&job, json!({"operation": "ROTATE_CERTIFICATE"}));
        let done = cloud.wait_for(&job, Status::Rejected);
        assert!(done.details["reason"].contains("put there by hand"), "{done:?}");
        gatewire.stop();
    }
}

/// Each request makes a certificate at AWS: it isn't sent again, not on another connection either.
#[test]
fn a_renewal_without_an_answer_is_asked_for_once_in_a_day() {
    let fleet = Fleet::start();
    let hour = Duration::from_secs(3600);
    fleet.cloud.with(|aws| aws.certificates.valid(SystemTime::now() - hour, SystemTime::now() + 24 * hour));
    let setup = provisioned(&fleet);
    fleet.cloud.treat(Kind::CreateCertificate, &[Mood::Silent]);
    let old = in_force(&setup);
    let gatewire = setup.connect();
    // One may take 15 s.
    gatewire.wait_patiently("CreateCertificateFromCsr: no answer has come");
    gatewire.stop();
    // The next day is noted, and what there was of this one.
    let gatewire = setup.connect();
    let last_error = || Some(gatewire.status()["identity"]["last_error"].clone());
    let failed = eventually("why it failed is known", || last_error().filter(|error| !error.is_null()));
    assert_eq!((&failed["code"], &failed["advice"]), (&json!("rotation"), &json!("It is tried again in a day.")));
    assert!(failed["message"].as_str().unwrap().contains("no answer has come"), "{failed}");
    fleet.rotate("rotate", THING);
    fleet.wait_for("rotate", Status::Succeeded);
    assert_eq!(fleet.cloud.requests(Kind::CreateCertificate).len(), 2, "by the claim, and once to renew it");
    assert!(in_force(&setup) != old);
    is_settled(&fleet, &setup, &gatewire);
    gatewire.stop();
}

#[test]
fn a_certificate_that_ends_soon_is_renewed_once() {
    let fleet = Fleet::start();
    let hour = Duration::from_secs(3600);
    // All that are signed end within the 30 days of `renew_before`.
    fleet.cloud.with(|aws| aws.certificates.valid(SystemTime::now() - hour, SystemTime::now() + 24 * hour));
    let setup = provisioned(&fleet);
    let old = in_force(&setup);
    let gatewire = setup.connect();
    eventually("there is another certificate", || (in_force(&setup) != old).then_some(()));
    is_settled(&fleet, &setup, &gatewire);
    gatewire.wait_for("the certificate was rotated because the certificate ends soon");
    gatewire.stop();
    // Not within the same day, though this one ends as soon.
    let gatewire = setup.connect();
    fleet.rotate("rotate", THING);
    fleet.wait_for("rotate", Status::Succeeded);
    assert_eq!(fleet.cloud.requests(Kind::CreateCertificate).len(), 2, "by the claim, and once to renew it");
    is_settled(&fleet, &setup, &gatewire);
    gatewire.stop();
}
