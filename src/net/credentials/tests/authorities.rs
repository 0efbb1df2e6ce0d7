//! What is in `tls.ca_file`, beside what a server sends: tried with the verifier that the connection uses.

use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{ServerName, UnixTime};

use super::*;

/// Whether a server that sends these certificates is trusted by a file with those CAs; and what was seen of it.
fn verify(ca_file: &str, sent: &[&str]) -> (bool, ServerCertificate) {
    let device = Authority::new("device ca").issue(&[], ALWAYS);
    let files = Files::new(ca_file, &device.certificate, &device.key);
    let credentials = loaded(&files);
    let sent: Vec<CertificateDer<'_>> =
        sent.iter().map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).collect();
    let verifier = credentials.verifier();
    let name = ServerName::try_from("broker.lan").unwrap();
    let outcome = verifier.verify_server_cert(&sent[0], &sent[1..], &name, &[], UnixTime::now());
    (outcome.is_ok(), verifier.read_untrusted(&verifier.take_seen().unwrap()).unwrap())
}

#[test]
fn what_does_not_matter_in_a_ca_file_is_taken() {
    let (root, other, old) = (Authority::new("root"), Authority::new("other"), Authority::expired("old root"));
    let between = root.intermediate("between");
    let (server, leaf) = (between.issue(&["broker.lan"], ALWAYS), root.issue(&["leaf.lan"], ALWAYS));
    let chain = [server.certificate.as_str(), &between.pem()];
    for (what, file) in [
        ("the root", root.pem()),
        ("the root behind others", other.pem() + &old.pem() + &root.pem()),
        ("a server's certificate before it", leaf.certificate.clone() + &root.pem()),
        ("an intermediate CA before its root", between.pem() + &root.pem()),
        ("the intermediate CA alone", between.pem()),
    ] {
        assert!(verify(&file, &chain).0, "{what}");
    }
    let of_old = old.issue(&["broker.lan"], ALWAYS);
    assert!(verify(&old.pem(), &[&of_old.certificate]).0, "a root that expired: its end is nothing that TLS looks at");
    assert!(verify(&between.pem(), &chain[..1]).0, "the intermediate CA, and a server that doesn't send it");
}

#[test]
fn what_is_missing_in_a_ca_file_is_named() {
    let (root, other) = (Authority::new("root"), Authority::new("other"));
    let between = root.intermediate("between");
    let server = between.issue(&["broker.lan"], ALWAYS);
    let chain = [server.certificate.as_str(), &between.pem()];
    let descent = |file: &str, sent: &[&str]| {
        let (is_trusted, seen) = verify(file, sent);
        assert!(!is_trusted);
        *seen.descent.unwrap()
    };
    let found = descent(&other.pem(), &chain);
    assert_eq!((&*found.top, found.is_named), ("CN=root", false));
    assert_eq!(found.trusted, ["CN=other".into()]);
    let found = descent(&root.pem(), &chain[..1]);
    assert_eq!((&*found.top, found.is_named), ("CN=between", false), "the server leaves out its intermediate CA");
    let found = descent(&Authority::new("root").pem(), &chain);
    assert_eq!((&*found.top, found.is_named), ("CN=root", true), "the CA was created again");
}

#[test]
fn a_public_ca_that_does_not_sign_for_iot_core_is_doubted() {
    let doubt = |names: &[&str], host: &str| {
        let file: String = names.iter().map(|name| Authority::new(name).pem()).collect();
        let device = Authority::new("device ca").issue(&[], ALWAYS);
        let files = Files::new(&file, &device.certificate, &device.key);
        loaded(&files).doubt_about_ca(host, &files.tls.ca_file)
    };
    let ats = "abc-ats.iot.eu-west-1.amazonaws.com";
    for names in [
        &["Amazon Root CA 3"][..],
        &["Amazon Root CA 2", "Amazon Root CA 4"],
        &["Amazon RSA 2048 M02"],
        &["VeriSign Class 3 G5"],
    ] {
        let said = doubt(names, ats).unwrap_or_else(|| panic!("{names:?}"));
        assert!(said.contains(&format!("holds \"CN={}\"", names[0])) && said.contains("sudo curl -fsSo "), "{said}");
    }
    for names in [
        &["Amazon Root CA 1"][..],
        &["Amazon Root CA 3", "Amazon Root CA 1"],
        &["Starfield Services Root G2"],
        &["my own"],
    ] {
        assert_eq!(doubt(names, ats), None, "{names:?}");
    }
    assert_eq!(doubt(&["Amazon Root CA 3"], "broker.lan"), None);
}

#[test]
fn a_doubted_ca_is_not_written_over_where_the_file_may_be_needed() {
    let device = Authority::new("device ca").issue(&[], ALWAYS);
    let public = Authority::new("Amazon Root CA 3").pem();
    let own = Authority::new("my own").pem();
    let with_key = format!("{public}{}", device.key);
    let with_certificate = format!("{public}{}", device.certificate);
    for (contents, name, exists, expected) in [
        (&public, "AmazonRootCA1.pem", false, "replace it with that: `sudo curl -fsSo "),
        (&with_key, "AmazonRootCA1.pem", false, "add that certificate to the file: https:"),
        (&with_certificate, "AmazonRootCA1.pem", false, "add that certificate to the file: https:"),
        (&format!("{public}{own}"), "AmazonRootCA1.pem", false, "add that certificate to the file: https:"),
        (&with_key, "other.pem", false, "get that, `sudo curl -fsSo "),
        (&public, "other.pem", true, "set tls.ca_file to the path of that certificate (https:"),
    ] {
        let mut files = Files::new(contents, &device.certificate, &device.key);
        files.tls.ca_file = files.write(name, contents);
        if exists {
            files.write("AmazonRootCA1.pem", &own);
        }
        let said = loaded(&files).doubt_about_ca("abc-ats.iot.eu-west-1.amazonaws.com", &files.tls.ca_file).unwrap();
        assert!(said.contains(expected), "{name}: {said}");
        assert!(!said.contains("other.pem https"), "{said}");
        assert_eq!(said.contains("curl"), expected.contains("curl"), "{said}");
    }
}
