use std::fs;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::config::{self, Config, Environment};

const CONNECTION: &str = "[connection]\nendpoint = \"localhost\"\nclient_id = \"thing-1\"\n";

fn translated(text: &str) -> Translation {
    let main = Path::new("mosquitto.conf");
    translate(main, &lines(main, text.as_bytes()))
}

/// What `gatewire check` makes of it.
fn read(toml: &str) -> Config {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("gatewire.toml");
    fs::write(&path, format!("{CONNECTION}{toml}")).unwrap();
    let loaded = config::read(&path, &Environment::of_process());
    loaded.unwrap_or_else(|errors| panic!("{errors}\n{toml}")).config
}

fn problems(text: &str) -> Vec<String> {
    translated(text).problems.iter().map(|problem| format!("{}: {}", problem.line, problem.text)).collect()
}

/// As AWS's own description of such a bridge has it.
const OF_AWS: &str = "listener 1883 0.0.0.0\nallow_anonymous true\nconnection awsiot\naddress a1-ats.iot.eu-west-1.amazonaws.com:8883\n\
                      topic awsiot_to_localgateway in 1\ntopic localgateway_to_awsiot out 1\ntopic both_directions both 1\n\
                      bridge_protocol_version mqttv311\nbridge_insecure false\ncleansession true\nclientid bridgeawsiot\n\
                      start_type automatic\nnotifications false\nlog_type all\n\
                      bridge_cafile /etc/mosquitto/certs/rootCA.pem\nbridge_certfile /etc/mosquitto/certs/cert.crt\n\
                      bridge_keyfile /etc/mosquitto/certs/private.key\n";

#[test]
fn the_bridge_of_the_tutorials_is_translated_but_for_what_goes_round() {
    let found = translated(OF_AWS);
    let [problem] = &found.problems[..] else { panic!("{:#?}", found.problems) };
    assert_eq!(problem.line, 7);
    assert!(
        problem.text.contains("`both`: what comes from IoT Core on \"both_directions\" would go up again"),
        "{problem:?}"
    );
    let config = read(&found.toml);
    let bridge = &config.bridge[0];
    assert_eq!((bridge.name.as_str(), bridge.broker.to_string().as_str()), ("awsiot", "127.0.0.1:1883"));
    assert_eq!(
        bridge.up.iter().map(|up| up.from.as_str()).collect::<Vec<_>>(),
        ["localgateway_to_awsiot", "both_directions"]
    );
    assert_eq!(bridge.down.iter().map(|down| down.from.as_str()).collect::<Vec<_>>(), ["awsiot_to_localgateway"]);
    for line in [
        "#   endpoint = \"a1-ats.iot.eu-west-1.amazonaws.com\"",
        "#   client_id = \"bridgeawsiot\"",
        "#   ca_file = \"/etc/mosquitto/certs/rootCA.pem\"",
        "#   key_file = \"/etc/mosquitto/certs/private.key\"",
    ] {
        assert!(found.toml.lines().any(|found| found == line), "no {line} in\n{}", found.toml);
    }
}

#[test]
fn prefixes_become_strip_and_to_in_both_directions() {
    let found = translated(
        "connection house\naddress a1-ats.iot.eu-west-1.amazonaws.com\nbridge_outgoing_retain false\n\
         topic # out 1 zigbee2mqtt/ gateways/gw/z2m/\ntopic + in 1 zigbee2mqtt/ gateways/gw/set/\ntopic \"\" out 0 door gateways/gw/door\n\
         topic state out 2 \"\" gateways/gw/\n",
    );
    assert_eq!(found.problems, []);
    let bridge = &read(&found.toml).bridge[0];
    let up: Vec<_> =
        bridge.up.iter().map(|up| (up.from.as_str(), up.strip.as_str(), up.to.as_str(), up.retain)).collect();
    assert_eq!(
        up,
        [
            ("zigbee2mqtt/#", "zigbee2mqtt/", "gateways/gw/z2m/", false),
            ("door", "door", "gateways/gw/door", false),
            ("state", "", "gateways/gw/", false)
        ]
    );
    let down = &bridge.down[0];
    assert_eq!(
        (down.from.as_str(), down.strip.as_str(), down.to.as_str()),
        ("gateways/gw/set/+", "gateways/gw/set/", "zigbee2mqtt/")
    );
}

