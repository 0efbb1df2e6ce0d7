//! `[[bridge]]`: what is read, and what is said of one that is wrong.

mod loops;

use super::*;
use crate::config::Broker;

/// The lines of a bridge that is right, from line 5 on.
const HOUSE: &str = "[[bridge]]\nname = \"house\"\nbroker = \"127.0.0.1:1883\"\n";

fn bridges(rest: &str) -> (Vec<Bridge>, Vec<String>) {
    let (config, warnings) =
        load(&format!("{CONNECTION}{rest}"), &[]).unwrap_or_else(|errors| panic!("{rest}: {errors:#?}"));
    (config.bridge, warnings)
}

fn warnings(rest: &str) -> Vec<String> {
    bridges(&format!("{HOUSE}{rest}")).1
}

#[test]
fn a_bridge_is_read_with_its_placeholders_and_defaults() {
    let (bridges, warnings) = bridges(&format!(
        "{HOUSE}[[bridge.up]]\nfrom = \"zigbee2mqtt/+\"\nstrip = \"zigbee2mqtt/\"\nto = \"gateways/{{{{client_id}}}}/z2m/\"\n\
         [[bridge.down]]\nfrom = \"gateways/{{{{client_id}}}}/set/#\"\nstrip = \"gateways/{{{{client_id}}}}/set/\"\nto = \"zigbee2mqtt/\"\n"
    ));
    assert_eq!(warnings, [""; 0]);
    let [bridge] = &bridges[..] else { panic!("{bridges:?}") };
    assert_eq!(bridge.broker, Broker::Tcp { host: "127.0.0.1".to_owned(), port: 1883 });
    assert_eq!((bridge.client_id.as_str(), bridge.protocol), ("gatewire-thing-1", crate::mqtt::Protocol::Mqtt5));
    assert_eq!((&bridge.tls, &bridge.login, &bridge.status_topic), (&None, &None, &None));
    let up = &bridge.up[0];
    assert_eq!(
        (up.from.as_str(), up.strip.as_str(), up.to.as_str()),
        ("zigbee2mqtt/+", "zigbee2mqtt/", "gateways/thing-1/z2m/")
    );
    assert!(!up.urgent);
    assert_eq!((up.except.len(), up.retain, up.every, up.on_change, up.batch), (0, false, None, false, None));
    let down = &bridge.down[0];
    assert_eq!(
        (down.from.as_str(), down.strip.as_str(), down.to.as_str()),
        ("gateways/thing-1/set/#", "gateways/thing-1/set/", "zigbee2mqtt/")
    );
    assert_eq!((down.keep.messages, down.keep.bytes, down.keep.when_full), (10_000, 16 << 20, WhenFull::DropOldest));
}

#[test]
fn everything_that_a_bridge_may_have_is_read() {
    let (bridges, warnings) = bridges(
        "[[bridge]]\nname = \"house\"\nbroker = \"[::1]:8883\"\ntls = { ca_file = \"/c/ca\", cert_file = \"/c/cert\", key_file = \"/c/key\" }\n\
         username = \"gw\"\npassword_file = \"/c/password\"\nclient_id = \"{{hostname}}-{{client_id}}\"\nprotocol = \"3.1.1\"\n\
         status_topic = \"gatewire/{{client_id}}\"\n[[bridge.up]]\nfrom = \"$SYS/broker/#\"\nto = \"g/\"\nexcept = [\"$SYS/broker/load/#\"]\n\
         retain = true\nevery = \"30s\"\non_change = true\nbatch = { max = 5, within = \"1s\" }\n\
         [[bridge]]\nname = \"attic\"\nbroker = \"unix:$RUNTIME_DIRECTORY/mqtt.sock\"\n[[bridge.down]]\nfrom = \"x\"\nto = \"a/\"\n\
         keep = { messages = 1, bytes = \"1 KiB\", when_full = \"reject-new\" }\n",
    );
    assert_eq!(warnings, [""; 0]);
    let house = &bridges[0];
    assert_eq!(house.broker, Broker::Tcp { host: "::1".to_owned(), port: 8883 });
    let tls = house.tls.as_ref().unwrap();
    assert_eq!(
        (tls.ca_file.as_path(), tls.client.as_ref().unwrap().1.as_path()),
        (Path::new("/c/ca"), Path::new("/c/key"))
    );
    let login = house.login.as_ref().unwrap();
    assert_eq!((login.username.as_str(), login.password_file.as_deref()), ("gw", Some(Path::new("/c/password"))));
    assert_eq!(
        (house.client_id.as_str(), house.status_topic.as_ref().unwrap().as_str()),
        ("pi4-thing-1", "gatewire/thing-1")
    );
    let up = &house.up[0];
    assert!(
        up.retain
            && up.on_change
            && up.every == Some(Duration::from_secs(30))
            && up.batch.is_some_and(|batch| batch.max == 5)
    );
    assert_eq!(up.except[0].as_str(), "$SYS/broker/load/#");
    assert_eq!(bridges[1].broker, Broker::Unix("/run/a/mqtt.sock".into()));
    assert_eq!(bridges[1].down[0].keep, Keep { messages: 1, bytes: 1024, when_full: WhenFull::RejectNew });
}

