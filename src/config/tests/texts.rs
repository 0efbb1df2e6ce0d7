//! What is said of a value that is wrong: where it stands, what is wrong, what is right.

use super::*;

#[test]
fn an_error_says_what_is_wrong_and_what_is_right() {
    for (rest, line, text) in [
        ("keep_alive = \"1s\"", 5, "`connection.keep_alive`: \"1s\" is out of range, it must be from 5s to 20m"),
        ("keep_alive = \"soon\"", 5, "isn't a duration such as \"500ms\""),
        ("port = 0", 5, "0 is out of range, it must be from 1 to 65535"),
        ("keep_alive = \"1M\"", 5, "\"1M\" isn't a duration; minutes are \"m\", as in \"5m\""),
        ("keep_alive = 60", 5, "must be a duration with its unit in quotes, such as \"60s\""),
        ("session_expiry = \"8d\"", 5, "\"8d\" is out of range, it must be from 0s to 7d"),
        ("backoff = { min = \"5m\", max = \"1m\" }", 5, "`connection.backoff.min`: 5m is longer than `max`, 1m"),
        ("backoff = { first = \"5m\" }", 5, "`connection.backoff.first`: 5m is longer than `max`, 2m"),
        (
            "backoff = { first = \"2h\" }",
            5,
            "`connection.backoff.first`: \"2h\" is out of range, it must be from 0s to 1h",
        ),
        ("backoff = { max = \"500ms\" }", 5, "`connection.backoff.min`: 1s is longer than `max`, 500ms"),
        (
            "backoff = 5",
            5,
            "`connection.backoff`: must be a table, such as { min = \"1s\", max = \"2m\" }, not an integer",
        ),
        ("port = 8883\nport = 443", 6, "`port` is there twice, first in line 5; delete one of the two"),
        ("proxy = http://user:p@ss@proxy.example:3128", 5, "text must be in quotes; write `proxy = \"...\"`"),
        (
            "zzzz = 1",
            5,
            "`connection.zzzz`: unknown key; there are ack_timeout, backoff, birth, client_id, connect_timeout, endpoint, keep_alive, max_subscriptions, port, protocol, proxy, rate_limit, session_expiry, thing, topic_alias, will",
        ),
        ("\"a\\nb\" = 1", 5, "`connection.a\\nb`: unknown key"),
        ("tls = 5\n[log]\nlevel = 5", 5, "`connection.tls`: unknown key"),
        ("backoff = { mim = \"1s\" }", 5, "`connection.backoff.mim`: unknown key; did you mean `min`?"),
        ("rate_limit = { burst = 0 }", 5, "`connection.rate_limit.burst`: 0 is out of range"),
        (
            "[[forward]]\nname = \"f\"\nfilters = [\"a/#/b\"]\nsocket = \"/s\"",
            7,
            "\"a/#/b\" isn't a topic filter: `#` must stand",
        ),
        ("[[forward]]\nname = \"f\"\nfilters = []\nsocket = \"/s\"", 7, "must hold at least one string"),
        ("[[forward]]\nname = \"f\"\nfilters = \"a\"\nsocket = \"/s\"", 7, "must be an array of strings"),
        ("[[forward]]\nname = \"f\"\nfilters = [\"a\"]\nsocket = \"s\"", 8, "\"s\" must be an absolute path"),
        ("[[forward]]\nname = \"f\"\nfilters = [\"a\"]\nsocket = \"/s\"\nmode = 660", 9, "must be in quotes, \"0660\""),
        (
            "[[forward]]\nname = \"f\"\nfilters = [\"a\"]\nsocket = \"/s\"\nmode = \"0999\"",
            9,
            "isn't permission bits in octal",
        ),
        (
            "[[forward]]\nname = \"f\"\nfilters = [\"a\"]\nsocket = \"/s\"\nformat = \"payload\"\nack = \"reader\"",
            10,
            "`forward.ack`: \"reader\" needs `format = \"json\"`",
        ),
        (
            "[[forward]]\nname = \"f\"\nfilters = [\"a\"]\nsocket = \"/s\"\nformat = \"jsno\"",
            9,
            "did you mean \"json\"?",
        ),
        ("[[forward]]\nname = \"f\"\nfilters = [\"a\"]\nsocket = \"/s\"\nkeep = { bytes = 5 }", 9, "such as \"5 B\""),
        ("[[ingest]]\nname = \"i\"\nsocket = \"$HOME/x\"\ntopics = [\"a\"]", 7, "$HOME isn't expanded in a path"),
        (
            "[[ingest]]\nname = \"i\"\nsocket = \"$STATE_DIRECTORY/x\"\ntopics = [\"a\"]",
            7,
            "systemd sets it for a unit with `StateDirectory=`",
        ),
        ("[[ingest]]\nname = \"i\"\nsocket = \"$STATE_DIRECTORY\"\ntopics = [\"a\"]", 7, "$STATE_DIRECTORY isn't set"),
        (
            "[[ingest]]\nname = \"i\"\nsocket = \"$CREDENTIALS_DIRECTORY/x\"\ntopics = [\"a\"]",
            7,
            "$CREDENTIALS_DIRECTORY isn't set: systemd sets it for a unit with `LoadCredential=`",
        ),
        (
            "[[ingest]]\nname = \"i\"\nsocket = \"$RUNTIME_DIRECTORY/\"\ntopics = [\"a\"]",
            7,
            "must name a file in it, such as \"$RUNTIME_DIRECTORY/NAME\"",
        ),
        (
            "[[ingest]]\nname = \"i\"\nsocket = \"/x/\"\ntopics = [\"a\"]",
            7,
            "\"/x/\" must name a file, not a directory",
        ),
        (
            "[[ingest]]\nname = \"i\"\nsocket = \"/\\u0000\"\ntopics = [\"a\"]",
            7,
            "has a control character (U+0000) as character 2; write the path without it",
        ),
        ("[[ingest]]\nname = \"i\"\nsocket = \"/x\"\ntopics = [\"$share/g/a\"]", 8, "not published to"),
        ("[[ingest]]\nname = \"\"\nsocket = \"/x\"\ntopics = [\"a\"]", 6, "`ingest.name`: must not be empty"),
        ("[[ingest]]\nname = \"a\\tb\"\nsocket = \"/x\"\ntopics = [\"a\"]", 6, "must not hold control characters"),
        ("[[ingest]]\nsocket = \"/x\"\ntopics = [\"a\"]", 5, "`ingest.name`: is missing"),
        ("[status]\ngroup = \"gatewier\"", 6, "there is no group \"gatewier\" on this machine"),
        (
            &format!("[status]\nsocket = \"/{}\"", "s".repeat(107)),
            6,
            "is 108 bytes long, a socket's path may have at most 107",
        ),
        ("publish = [5]\n[log]", 5, "`connection.publish`: unknown key"),
        ("[publish]\nname = \"p\"", 5, "`publish`: there may be several; write its header `[[publish]]`"),
        ("[outbox]\nmax_size = \"lots\"", 6, "isn't a size such as \"512 KiB\""),
        ("[log]\nlevel = \"loud\"", 6, "isn't one of \"error\", \"warn\", \"info\", \"debug\""),
        ("[tls\nca_file = 1", 5, "the closing `]` of the section's name is missing; write `[tls]`"),
    ] {
        let found = errors(rest);
        let expected = format!("gatewire.toml:{line}: ");
        assert!(found.iter().any(|error| error.starts_with(&expected) && error.contains(text)), "{rest}\n{found:#?}");
    }
}

