//! `gatewire provision` against a cloud that gives certificates: each step, each refusal, and a kill at each step.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "provisioning/beside.rs"]
mod beside;
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::cloud::certificates::State;
use support::cloud::fleet::Fleet;
use support::cloud::front::{Refusal, Who};
use support::cloud::service::{Kind, Mood};
use support::daemon::Setup;
use support::eventually;

const CREATE: &str = "$aws/certificates/create-from-csr/json";
const REGISTER: &str = "$aws/provisioning-templates/gateways/provision/json";

/// Exit code, standard output, standard error. No secret is in them.
fn provision(setup: &Setup) -> (i32, String, String) {
    let (code, out, said) = setup.output("provision");
    for secret in ["token-", "PRIVATE KEY", "CERTIFICATE REQUEST"] {
        assert!(!out.contains(secret) && !said.contains(secret), "{secret} in {out}{said}");
    }
    (code, out, said)
}

fn succeeds(setup: &Setup, thing: &str) -> String {
    let (code, out, said) = provision(setup);
    assert_eq!((code, said.as_str()), (0, ""), "{out}");
    let last = out.lines().last().unwrap();
    assert_eq!(last, format!("identity: this gateway is the thing `{thing}`"));
    out
}

fn identity(setup: &Setup) -> std::path::PathBuf {
    setup.directory.path().join("state/identity")
}

fn thing(setup: &Setup) -> Value {
    serde_json::from_slice(&fs::read(identity(setup).join("thing.json")).unwrap()).unwrap()
}

/// Key and certificate belong together, by openssl.
fn belongs_together(directory: &Path) {
    let openssl = |arguments: &[&str], file: &str| {
        let output = Command::new("openssl").args(arguments).arg("-in").arg(directory.join(file)).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    let of_key = openssl(&["pkey", "-pubout"], "private.pem.key");
    assert_eq!(of_key, openssl(&["x509", "-noout", "-pubkey"], "certificate.pem.crt"));
}

#[test]
fn an_identity_comes_step_by_step_and_once() {
    for (key, kind, protocol) in
        [("ec-p256", "EC P-256", "5"), ("rsa-2048", "RSA 2048", "5"), ("ec-p256", "EC P-256", "3.1.1")]
    {
        let fleet = Fleet::start();
        let lines = format!("key = \"{key}\"\nparameters = {{ SerialNumber = \"9001\", Batch = \"7\" }}\n");
        let setup = fleet.setup_with("", &lines, "").speaking(protocol);
        let out = succeeds(&setup, "gateway-9001");
        let active = fleet.cloud.with(|aws| aws.certificates.active("gateway-9001").unwrap().clone());
        let steps: Vec<&str> = out.lines().collect();
        assert_eq!(steps.len(), 6, "{out}");
        assert_eq!(steps[0], format!("key: a key is made ({kind})"));
        assert!(steps[1].starts_with("connect: accepted as `claim-"), "{out}");
        assert_eq!(steps[2], format!("create-certificate: the certificate is {}", active.id));
        assert_eq!(steps[3], "register-thing: the thing is `gateway-9001`");
        assert_eq!(steps[4], "trial: accepted as `gateway-9001`, with the new certificate");

        let directory = identity(&setup);
        let expected = json!({"thing": "gateway-9001", "configuration": {"Site": "north"}, "certificate_id": active.id, "key": "file"});
        assert_eq!(thing(&setup), expected);
        assert_eq!(fs::read_to_string(directory.join("certificate.pem.crt")).unwrap(), active.pem);
        belongs_together(&directory);
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&directory), mode(&directory.join("private.pem.key"))), (0o700, 0o600));
        let request = &fleet.cloud.requests(Kind::RegisterThing)[0];
        assert_eq!(request["parameters"], json!({"SerialNumber": "9001", "Batch": "7"}));

        // With an identity there is nothing to do.
        let attempts = fleet.attempts().len();
        assert_eq!(succeeds(&setup, "gateway-9001").lines().count(), 1);
        assert_eq!(fleet.attempts().len(), attempts);
    }
}

/// What goes wrong, and how it is mended.
struct Fault {
    name: &'static str,
    set: fn(&Fleet),
    /// What is said: the step, and more.
    said: &'static [&'static str],
    mend: fn(&Fleet),
    /// How many certificates are asked for in the end.
    certificates: usize,
}

fn nothing(_: &Fleet) {}