/// Of a bridge whose rule is right, with these lines behind its name and without a broker.
fn one_error(lines: &str) -> String {
    let found = errors(&format!("[[bridge]]\nname = \"house\"\n{lines}\n[[bridge.up]]\nfrom = \"a/#\"\n"));
    assert_eq!(found.len(), 1, "{lines}: {found:#?}");
    found[0].clone()
}

#[test]
fn a_wrong_broker_is_told_with_the_right_one() {
    for (broker, expected) in [
        ("", "`bridge.broker`: must not be empty; it is written like \"127.0.0.1:1883\""),
        ("localhost", "must end with the port; write `broker = \"localhost:1883\"`"),
        ("localhost:", "must end with the port; write `broker = \"localhost:1883\"`"),
        (":1883", "must begin with the host; this machine itself is \"127.0.0.1:1883\""),
        ("mqtt://localhost:1883", "must not begin with \"mqtt://\"; write `broker = \"localhost:1883\"`"),
        ("mqtt://u:hunter2@localhost", "must not begin with \"mqtt://\"; write `broker = \"localhost:1883\"`"),
        ("mqtts://h", "write `broker = \"h:8883\"` and below it `tls = { ca_file = \"FILE\" }`"),
        ("ws://localhost:9001", "MQTT over WebSockets"),
        ("/run/mqtt.sock", "a Unix socket is written with `unix:` before its path, \"unix:/run/mqtt.sock\""),
        ("unix:mqtt.sock", "the path behind `unix:` \"mqtt.sock\" must be an absolute path"),
        ("::1:1883", "an IPv6 address must be in brackets, with the port behind them, \"[::1]:1883\""),
        ("::1", "an IPv6 address must be in brackets, with the port behind them, \"[::1]:1883\""),
        ("localhost:99999", "its port 99999 is out of range"),
        ("localhost:mqtt", "\"mqtt\" isn't a port"),
        ("a b:1883", "\"a b\" is neither a host name nor an IP address"),
        ("a1-ats.iot.eu-west-1.amazonaws.com:8883", "is an endpoint of IoT Core, which belongs into [connection]"),
        (" localhost:1883", "has a blank at one end; write `broker = \"localhost:1883\"`"),
    ] {
        let found = one_error(&format!("broker = \"{broker}\""));
        assert!(found.starts_with("gatewire.toml:7: `bridge.broker`: ") && found.contains(expected), "{found}");
        assert!(!found.contains("hunter2"), "{found}");
    }
    assert!(
        one_error("")
            .contains("gatewire.toml:5: `bridge.broker`: is missing; it is written like `broker = \"127.0.0.1:1883\"`")
    );
}

