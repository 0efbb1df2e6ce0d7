//! Claims and identities that can't be used.

use super::*;

#[test]
fn a_claim_that_cannot_be_used_is_78_as_long_as_there_is_no_identity() {
    let fleet = Fleet::start();
    let (claim, key) = fleet.claim_files();
    let setup = fleet.setup("7", "");
    fs::rename(&key, away(&key)).unwrap();
    let (code, _, errors) = setup.output("run");
    assert!(
        code == 78 && errors.contains("provisioning.claim_key_file") && !errors.contains("tls.key_file"),
        "{errors}"
    );
    let other = fleet.device("other");
    fs::write(&key, &other.key).unwrap();
    let (code, _, errors) = setup.output("check");
    let said = "doesn't belong to the certificate in provisioning.claim_cert_file";
    assert!(code == 78 && errors.contains(said) && errors.contains("gatewire.toml:"), "{errors}");
    fs::write(&key, &fleet.claim.key).unwrap();
    let (code, found, errors) = setup.output("check");
    assert!(code == 0 && found.contains("by the template gateways and the claim"), "{found}{errors}");
    drop(claim);
}

#[test]
fn a_damaged_identity_is_made_anew_by_the_claim_and_without_one_it_is_78() {
    let fleet = Fleet::start();
    let setup = fleet.setup("7", "");
    let gatewire = setup.connect();
    let first = fleet.wait_for_identity("gateway-7");
    assert_eq!(gatewire.stop().0, 0);

    // A disk that lost power may leave zeros.
    fs::write(identity(&setup, "private.pem.key"), [0; 241]).unwrap();
    let (claim, key) = fleet.claim_files();
    for file in [&claim, &key] {
        fs::rename(file, away(file)).unwrap();
    }
    let (code, _, errors) = setup.output("run");
    assert!(code == 78 && errors.contains("is damaged") && errors.contains("private.pem.key"), "{errors}");
    for file in [&claim, &key] {
        fs::rename(away(file), file).unwrap();
    }
    let gatewire = setup.connect();
    assert!(gatewire.log().join("\n").contains("gatewire gets a new one by the claim"), "{:?}", gatewire.log());
    fleet.wait_for_attempts("it is connected with another certificate", |attempts| {
        let is_new = |attempt: &&Attempt| attempt.certificate != first.id && attempt.certificate != fleet.claim.id;
        attempts.iter().filter(is_new).find(|attempt| attempt.stage == Stage::Connected).map(drop)
    });
    assert_eq!(gatewire.stop().0, 0);
}

#[test]
fn an_identity_with_a_name_that_no_thing_can_have_is_damaged() {
    let fleet = Fleet::start();
    let setup = fleet.setup("7", "[jobs]\n");
    assert_eq!(setup.output("provision").0, 0);
    let named = fs::read_to_string(identity(&setup, "thing.json")).unwrap().replace("gateway-7", "../../x");
    fs::write(identity(&setup, "thing.json"), named).unwrap();
    let (code, _, errors) = setup.output("check");
    assert!(
        code == 0 && errors.contains("thing.json: no thing can have the name in it. gatewire gets a new"),
        "{errors}"
    );
}
