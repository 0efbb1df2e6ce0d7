use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::problems::{Damage, Der, Foreign, Holds, Unsupported};
use super::*;
use crate::net::tests::pki::{ALWAYS, Authority, Files, set_mode};

mod authorities;
mod damaged;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// 2026-01-01, and with `offset` days added.
fn at(offset: i64) -> SystemTime {
    let second = 1_767_225_600 + offset * DAY.as_secs() as i64;
    SystemTime::UNIX_EPOCH + Duration::from_secs(second as u64)
}

fn loaded(files: &Files) -> Credentials {
    load(&files.tls, at(0)).unwrap_or_else(|problems| panic!("{problems}"))
}

fn problems(files: &Files) -> Vec<Problem> {
    load(&files.tls, at(0)).expect_err("these files shouldn't do").0
}

/// The fault of the only problem, after checking that its text holds `hint`.
#[track_caller]
fn only_fault(files: &Files, hint: &str) -> (Role, FileFault) {
    let mut problems = problems(files);
    let problem = problems.pop().unwrap();
    assert_eq!(problems, [], "only one problem was expected");
    let text = problem.to_string();
    assert!(text.contains(hint), "{text:?} lacks {hint:?}");
    match problem {
        Problem::File { role, fault, .. } => (role, fault),
        mismatch => panic!("{mismatch}"),
    }
}