#[test]
fn what_else_is_wrong_with_a_bridge_is_told_at_its_line() {
    let broker = "broker = \"localhost:1883\"\n";
    for (line, expected) in [
        ("password_file = \"/etc/p\"", "`bridge.password_file`: needs the name that the password is for, `username`"),
        (
            "username = \"u\"\npassword_file = \"hunter2\"",
            "must name a file that holds the password, with its full path",
        ),
        ("password = \"hunter2\"", "`bridge.password`: unknown key; did you mean `password_file`?"),
        ("username = \"\"", "must not be empty; leave it out"),
        ("username = \"a\\u0007\"", "has a control character"),
        ("client_id = \"\"", "must not be empty"),
        ("client_id = \"{{count}}\"", "only be used in a payload"),
        ("protocol = \"3.1\"", "did you mean \"3.1.1\"?"),
        ("status_topic = \"a/#\"", "can't be published to: `#` is a wildcard"),
        (
            "discovery = \"hass\"",
            "`bridge.discovery`: \"hass\" isn't one of \"homeassistant\"; did you mean \"homeassistant\"?",
        ),
        ("discovery = \"openhab\"", "`bridge.discovery`: \"openhab\" isn't one of \"homeassistant\""),
        ("discovery = true", "`bridge.discovery`: must be \"homeassistant\", with the quotes"),
        ("status_topic = \"$SYS/x\"", "begins with `$`, which is for the broker itself"),
        ("tls = true", "`bridge.tls`: must be a table, such as { ca_file = \"/etc/gatewire/house-ca.pem\" }"),
        ("tls = {}", "`bridge.tls.ca_file`: is missing"),
        (
            "tls = { ca_file = \"/ca\", cert_file = \"/cert\" }",
            "`bridge.tls.cert_file`: needs the private key beside it",
        ),
        ("tls = { ca_file = \"/ca\", key_file = \"/key\" }", "`bridge.tls.key_file`: needs the certificate beside it"),
        ("host = \"x\"", "`bridge.host`: unknown key; did you mean `broker`?"),
        (
            "remote_prefix = \"x\"",
            "`bridge.remote_prefix`: unknown key; a rule has it, as `to`: write that below `[[bridge.up]]` or",
        ),
        ("topic = \"x/#\"", "`bridge.topic`: unknown key; a rule has it, as `from`: write that below"),
        ("every = \"1s\"", "`bridge.every`: unknown key; it belongs to a rule: write it below `[[bridge.up]]`"),
        ("qos = 1", "`bridge.qos`: unknown key"),
    ] {
        let found = one_error(&format!("{broker}{line}"));
        assert!(found.starts_with("gatewire.toml:") && found.contains(expected), "{line}: {found}");
        assert!(!found.contains("hunter2"), "{found}");
    }
    let found = one_error("broker = \"unix:/s\"\ntls = { ca_file = \"/ca\" }");
    assert!(found.contains("`bridge.tls`: is for a broker at HOST:PORT"), "{found}");
}

