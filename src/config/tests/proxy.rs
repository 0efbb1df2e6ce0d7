//! `connection.proxy`: what is understood, what is said of what isn't.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::secret::Secret;

fn proxy(url: &str) -> Result<Proxy, Vec<String>> {
    load(&format!("{CONNECTION}proxy = \"{url}\"\n"), &[]).map(|(config, _)| config.connection.proxy.unwrap())
}

#[test]
fn a_proxy_is_a_host_a_port_and_perhaps_a_login() {
    let login = |user: &str, password: &str| {
        Some(Login { user: Secret::new(user.to_owned()), password: Secret::new(password.to_owned()) })
    };
    for (url, host, port, expected) in [
        ("http://proxy.example:3128", "proxy.example", 3128, None),
        ("http://proxy:80/", "proxy", 80, None),
        ("http://192.0.2.1:8080", "192.0.2.1", 8080, None),
        ("http://[2001:db8::1]:3128", "2001:db8::1", 3128, None),
        ("http://me:secret@proxy:1", "proxy", 1, login("me", "secret")),
        ("http://me@proxy:1", "proxy", 1, login("me", "")),
        ("http://me:a:b%40c%25%2f@[::1]:1", "::1", 1, login("me", "a:b@c%/")),
        ("http://DOMAIN%5Cme:p@ss@proxy:1", "proxy", 1, login("DOMAIN\\me", "p@ss")),
        ("http://j%C3%BCrgen:%e2%82%ac@proxy:1", "proxy", 1, login("jürgen", "€")),
    ] {
        assert_eq!(proxy(url), Ok(Proxy { host: host.to_owned(), port, login: expected }), "{url}");
    }
}

#[test]
fn a_wrong_proxy_is_explained_without_its_password() {
    for (url, text) in [
        ("proxy.example:3128", "must begin with \"http://\""),
        ("https://me:secret@proxy:3128", "TLS to the proxy itself is not supported; write \"http://\""),
        ("socks5://me:secret@proxy:1080", "gatewire speaks to HTTP proxies only"),
        ("http://proxy", "must end with the port"),
        ("http://me:secret@proxy", "must end with the port"),
        ("http://me:secret@proxy:0", "its port 0 is out of range, it must be from 1 to 65535"),
        ("http://me:secret@proxy:65536", "its port 65536 is out of range"),
        ("http://me:secret@proxy:port", "must end with the port"),
        ("http://[::1]", "must end with the port"),
        ("http://me:secret@proxy:3128/path", "must end with the port"),
        ("http://me:sec/secret@proxy:3128", "/ is written %2F"),
        ("http://me:sec#secret@proxy:3128", "# %23"),
        ("http://::1:3128", "an IPv6 address must be in brackets"),
        ("http://[proxy]:3128", "an IPv6 address must be in brackets"),
        ("http://me:secret@pro xy:3128", "neither a name nor an IP address"),
        ("http://:3128", "neither a name nor an IP address"),
        ("http://:secret@proxy:1", "the user name must not be empty"),
        ("http://m%3Ae:secret@proxy:1", "can't hold a colon"),
        ("http://me:secret%@proxy:1", "% is written %25"),
        ("http://me:secret%+1@proxy:1", "% is written %25"),
        ("http://me:secret%€@proxy:1", "% is written %25"),
        ("http://me:secret%ff@proxy:1", "isn't UTF-8"),
        ("http://me:secret%0a@proxy:1", "control characters"),
    ] {
        let found = proxy(url).expect_err(url);
        assert!(found.len() == 1 && found[0].starts_with("gatewire.toml:5: `connection.proxy`: "), "{found:#?}");
        assert!(found[0].contains(text) && !found[0].contains("secret"), "{found:#?}");
    }
    assert!(!format!("{:?}", proxy("http://me:secret@proxy:1").unwrap()).contains("secret"));
}

#[test]
fn a_password_that_others_may_read_is_a_warning() {
    let warnings = |url: &str, mode: u32| {
        let directory = files(format!("{CONNECTION}proxy = \"{url}\"\n").as_bytes(), &[]);
        let path = directory.path().join("gatewire.toml");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        read(&path, &environment()).unwrap().warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for mode in [0o644, 0o640] {
        let found = warnings("http://me:secret@proxy:1", mode);
        assert!(
            found.len() == 1
                && found[0].contains("gatewire.toml:5: warning: `connection.proxy`: others than gatewire can read its"),
            "{found:?}"
        );
        let advice = found[0].contains("move this line to ") && found[0].contains("chmod 0600 ");
        assert!(advice && !found[0].contains("secret"), "{found:?}");
        // Others than the daemon read the main file: it stays as it is.
        assert!(!found[0].contains("0600 gatewire.toml") && found[0].contains("conf.d/proxy.toml`"), "{found:?}");
    }
    assert_eq!(warnings("http://me:secret@proxy:1", 0o600), [""; 0]);
    assert_eq!(warnings("http://me@proxy:1", 0o644), [""; 0]);
}

#[test]
fn secrets_in_the_wrong_place_are_never_repeated() {
    let line = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgxZ3fQk9nW7tB1yTr";
    let pem = format!("-----BEGIN PRIVATE KEY-----\\n{line}\\n-----END PRIVATE KEY-----\\n");
    let url = "http://me:hunter2@proxy.example:3128";
    let keys = [
        "endpoint",
        "client_id",
        "protocol",
        "session_expiry",
        "keep_alive",
        "port",
        "proxy",
        "max_subscriptions",
        "backoff",
        "prxy",
    ];
    let others = [
        "[tls]\nca_file = VALUE",
        "[tls]\ncert_file = VALUE",
        "[tls]\nkey_file = VALUE",
        "[log]\nlevel = VALUE",
        "[outbox]\npath = VALUE",
        "[outbox]\nmax_size = VALUE",
        "[outbox]\nwhen_full = VALUE",
        "[status]\nsocket = VALUE",
        "[status]\ngroup = VALUE",
        "[status]\nmode = VALUE",
        "[[publish]]\nname = VALUE",
        "[[publish]]\nname = \"p\"\ntopic = VALUE\nevery = VALUE\ncron = VALUE",
        "[[forward]]\nname = \"f\"\nfilters = VALUE\nsocket = VALUE\nformat = VALUE",
        "VALUE = 1",
        "[VALUE]",
        "[tls]\nVALUE = VALUE",
    ];
    let texts = keys.iter().map(|key| format!("[connection]\n{key} = VALUE\n")).chain(others.map(str::to_owned));
    for text in texts {
        let written = [&pem, line, &format!("/{line}"), url, "me:hunter2@proxy.example:3128"];
        let forms = written.iter().flat_map(|value| {
            let multiline = format!("\"\"\"\n{}\"\"\"", value.replace("\\n", "\n"));
            [
                format!("\"{value}\""),
                format!("'{value}'"),
                (*value).to_owned(),
                value.replace("\\n", "\n"),
                multiline,
                format!("[\"{value}\"]"),
                format!("\"{value}"),
            ]
        });
        for value in forms {
            let Err(errors) = load(&text.replace("VALUE", &value), &[]) else { continue };
            let said = errors.join("\n");
            assert!(!said.contains("hunter2"), "{text} with {value}:\n{said}");
            for start in 0..=line.len() - 16 {
                assert!(!said.contains(&line[start..start + 16]), "{text} with {value}:\n{said}");
            }
        }
    }
}