fn template(fleet: &Fleet) -> support::cloud::provisioning::Template {
    fleet.cloud.with(|aws| aws.provisioning.template("gateways").clone())
}

const FAULTS: [Fault; 14] = [
    Fault {
        name: "the hook says no",
        set: |fleet| {
            let hook = ("SerialNumber".to_owned(), "9001".to_owned(), "not in the list\u{1b}[2J".to_owned());
            fleet.cloud.with(|aws| aws.provisioning.template("gateways").hook.push(hook));
        },
        said: &["register-thing: AWS IoT rejected it with AccessDenied (403): not in the list\\u001b[2J", "hook"],
        mend: |fleet| fleet.cloud.with(|aws| aws.provisioning.template("gateways").hook.clear()),
        certificates: 2,
    },
    Fault {
        name: "no such template",
        set: |fleet| {
            let template = template(fleet);
            fleet.cloud.with(|aws| {
                aws.provisioning.remove("gateways");
                aws.provisioning.add(support::cloud::provisioning::Template { name: "other".to_owned(), ..template });
            });
        },
        said: &["register-thing: ", "ResourceNotFound (404)", "list-provisioning-templates"],
        mend: |fleet| {
            let template = fleet.cloud.with(|aws| aws.provisioning.template("other").clone());
            let renamed = support::cloud::provisioning::Template { name: "gateways".to_owned(), ..template };
            fleet.cloud.with(|aws| aws.provisioning.add(renamed));
        },
        certificates: 2,
    },
    Fault {
        name: "the claim is revoked",
        set: |fleet| fleet.cloud.with(|aws| aws.certificates.get_mut(&fleet.claim.id).state = State::Revoked),
        said: &["connect: ", "gatewire policy --claim", "describe-certificate"],
        mend: |fleet| fleet.cloud.with(|aws| aws.certificates.get_mut(&fleet.claim.id).state = State::Active),
        certificates: 1,
    },
    Fault {
        name: "the claim may not connect",
        set: |fleet| fleet.refuse(Who::Claims, Refusal::NotAuthorized, 1),
        said: &["connect: ", "not authorized", "iot:Connect as client/claim-"],
        mend: nothing,
        certificates: 1,
    },
    Fault {
        name: "a subscription is forbidden",
        set: |fleet| fleet.forbid(&format!("{REGISTER}/accepted")),
        said: &["connect: ", "gatewire policy --claim"],
        mend: Fleet::allow,
        certificates: 1,
    },
    Fault {
        name: "to ask for a certificate is forbidden",
        set: |fleet| fleet.forbid(CREATE),
        said: &["create-certificate: ", "iot:Publish", "gatewire policy --claim"],
        mend: Fleet::allow,
        certificates: 1,
    },
    Fault {
        name: "a certificate of another key",
        set: |fleet| fleet.cloud.treat(Kind::CreateCertificate, &[Mood::OtherKey]),
        said: &["create-certificate: the certificate that came can't be used: it is for another key"],
        mend: nothing,
        certificates: 2,
    },
    Fault {
        name: "garbage",
        set: |fleet| fleet.cloud.treat(Kind::CreateCertificate, &[Mood::Says("{\"certificateId\":")]),
        said: &["create-certificate: the answer can't be used: it isn't the JSON"],
        mend: nothing,
        certificates: 2,
    },
    Fault {
        name: "throttled",
        set: |fleet| fleet.cloud.treat(Kind::CreateCertificate, &[Mood::Refuses("ThrottlingException")]),
        said: &["create-certificate: ", "ThrottlingException (429)"],
        mend: nothing,
        certificates: 2,
    },
    Fault {
        name: "garbage for a thing",
        set: |fleet| fleet.cloud.treat(Kind::RegisterThing, &[Mood::Says("[]")]),
        said: &["register-thing: the answer can't be used"],
        mend: nothing,
        certificates: 2,
    },
    Fault {
        name: "a thing whose name is no client id",
        set: |fleet| fleet.cloud.with(|aws| aws.provisioning.template("gateways").thing = "no client id #".to_owned()),
        said: &["register-thing: ", "`no client id #`, which can't be a client id", "ThingName"],
        mend: |fleet| {
            fleet.cloud.with(|aws| aws.provisioning.template("gateways").thing = "gateway-{SerialNumber}".to_owned());
        },
        certificates: 2,
    },
    // It goes on at the trial.
    Fault {
        name: "the new certificate isn't authorized",
        set: |fleet| fleet.refuse(Who::Devices, Refusal::NotAuthorized, 1),
        said: &["trial: ", "not authorized"],
        mend: nothing,
        certificates: 1,
    },
    Fault {
        name: "the new certificate meets an alert",
        set: |fleet| fleet.refuse(Who::Devices, Refusal::Alert, 1),
        said: &["trial: TLS with "],
        mend: nothing,
        certificates: 1,
    },
    Fault {
        name: "the new certificate's connection is closed",
        set: |fleet| fleet.refuse(Who::Devices, Refusal::Close, 1),
        said: &["trial: ", "closed"],
        mend: nothing,
        certificates: 1,
    },
];