#[test]
fn a_retained_birth_that_no_will_replaces_is_doubted() {
    let warnings = |will: &str| {
        let birth = "birth = { topic = \"link\", payload = \"up\", retain = true }\n";
        load(&format!("{CONNECTION}{birth}{will}"), &[]).unwrap().1
    };
    for will in [
        "",
        "will = { topic = \"link\", payload = \"x\" }\n",
        "will = { topic = \"l\", payload = \"x\", retain = true }\n",
    ] {
        let said = warnings(will);
        assert!(
            said.len() == 1 && said[0].contains("`connection.birth`: is retained, and nothing replaces it"),
            "{said:?}"
        );
    }
    assert_eq!(warnings("will = { topic = \"link\", payload = \"x\", retain = true }\n"), [""; 0]);
}

#[test]
fn an_error_in_a_birth_says_what_is_wrong() {
    let long = "x".repeat(131_073);
    for (birth, text) in [
        (
            "\"up\"",
            "`connection.birth`: must be a table, such as { topic = \"gateways/{{client_id}}/link\", payload = \"up\" }",
        ),
        ("{ topic = \"t\" }", "`connection.birth.payload`: is missing; it is written like `payload = \"up\"`"),
        ("{ topic = \"a/#\", payload = \"x\" }", "`connection.birth.topic`: \"a/#\" can't be published to: `#`"),
        ("{ topic = \"t\", payload = \"x\", qos = 2 }", "`connection.birth.qos`: IoT Core has no QoS 2"),
        ("{ topic = \"t\", payload = \"{{timestamp}}\" }", "with each publication, which a birth can't"),
        (
            "{ topic = \"$aws/things/x/shadow/update\", payload = \"x\", retain = true }",
            "`connection.birth.retain`: IoT Core retains nothing under `$aws/`",
        ),
        ("{ topic = \"t\", payload = \"x\", every = \"1m\" }", "`connection.birth.every`: unknown key"),
        (
            &format!("{{ topic = \"t\", payload = \"{long}\" }}"),
            "`connection.birth.payload`: may get 131073 bytes long, IoT Core takes at most 131072",
        ),
    ] {
        let found = errors(&format!("birth = {birth}\n"));
        assert!(found.iter().any(|error| error.contains(text)), "{birth}\n{found:#?}");
    }
}

