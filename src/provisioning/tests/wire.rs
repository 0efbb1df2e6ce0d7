use std::collections::BTreeMap;

use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use crate::provisioning::trouble::{Blame, Stage, Trouble};
use crate::provisioning::wire::{Answer, Request, created, filters, registered};

fn answer(is_accepted: bool, payload: &Value) -> Answer {
    Answer { is_accepted, payload: payload.to_string().into_bytes() }
}

#[test]
fn requests_are_as_aws_documents_them() {
    let request = Request::create("-----BEGIN CERTIFICATE REQUEST-----\n");
    assert_eq!(request.topic, "$aws/certificates/create-from-csr/json");
    assert_eq!(request.payload, r#"{"certificateSigningRequest":"-----BEGIN CERTIFICATE REQUEST-----\n"}"#);
    let parameters = BTreeMap::from([("SerialNumber".to_owned(), "1000\"4".to_owned())]);
    let request = Request::register("gateways", "T0ken", &parameters);
    assert_eq!(request.topic, "$aws/provisioning-templates/gateways/provision/json");
    assert_eq!(request.payload, r#"{"certificateOwnershipToken":"T0ken","parameters":{"SerialNumber":"1000\"4"}}"#);
    assert_eq!(
        filters("gateways"),
        [
            "$aws/certificates/create-from-csr/json/accepted",
            "$aws/certificates/create-from-csr/json/rejected",
            "$aws/provisioning-templates/gateways/provision/json/accepted",
            "$aws/provisioning-templates/gateways/provision/json/rejected",
        ]
    );
}

#[test]
fn a_thing_has_a_name_that_is_a_client_id_and_perhaps_a_configuration() {
    let read = |payload: &Value| registered(&answer(true, payload));
    let registered = read(&json!({"thingName": "gw-7", "deviceConfiguration": {"site": "Ulm"}, "more": 1})).unwrap();
    assert_eq!((registered.thing.as_str(), &registered.configuration["site"]), ("gw-7", &json!("Ulm")));
    for nothing in [json!({"thingName": "a:b_C"}), json!({"thingName": "x".repeat(128), "deviceConfiguration": null})] {
        assert!(read(&nothing).unwrap().configuration.is_empty());
    }
    for bad in ["", "a/b", "ä", "a b", "a+", "#", "a\nb", &"x".repeat(129)] {
        let Err(Trouble { code, message, blame, .. }) = read(&json!({ "thingName": bad })) else { panic!("{bad}") };
        assert_eq!((code.as_str(), blame), ("thing_name", Blame::Answer));
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn a_rejection_is_said_with_awss_words_and_something_to_do() {
    let said = |payload: &Value| registered(&answer(false, payload)).unwrap_err();
    let hook =
        said(&json!({"statusCode": 400, "errorCode": "InvalidParameter", "errorMessage": "hook\u{1b}[2J\nsaid no"}));
    assert_eq!((hook.code.as_str(), hook.stage, hook.blame), ("InvalidParameter", Stage::RegisterThing, Blame::Answer));
    assert!(hook.message.contains(r"rejected it with InvalidParameter (400): hook\u001b[2J\nsaid no"), "{hook}");
    assert!(hook.advice.contains("hook"));
    assert!(
        said(&json!({"statusCode": 404, "errorCode": "ResourceNotFound"})).advice.contains("no template of that name")
    );
    for odd in
        [json!(null), json!([]), json!({"statusCode": -1, "errorCode": 7}), json!({"errorMessage": "x".repeat(10_000)})]
    {
        let said = said(&odd);
        assert_eq!(said.code, "rejected");
        assert!(!said.message.contains("with rejected"), "{said}");
        assert!(said.message.len() < 700, "{}", said.message.len());
    }
    let not_json = registered(&Answer { is_accepted: false, payload: vec![0xff; 40] }).unwrap_err();
    assert_eq!(not_json.code, "rejected", "whatever it holds, it says no");
}

#[test]
fn a_certificate_counts_if_it_belongs_to_the_key_of_the_request() {
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let pem = |key: &KeyPair| CertificateParams::default().self_signed(key).unwrap().pem();
    let accepted = |pem: &str, token: &str| {
        answer(true, &json!({"certificateId": "x", "certificatePem": pem, "certificateOwnershipToken": token}))
    };
    let Ok(found) = created(&accepted(&pem(&key), "SECRET-TOKEN"), &key) else { panic!("refused") };
    assert_eq!((found.ownership.expose().as_str(), found.certificate_id.len()), ("SECRET-TOKEN", 64));
    let bad = |answer: &Answer| created(answer, &key).err().unwrap();
    assert!(bad(&accepted(&pem(&other), "SECRET-TOKEN")).message.contains("another key"));
    assert!(bad(&accepted("SECRET-TOKEN", "t")).message.contains("isn't a certificate in PEM"));
    assert_eq!(bad(&accepted(&pem(&key), "")).code, "bad_answer");
    let cut = Answer { is_accepted: true, payload: br#"{"certificateOwnershipToken":"SECRET-TOKEN","certif"#.to_vec() };
    assert_eq!(bad(&cut).code, "bad_answer");
    assert!(!bad(&cut).to_string().contains("SECRET"), "no token in a message");
}