#[test]
fn what_is_refused_is_said_and_the_next_attempt_goes_on_there() {
    for Fault { name, set, said, mend, certificates } in FAULTS {
        let fleet = Fleet::start();
        let setup = fleet.setup("9001", "");
        set(&fleet);
        let (code, out, told) = provision(&setup);
        println!("{name}\n{out}{told}");
        assert_eq!(code, 1, "{name}");
        let first = told.lines().next().unwrap();
        for part in said {
            assert!(first.contains(part), "{name}: {part} isn't in: {told}");
        }
        assert!(!identity(&setup).exists(), "{name}");
        mend(&fleet);
        succeeds(&setup, "gateway-9001");
        assert_eq!(fleet.cloud.requests(Kind::CreateCertificate).len(), certificates, "{name}");
        belongs_together(&identity(&setup));
        let id = thing(&setup)["certificate_id"].as_str().unwrap().to_owned();
        assert_eq!(fleet.cloud.with(|aws| aws.certificates.get(&id).unwrap().state), State::Active, "{name}");
        fleet.cloud.take_violations();
    }
}

#[test]
fn answers_that_come_twice_are_answers() {
    let fleet = Fleet::start();
    fleet.cloud.treat(Kind::CreateCertificate, &[Mood::Repeats]);
    fleet.cloud.treat(Kind::RegisterThing, &[Mood::Repeats]);
    succeeds(&fleet.setup("9001", ""), "gateway-9001");
}

#[test]
fn an_answer_that_never_comes_is_said_after_half_a_minute() {
    let fleet = Fleet::start();
    fleet.cloud.treat(Kind::RegisterThing, &[Mood::Dead]);
    let setup = fleet.setup("9001", "");
    let (code, _, said) = provision(&setup);
    assert_eq!(code, 1);
    assert!(said.starts_with("register-thing: ") && said.contains("no answer came within 30 s"), "{said}");
    assert!(said.contains("iot:Receive on topic/$aws/provisioning-templates/gateways/provision/json/*"), "{said}");
    // With the same token.
    succeeds(&setup, "gateway-9001");
    assert_eq!(fleet.cloud.requests(Kind::CreateCertificate).len(), 1);
}

#[test]
fn killed_while_something_is_asked_it_goes_on() {
    for (kind, certificates) in [(Kind::CreateCertificate, 2), (Kind::RegisterThing, 1)] {
        for mood in [Mood::Dead, Mood::Holds] {
            let fleet = Fleet::start();
            let setup = fleet.setup("9001", "");
            fleet.cloud.treat(kind, &[mood]);
            let mut child = setup.spawn(&["provision"]);
            fleet.cloud.wait("it is asked", |_| Some(()));
            eventually("it is asked", || (!fleet.cloud.requests(kind).is_empty()).then_some(()));
            child.kill().unwrap();
            child.wait().unwrap();
            fleet.cloud.release();
            let (mut asked, mut done) = (certificates, provision(&setup));
            if mood == Mood::Holds && kind == Kind::RegisterThing {
                // The thing was made, and nobody knows: the token is spent.
                assert!(done.0 == 1 && done.2.contains("InvalidCertificateOwnershipToken"), "{done:?}");
                (asked, done) = (2, provision(&setup));
            }
            assert_eq!(done.0, 0, "{kind:?} {mood:?}: {done:?}");
            assert_eq!(fleet.cloud.requests(Kind::CreateCertificate).len(), asked, "{kind:?} {mood:?}");
            belongs_together(&identity(&setup));
            let id = thing(&setup)["certificate_id"].as_str().unwrap().to_owned();
            assert_eq!(fleet.cloud.with(|aws| aws.certificates.get(&id).unwrap().state), State::Active);
        }
    }
}