#[test]
fn what_comes_down_is_left_out_of_what_goes_up_where_it_would_go_round() {
    let found = translated(
        "connection house\naddress a1-ats.iot.eu-west-1.amazonaws.com\ntopic zigbee2mqtt/# out 1\ntopic zigbee2mqtt/+/set in 1\n\
         topic zigbee2mqtt/+/get in 1\n",
    );
    assert_eq!(found.problems, []);
    let bridge = &read(&found.toml).bridge[0];
    let except: Vec<&str> = bridge.up[0].except.iter().map(|filter| filter.as_str()).collect();
    assert_eq!(
        (except, bridge.down.len(), bridge.up[0].retain),
        (vec!["zigbee2mqtt/+/set", "zigbee2mqtt/+/get"], 2, true)
    );
}

#[test]
fn no_password_is_repeated() {
    let text = "connection house\naddress a1-ats.iot.eu-west-1.amazonaws.com\ntopic a out\nlocal_username gw\nlocal_password hunter2\n\
                remote_username u\nremote_password hunter2\npassword hunter2\n";
    let found = translated(text);
    assert!(!format!("{found:?}").contains("hunter2"), "{found:#?}");
    let login = read(&found.toml).bridge[0].login.clone().unwrap();
    assert_eq!((login.username.as_str(), login.password_file.is_some()), ("gw", true));
    assert_eq!(found.problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [6, 7, 8]);
}

