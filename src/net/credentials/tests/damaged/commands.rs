//! The commands that are printed for a damaged file, run as they are.

use super::*;

/// The command between backquotes that changes the file.
fn printed_command(said: &str) -> Option<&str> {
    let first = said.lines().next()?;
    let quoted = |marker: &str| {
        let start = first.find(marker)? + 1;
        // Nothing in our commands but the script of sed has one, and that in front of a semicolon.
        let end = start + first[start..].replace("`;", "..").find('`')?;
        Some(&first[start..end])
    };
    quoted("`t=$(").or_else(|| quoted("`(umask"))
}

/// Runs a printed command as it is, in another directory, with `openssl` taking the passphrase from standard input.
fn run(command: &str, passphrase: &str) {
    use std::io::Write as _;
    let script = match passphrase {
        "" => command.to_owned(),
        word => format!("openssl() {{ command openssl \"$@\" -passin pass:{word}; }}; {command}"),
    };
    let mut shell =
        Command::new("sh").current_dir("/").arg("-c").arg(&script).stdin(std::process::Stdio::piped()).spawn().unwrap();
    let _ = shell.stdin.take().unwrap().write_all(b"\n");
    assert!(shell.wait().unwrap().success(), "{command}");
}

#[test]
fn printed_commands_mend_the_file_and_touch_no_other() {
    let shop = Workshop::new();
    let text = |text: &str| text.as_bytes().to_vec();
    let of_keys = of_a_key(&shop).into_iter().map(|(name, contents, _)| (Role::Key, name, contents));
    let of_certificates = [Role::Certificate, Role::Ca].into_iter().flat_map(|role| {
        let (file, pem) = match role {
            Role::Certificate => ("cert.pem", &shop.certificate),
            _ => ("ca.pem", &shop.ca),
        };
        vec![
            (role, "DER", shop.made(&format!("x509 -in {file} -outform der"))),
            (role, "trusted", shop.made(&format!("x509 -in {file} -trustout"))),
            (role, "PKCS#7", shop.made(&format!("crl2pkcs7 -nocrl -certfile {file}"))),
            (role, "PKCS#7 as DER", shop.made(&format!("crl2pkcs7 -nocrl -certfile {file} -outform der"))),
            (role, "UTF-16", utf16(pem, true, false)),
            (role, "spaces", text(&pem.replace('\n', " "))),
            (role, "literal", text(&pem.replace('\n', "\\n"))),
            (role, "base64", text(&crate::message::BASE64.encode(pem))),
        ]
    });
    let encrypted = String::from_utf8(shop.made("pkcs8 -topk8 -in key.pem -passout pass:secret")).unwrap();
    let trusted = String::from_utf8(shop.made("x509 -in cert.pem -trustout")).unwrap();
    let among = [
        (Role::Key, "encrypted, with the certificate", text(&(shop.certificate.clone() + &encrypted))),
        (Role::Certificate, "trusted, and another", text(&trusted.repeat(2))),
    ];
    let cases: Vec<(Role, &str, Vec<u8>)> = of_keys.chain(of_certificates).chain(among).collect();
    let mut mended = 0;
    for (role, name, contents) in cases {
        let mut shop = Workshop {
            files: good(),
            ca: shop.ca.clone(),
            certificate: shop.certificate.clone(),
            key: shop.key.clone(),
        };
        // A name that the shell would take apart.
        let odd = shop.files.dir().join(format!("it's a \"{role:?}\" $HOME"));
        match role {
            Role::Ca => shop.files.tls.ca_file = odd.clone(),
            Role::Certificate => shop.files.tls.cert_file = odd.clone(),
            Role::Key => shop.files.tls.key_file = KeyFile::File(odd.clone()),
        }
        let said = shop.said(role, &contents);
        let Some(command) = printed_command(&said) else { continue };
        if name == "glued twice" || name == "other JSON" {
            continue;
        }
        set_mode(&odd, 0o640);
        let others = |files: &Files| {
            let entries = fs::read_dir(files.dir()).unwrap().map(|entry| entry.unwrap().path());
            let mut others: Vec<(std::path::PathBuf, Vec<u8>)> =
                entries.filter(|path| *path != odd).map(|path| (path.clone(), fs::read(path).unwrap())).collect();
            others.sort();
            others
        };
        let (before, inode) = (others(&shop.files), fs::metadata(&odd).unwrap().ino());
        run(
            command,
            if name.contains("ncrypted") {
                "secret"
            } else if name == "PKCS#12" {
                "''"
            } else {
                ""
            },
        );
        if command.starts_with("(umask") {
            let new = odd.with_file_name(format!("{}.pem", odd.file_name().unwrap().to_str().unwrap()));
            assert_eq!(fs::metadata(&new).unwrap().permissions().mode() & 0o777, 0o640);
            assert_eq!(fs::read(&odd).unwrap(), contents, "the container stays");
            // It doesn't take the place of a file that is there.
            let made = fs::read(&new).unwrap();
            assert!(!Command::new("sh").arg("-c").arg(command).status().unwrap().success());
            assert_eq!(fs::read(&new).unwrap(), made);
            fs::rename(&new, &odd).unwrap();
        } else {
            let metadata = fs::metadata(&odd).unwrap();
            assert_eq!((metadata.permissions().mode() & 0o777, metadata.ino()), (0o640, inode), "{name}");
        }
        assert_eq!(others(&shop.files), before, "{name}: {command}");
        let after = load(&shop.files.tls, at(0)).map(|_| ()).map_err(|problems| problems.to_string());
        assert_eq!(after, Ok(()), "{name}, {role:?}: {command}");
        mended += 1;
    }
    assert!(mended >= 30, "{mended}");
}