#[test]
fn a_wrong_rule_is_told_at_its_line() {
    for (rule, expected) in [
        ("[[bridge.up]]", "8: `bridge.up.from`: is missing; it is written like `from = \"zigbee2mqtt/+\"`"),
        ("[[bridge.up]]\nfrom = \"a/#/b\"", "9: `bridge.up.from`: \"a/#/b\" isn't a topic filter"),
        ("[[bridge.up]]\nfrom = [\"a\", \"b\"]", "must be one filter in quotes; write a `[[bridge.up]]` for each"),
        ("[[bridge.up]]\nfrom = [\"a\"]", "must be one string, without brackets"),
        ("[[bridge.up]]\nfrom = \"$share/g/a/#\"", "Write the filter by itself, \"a/#\""),
        ("[[bridge.up]]\nfrom = \"$SYS/#\"", "put something before it, such as `to = \"gateways/{{client_id}}/\"`"),
        (
            "[[bridge.up]]\nfrom = \"a\"\nto = \"$aws/things/x/\"",
            "10: `bridge.up.to`: \"$aws/things/x/a\" begins with `$`",
        ),
        (
            "[[bridge.up]]\nfrom = \"a/#\"\nstrip = \"b/\"",
            "\"b/\" isn't the beginning of `from`, \"a/#\", before its wildcards; write \"a/\"",
        ),
        ("[[bridge.up]]\nfrom = \"+/b\"\nstrip = \"a/\"", "`from` begins with a wildcard; leave `strip` out"),
        ("[[bridge.up]]\nfrom = \"a/#\"\nstrip = \"a/#\"", "can't hold a wildcard; write \"a/\""),
        ("[[bridge.up]]\nfrom = \"a/#\"\nto = \"g/#\"", "can't hold a wildcard; write \"g/\""),
        ("[[bridge.up]]\nfrom = \"a/b\"\nstrip = \"a/b\"", "nothing is left of \"a/b\" once `strip` is cut off"),
        ("[[bridge.up]]\nfrom = \"a/+\"\nto = \"1/2/3/4/5/6/7/\"", "more than the 7 slashes that IoT Core allows"),
        ("[[bridge.up]]\nfrom = \"a/1/2/3/4/5/6/7/8\"", "more than the 7 slashes"),
        ("[[bridge.up]]\nfrom = \"a\"\nexcept = \"b\"", "`bridge.up.except`: must be an array of filters, [\"b\"]"),
        ("[[bridge.up]]\nfrom = \"a\"\nexcept = [\"b#\"]", "isn't a topic filter"),
        ("[[bridge.up]]\nfrom = \"a\"\nevery = 5", "must be a duration with its unit in quotes, such as \"5s\""),
        (
            "[[bridge.up]]\nfrom = \"a\"\nqos = 1",
            "`bridge.up.qos`: unknown key; leave it out: a bridge carries everything with QoS 1",
        ),
        (
            "[[bridge.up]]\nfrom = \"a\"\nto = \"${client_id}/\"",
            "`bridge.up.to`: `${client_id}` isn't filled in; the placeholder is",
        ),
        (
            "from = \"a\"",
            "8: `bridge.from`: unknown key; it belongs to a rule: write it below `[[bridge.up]]` or `[[bridge.down]]`",
        ),
        ("[[up]]\nfrom = \"a\"", "8: `up`: its header is `[[bridge.up]]`, below that of its `[[bridge]]`"),
        ("[[bridge.up]]\nfrom = \"a\"\nkeep = {}", "`bridge.up.keep`: unknown key; it belongs to"),
        ("[[bridge.up]]\nfrom = \"a\"\ntopic = \"b\"", "`bridge.up.topic`: unknown key; did you mean `from`?"),
        ("[[bridge.up]]\nfrom = \"a\"\nbroker = \"b\"", "`bridge.up.broker`: unknown key; it belongs to `[[bridge]]`"),
        (
            "[[bridge.up]]\nfrom = \"a\"\nto = \"$aws/rules/r/\"\nretain = true",
            "IoT Core retains nothing under `$aws/`",
        ),
        ("[[bridge.up]]\nfrom = \"a\"\nurgent = true\nbatch = {}", "`bridge.up.urgent`: can't stand beside `batch`"),
        ("[[bridge.down]]\nfrom = \"1/2/3/4/5/6/7/8/9\"", "it has 8 slashes, IoT Core takes at most 7"),
        ("[[bridge.down]]\nfrom = \"a/#\"\nto = \"$SYS/\"", "begins with `$SYS`, which is for the broker itself"),
        ("[[bridge.down]]\nfrom = \"a\"\nretain = true", "`bridge.down.retain`: unknown key"),
        ("[bridge.up]\nfrom = \"a\"", "`bridge.up`: there may be several; write its header `[[bridge.up]]`"),
        ("up = \"a\"", "`bridge.up`: there may be several; write its header `[[bridge.up]]`"),
    ] {
        let found = errors(&format!("{HOUSE}{rule}\n"));
        assert_eq!(found.len(), 1, "{rule}: {found:#?}");
        assert!(found[0].contains(expected), "{rule}: {found:#?}");
    }
    let long = format!("{HOUSE}[[bridge.up]]\nfrom = \"a/#\"\nto = \"{}/\"\n", "x".repeat(260));
    assert!(errors(&long)[0].contains("longer than the 256 bytes that IoT Core allows"));
    let found = errors(HOUSE);
    assert!(
        found.len() == 1 && found[0].starts_with("gatewire.toml:5: `bridge.up`: is missing, and `down`, too"),
        "{found:#?}"
    );
    let found = load(
        &format!("{CONNECTION}{HOUSE}[[bridge.up]]\nfrom = \"a\"\n"),
        &[("a.toml", "[[bridge.up]]\nfrom = \"b\"\n")],
    );
    let found = found.unwrap_err();
    assert!(
        found[0].starts_with("conf.d/a.toml:1: `bridge`: `[[bridge.up]]` and `[[bridge.down]]` stand below"),
        "{found:#?}"
    );
}