#[test]
fn what_the_configuration_lacks_is_said() {
    let fleet = Fleet::start();
    let setup = fleet.setup("9001", "");
    let (certificate, key) = fleet.claim_files();
    let missing = setup.edit(key.to_str().unwrap(), "/nowhere/claim.pem.key");
    let (code, _, said) = provision(&missing);
    assert!(code == 78 && said.contains("provisioning.claim_key_file"), "{code} {said}");
    let swapped = fleet.setup("9001", "").edit(
        &format!("claim_cert_file = \"{}\"", certificate.display()),
        &format!("claim_cert_file = \"{}\"", support::CERTIFICATES.path("certificate.pem.crt").display()),
    );
    let (code, _, said) = provision(&swapped);
    assert!(code == 78 && said.contains("provisioning.claim_"), "{code} {said}");
    let by_hand = Setup::new(fleet.port, "");
    let (code, _, said) = provision(&by_hand);
    assert!(code == 78 && said.contains("there is no [provisioning]"), "{code} {said}");
    let none = fleet.setup_with("", "parameters = { SerialNumber = \"{{serial}}\" }\n", "");
    if !Path::new("/proc/device-tree/serial-number").exists() {
        let (code, _, said) = provision(&none);
        assert!(code == 1 && said.contains("{{serial}} has no value on this machine, and nothing is sent"), "{said}");
    }
    assert!(fleet.attempts().is_empty(), "nothing is sent");
}

#[test]
fn the_claim_is_deleted_if_that_is_wanted() {
    let fleet = Fleet::start();
    let lines = "claim_after = \"delete\"\nparameters = { SerialNumber = \"9001\" }\n";
    let setup = fleet.setup_with("", lines, "");
    let (certificate, key) = fleet.claim_files();
    // One of them is a link.
    let behind = key.with_file_name("behind.pem.key");
    fs::rename(&key, &behind).unwrap();
    std::os::unix::fs::symlink(&behind, &key).unwrap();
    fleet.refuse(Who::Devices, Refusal::NotAuthorized, 1);
    assert_eq!(provision(&setup).0, 1);
    assert!(certificate.exists() && key.exists(), "not before the identity counts");
    succeeds(&setup, "gateway-9001");
    assert!(!certificate.exists() && !key.is_symlink() && !behind.exists());
    succeeds(&setup, "gateway-9001");
}

#[test]
fn a_damaged_identity_is_made_anew() {
    let (certificate, key) = ("certificate.pem.crt", "private.pem.key");
    let fleet = Fleet::start();
    let setup = fleet.setup("9001", "");
    succeeds(&setup, "gateway-9001");
    let (claim, claim_key) = fleet.claim_files();
    let others = |file: &Path| fs::read(file).unwrap();
    type Damage<'a> = Box<dyn Fn(Vec<u8>) -> Vec<u8> + 'a>;
    let damages: [(&str, Damage<'_>); 8] = [
        (key, Box::new(|_| Vec::new())),
        (key, Box::new(|whole| vec![0; whole.len()])),
        (key, Box::new(|whole| whole[..120].to_vec())),
        (key, Box::new(|_| others(&claim_key))),
        (certificate, Box::new(|whole| vec![0; whole.len()])),
        (certificate, Box::new(|whole| whole[..200].to_vec())),
        (certificate, Box::new(|_| others(&claim))),
        (certificate, Box::new(|whole| String::from_utf8(whole).unwrap().replacen("MII", "MIX", 1).into_bytes())),
    ];
    for (number, (file, damage)) in damages.iter().enumerate() {
        let path = identity(&setup).join(file);
        fs::write(&path, damage(fs::read(&path).unwrap())).unwrap();
        let (code, out, said) = provision(&setup);
        assert_eq!(code, 0, "{number}: {out}{said}");
        assert!(said.contains("is damaged"), "{number}: {said}");
        belongs_together(&identity(&setup));
        assert_eq!(fleet.cloud.requests(Kind::CreateCertificate).len(), number + 2);
    }
}

#[test]
fn parameters_that_fit_into_no_message_are_78() {
    let fleet = Fleet::start();
    let parameters: Vec<String> = (0..30).map(|n| format!("P{n} = \"{}\"", "x".repeat(4000))).collect();
    let setup = fleet.setup_with("", &format!("parameters = {{ {} }}\n", parameters.join(", ")), "");
    let (code, _, said) = provision(&setup);
    assert!(code == 78 && said.contains("`provisioning.parameters`: together have"), "{code} {said}");
}