#[test]
fn no_command_writes_to_a_file_that_is_a_good_one_of_another_kind() {
    let shop = Workshop::new();
    let text = |text: &str| text.as_bytes().to_vec();
    let both = format!("{}{}", shop.certificate, shop.key);
    let request = shop.made("req -new -key key.pem -subj /CN=x");
    let json = format!(
        "{{\"certificatePem\": \"{0}\", \"keyPair\": {{\"PrivateKey\": \"{0}\"}}}}",
        shop.key.replace('\n', "\\n")
    );
    let encrypted = shop.made("pkcs8 -topk8 -in key.pem -passout pass:secret");
    let key_der = shop.made("pkey -in key.pem -outform der");
    let cut = shop.ca.clone() + &shop.ca[..shop.ca.len() / 2];
    let (others, keys) = ([Role::Ca, Role::Certificate], [Role::Key]);
    for (name, contents, roles) in [
        ("the key", text(&shop.key), &others[..]),
        ("the key as DER", key_der, &others),
        ("the key in Base64", text(&shop.key.lines().filter(|line| !line.contains('-')).collect::<String>()), &others),
        ("the key, encrypted", encrypted.clone(), &others),
        ("the key called a certificate", text(&shop.key.replace("PRIVATE KEY", "CERTIFICATE")), &others),
        ("a request", request, &[Role::Ca, Role::Certificate, Role::Key]),
        ("the device's certificate", text(&shop.certificate), &keys),
        ("the CA", text(&shop.ca), &keys),
        ("the certificate and the encrypted key", [text(&shop.certificate), encrypted].concat(), &keys),
        ("JSON", text(&json), &[Role::Ca, Role::Certificate, Role::Key]),
        ("a bundle that is cut off", text(&cut), &others),
        ("a bundle with something else", text(&format!("{both}-----BEGIN X-----\n")), &others),
    ] {
        for role in roles {
            let said = shop.said(*role, &contents);
            let first = said.lines().next().unwrap_or_default();
            let path = shop.path(*role).display();
            assert!(!first.is_empty(), "{name} as {role:?}");
            for write in [format!("> {path}`"), format!("-fsSo {path}"), format!("-out {path}")] {
                assert!(!first.contains(&write), "{name} as {role:?}: {first}");
            }
        }
    }
    for contents in [&b""[..], b"<html>Log in</html>"] {
        assert!(shop.said(Role::Ca, contents).contains("curl -fsSo "), "there is nothing to lose");
    }
    // Not the CA of this device's own certificate, which may sign itself here.
    let device = Authority::new("ca").issue(&[], ALWAYS);
    let said = shop.said(Role::Ca, device.certificate.as_bytes());
    let expected = "holds no CA certificate, but that of CN=device; tls.ca_file and tls.cert_file may be swapped. Leave that file as it is";
    assert!(said.contains(expected) && !said.contains("curl"), "{said}");
}