#[test]
fn what_can_fit_is_no_error_and_basic_ingest_has_slashes_of_its_own() {
    for rule in [
        "from = \"a/#\"\nto = \"1/2/3/4/5/6/\"\n",
        "from = \"#\"\n",
        "from = \"1/2/3/4/5/6/7/8/9/#\"\nstrip = \"1/2/3/4/\"\n",
        "from = \"a/#\"\nstrip = \"a/\"\nto = \"$aws/rules/r/1/2/3/4/5/6/7/\"\n",
        "from = \"a/b\"\nstrip = \"a/b\"\nto = \"c\"\n",
        "from = \"a\"\nexcept = []\n",
    ] {
        assert_eq!(warnings(&format!("[[bridge.up]]\n{rule}")), [""; 0], "{rule}");
    }
}

#[test]
fn what_is_hardly_meant_is_a_warning() {
    for (rules, expected) in [
        ("[[bridge.up]]\nfrom = \"a/*\"\n", "`*` is no wildcard in MQTT"),
        (
            "[[bridge.up]]\nfrom = \"a/#\"\nexcept = [\"b/#\"]\n",
            "`bridge.up.except`: \"b/#\" has no topic in common with `from`",
        ),
        ("[[bridge.up]]\nfrom = \"a/+\"\nexcept = [\"a/#\"]\n", "\"a/#\" leaves out all of `from`, \"a/+\""),
        (
            "[[bridge.up]]\nfrom = \"a/#\"\nstrip = \"a/\"\nto = \"g\"\n",
            "topics become \"gx\" and the like; write \"g/\" unless",
        ),
        (
            "[[bridge.up]]\nfrom = \"a/#\"\nstrip = \"a\"\nto = \"g/\"\n",
            "`bridge.up.strip`: topics become \"g//x\" and the like, with an empty level; write \"a/\"",
        ),
        (
            "[[bridge.up]]\nfrom = \"a/#\"\n[[bridge.up]]\nfrom = \"a\"\n",
            "11: warning: `bridge.up.from`: nothing reaches this rule: \"a/#\" at gatewire.toml:9 comes before it",
        ),
        (
            "[[bridge.down]]\nfrom = \"a/+\"\n[[bridge.down]]\nfrom = \"a/b\"\n",
            "11: warning: `bridge.down.from`: nothing reaches this rule",
        ),
    ] {
        let found = warnings(rules);
        assert!(found.len() == 1 && found[0].contains(expected), "{rules}: {found:#?}");
    }
    let none = "[[bridge.up]]\nfrom = \"a/#\"\nexcept = [\"a/b/#\"]\n[[bridge.up]]\nfrom = \"a/b/c\"\n";
    assert_eq!(warnings(none), [""; 0]);
    let found = bridges("[[bridge]]\nname = \"h\"\nbroker = \"h:8883\"\n[[bridge.up]]\nfrom = \"a\"\n").1;
    assert!(found[0].contains("8883 is the port of MQTT over TLS"), "{found:#?}");
}

#[test]
fn two_bridges_have_names_and_client_ids_of_their_own() {
    let second = |name: &str, broker: &str, more: &str| {
        format!(
            "{HOUSE}[[bridge.up]]\nfrom = \"a\"\n[[bridge]]\nname = \"{name}\"\nbroker = \"{broker}\"\n{more}[[bridge.up]]\nfrom = \"b\"\n"
        )
    };
    let found = errors(&second("house", "h:1883", ""));
    assert_eq!(found, ["gatewire.toml:11: `bridge.name`: \"house\" is taken by the [[bridge]] at gatewire.toml:6"]);
    let found = errors(&second("attic", "localhost:1883", ""));
    assert!(
        found.len() == 1
            && found[0]
                .contains("\"gatewire-thing-1\" is also the client id of the bridge \"house\" at the same broker"),
        "{found:#?}"
    );
    assert!(bridges(&second("attic", "localhost:1883", "client_id = \"two\"\n")).1.is_empty());
    assert!(bridges(&second("attic", "localhost:1884", "")).1.is_empty());
}