#[test]
fn what_cannot_be_translated_is_named_with_its_line() {
    let bridge = "connection house\naddress a1-ats.iot.eu-west-1.amazonaws.com\ntopic a out\n";
    for (line, expected) in [
        ("address other.example", "2: \"other.example\" isn't an endpoint of IoT Core"),
        ("addresses a-ats.iot.eu-west-1.amazonaws.com b:1", "2: gatewire has one endpoint"),
        ("topic b sideways", "4: \"sideways\" isn't a direction"),
        ("topic b out 3", "4: the QoS after the direction must be 0, 1 or 2"),
        ("topic 1/2/3/4/5/6/7/8/9 out", "4: IoT Core accepts none of the topics"),
        ("topic a out 1 \"\" other/", "4: \"a\" is already taken by line 3"),
        ("topic $SYS/# out", "4: IoT Core accepts none of the topics"),
        ("topic a#b in", "4: \"a#b\" isn't a topic filter"),
        ("bridge_insecure true", "4: `bridge_insecure true` isn't translated"),
        ("bridge_psk 1234", "4: `bridge_psk` isn't translated: gatewire has no equivalent"),
        ("start_type lazy", "4: `start_type lazy` isn't translated"),
        ("round_robin true", "4: `round_robin true` isn't translated"),
        ("keepalive_interval 5", "4: `keepalive_interval 5` becomes 30"),
        ("notification_topic $SYS/x", "4: `notification_topic` below `$`"),
        ("frobnicate yes", "4: gatewire doesn't know `frobnicate`"),
        ("allow_anonymous false", "4: mosquitto lets nobody in without a user"),
    ] {
        let text = match line.starts_with("address") {
            true => format!("connection house\n{line}\ntopic a out\n"),
            false => format!("{bridge}{line}\n"),
        };
        let found = problems(&text);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{line}: {found:#?}");
        read(&translated(&text).toml);
    }
    let found = problems("frobnicate\nlistener 1883\n");
    assert!(found[0].starts_with("0: there is no `connection` in it or in the files that it includes"), "{found:?}");
    for (topics, what) in [("", "has no"), ("topic a/# sideways\n", "is left with no")] {
        let text = format!("connection aws\naddress a1-ats.iot.eu-west-1.amazonaws.com:8883\n{topics}");
        let expected = format!("1: the connection \"aws\" {what} `topic` that gatewire can carry");
        assert!(problems(&text).iter().any(|problem| problem.starts_with(&expected)), "{:?}", problems(&text));
        assert_eq!(translated(&text).toml, "", "`gatewire check` would refuse a bridge without rules");
    }
    assert!(
        problems("try_private false\nconnection a\n")[0]
            .starts_with("1: `try_private` stands above the first `connection`")
    );
}

#[test]
fn what_is_for_the_link_or_needs_nothing_is_no_problem() {
    let found = translated(
        "connection house\naddress a1-ats.iot.eu-west-1.amazonaws.com:443\ntopic a out\nremote_clientid gw\nkeepalive_interval 60\n\
         restart_timeout 5 60\ntry_private true\nbridge_attempt_unsubscribe false\nbridge_max_packet_size 1000\nround_robin false\n\
         bridge_protocol_version mqttv50\ncleansession false\nbridge_tls_version tlsv1.2\nbridge_alpn x-amzn-mqtt-ca\n\
         notification_topic house/bridge\nmax_queued_messages 100\npersistence true\nplugin_opt_x 5\nlocal_clientid house\n",
    );
    assert_eq!(found.problems, []);
    let bridge = &read(&found.toml).bridge[0];
    assert_eq!((bridge.client_id.as_str(), bridge.status_topic.as_ref().unwrap().as_str()), ("house", "house/bridge"));
    for line in [
        "#   port = 443",
        "#   client_id = \"gw\"",
        "#   keep_alive = \"60s\"",
        "#   backoff = { min = \"5s\", max = \"60s\" }",
    ] {
        assert!(found.toml.lines().any(|found| found == line), "no {line} in\n{}", found.toml);
    }
    let silent = translated(
        "connection house\naddress a1-ats.iot.eu-west-1.amazonaws.com\ntopic a out\nnotifications false\nnotification_topic x\n",
    );
    assert_eq!(read(&silent.toml).bridge[0].status_topic, None);
}

#[test]
fn the_broker_is_where_mosquitto_listens() {
    let broker = |text: &str| {
        let found =
            translated(&format!("{text}connection h\naddress a1-ats.iot.eu-west-1.amazonaws.com\ntopic a out\n"));
        (read(&found.toml).bridge[0].broker.to_string(), read(&found.toml).bridge[0].tls.is_some())
    };
    for (text, expected, has_tls) in [
        ("", "127.0.0.1:1883", false),
        ("port 1884\n", "127.0.0.1:1884", false),
        ("bind_address 192.168.1.5\n", "192.168.1.5:1883", false),
        ("listener 1885 ::\n", "[::1]:1885", false),
        ("listener 8883\ncertfile /c\nlistener 1886 127.0.0.1\n", "127.0.0.1:1886", false),
        ("listener 8883\ncertfile /c\nkeyfile /k\nrequire_certificate true\n", "127.0.0.1:8883", true),
        ("listener 0 /run/mosquitto/mqtt.sock\n", "unix:/run/mosquitto/mqtt.sock", false),
        ("listener 9001\nprotocol websockets\nlistener 1887\n", "127.0.0.1:1887", false),
    ] {
        assert_eq!(broker(text), (expected.to_owned(), has_tls), "{text}");
    }
}

#[test]
fn two_connections_do_not_take_each_others_place() {
    let one =
        |name: &str, topic: &str| format!("connection {name}\naddress a1-ats.iot.eu-west-1.amazonaws.com\n{topic}\n");
    let found = translated(&format!("{}{}", one("a", "topic x/# out"), one("b", "topic x/+/set in")));
    let config = read(&found.toml);
    assert_eq!((config.bridge.len(), config.bridge[0].up[0].except.len()), (2, 1));
    assert_ne!(config.bridge[0].client_id, config.bridge[1].client_id);
    let found = translated(&format!("{}{}", one("a", "topic x out"), one("a", "topic y out")));
    assert_eq!(read(&found.toml).bridge[1].name, "a-2");
}

fn any_line() -> impl Strategy<Value = String> {
    let options = "connection address addresses topic topic topic topic listener port bind_address protocol certfile allow_anonymous clientid \
                   local_clientid local_username local_password notification_topic notifications restart_timeout keepalive_interval \
                   cleansession bridge_cafile bridge_session_expiry_interval round_robin start_type frobnicate #";
    let options: Vec<&str> = options.split_whitespace().collect();
    let word = select(vec![
        "a",
        "a/#",
        "+/b",
        "#",
        "a/+/set",
        "in",
        "out",
        "both",
        "0",
        "1",
        "2",
        "\"\"",
        "\"",
        "a/",
        "b/",
        "$SYS/#",
        "$aws/rules/r/",
        "a//",
        "true",
        "false",
        "h:1883",
        "x.amazonaws.com",
        "1883",
        "{{",
        "}}",
        "{{x}}",
        "\\",
        "/run/s",
        "é",
        "\u{202e}",
        "\u{7}",
        "\t",
        "1/2/3/4/5/6/7/8",
        "websockets",
        "99999999999999999999",
    ]);
    (select(options), prop::collection::vec(word, 0..6))
        .prop_map(|(option, words)| format!("{option} {}", words.join(" ")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let main = Path::new("mosquitto.conf");
        read(&translate(main, &lines(main, &bytes)).toml);
    }

    #[test]
    fn what_is_printed_can_be_read(text in prop::collection::vec(any_line(), 0..14)) {
        let found = translated(&format!("connection first\n{}", text.join("\n")));
        let config = read(&found.toml);
        prop_assert!(found.problems.is_empty() || found.problems.iter().all(|problem| !problem.text.is_empty()));
        // A topic that has no problem is there.
        let is_wrong = |number: usize| found.problems.iter().any(|problem| problem.line == number);
        let topics = text.iter().zip(2..).filter(|(line, number)| line.starts_with("topic ") && !is_wrong(*number)).count();
        prop_assert!(topics == 0 || !config.bridge.is_empty(), "{}", found.toml);
    }
}
