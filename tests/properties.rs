//! The properties of MQTT 5 from a local program to another client and back, through mosquitto.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::io::Read as _;

use serde_json::json;
use support::daemon::Setup;
use support::mosquitto::Mosquitto;

const FORWARD: &str = "[[forward]]\nname = \"messages\"\nfilters = [\"test/#\"]\nsocket = \"DIR/messages.sock\"\n";
const INGEST: &str = "[[ingest]]\nname = \"publish\"\nsocket = \"DIR/publish.sock\"\ntopics = [\"up/#\"]\n";

#[test]
fn properties_travel_both_ways() {
    let broker = Mosquitto::start();
    let subscriber = broker.subscribe_with("up/#", &["-V", "5"], "%t %p %C %R %D %F %E %P");
    let gatewire = Setup::new(broker.port, &format!("{FORWARD}{INGEST}")).unspilled().connect();
    broker.wait_for("Sending SUBACK to thing-1");
    let mut client = gatewire.client("publish.sock");
    let line = r#"{"topic":"up/x","payload":"text","expires_in":"1h","properties":{"content_type":"text/plain","response_topic":"up/y","correlation_data_base64":"YWJj","payload_format_indicator":1,"user_properties":[["k","v"],["k","w"]]}}"#;
    assert_eq!(client.ask(line), json!({"result": "delivered"}));
    let seconds_left = |text: &str, before: &str, after: &str| {
        let left = text.split_once(before).and_then(|(_, rest)| rest.strip_suffix(after)).map(str::parse::<u32>);
        assert!(matches!(left, Some(Ok(3000..=3600))), "{text}");
    };
    let line = subscriber.next();
    assert!(line.starts_with("up/x text text/plain up/y abc 1 "), "{line}");
    seconds_left(&line, " abc 1 ", " k:v k:w");

    let mut reader = gatewire.client("messages.sock");
    let publish = "-V 5 -D publish content-type text/plain -D publish response-topic a/b -D publish correlation-data abc \
        -D publish user-property k v -D publish user-property k w -D publish message-expiry-interval 3600";
    broker.publish_with("test/topic", b"x", &publish.split_whitespace().collect::<Vec<_>>());
    let line = reader.line().unwrap();
    let properties = r#"Z","properties":{"content_type":"text/plain","response_topic":"a/b","correlation_data_base64":"YWJj","user_properties":[["k","v"],["k","w"]],"expires_in":"#;
    seconds_left(&line, properties, "}}");
    broker.publish("test/topic", b"none");
    assert_eq!(reader.json().get("properties"), None);
}

#[test]
fn properties_that_cannot_be_sent_are_refused_with_the_reason() {
    let broker = Mosquitto::start();
    let setup = Setup::new(broker.port, INGEST).speaking("3.1.1").unspilled();
    let gatewire = setup.connect();
    let mut client = gatewire.client("publish.sock");
    for rest in [r#""expires_in":"1h""#, r#""properties":{"content_type":"x"}"#] {
        let answer = client.ask(&format!(r#"{{"topic":"up/x","payload":1,{rest},"id":1}}"#));
        assert_eq!((&answer["error"], &answer["id"]), (&json!("bad_line"), &json!(1)));
        assert!(answer["detail"].as_str().unwrap().contains("protocol = \"5\""), "{answer}");
    }
    assert_eq!(client.ask(r#"{"topic":"up/x","payload":1}"#), json!({"result": "delivered"}));
}

/// With 3.1.1 a message can't say what it is; what it is says gzip itself.
#[test]
fn a_batch_is_packed_by_gzip_and_says_so_where_it_can() {
    for (protocol, content_type) in [("5", "application/gzip"), ("3.1.1", "")] {
        let broker = Mosquitto::start();
        let subscriber = broker.subscribe_with("up/#", &["-V", "5"], "%C %x");
        let batch = format!("{INGEST}batch = {{ max = 2, within = \"1h\", encoding = \"gzip\" }}\n");
        let gatewire = Setup::new(broker.port, &batch).speaking(protocol).unspilled().connect();
        let mut client = gatewire.client("publish.sock");
        client.send(r#"{"topic":"up/x","payload":{"celsius":21.5}}"#);
        assert_eq!(client.ask(r#"{"topic":"up/x","payload":"warm"}"#), json!({"result": "delivered"}));
        let line = subscriber.next();
        let (said, hex) = line.split_once(' ').unwrap();
        assert_eq!(said, content_type, "MQTT {protocol}");
        let bytes: Vec<u8> = hex
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        let mut array = String::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut array).unwrap();
        assert_eq!(array, r#"[{"celsius":21.5},"warm"]"#);
    }
}

#[test]
fn a_real_broker_finds_the_topics_of_numbers() {
    let broker = Mosquitto::start();
    let subscriber = broker.subscribe_with("up/#", &["-V", "5"], "%t %p");
    let gatewire = Setup::with_connection(broker.port, "topic_alias = true\n", INGEST).unspilled().connect();
    let mut client = gatewire.client("publish.sock");
    // More topics than mosquitto has numbers for (10), each of them again and again.
    for n in 0..60 {
        let line = format!("{{\"topic\":\"up/topic/{}\",\"payload\":{n}}}", n * n % 13);
        assert_eq!(client.ask(&line), json!({"result": "delivered"}));
        assert_eq!(subscriber.next(), format!("up/topic/{} {n}", n * n % 13));
    }
}
