//! What people and programs do to credential files: each is told in words that fit, without a byte of the key, and the printed
//! commands mend it.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use base64::Engine as _;

use super::*;

mod commands;

/// A directory with good files, and others that openssl makes.
struct Workshop {
    files: Files,
    ca: String,
    certificate: String,
    key: String,
}

impl Workshop {
    fn new() -> Workshop {
        let files = good();
        openssl(&files, "genrsa -out key.pem 2048");
        openssl(&files, "req -x509 -key key.pem -subj /CN=device -days 36500 -out cert.pem");
        let text = |path: &Path| fs::read_to_string(path).unwrap();
        let (ca, certificate, key) = (text(&files.tls.ca_file), text(&files.tls.cert_file), text(files.key()));
        Workshop { files, ca, certificate, key }
    }

    /// What openssl makes with these arguments, of standard input or of the good files.
    fn made(&self, arguments: &str) -> Vec<u8> {
        openssl(&self.files, &format!("{arguments} -out made"));
        fs::read(self.files.dir().join("made")).unwrap()
    }

    fn path(&self, role: Role) -> &Path {
        match role {
            Role::Ca => &self.files.tls.ca_file,
            Role::Certificate => &self.files.tls.cert_file,
            Role::Key => self.files.key(),
        }
    }

    /// What is said where this is in the place of a file, the others being good.
    fn said(&self, role: Role, contents: &[u8]) -> String {
        for (role, good) in [(Role::Ca, &self.ca), (Role::Certificate, &self.certificate), (Role::Key, &self.key)] {
            fs::write(self.path(role), good).unwrap();
        }
        fs::write(self.path(role), contents).unwrap();
        match load(&self.files.tls, at(0)) {
            Ok(_) => String::new(),
            Err(problems) => format!("{problems}\n{problems:?}"),
        }
    }
}

/// No 16 characters in a row of a secret's base64, and none of its bytes as a list of numbers.
#[track_caller]
fn says_nothing_of(secret: &[u8], said: &str) {
    let text = String::from_utf8_lossy(secret);
    let letters: Vec<char> = text
        .lines()
        .filter(|line| !line.contains("-----"))
        .flat_map(str::chars)
        .filter(|c| c.is_ascii_alphanumeric())
        .collect();
    for window in letters.windows(16) {
        let window: String = window.iter().collect();
        assert!(!said.contains(&window), "{window} of the secret is in {said}");
    }
    for window in secret.windows(6) {
        let numbers = window.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
        assert!(!said.contains(&numbers), "{numbers} of the secret is in {said}");
    }
}

fn utf16(text: &str, bom: bool, big: bool) -> Vec<u8> {
    let units = bom.then_some(0xFEFF).into_iter().chain(text.encode_utf16());
    units.flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
}

