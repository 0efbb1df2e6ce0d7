//! The cloud that gives certificates to other tests does as AWS's documentation says, and the AWS SDK for Python understands it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use support::CERTIFICATES;
use support::cloud::certificates::{Certificates, State};
use support::cloud::fleet::Fleet;
use support::cloud::front::{Refusal, Stage, Who};
use support::cloud::service::{Kind, Mood, Service};

const CREATE: &str = "$aws/certificates/create-from-csr/json";
const REGISTER: &str = "$aws/provisioning-templates/gateways/provision/json";

fn request() -> String {
    let key = KeyPair::generate().unwrap();
    CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap()
}

/// What is answered to somebody who comes by the front, with a certificate: whether it is accepted, and the payload.
fn ask_with(service: &mut Service, certificate: &str, topic: &str, body: &Value) -> Option<(bool, Value)> {
    let said = service.hears(&format!("front/from/6161/{certificate}/{topic}"), body.to_string().as_bytes(), false);
    let answer = said.iter().find(|message| message.topic.contains(topic))?;
    if topic.starts_with("$aws") {
        assert!(answer.topic.starts_with("front/to/6161/"), "{}: for nobody else", answer.topic);
    }
    Some((answer.topic.ends_with("/accepted"), serde_json::from_str(&answer.payload).unwrap_or_default()))
}

fn ask(service: &mut Service, topic: &str, body: &Value) -> (bool, Value) {
    ask_with(service, "claim", topic, body).unwrap()
}

/// A certificate, not active yet: its id and token.
fn created(service: &mut Service) -> (String, String) {
    let (is_accepted, answer) = ask(service, CREATE, &json!({"certificateSigningRequest": request()}));
    assert!(is_accepted, "{answer}");
    let text = |key: &str| answer[key].as_str().unwrap().to_owned();
    (text("certificateId"), text("certificateOwnershipToken"))
}

fn registered(service: &mut Service, token: &str, parameters: &Value) -> (bool, Value) {
    ask(service, REGISTER, &json!({"certificateOwnershipToken": token, "parameters": parameters}))
}

#[test]
fn a_certificate_counts_once_its_thing_is_registered() {
    let mut service = Service::default();
    let (id, token) = created(&mut service);
    assert_eq!(service.certificates.get(&id).unwrap().state, State::PendingActivation);
    let (is_accepted, answer) = registered(&mut service, &token, &json!({"SerialNumber": "1"}));
    assert!(is_accepted);
    assert_eq!(answer, json!({"deviceConfiguration": {"Site": "north"}, "thingName": "gateway-1"}));
    assert_eq!(service.certificates.active("gateway-1").unwrap().id, id);
    let (is_accepted, refusal) = registered(&mut service, &token, &json!({"SerialNumber": "1"}));
    assert!(!is_accepted, "a token is for one thing");
    assert_eq!(refusal["errorCode"], "InvalidCertificateOwnershipToken");
}

#[test]
fn a_token_is_worth_an_hour() {
    let mut service = Service::default();
    let (id, token) = created(&mut service);
    let Service { provisioning, certificates, .. } = &mut service;
    provisioning.pass(Duration::from_secs(3599), certificates);
    assert_eq!(provisioning.tokens().collect::<Vec<_>>(), [&token]);
    provisioning.pass(Duration::from_secs(1), certificates);
    assert_eq!(certificates.get(&id).unwrap().state, State::Revoked);
    let (is_accepted, refusal) = registered(&mut service, &token, &json!({"SerialNumber": "1"}));
    assert_eq!((is_accepted, &refusal["errorCode"]), (false, &json!("InvalidCertificateOwnershipToken")));
}

#[test]
fn what_isnt_right_is_refused_with_a_code() {
    let mut service = Service::default();
    let hook = ("SerialNumber".to_owned(), "stolen".to_owned(), "the hook said no".to_owned());
    service.provisioning.template("gateways").hook.push(hook);
    let (_, token) = created(&mut service);
    for (parameters, code) in [
        (json!({}), "InvalidParameters"),
        (json!({"SerialNumber": 5}), "InvalidPayload"),
        (json!([]), "InvalidPayload"),
        (json!({"SerialNumber": "x".repeat(4097)}), "InvalidPayload"),
        (json!({"SerialNumber": "stolen"}), "AccessDenied"),
    ] {
        let (is_accepted, refusal) = registered(&mut service, &token, &parameters);
        assert_eq!((is_accepted, &refusal["errorCode"]), (false, &json!(code)), "{parameters}");
    }
    let other = "$aws/provisioning-templates/other/provision/json";
    assert_eq!(ask(&mut service, other, &json!({})).1["errorCode"], "ResourceNotFound");
    let mut cut = request();
    cut.truncate(200);
    for (csr, code) in [(json!(cut), "InvalidCSR"), (json!("x"), "InvalidCSR"), (json!(5), "InvalidPayload")] {
        assert_eq!(ask(&mut service, CREATE, &json!({"certificateSigningRequest": csr})).1["errorCode"], code);
    }
    assert_eq!(service.take_violations().len(), 6);
}