#[test]
fn an_error_in_a_will_says_what_is_wrong() {
    let long = "x".repeat(65_536);
    for (will, text) in [
        ("\"lost\"", "`connection.will`: must be a table"),
        ("{ topic = \"t\" }", "`connection.will.payload`: is missing; it is written like `payload = \"lost\"`"),
        ("{ payload = \"x\" }", "`connection.will.topic`: is missing"),
        ("{ topic = \"a/+\", payload = \"x\" }", "`connection.will.topic`: \"a/+\" can't be published to: `+`"),
        ("{ topic = \"$aws/things/x/shadow/update\", payload = \"x\" }", "IoT Core ignores a will under `$`"),
        ("{ topic = \"t\", payload = \"x\", qos = 2 }", "`connection.will.qos`: IoT Core has no QoS 2"),
        (
            "{ topic = \"t\", payload = \"{{count}}\" }",
            "holds a placeholder that changes with each publication, which a will can't",
        ),
        (
            "{ topic = \"t\", payload = { at = \"{{timestamp}}\" } }",
            "`connection.will.payload`: holds a placeholder that changes",
        ),
        ("{ topic = \"t\", payload = \"x\", delay = \"1m\" }", "`connection.will.delay`: unknown key"),
        (
            &format!("{{ topic = \"t\", payload = \"{long}\" }}"),
            "is 65536 bytes long, MQTT takes at most 65535 in a will",
        ),
    ] {
        let found = errors(&format!("will = {will}\n"));
        assert!(found.len() == 1 && found[0].starts_with("gatewire.toml:5: ") && found[0].contains(text), "{found:#?}");
    }
}

#[test]
fn a_client_id_that_iot_core_refuses_is_refused_here() {
    let long = "x".repeat(129);
    for (client_id, text) in [
        ("", "must not be empty"),
        ("$gateway", "must not begin with `$`, which IoT Core keeps for itself"),
        ("a\\u0000", "has NUL (U+0000) as character 2"),
        ("a\\nb", "has a line feed (U+000A) as character 2"),
        ("a\\uFFFF", "has a code point that is no character (U+FFFF) as character 2"),
        (long.as_str(), "is 129 bytes long, IoT Core takes at most 128"),
        ("{{hostnam}}", "`{{hostnam}}` isn't known; did you mean `{{hostname}}`?"),
        ("{{count}}", "may only be used in a payload"),
    ] {
        let found = load(&CONNECTION.replace("thing-1", client_id), &[]).unwrap_err();
        assert!(found.len() == 1 && found[0].starts_with("gatewire.toml:3: `connection.client_id`: "), "{found:#?}");
        assert!(found[0].contains(text), "{found:#?}");
    }
}