/// In the place of a key: what it is, and what must be said. `""`: it is taken.
fn of_a_key(shop: &Workshop) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let key = &shop.key;
    let (begin, end) = ("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----");
    let body: String = key.lines().filter(|line| !line.contains("-----")).collect();
    let lines: Vec<&str> = key.lines().collect();
    let text = |text: &str| text.as_bytes().to_vec();
    let der = shop.made("pkey -in key.pem -outform der");
    let pkcs8 = crate::message::BASE64.decode(&body).unwrap();
    let with_body = |body: &str| text(&format!("{begin}\n{body}\n{end}\n"));
    let bytes_changed = |at: usize, by: u8| {
        let mut der = pkcs8.clone();
        der[at] ^= by;
        with_body(&crate::message::BASE64.encode(der))
    };
    vec![
        ("a BOM", [b"\xEF\xBB\xBF", key.as_bytes()].concat(), ""),
        ("CR LF", text(&key.replace('\n', "\r\n")), ""),
        ("CR alone", text(&key.replace('\n', "\r")), ""),
        ("blank lines", text(&key.replace('\n', "\n\n")), ""),
        ("blanks at line ends", text(&key.replace('\n', "  \n")), ""),
        ("words around it", text(&format!("Bag Attributes\n  name: x\n{key}\n# the end\n")), ""),
        ("no newline at the end", text(key.trim_end()), ""),
        ("one long line of base64", with_body(&body), ""),
        ("newlines became spaces", text(&key.replace('\n', " ")), "there are spaces instead"),
        ("newlines became tabs", text(&key.replace('\n', "\t")), "there are spaces instead"),
        ("newlines left out", text(&key.replace('\n', "")), "line breaks are missing"),
        ("literal \\n", text(&key.replace('\n', "\\n")), "\\n is written in two characters"),
        ("literal \\r\\n", text(&key.replace('\n', "\\r\\n")), "\\n is written in two characters"),
        ("a JSON string", text(&format!("\"{}\"", key.replace('\n', "\\n"))), "\\n is written in two characters"),
        ("lines of a program", text(&lines.iter().map(|line| format!("\"{line}\",\n")).collect::<String>()), "quotes"),
        ("quoted in a mail", text(&lines.iter().map(|line| format!("> {line}\n")).collect::<String>()), "from a mail"),
        ("quotes around it", text(&format!("\"{}\"\n", key.trim_end())), "quotes"),
        (
            "indented by blanks",
            text(&lines.iter().map(|line| format!("    {line}\n")).collect::<String>()),
            "don't start at the margin",
        ),
        (
            "indented by tabs",
            text(&lines.iter().map(|line| format!("\t{line}\n")).collect::<String>()),
            "don't start at the margin",
        ),
        ("BEGIN glued to the first line", text(&key.replacen("KEY-----\n", "KEY-----", 1)), "line breaks are missing"),
        ("END glued to the last line", text(&key.replace("\n-----END", "-----END")), "line breaks are missing"),
        ("glued twice", text(&format!("{}{}", key.trim_end(), shop.certificate)), "line breaks are missing"),
        ("no END", text(&key.replace(end, "")), "-----END ...----- is missing"),
        ("cut in the middle", text(&key[..key.len() / 2]), "-----END ...----- is missing"),
        ("no BEGIN", text(&key.replace(begin, "")), "-----BEGIN ...----- is missing"),
        ("another END", text(&key.replace(end, "-----END CERTIFICATE-----")), "don't have the same name"),
        ("four hyphens behind BEGIN", text(&key.replace(begin, "-----BEGIN PRIVATE KEY----")), "five hyphens"),
        ("four hyphens before BEGIN", text(&key.replace(begin, "----BEGIN PRIVATE KEY-----")), "BEGIN"),
        ("four hyphens everywhere", text(&key.replace("-----", "----")), "five hyphens"),
        ("dashes of a word processor", text(&key.replace("-----", "\u{2013}\u{2013}\u{2013}")), "five hyphens"),
        (
            "small letters",
            text(&key.replace(begin, &begin.to_lowercase()).replace(end, &end.to_lowercase())),
            "five hyphens",
        ),
        (
            "commented out",
            text(&lines.iter().map(|line| format!("# {line}\n")).collect::<String>()),
            "have # before them",
        ),
        (
            "commented out without blanks",
            text(&format!("#{}", key.trim_end().replace('\n', "\n#"))),
            "have # before them",
        ),
        ("nothing in it", text(&format!("{begin}\n{end}\n")), "nothing between"),
        (
            "a line missing",
            text(
                &lines
                    .iter()
                    .enumerate()
                    .filter(|(i, _)| *i != 4)
                    .map(|(_, line)| format!("{line}\n"))
                    .collect::<String>(),
            ),
            "a part between",
        ),
        ("a character missing", with_body(&[&body[..100], &body[101..]].concat()), "a part between"),
        ("a line twice", text(&key.replace(lines[3], &format!("{0}\n{0}", lines[3]))), "more between"),
        ("not base64", text(&key.replace(lines[5], &format!("{}$%", &lines[5][..62]))), "line 6 holds characters"),
        ("a form feed", text(&key.replace(lines[5], &format!("{}\u{7}", &lines[5][..62]))), "line 6 holds characters"),
        ("umlauts", text(&key.replace(lines[5], &lines[5].replace(char::is_numeric, "ö"))), "line 6 holds characters"),
        ("zeroes", with_body(&"A".repeat(1600)), "no certificate or key"),
        ("other text in base64", with_body("aGVsbG8gd29ybGQsIHRoaXMgaXMgbm8ga2V5"), "no certificate or key"),
        ("a damaged modulus", bytes_changed(120, 0x40), "numbers of the private key"),
        ("a damaged prime", bytes_changed(der.len() - 300, 0x40), "numbers of the private key"),
        ("a damaged structure", bytes_changed(33, 0x0F), "can't be understood"),
        ("a damaged length", bytes_changed(34, 0x01), "can't be understood"),
        ("a damaged algorithm", bytes_changed(15, 0x01), "can't be understood"),
        ("two keys", text(&key.repeat(2)), "holds 2 private keys"),
        ("nothing at all", Vec::new(), "is empty"),
        ("blank lines alone", b"\n\n  \n".to_vec(), "is empty"),
        ("UTF-16 with a BOM", utf16(key, true, false), "UTF-16, as Windows"),
        ("UTF-16 big endian with a BOM", utf16(key, true, true), "UTF-16, as Windows"),
        ("UTF-16 little endian", utf16(key, false, false), "UTF-16LE"),
        ("UTF-16 big endian", utf16(key, false, true), "UTF-16BE"),
        ("DER", der.clone(), "binary (DER) key"),
        ("DER of PKCS#1", shop.made("rsa -traditional -in key.pem -outform der"), "binary (DER) key"),
        ("half of DER", der[..700].to_vec(), "isn't a whole one"),
        ("base64 of DER", text(&body), "Base64 without the lines"),
        ("base64 of PEM", text(&crate::message::BASE64.encode(key)), "Base64 of a PEM file"),
        ("PKCS#12", shop.made("pkcs12 -export -in cert.pem -inkey key.pem -passout pass:"), "PKCS#12"),
        ("encrypted", shop.made("pkcs8 -topk8 -in key.pem -passout pass:secret"), "encrypted, and nobody is there"),
        (
            "encrypted as before",
            shop.made("rsa -traditional -aes128 -in key.pem -passout pass:secret"),
            "encrypted, and nobody is there",
        ),
        (
            "encrypted DER",
            shop.made("pkcs8 -topk8 -in key.pem -passout pass:secret -outform der"),
            "and encrypted, and nobody",
        ),
        ("the certificate", text(&shop.certificate), "holds a certificate, not a key"),
        ("the certificate as DER", shop.made("x509 -in cert.pem -outform der"), "holds a certificate, not a key"),
        ("the public key", shop.made("pkey -in key.pem -pubout"), "only a public key"),
        ("the public key as DER", shop.made("pkey -in key.pem -pubout -outform der"), "only a public key"),
        ("a request", shop.made("req -new -key key.pem -subj /CN=x"), "certificate request"),
        (
            "a certificate called a key",
            text(&shop.certificate.replace("CERTIFICATE", "PRIVATE KEY")),
            "is called PRIVATE KEY, but holds a certificate",
        ),
        (
            "PKCS#8 called PKCS#1",
            text(&shop.key.replace("PRIVATE KEY", "RSA PRIVATE KEY")),
            "is called RSA PRIVATE KEY, but holds a private key in PKCS#8. Correct the label in both lines: `t=$(sed ",
        ),
        (
            "PKCS#8 called SEC1",
            text(&shop.key.replace("PRIVATE KEY", "EC PRIVATE KEY")),
            "is called EC PRIVATE KEY, but holds a private key in PKCS#8. Correct the label",
        ),
        (
            "a key called a public one",
            text(&shop.key.replace("PRIVATE KEY", "PUBLIC KEY")),
            "is called PUBLIC KEY, but holds a private key in PKCS#8. Correct the label",
        ),
        (
            "a key with a label of its own",
            text(&shop.key.replace("PRIVATE KEY", "DEVICE KEY")),
            "has a label that isn't known, and holds a private key in PKCS#8. Call it PRIVATE KEY",
        ),
        ("Ed25519", shop.made("genpkey -algorithm ed25519"), "an Ed25519 key"),
        ("Ed448", shop.made("genpkey -algorithm ed448"), "an Ed448 key"),
        ("X25519", shop.made("genpkey -algorithm x25519"), "an X25519 key"),
        ("P-521", shop.made("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521"), "an EC P-521 key"),
        ("P-521 in SEC1", shop.made("ecparam -name secp521r1 -genkey -noout"), "an EC P-521 key"),
        ("secp256k1", shop.made("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1"), "an EC secp256k1 key"),
        ("P-224", shop.made("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-224"), "an EC P-224 key"),
        (
            "brainpool",
            shop.made("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:brainpoolP256r1"),
            "an EC key of another curve, or is damaged. Copy it again",
        ),
        ("RSA-PSS", shop.made("genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048"), "an RSA-PSS key"),
        ("RSA 1024", shop.made("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024"), "an RSA key of 1024 bits"),
        (
            "RSA with exponent 3",
            shop.made("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_keygen_pubexp:3"),
            "exponent under 65537",
        ),
        (
            "OpenSSH",
            text(
                "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU=\n-----END OPENSSH PRIVATE KEY-----\n",
            ),
            "a key for SSH",
        ),
        ("a public key for SSH", text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI me@home\n"), "only a public key"),
        ("PuTTY", text("PuTTY-User-Key-File-3: ssh-rsa\nEncryption: none\n"), "a key for SSH"),
        (
            "PGP",
            text("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQOYBF\n-----END PGP PRIVATE KEY BLOCK-----\n"),
            "a PGP file",
        ),
        ("HTML", text("<!DOCTYPE html>\n<html><body>Sign in</body></html>\n"), "is a web page"),
        ("S3's error", text("<?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code></Error>"), "is a web page"),
        (
            "JSON of the AWS CLI",
            text(&format!("{{\"keyPair\": {{\"PrivateKey\": \"{}\"}}}}", key.replace('\n', "\\n"))),
            "is JSON, as `aws iot create-keys-and-certificate` prints it",
        ),
        ("other JSON", text("{\"message\": \"no\"}"), "is JSON"),
        ("a Java key store", b"\xFE\xED\xFE\xED\0\0\0\x02\0\0".to_vec(), "a Java key store"),
        ("a zip", b"PK\x03\x04\x14\0".to_vec(), "an archive"),
        ("any text", text("hunter2 is my password\n"), "holds no certificate or key"),
        ("random bytes", vec![0x93; 400], "holds no certificate or key"),
    ]
}