#[test]
fn a_request_is_signed_by_its_key() {
    let mut certificates = Certificates::default();
    let pem = request();
    let (_, parsed) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
    let mut der = parsed.contents;
    *der.last_mut().unwrap() ^= 1;
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der);
    let pem = format!("-----BEGIN CERTIFICATE REQUEST-----\n{encoded}\n-----END CERTIFICATE REQUEST-----\n");
    assert_eq!(certificates.sign_request(&pem).unwrap_err(), "the signature isn't that of the key");
}

#[test]
fn a_mood_changes_what_becomes_of_one_answer() {
    let mut service = Service::default();
    let body = json!({"certificateSigningRequest": request()});
    let mut with = |mood| {
        service.treat(Kind::CreateCertificate, mood);
        let answer = ask_with(&mut service, "claim", CREATE, &body);
        (answer, service.certificates.all().len())
    };
    let (refused, count) = with(Mood::Refuses("ThrottlingException"));
    assert_eq!((refused.unwrap().1["statusCode"].clone(), count), (json!(429), 0));
    assert_eq!(with(Mood::Dead), (None, 0));
    assert_eq!(with(Mood::Silent), (None, 1));
    assert_eq!(with(Mood::Says("garbage")), (Some((true, Value::Null)), 2));
    let (padded, _) = with(Mood::Pads(5000));
    assert_eq!(padded.unwrap().1["padding"].as_str().unwrap().len(), 5000);
    let (other, count) = with(Mood::OtherKey);
    assert_eq!((other.unwrap().0, count), (true, 5));
}

#[test]
fn a_rotation_ends_the_old_certificate_once_the_new_one_has_come() {
    let mut service = Service::default();
    let old = service.certificates.issue(Some("gateway-1")).id;
    let other = service.certificates.issue(Some("gateway-2")).id;
    service.jobs.create("gateway-1", "job-1", json!({"operation": "ROTATE_CERTIFICATE"}), 0);
    let (create, commit) =
        ("awslabs/things/gateway-1/certificate/create", "awslabs/things/gateway-1/certificate/commit");
    let body = json!({"jobId": "job-1", "csr": request()});
    let asks =
        |service: &mut Service, certificate: &str, topic: &str| ask_with(service, certificate, topic, &body).unwrap();
    assert_eq!(asks(&mut service, &old, create).1, json!({"errorMsg": "the job isn't in progress"}));
    let details = json!({"status": "IN_PROGRESS", "statusDetails": {"CertificateRotator": "true"}});
    service.hears("$aws/things/gateway-1/jobs/job-1/update", details.to_string().as_bytes(), false);
    assert!(!asks(&mut service, &other, create).0, "another thing");
    assert!(asks(&mut service, &old, create).0);
    let new = service.certificates.of_thing("gateway-1")[1].id.clone();
    assert!(!asks(&mut service, &old, commit).0, "by the old one");
    assert_eq!(service.certificates.get(&old).unwrap().state, State::Active);
    for _ in 0..2 {
        assert_eq!(asks(&mut service, &new, commit), (true, json!({})));
        assert_eq!(service.certificates.get(&old).unwrap().state, State::Inactive);
        assert_eq!(service.certificates.active("gateway-1").unwrap().id, new);
    }
    assert_eq!(service.take_violations().len(), 1);
}

/// A client of the front: mosquitto_pub with some certificate.
fn publishes(fleet: &Fleet, (certificate, key): (&Path, &Path), client_id: &str, topic: &str) -> bool {
    let mut command = Command::new("mosquitto_pub");
    command.args([
        "-h",
        "localhost",
        "-p",
        &fleet.port.to_string(),
        "-i",
        client_id,
        "-q",
        "1",
        "-t",
        topic,
        "-m",
        "{}",
    ]);
    command.arg("--cafile").arg(CERTIFICATES.path("AmazonRootCA1.pem"));
    command.arg("--cert").arg(certificate).arg("--key").arg(key).output().unwrap().status.success()
}