/// A topic of one gateway would become one of all gateways.
#[test]
fn a_wildcard_in_a_name_that_is_filled_in_is_an_error_even_where_it_fits() {
    let ingest = |name: &str| format!("[[ingest]]\nname = \"p\"\nsocket = \"/x\"\ntopics = [\"g/{{{{{name}}}}}/#\"]\n");
    for id in ["+", "#", "a+b"] {
        let found = load(&(CONNECTION.replace("thing-1", id) + &ingest("client_id")), &[]).unwrap_err();
        let said = "gatewire.toml:3: `connection.client_id`: ";
        assert!(found.len() == 1 && found[0].starts_with(said) && found[0].contains("a wildcard"), "{found:#?}");
    }
    for hostname in ["+", "#", "a+b"] {
        let directory = files((CONNECTION.to_owned() + &ingest("hostname")).as_bytes(), &[]);
        let environment = Environment { hostname: hostname.to_owned(), ..environment() };
        let found = read(&directory.path().join("gatewire.toml"), &environment).unwrap_err().to_string();
        assert!(
            found.contains(&format!("`ingest.topics`: {{{{hostname}}}} is \"{hostname}\" on this machine")),
            "{found}"
        );
    }
}

#[test]
fn an_endpoint_copied_from_somewhere_is_explained() {
    for (endpoint, text) in [
        ("https://a.amazonaws.com", "must not begin with \"https://\""),
        ("a.amazonaws.com:8883", "write `endpoint = \"a.amazonaws.com\"` and `port = 8883`"),
        ("a.amazonaws.com/", "must not end with \"/\"; write `endpoint = \"a.amazonaws.com\"`"),
        ("a.amazonaws.com/x", "must not hold '/'"),
        ("a.am\u{430}zonaws.com", "must not hold 'а' (U+0430), which isn't one of the letters a to z"),
        ("YOUR_ENDPOINT", "is still the placeholder."),
        ("<endpoint>", "is still the placeholder."),
        ("endpoint-ats.iot.eu-west-1.amazonaws.com", "is still the placeholder."),
        ("", "must not be empty; it is only the host name"),
        ("mqtts://a.amazonaws.com:8883", "must not begin with \"mqtts://\""),
        (":8883", "must not hold ':'"),
        ("a.amazonaws.com ", "has a blank at one end; write"),
        ("[::1]", "write `endpoint = \"::1\"`"),
        ("[::1]:443", "write `endpoint = \"::1\"` and `port = 443`"),
        ("a..b", "is neither a host name nor an IP address"),
        ("1.2.3", "is neither a host name nor an IP address"),
        (
            "xxxxxxxxxxxxxx-ats.iot.eu-west-1.amazonaws.com",
            "is still the placeholder. Your account's endpoint is shown by",
        ),
    ] {
        let found = load(&CONNECTION.replace("localhost", endpoint), &[]).unwrap_err();
        assert!(found.len() == 1 && found[0].starts_with("gatewire.toml:2: ") && found[0].contains(text), "{found:#?}");
    }
    for endpoint in ["127.0.0.1", "::1", "a1b2-ats.iot.eu-west-1.amazonaws.com"] {
        assert!(load(&CONNECTION.replace("localhost", endpoint), &[]).is_ok(), "{endpoint}");
    }
}

#[test]
fn an_endpoint_whose_certificate_is_not_amazons_is_a_warning() {
    let warnings = |endpoint: &str| load(&CONNECTION.replace("localhost", endpoint), &[]).unwrap().1;
    let found = warnings("a1b2.iot.eu-west-1.amazonaws.com");
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("gatewire.toml:2: warning: `connection.endpoint`: \"a1b2\" doesn't end with \"-ats\"")
    );
    for endpoint in [
        "a1b2-ats.iot.eu-west-1.amazonaws.com",
        "a1b2.ats.iot.cn-north-1.amazonaws.com.cn",
        "vpce-1.data.iot.eu-west-1.vpce.amazonaws.com",
        "a1b2.iot.example",
        "mqtt.example",
    ] {
        assert_eq!(warnings(endpoint), [""; 0], "{endpoint}");
    }
}