#[test]
fn filters_of_bridges_count_as_subscriptions_and_are_told_where_they_overlap() {
    let down = |n: usize| format!("[[bridge.down]]\nfrom = \"t/{n}\"\nto = \"x/\"\n");
    let downs: String = (0..3).map(down).collect();
    let text = |most: usize| {
        format!(
            "{CONNECTION}max_subscriptions = {most}\n[[forward]]\nname = \"f\"\nsocket = \"/s\"\nfilters = [\"t/0\", \"u\"]\n{HOUSE}{downs}"
        )
    };
    assert!(load(&text(4), &[]).is_ok());
    let found = load(&text(3), &[]).unwrap_err();
    assert!(
        found.len() == 1
            && found[0].contains(
                "`bridge.down.from`: with those of \"house\" there are 4 filters, connection.max_subscriptions allows 3"
            ),
        "{found:#?}"
    );
    let found = warnings("[[bridge.down]]\nfrom = \"a/+/c\"\n[[bridge.down]]\nfrom = \"a/b/+\"\n");
    assert!(
        found.len() == 1
            && found[0].contains(
                "`bridge.down.from`: \"a/b/+\" of \"house\" and \"a/+/c\" of \"house\" have topics in common"
            ),
        "{found:#?}"
    );
}

#[test]
fn what_readers_may_ask_for_beside_other_filters_is_warned_of() {
    let forward =
        |name: &str, keys: &str| format!("[[forward]]\nname = \"{name}\"\nsocket = \"/run/{name}.sock\"\n{keys}\n");
    let of = |protocol: &str, one: &str, other: &str| {
        let connection = CONNECTION.replace("3.1.1", protocol);
        let text = format!("{connection}{}{}", forward("a", one), forward("b", other));
        load(&text, &[]).unwrap().1
    };
    let found = of("3.1.1", "filters = [\"x/a\"]", "qos = 0\nallow = [\"y/#\", \"x/#\"]");
    assert!(
        found.len() == 1
            && found[0].contains(
                "`forward.allow`: readers of \"b\" may ask for filters that have topics in common with \"x/a\" of \"a\": a message \
                 there may come twice, to both, as a server may send one for each of them"
            ),
        "{found:#?}"
    );
    assert_eq!(of("5", "filters = [\"x/+\"]", "allow = [\"x/#\", \"x/+\"]").len(), 1, "x/a/# beside x/+");
    // One of the two takes the other's place.
    for (one, other) in [
        ("filters = [\"x/a\"]", "allow = [\"x/#\"]"),
        ("filters = [\"x/#\"]", "qos = 0\nallow = [\"x/a/#\"]"),
        ("filters = [\"x/#\"]", "allow = [\"x/#\"]"),
        ("filters = [\"y/#\"]", "allow = [\"x/#\"]"),
    ] {
        assert_eq!(of("3.1.1", one, other), [""; 0], "{one} {other}");
    }
}

#[test]
fn what_discovery_announces_goes_up_by_no_bridge_at_the_same_broker() {
    let rules = "protocol = \"3.1.1\"\n[[bridge.up]]\nfrom = \"#\"\n";
    let other = |port| {
        format!(
            "[[bridge]]\nname = \"n{port}\"\nbroker = \"localhost:{port}\"\nclient_id = \"other\"\n[[bridge.up]]\nfrom = \"#\"\nto = \"x/\"\n"
        )
    };
    let (bridges, warnings) =
        bridges(&format!("{HOUSE}discovery = \"homeassistant\"\n{rules}{}{}", other(1883), other(1884)));
    assert_eq!(warnings, [""; 0]);
    let [house, neighbour, elsewhere] = &bridges[..] else { panic!("{bridges:?}") };
    assert_eq!(house.status_topic.as_ref().unwrap().as_str(), "gatewire/gatewire-thing-1/link");
    assert_eq!(house.announces().len(), 6);
    assert_eq!(
        (&house.announced, &neighbour.announced, &elsewhere.announced),
        (&house.announces(), &house.announces(), &vec![])
    );
    let filters: Vec<String> = house.filters().keys().map(|filter| filter.to_string()).collect();
    assert_eq!(filters, ["#", "homeassistant/status"]);
    let named = format!("{HOUSE}discovery = \"homeassistant\"\nstatus_topic = \"house/cloud\"\n{rules}");
    let (config, warnings) = load(&format!("{CONNECTION}{named}"), &[]).unwrap();
    assert_eq!((warnings.len(), config.bridge[0].status_topic.as_ref().unwrap().as_str()), (0, "house/cloud"));
    assert!(config.bridge[0].announced.iter().any(|topic| topic.as_str() == "house/cloud"));
}