#[test]
fn whatever_is_in_the_place_of_the_key_is_named_and_nothing_of_it_shown() {
    let shop = Workshop::new();
    let table = of_a_key(&shop);
    assert!(table.len() >= 60);
    for (name, contents, expected) in table {
        let said = shop.said(Role::Key, &contents);
        let first = said.lines().next().unwrap_or_default();
        assert_eq!(expected.is_empty(), said.is_empty(), "{name}: {first}");
        assert!(first.contains(expected), "{name}: {first}");
        says_nothing_of(shop.key.as_bytes(), &said);
        says_nothing_of(&contents, &said.replace("ssh-ed25519", ""));
        assert!(!said.contains("hunter2"), "{said}");
        // The same where a certificate is meant to be: it may be mended or moved, but never shown.
        for role in [Role::Certificate, Role::Ca] {
            let said = shop.said(role, &contents);
            says_nothing_of(shop.key.as_bytes(), &said);
            assert!(!said.is_empty() || expected.is_empty() || name.contains("certificate"), "{name} as {role:?}");
        }
    }
}

#[test]
fn whatever_is_in_the_place_of_a_certificate_is_named() {
    let shop = Workshop::new();
    let text = |text: &str| text.as_bytes().to_vec();
    let der = shop.made("x509 -in cert.pem -outform der");
    let mut broken = der.clone();
    broken[6] = 0x13;
    let broken =
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", crate::message::BASE64.encode(broken));
    let crl = "-----BEGIN X509 CRL-----\nMIIB\n-----END X509 CRL-----\n";
    for (name, contents, expected) in [
        ("glued", text(&shop.certificate.trim_end().repeat(2)), "line breaks are missing"),
        ("DER", der.clone(), "binary (DER) certificate"),
        ("base64 of DER", text(&crate::message::BASE64.encode(&der)), "Base64 without the lines"),
        ("the key", text(&shop.key), "holds a private key, not a certificate"),
        ("the key as DER", shop.made("pkey -in key.pem -outform der"), "holds a private key, not a certificate"),
        (
            "the key called a certificate",
            text(&shop.key.replace("PRIVATE KEY", "CERTIFICATE")),
            "is called CERTIFICATE, but holds a private key in PKCS#8",
        ),
        ("an encrypted key", shop.made("pkcs8 -topk8 -in key.pem -passout pass:secret"), "an encrypted private key"),
        ("a request", shop.made("req -new -key key.pem -subj /CN=x"), "certificate request"),
        (
            "a request called a certificate",
            text(
                &String::from_utf8(shop.made("req -new -key key.pem -subj /CN=x"))
                    .unwrap()
                    .replace("CERTIFICATE REQUEST", "CERTIFICATE"),
            ),
            "is called CERTIFICATE, but holds a certificate request",
        ),
        ("PKCS#7", shop.made("crl2pkcs7 -nocrl -certfile cert.pem"), "PKCS#7"),
        ("PKCS#7 as DER", shop.made("crl2pkcs7 -nocrl -certfile cert.pem -outform der"), "PKCS#7"),
        ("trusted", shop.made("x509 -in cert.pem -trustout"), "openssl's own form"),
        ("a CRL", text(crl), "revoked certificates"),
        ("damaged", text(&broken), "certificate 1 in it is damaged"),
        ("UTF-16", utf16(&shop.certificate, true, false), "UTF-16"),
        ("HTML", text("<html>"), "is a web page"),
    ] {
        for role in [Role::Certificate, Role::Ca] {
            let said = shop.said(role, &contents);
            assert!(said.lines().next().unwrap_or_default().contains(expected), "{name} as {role:?}: {said}");
            says_nothing_of(shop.key.as_bytes(), &said);
        }
    }
}