#[test]
fn files_that_cannot_be_read_are_explained() {
    let said = |path: &Path| read(path, &environment()).unwrap_err().to_string();
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gatewire.toml");
    assert!(said(&path).contains("there is no such file. The package installs /etc/gatewire/gatewire.toml"));
    assert!(said(directory.path()).contains("it is a directory"));
    assert!(said(Path::new("/etc/passwd/gatewire.toml")).contains("a part of the path is a file"));
    assert!(said(Path::new("/dev/zero")).contains("it is a device, not a regular file"));
    fs::File::create(&path).unwrap().set_len((16 << 20) + 1).unwrap();
    assert!(said(&path).contains("it is larger than 16 MiB"));
    fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(said(&path).contains("this file is UTF-16"));
}

#[test]
fn what_of_conf_d_is_not_read_is_named() {
    let files = [
        ("10-site.conf", "[connection]\n"),
        ("20.toml", "[log]\nlevel = \"warn\"\n"),
        ("20.toml~", "x"),
        (".30.toml", "x"),
        ("40.toml.dpkg-old", "x"),
        ("README", "x"),
    ];
    let (config, warnings) = load(CONNECTION, &files).unwrap();
    assert_eq!(config.log.level, log::LevelFilter::Warn);
    assert_eq!(
        warnings,
        [
            "conf.d/.30.toml: warning: isn't read: its name begins with a dot, so it is a hidden file",
            "conf.d/10-site.conf: warning: isn't read; only files whose names end in .toml are",
            "conf.d/20.toml~: warning: isn't read; only files whose names end in .toml are",
            "conf.d/40.toml.dpkg-old: warning: isn't read; only files whose names end in .toml are",
        ]
    );
}

#[test]
fn a_file_of_conf_d_that_cannot_be_read_is_explained() {
    let directory = files(CONNECTION.as_bytes(), &[("a.toml", b"")]);
    let link = directory.path().join("conf.d/b.toml");
    std::os::unix::fs::symlink("/nowhere/x.toml", &link).unwrap();
    fs::create_dir(directory.path().join("conf.d/c.toml")).unwrap();
    let said = read(&directory.path().join("gatewire.toml"), &environment()).unwrap_err().to_string();
    assert!(said.contains("conf.d/b.toml: it is a link to a file that isn't there; correct the link"), "{said}");
    fs::remove_dir_all(directory.path().join("conf.d")).unwrap();
    std::os::unix::fs::symlink("/nowhere/conf.d", directory.path().join("conf.d")).unwrap();
    let lost = read(&directory.path().join("gatewire.toml"), &environment()).unwrap_err().to_string();
    assert!(lost.contains("conf.d: it is a link to a directory that isn't there; correct the link"), "{lost}");
    assert!(said.contains("conf.d/c.toml: it is a directory; give it a name that doesn't end in .toml"), "{said}");
    let said = read(directory.path(), &environment()).unwrap_err().to_string();
    let file = directory.path().join("gatewire.toml");
    assert!(said.contains(&format!("name the file in it with `--config {}`", file.display())), "{said}");
}

#[test]
fn a_wrong_type_or_header_is_told_without_what_follows_from_it() {
    let forward = "[[forward]]\nname = \"f\"\nfilters = [\"a\"]\nsocket = \"/x\"\n";
    for (drop_in, expected) in [
        ("connection = \"localhost\"\n", "conf.d/a.toml:1: `connection`: must be a table, [connection], not a string"),
        ("[[connection]]\nport = 443\n", "conf.d/a.toml:1: `connection`: there is only one; write its header"),
        (
            "[forward]\nname = \"x\"\n",
            "conf.d/a.toml:1: `forward`: there may be several; write its header `[[forward]]`",
        ),
        ("forward = \"x\"\n", "conf.d/a.toml:1: `forward`: there may be several; write its header `[[forward]]`"),
        ("tls = \"/etc/certs\"\n", "conf.d/a.toml:1: `tls`: must be a table, [tls], not a string"),
    ] {
        let found = load(&format!("{CONNECTION}{forward}"), &[("a.toml", drop_in)]).unwrap_err();
        assert!(found.len() == 1 && found[0].starts_with(expected), "{drop_in}: {found:#?}");
    }
}