#[test]
fn the_front_lets_in_what_aws_lets_in() {
    let fleet = Fleet::start();
    let device = fleet.device("gateway-1");
    let files = [fleet.broker.path("device.crt"), fleet.broker.path("device.key")];
    std::fs::write(&files[0], &device.certificate).unwrap();
    std::fs::write(&files[1], &device.key).unwrap();
    let device_files = (&*files[0], &*files[1]);
    let own = Who::Certificate(device.id.clone());
    let last = || fleet.attempts_of(&own).last().unwrap().clone();
    assert!(publishes(&fleet, device_files, "gateway-1", "test/topic"));
    fleet.wait_for_attempts("it has gone", |attempts| (attempts[0].stage == Stage::Ended).then_some(()));
    assert_eq!((&*last().client_id, &last().certificate), ("gateway-1", &device.id));
    for how in [Refusal::Alert, Refusal::Close, Refusal::NotAuthorized, Refusal::Unavailable] {
        fleet.refuse(own.clone(), how, 1);
        assert!(!publishes(&fleet, device_files, "gateway-1", "test/topic"), "{how:?}");
        fleet.wait_for_attempts("it is refused", |attempts| (attempts.last()?.stage == Stage::Refused).then_some(()));
        assert!(publishes(&fleet, device_files, "gateway-1", "test/topic"), "once, for {how:?}");
    }
    assert!(!publishes(&fleet, device_files, "other", "test/topic"));
    for state in [State::PendingActivation, State::Inactive, State::Revoked] {
        fleet.cloud.with(|aws| aws.certificates.get_mut(&device.id).state = state);
        assert!(!publishes(&fleet, device_files, "gateway-1", "test/topic"), "{state:?}");
    }
    let hours = |hours: u64| SystemTime::now() - Duration::from_secs(3600 * hours);
    fleet.cloud.with(|aws| aws.certificates.valid(hours(2), hours(1)));
    let late = fleet.device("gateway-1");
    std::fs::write(&files[0], &late.certificate).unwrap();
    std::fs::write(&files[1], &late.key).unwrap();
    assert!(!publishes(&fleet, device_files, "gateway-1", "test/topic"), "expired");
    let (certificate, key) = fleet.claim_files();
    assert!(publishes(&fleet, (&certificate, &key), "claim-1", "$aws/certificates/create/json"));
    assert!(!publishes(&fleet, (&certificate, &key), "claim-1", "test/topic"));
    assert!(!publishes(&fleet, (&certificate, &key), "gateway-1", "$aws/certificates/create/json"));
    fleet.forbid("$aws/certificates/create/json");
    assert!(!publishes(&fleet, (&certificate, &key), "claim-1", "$aws/certificates/create/json"));
    assert_eq!(fleet.cloud.take_violations().len(), 3);
}

#[test]
fn the_aws_sdk_for_python_gets_its_certificates() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let interpreter = tests.join(".venv/bin/python3");
    assert!(interpreter.exists(), "{} isn't there: `make test` makes it", interpreter.display());
    for (version, serial) in [("3", "7001"), ("5", "7002")] {
        let fleet = Fleet::start();
        let (certificate, key) = fleet.claim_files();
        let mut command = Command::new(&interpreter);
        command.arg(tests.join("python/provision.py")).arg(fleet.port.to_string());
        command.arg(CERTIFICATES.path("AmazonRootCA1.pem")).arg(certificate).arg(key).args([serial, version]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let thing = format!("gateway-{serial}");
        let ids: Vec<String> = fleet.cloud.with(|aws| {
            let of_thing = aws.certificates.of_thing(&thing);
            of_thing.into_iter().map(|known| known.id.clone()).collect()
        });
        let words = "Certificate ownership token is invalid or expired";
        let expected = [
            json!({"certificate": ids[0]}),
            json!({"status": 400, "code": "InvalidCertificateOwnershipToken", "message": words}),
            json!({"thing": thing, "configuration": {"Site": "north"}}),
            json!({"connected": thing}),
            json!({"certificate": ids[1]}),
        ];
        assert_eq!(lines, expected);
    }
}