fn openssl(files: &Files, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(files.dir()).output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

fn good() -> Files {
    Files::of(&Authority::new("ca"))
}

#[test]
fn files_that_belong_together_are_taken_without_a_warning() {
    let credentials = loaded(&good());
    assert_eq!(credentials.warnings(), []);
    assert_eq!(credentials.validity().not_after.to_string(), "2200-01-01T00:00:00Z");
}

#[test]
fn rsa_and_ec_keys_are_taken_in_every_form() {
    let files = good();
    for (make, form) in [
        ("genrsa -traditional -out key.pem 2048", "PKCS#1"),
        ("genrsa -out key.pem 2048", "PKCS#8 RSA"),
        ("ecparam -name prime256v1 -genkey -out key.pem", "SEC1 behind EC PARAMETERS"),
        ("ecparam -name secp384r1 -genkey -noout -out key.pem", "SEC1"),
        ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem", "PKCS#8 EC"),
    ] {
        openssl(&files, make);
        openssl(&files, "req -x509 -key key.pem -subj /CN=device -days 36500 -out cert.pem");
        let result = load(&files.tls, at(0));
        assert!(result.is_ok(), "{form}: {}", result.unwrap_err());
    }
}

#[test]
fn a_version_1_certificate_is_taken() {
    let files = good();
    openssl(&files, "req -new -newkey rsa:2048 -nodes -keyout key.pem -subj /CN=device -out device.csr");
    openssl(&files, "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -subj /CN=ca -out ca.pem");
    openssl(&files, "x509 -req -in device.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 36500 -out cert.pem");
    let (_, certificate) = x509_parser::pem::parse_x509_pem(&fs::read(&files.tls.cert_file).unwrap()).unwrap();
    assert_eq!(certificate.parse_x509().unwrap().version().0, 0, "openssl made another version");
    loaded(&files);
}

#[test]
fn certificate_id_is_what_openssl_calls_its_sha256_fingerprint() {
    let files = good();
    let output = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(&files.tls.cert_file)
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let (_, fingerprint) = printed.trim().split_once('=').unwrap();
    assert_eq!(**loaded(&files).certificate_id(), fingerprint.replace(':', "").to_lowercase());
}

#[test]
fn every_problem_is_reported_at_once() {
    let files = Files::new("", "nothing of use", "x");
    fs::remove_file(&files.tls.ca_file).unwrap();
    fs::write(files.key(), "").unwrap();
    let found: Vec<_> = problems(&files)
        .into_iter()
        .map(|problem| match problem {
            Problem::File { role, fault, .. } => (role, fault),
            mismatch => panic!("{mismatch}"),
        })
        .collect();
    assert_eq!(
        found,
        [
            (Role::Ca, FileFault::Missing { directory: None }),
            (Role::Certificate, FileFault::Foreign(Foreign::Text)),
            (Role::Key, FileFault::Empty)
        ]
    );
    let text = load(&files.tls, at(0)).unwrap_err().to_string();
    assert_eq!(text.lines().count(), 3, "{text}");
}

#[test]
fn a_missing_directory_is_named() {
    let mut files = good();
    let missing = files.dir().join("certs");
    files.tls.ca_file = missing.join("deep/ca.pem");
    let expected = (Role::Ca, FileFault::Missing { directory: Some(missing) });
    assert_eq!(only_fault(&files, "there is no directory"), expected);
}

#[test]
fn directories_devices_and_huge_files_are_refused() {
    let mut files = good();
    files.tls.ca_file = files.dir().to_owned();
    assert_eq!(only_fault(&files, "is a directory"), (Role::Ca, FileFault::Directory));
    files.tls.ca_file = "/dev/zero".into();
    assert_eq!(only_fault(&files, "is a device"), (Role::Ca, FileFault::NotRegular));
    files.tls.ca_file = files.write("ca.pem", vec![b'\n'; 1024 * 1024 + 1]);
    assert!(matches!(only_fault(&files, "larger than 1 MiB"), (Role::Ca, FileFault::TooLarge { .. })));
}

/// Reads as another user: root may read everything.
fn as_nobody<T>(read: impl FnOnce() -> T) -> T {
    let before = nix::unistd::setfsuid(65534.into());
    let result = read();
    nix::unistd::setfsuid(before);
    result
}

#[test]
fn a_file_that_may_not_be_read_is_told_with_the_command_that_helps() {
    let files = good();
    set_mode(files.dir(), 0o755);
    for (path, mode) in [(&*files.tls.ca_file, 0o644), (&*files.tls.cert_file, 0o644), (files.key(), 0o000)] {
        set_mode(path, mode);
    }
    let (role, fault) = as_nobody(|| only_fault(&files, &format!("chmod 0600 {}", files.key().display())));
    let FileFault::Denied(denied) = fault else { panic!("{fault:?}") };
    assert_eq!((role, denied.directory, denied.mode), (Role::Key, None, 0));

    set_mode(files.dir(), 0o000);
    let text = as_nobody(|| load(&files.tls, at(0)).unwrap_err().to_string());
    set_mode(files.dir(), 0o755);
    let hint = format!("may not enter the directory {} (it is", files.dir().display());
    assert_eq!(text.matches(&hint).count(), 3, "{text}");
}

#[test]
fn swapped_files_are_called_so() {
    let mut files = good();
    let key_file = KeyFile::File(files.tls.cert_file.clone());
    files.tls.cert_file = files.key().to_owned();
    files.tls.key_file = key_file;
    let text = load(&files.tls, at(0)).unwrap_err().to_string();
    assert!(text.contains("tls.cert_file") && text.contains("holds a private key, not a certificate"), "{text}");
    assert!(text.contains("tls.key_file") && text.contains("holds a certificate, not a key"), "{text}");

    let mut files = good();
    std::mem::swap(&mut files.tls.cert_file, &mut files.tls.ca_file);
    let text = load(&files.tls, at(0)).unwrap_err().to_string();
    assert!(text.contains("holds no CA certificate, but that of CN=device"), "{text}");
    assert!(text.contains("That one is a CA's (CN=ca)"), "{text}");
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let authority = Authority::new("ca");
    let (one, other) = (authority.issue(&[], ALWAYS), authority.issue(&[], ALWAYS));
    let files = Files::new(&authority.pem(), &one.certificate, &other.key);
    assert!(matches!(problems(&files)[..], [Problem::KeyMismatch { belongs_to: None, authority: None, .. }]));

    files.write("cert.pem", one.certificate + &other.certificate);
    let text = load(&files.tls, at(0)).unwrap_err().to_string();
    assert!(text.contains("It belongs to certificate 2 of that file"), "{text}");
}

#[test]
fn what_is_neither_certificate_nor_plain_key_is_named() {
    let files = good();
    openssl(&files, "genrsa -out plain.pem 2048");
    openssl(&files, "req -new -key plain.pem -subj /CN=device -out device.csr");
    openssl(&files, "crl2pkcs7 -nocrl -certfile cert.pem -out device.p7");
    openssl(&files, "x509 -in cert.pem -trustout -out trusted.pem");
    openssl(&files, "rsa -in plain.pem -aes128 -passout pass:secret -out encrypted.pem");
    openssl(&files, "rsa -in plain.pem -aes128 -traditional -passout pass:secret -out old.pem");
    openssl(&files, "rsa -in plain.pem -pubout -out public.pem");
    let path = |name: &str| files.dir().join(name);
    let mut tls = files.tls.clone();
    let mut check = |name: &str, holds: Holds, hints: [&str; 2]| {
        for (role, hint) in [Role::Certificate, Role::Key].into_iter().zip(hints) {
            tls.clone_from(&files.tls);
            match role {
                Role::Key => tls.key_file = KeyFile::File(path(name)),
                Role::Ca | Role::Certificate => tls.cert_file = path(name),
            }
            let problems = load(&tls, at(0)).unwrap_err();
            assert_eq!(problems.0, [Problem::File { role, path: path(name), fault: FileFault::Holds(holds) }]);
            assert!(problems.to_string().contains(hint), "{problems}");
        }
    };
    check("device.csr", Holds::Request, ["(CSR)"; 2]);
    check("device.p7", Holds::Pkcs7, ["openssl pkcs7 -print_certs", "path of the private key"]);
    check("trusted.pem", Holds::TrustedCertificate, ["openssl x509 -in", "path of the private key"]);
    check("encrypted.pem", Holds::EncryptedKey, ["path of the certificate", "openssl pkey -in"]);
    check("old.pem", Holds::EncryptedKey, ["path of the certificate", "openssl pkey -in"]);
    check("public.pem", Holds::PublicKey, ["only a public key"; 2]);
}

#[test]
fn binary_files_are_told_how_to_convert() {
    let files = good();
    openssl(&files, "pkcs12 -export -in cert.pem -inkey key.pem -passout pass: -out device.p12");
    openssl(&files, "pkey -in key.pem -outform der -out key.der");
    openssl(&files, "x509 -in cert.pem -outform der -out cert.der");
    openssl(&files, "genrsa -out rsa.pem 2048");
    openssl(&files, "rsa -in rsa.pem -outform der -out rsa.der");
    for (name, expected, hint) in [
        ("device.p12", FileFault::Der(Der::Pkcs12), "openssl pkcs12 -nocerts -nodes -in"),
        ("key.der", FileFault::Der(Der::Key), "openssl pkey -inform der"),
        ("rsa.der", FileFault::Der(Der::Key), "openssl pkey -inform der"),
        ("cert.der", FileFault::Der(Der::Certificate), "holds a certificate, not a key"),
    ] {
        fs::copy(files.dir().join(name), files.key()).unwrap();
        assert_eq!(only_fault(&files, hint), (Role::Key, expected));
    }
}

#[test]
fn keys_that_cannot_be_used_are_refused_with_their_kind() {
    let authority = Authority::new("ca");
    let device = authority.issue_with(&[], ALWAYS, &rcgen::PKCS_ED25519);
    let files = Files::new(&authority.pem(), &device.certificate, &device.key);
    let (_, fault) = only_fault(&files, "RSA of 2048 to 4096 bits");
    assert_eq!(fault, FileFault::UnsupportedKey(Unsupported::Kind("an Ed25519 key")));

    for (make, expected) in [
        ("genrsa -out key.pem 1024", 1024),
        ("genrsa -traditional -out key.pem 1024", 1024),
        ("genrsa -out key.pem 1536", 1536),
    ] {
        openssl(&files, make);
        let (role, fault) = only_fault(&files, &format!("holds an RSA key of {expected} bits"));
        assert_eq!((role, fault), (Role::Key, FileFault::UnsupportedKey(Unsupported::RsaSize { bits: expected })));
    }
}

#[test]
fn several_keys_are_refused_but_a_certificate_beside_the_key_is_not() {
    let authority = Authority::new("ca");
    let device = authority.issue(&[], ALWAYS);
    let both = format!("{}{}", device.certificate, device.key);
    let files = Files::new(&authority.pem(), &both, &both);
    loaded(&files);
    files.write("key.pem", both + &authority.issue(&[], ALWAYS).key);
    assert_eq!(only_fault(&files, "2 private keys"), (Role::Key, FileFault::SeveralKeys(2)));
}

#[test]
fn a_truncated_or_garbled_file_is_called_damaged() {
    let files = good();
    let whole = fs::read_to_string(&files.tls.cert_file).unwrap();
    files.write("cert.pem", &whole[..whole.len() / 2]);
    assert!(matches!(
        only_fault(&files, "the line -----END ...----- is missing"),
        (Role::Certificate, FileFault::Damaged(_))
    ));
    files.write("cert.pem", whole.replacen('M', "*", 1));
    assert!(matches!(only_fault(&files, "line 2 holds characters"), (Role::Certificate, FileFault::Damaged(_))));
    files.write("cert.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert_eq!(only_fault(&files, "no certificate or key").1, FileFault::Damaged(Damage::NotDer));
    let sequence = "-----BEGIN CERTIFICATE-----\nMAMCAQA=\n-----END CERTIFICATE-----\n";
    files.write("cert.pem", sequence);
    assert_eq!(only_fault(&files, "certificate 1").1, FileFault::BadCertificate { number: 1 });
}

#[test]
fn a_ca_bundle_may_hold_what_is_no_ca_beside_what_is() {
    let authority = Authority::new("ca");
    let device = authority.issue(&[], ALWAYS);
    let bundle = device.certificate.clone() + &Authority::new("other").pem() + &authority.pem();
    loaded(&Files::new(&bundle, &device.certificate, &device.key));
}

#[test]
fn only_what_iot_core_speaks_is_offered() {
    let credentials = loaded(&good());
    let config = credentials.client_config(8883);
    let suites: Vec<_> = config.crypto_provider().cipher_suites.iter().map(|suite| suite.suite()).collect();
    assert_eq!(
        suites,
        [
            CipherSuite::TLS13_AES_256_GCM_SHA384,
            CipherSuite::TLS13_AES_128_GCM_SHA256,
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        ]
    );
    assert!(config.alpn_protocols.is_empty());
    assert_eq!(credentials.client_config(443).alpn_protocols, [b"x-amzn-mqtt-ca"]);
}

#[test]
fn a_certificate_outside_its_validity_is_a_warning_with_the_clock() {
    let authority = Authority::new("ca");
    let device = authority.issue(&[], 2025..2026);
    let files = Files::new(&authority.pem(), &device.certificate, &device.key);
    let warning = |days: i64| load(&files.tls, at(days)).unwrap().warnings().to_vec();

    assert_eq!(warning(-30), []);
    assert!(matches!(warning(-29)[..], [Warning::ExpiresSoon { days: 29, .. }]));
    assert!(matches!(warning(0)[..], [Warning::ExpiresSoon { days: 0, .. }]));
    let [expired] = &warning(1)[..] else { panic!() };
    assert!(matches!(expired, Warning::Expired { .. }));
    assert!(expired.to_string().contains("clock says 2026-01-02T00:00:00Z"), "{expired}");

    let credentials = load(&files.tls, SystemTime::UNIX_EPOCH).unwrap();
    let early = credentials.validity_warning(SystemTime::UNIX_EPOCH).unwrap();
    assert!(matches!(early, Warning::NotYetValid { .. }));
    assert!(early.to_string().contains("clock says 1970-01-01T00:00:00Z"), "{early}");
    assert_eq!(credentials.validity_warning(at(-100)), None);
}

#[test]
fn a_key_that_anybody_else_may_read_is_a_warning() {
    let files = good();
    set_mode(files.key(), 0o600);
    assert_eq!(loaded(&files).warnings(), []);
    for (mode, who) in [(0o640, "its group"), (0o660, "its group"), (0o644, "every user"), (0o604, "every user")] {
        set_mode(files.key(), mode);
        let credentials = loaded(&files);
        let [warning] = credentials.warnings() else { panic!("{:?}", credentials.warnings()) };
        let text = warning.to_string();
        let command = format!("chmod 0600 {}", files.key().display());
        assert!(text.contains(who) && text.contains(&command) && text.contains(&format!("{mode:04o}")), "{text}");
    }
}

#[test]
fn a_private_key_in_another_file_that_anybody_may_read_is_a_warning() {
    let authority = Authority::new("ca");
    let device = authority.issue(&[], ALWAYS);
    let with_key = |pem: &str| format!("{pem}{}", device.key);
    for (ca, certificate, role) in [
        (authority.pem(), with_key(&device.certificate), Role::Certificate),
        (with_key(&authority.pem()), device.certificate.clone(), Role::Ca),
    ] {
        let files = Files::new(&ca, &certificate, &device.key);
        let path = if role == Role::Ca { &files.tls.ca_file } else { &files.tls.cert_file };
        set_mode(files.key(), 0o600);
        set_mode(path, 0o600);
        assert_eq!(loaded(&files).warnings(), []);
        set_mode(path, 0o644);
        let credentials = loaded(&files);
        let [warning] = credentials.warnings() else { panic!("{:?}", credentials.warnings()) };
        let expected = format!("{} {} holds a private key and can be read by every user", role.key(), path.display());
        assert!(warning.to_string().starts_with(&expected), "{warning}");
        assert!(warning.to_string().contains(&format!("chmod 0600 {}", path.display())), "{warning}");
    }
    // One file for both is told once.
    let both = with_key(&device.certificate);
    let mut files = Files::new(&authority.pem(), &both, &both);
    files.tls.cert_file = files.key().to_owned();
    set_mode(files.key(), 0o644);
    assert_eq!(loaded(&files).warnings().len(), 1);
}
