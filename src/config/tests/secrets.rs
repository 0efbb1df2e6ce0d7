//! Secrets in a configuration, wherever somebody has put them and whatever is wrong with that: no message repeats one.

use super::*;
use crate::config::known::SECTIONS;

/// Keys of tables within a section, and the section.
const NESTED: [(&str, &str, &str); 12] = [
    ("connection", "backoff", "min"),
    ("connection", "rate_limit", "bytes_per_second"),
    ("connection", "will", "topic"),
    ("connection", "will", "payload"),
    ("connection", "birth", "topic"),
    ("connection", "birth", "payload"),
    ("publish", "batch", "within"),
    ("forward", "keep", "when_full"),
    ("forward", "keep", "bytes"),
    ("ingest", "batch", "max"),
    ("action", "download", "hosts"),
    ("action", "download", "ca_file"),
];

/// What stands in a line, with the name of each kind of secret in it: `hunter2` for one that has a name or a place, the others
/// are known by their form.
const WRITTEN: [&str; 22] = [
    "http://me:hunter2@proxy.example:3128",
    "HTTP://me:hunter2@proxy.example:3128",
    "mqtts://me:hunter2@broker",
    "//me:hunter2@proxy:3128",
    "me:hunter2@proxy.example:3128",
    "http://me:hunter2@",
    "http://me:hunter2@proxy.example",
    "http://me:hunter2@proxy:99999",
    "http://me:p@hunter2@proxy:3128",
    "http://me:a b hunter2@proxy:3128",
    "http://me:a/hunter2@proxy:3128",
    "http://hunter2@[::1",
    "https://x.example/?token=hunter2",
    "user=me;password=hunter2",
    "Password: hunter2",
    "--password hunter2",
    "-----BEGIN RSA PRIVATE KEY-----",
    "-----BEGIN EC PRIVATE KEY----- hunter2hunter2hunter2 -----END EC PRIVATE KEY-----",
    "Authorization: Bearer hunter2",
    "pkcs11:object=k?pin-value=hunter2",
    "curl -u me:hunter2 https://x.example",
    "mosquitto_pub --pw x --key_password hunter2 -t a",
];

/// Of no name: recognised by their form.
const RANDOM: [&str; 4] = [
    "q8Zt2LwX9bRm4VkYc7JfHs1DpNa6GuEo3TxQiWyB",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtZSJ9.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV",
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgxZ3fQk9nW7tB1yTr",
    "MIIEpAIBAAKCAQEA1f2Xy8Zw3mQ9kVbN7sT4uJhL0rYcEoPxGdAiWqKtFvBzHjRl",
];

/// Each way to write a value.
fn forms(value: &str) -> Vec<String> {
    vec![
        format!("\"{value}\""),
        format!("'{value}'"),
        value.to_owned(),
        format!("\"{value}"),
        format!("“{value}”"),
        format!("\"\"\"\n{value}\n\"\"\""),
        format!("[\"{value}\"]"),
        format!("[\"x\", \"{value}\"]"),
        format!("{{ url = \"{value}\", password = \"hunter2\" }}"),
        format!("{{ password = \"hunter2\", url = \"{value}\""),
        format!("\"{value}\" \"{value}\""),
    ]
}

fn header(section: &str) -> String {
    let known = SECTIONS.into_iter().find(|known| known.name == section).unwrap();
    if known.is_array { format!("[[{section}]]\n") } else { format!("[{section}]\n") }
}

/// Every place for a value, as `VALUE`.
fn places() -> Vec<String> {
    let mut places = Vec::new();
    for known in SECTIONS {
        let head = header(known.name);
        places.extend(known.keys.iter().map(|key| format!("{head}{key} = VALUE\n")));
        places.extend(["prxy", "payloads", "x"].map(|key| format!("{head}{key} = VALUE\n")));
    }
    for (section, table, key) in NESTED {
        places.push(format!("{}{table} = {{ {key} = VALUE }}\n", header(section)));
    }
    places.extend(["VALUE", "VALUE = 1", "[VALUE]", "x = VALUE", "connection.proxy = VALUE"].map(str::to_owned));
    places
}

fn said(text: &str) -> String {
    match load(text, &[]) {
        Ok((_, warnings)) => warnings.join("\n"),
        Err(errors) => errors.join("\n"),
    }
}

#[test]
fn no_secret_is_repeated_whatever_key_it_is_given_to() {
    let mut leaks = Vec::new();
    let mut random = fastrand::Rng::with_seed(7);
    for place in places() {
        for written in WRITTEN.iter().chain(&RANDOM) {
            // One in twelve of twenty thousand.
            for form in forms(written).into_iter().filter(|_| random.u32(..12) == 0) {
                let text = place.replace("VALUE", &form);
                let said = said(&text);
                let parts = |secret: &str| -> Vec<String> {
                    (0..=secret.len() - 16).map(|at| secret[at..at + 16].to_owned()).collect()
                };
                let is_said = said.contains("hunter2")
                    || RANDOM.contains(written) && parts(written).iter().any(|part| said.contains(part));
                if is_said {
                    leaks.push(format!("{text}---- {said}\n"));
                }
            }
        }
    }
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
}

#[test]
fn the_value_of_a_key_that_names_a_secret_is_never_repeated() {
    let names = [
        "password",
        "proxy_password",
        "passwd",
        "secret",
        "token",
        "api_key",
        "key_password",
        "pin",
        "PASSPHRASE",
        "auth",
    ];
    let values = [
        "\"hunter2\"",
        "hunter2",
        "'hunter2",
        "[\"hunter2\"]",
        "{ x = \"hunter2\" }",
        "“hunter2”",
        "hunter2\"",
        "7 hunter2",
        "\"a\" hunter2",
    ];
    let mut leaks = Vec::new();
    for section in ["connection", "tls", "publish"] {
        for name in names {
            for value in values {
                for sign in [" = ", "=", ": ", " ", " := ", " => "] {
                    let text = format!("{}{name}{sign}{value}\n", header(section));
                    let said = said(&text);
                    if said.contains("hunter2") {
                        leaks.push(format!("{text}---- {said}\n"));
                    }
                }
            }
        }
    }
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
}
