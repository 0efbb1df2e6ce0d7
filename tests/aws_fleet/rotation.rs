//! The renewal of certificates, as the template has it.

use super::*;

/// A request for a certificate, of a new key.
fn request() -> String {
    let mut command = Command::new("openssl");
    command.args(["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
    let output = command.args(["-keyout", "/dev/null", "-subj", "/CN=gateway"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_rotation_gives_a_certificate_for_its_job_alone_and_ends_the_others_with_the_commit() {
    let (mut plane, work) = (ControlPlane::start(), tempfile::tempdir().unwrap());
    let mut shell = plane.shell(work.path());
    deploy(&mut shell, "Fleet=gateways");
    let names = r#"printf '[%s,%s]' "$(aws iot create-keys-and-certificate --set-as-active --query certificateArn)" \
        "$(aws iot create-keys-and-certificate --set-as-active --query certificateArn)""#;
    let [old, stranger]: [String; 2] = serde_json::from_str(&shell.run(names)).unwrap();
    let id = |arn: &str| arn.rsplit('/').next().unwrap().to_owned();
    shell.run("aws iot create-thing --thing-name gateway-1");
    shell.run(&format!("aws iot attach-thing-principal --thing-name gateway-1 --principal {old}"));
    let target = "arn:aws:iot:eu-west-1:123456789012:thing/gateway-1";
    for (job, operation) in [("rotate", "ROTATE_CERTIFICATE"), ("other", "reboot")] {
        let document = json!({ "operation": operation });
        shell.run(&format!("aws iot create-job --job-id {job} --targets {target} --document '{document}'"));
    }
    let mut function = plane.function("RotationFunction", &[("POLICIES", "gateways gateways-services")]);
    let mut ask = |plane: &mut ControlPlane, step: &str, job: &str, principal: &str, csr: Option<&str>| {
        function
            .call(&json!({"thing": "gateway-1", "step": step, "jobId": job, "principal": id(principal), "csr": csr}));
        let (topic, payload) = plane.published().pop().unwrap();
        let word = topic.strip_prefix(&format!("awslabs/things/gateway-1/certificate/{step}/")).unwrap();
        (word.to_owned(), json(&payload))
    };
    let request = request();
    let csr = Some(request.as_str());
    let in_progress = |plane: &mut ControlPlane, job: &str| {
        plane.tell_status("gateway-1", job, "IN_PROGRESS");
    };

    // Not for a job that isn't in progress, isn't there or is another one, nor for a certificate of another thing.
    let refused = [("rotate", &old, csr, "the job is QUEUED")];
    for (job, principal, csr, why) in refused {
        let (word, answer) = ask(&mut plane, "create", job, principal, csr);
        assert_eq!((word.as_str(), answer["errorMsg"].as_str().unwrap()), ("rejected", why));
    }
    in_progress(&mut plane, "rotate");
    in_progress(&mut plane, "other");
    for (job, principal, csr, why) in [
        ("rotate", &stranger, csr, "the connection's certificate isn't attached to the thing"),
        ("other", &old, csr, "the job isn't one that rotates"),
        ("none", &old, csr, "ResourceNotFoundException"),
        ("rotate", &old, None, "no csr"),
    ] {
        let (word, answer) = ask(&mut plane, "create", job, principal, csr);
        assert_eq!(word, "rejected");
        assert!(answer["errorMsg"].as_str().unwrap().contains(why), "{answer}");
    }

    let principals = "aws iot list-thing-principals --thing-name gateway-1 --query principals";
    let (word, answer) = ask(&mut plane, "create", "rotate", &old, csr);
    assert_eq!(word, "accepted");
    assert!(answer["certificatePem"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    let both: Vec<String> = serde_json::from_str(&shell.run(principals)).unwrap();
    let [new] = &both.iter().filter(|arn| **arn != old).collect::<Vec<_>>()[..] else { panic!("{both:?}") };
    let attached = shell.run(&format!("aws iot list-attached-policies --target {new} --query policies[].policyName"));
    let mut attached: Vec<String> = serde_json::from_str(&attached).unwrap();
    attached.sort();
    assert_eq!(attached, POLICIES);
    let status = |shell: &mut Shell, arn: &str| {
        let query = "--query certificateDescription.status --output text";
        shell.run(&format!("aws iot describe-certificate --certificate-id {} {query}", id(arn))).trim().to_owned()
    };
    assert_eq!((status(&mut shell, &old), status(&mut shell, new)), ("ACTIVE".to_owned(), "ACTIVE".to_owned()));

    // Twice, as an answer may be lost.
    for _ in 0..2 {
        assert_eq!(ask(&mut plane, "commit", "rotate", new, None), ("accepted".to_owned(), json!({})));
        assert_eq!((status(&mut shell, &old), status(&mut shell, new)), ("INACTIVE".to_owned(), "ACTIVE".to_owned()));
        assert_eq!(json(&shell.run(principals)), json!([new]));
    }
    // Repeated for ever, as a broken gateway might.
    let words: Vec<String> = (0..9).map(|_| ask(&mut plane, "create", "rotate", new, csr).0).collect();
    assert_eq!(words.iter().filter(|word| *word == "accepted").count(), 8);
    assert_eq!(words[8], "rejected");
}
