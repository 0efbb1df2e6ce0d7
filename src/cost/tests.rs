use std::fs;

use tempfile::TempDir;

use super::*;
use crate::config::{Config, Environment};

const FROM: &str = "2026-01-01T00:00:00Z";

fn config(rest: &str) -> Config {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gatewire.toml");
    fs::write(&path, format!("[connection]\nendpoint = \"localhost\"\nclient_id = \"g\"\n{rest}")).unwrap();
    config::read(&path, &Environment::of_service()).unwrap().config
}

fn row(keys: &str, reads: Reads) -> Row {
    let text = format!("[[publish]]\nname = \"p\"\ntopic = \"gateways/thing-1/t\"\n{keys}\n");
    Row::publish(&config(&text).publish[0], &reads, Protocol::Mqtt5, FROM.parse().unwrap())
}

/// Messages, units and bytes sent and received.
fn numbers(keys: &str, reads: Reads) -> (u64, u64, u64, u64) {
    let row = row(keys, reads);
    let Traffic { units, sent, received } = row.traffic.unwrap();
    (row.messages, units, sent, received)
}

fn file(len: usize) -> Reads {
    Reads::Value(Value::text("x".repeat(len).into_bytes()))
}

#[test]
fn each_byte_of_a_publication_is_counted() {
    // 1 + 1 + 2 + 18 of topic + 2 of identifier + 1 of properties + 2, and 22 of TLS; PUBACK 4, and 22.
    assert_eq!(numbers("every = \"1m\"\npayload = \"on\"", Reads::Nothing), (43_800, 43_800, 43_800 * 49, 43_800 * 26));
    // QoS 0 has neither identifier nor PUBACK.
    assert_eq!(numbers("every = \"1m\"\nqos = 0\npayload = \"on\"", Reads::Nothing), (43_800, 43_800, 43_800 * 47, 0));
    // `{"n":43800}`: the count as it is at the end of the month. A timestamp has 24 bytes.
    assert_eq!(numbers("every = \"1m\"\npayload = { n = \"{{count}}\" }", Reads::Nothing).2, 43_800 * (47 + 11));
    assert_eq!(numbers("every = \"1m\"\npayload = \"{{timestamp}}\"", Reads::Nothing).2, 43_800 * (47 + 24));
}

#[test]
fn schedules_are_counted_over_a_month() {
    let messages = |keys: &str| row(&format!("{keys}\npayload = \"x\""), Reads::Nothing).messages;
    assert_eq!(messages("every = \"90s\"\njitter = \"80s\""), 29_200);
    assert_eq!(messages("every = \"30s\"\ncount = 5"), 5);
    assert_eq!(messages("every = \"366d\""), 0);
    assert_eq!(messages("cron = \"0 3 * * *\""), 30);
    assert_eq!(messages("cron = \"*/5 * * * *\""), 8760);
    assert_eq!(messages("cron = \"0 8-17 * * 1-5\""), 218);
}

#[test]
fn units_are_of_5_kib_of_topic_and_payload_and_twice_for_what_is_retained() {
    let units = |keys: &str, len| numbers(&format!("every = \"1h\"\nfile = \"/nowhere\"\n{keys}"), file(len)).1;
    assert_eq!([units("", 5102), units("", 5103), units("", 131_072)], [730, 1460, 730 * 26]);
    assert_eq!(units("retain = true", 5103), 2920);
}

#[test]
fn a_file_counts_as_it_is_now_and_in_its_payload() {
    let keys = "every = \"1h\"\nfile = \"/nowhere\"";
    assert_eq!(numbers(keys, file(100)).2, 730 * 147);
    // `{"t":"xxx"}`
    assert_eq!(numbers(&format!("{keys}\npayload = {{ t = \"{{{{value}}}}\" }}"), file(3)).2, 730 * (47 + 11));
    // More than a record of TLS.
    assert_eq!(numbers(keys, file(40_000)).2, 730 * (40_000 + 27 + 3 * 22));
}

#[test]
fn a_batch_is_one_message() {
    let keys = |batch: &str| format!("every = \"1s\"\npayload = \"21.5\"\nbatch = {{ {batch} }}");
    let month = MONTH.as_secs();
    // `[21.5,21.5,21.5]`: those that are due before the first has waited for 3 s.
    assert_eq!(numbers(&keys("within = \"3s\""), Reads::Nothing).0, month / 3);
    assert_eq!(numbers(&keys("within = \"3s\""), Reads::Nothing).2, month / 3 * (47 + 16));
    assert_eq!(
        numbers(&keys("max = 2, within = \"1m\""), Reads::Nothing),
        (month / 2, month / 2, month / 2 * (47 + 11), month / 2 * 26)
    );
    assert_eq!(numbers(&keys("within = \"500ms\""), Reads::Nothing).0, month);
    let cron = "cron = \"0-9 * * * *\"\npayload = \"1\"\nbatch = { within = \"15m\" }";
    assert_eq!(numbers(cron, Reads::Nothing).0, 730, "ten a batch");
    // No more than IoT Core takes as one message.
    let large = "every = \"1s\"\nfile = \"/nowhere\"\nbatch = { max = 1000, within = \"1h\" }";
    assert_eq!(numbers(large, file(40_000)).0, month.div_ceil(3));
}

#[test]
fn what_is_not_known_is_said() {
    let said = |keys: &str, reads| row(keys, reads).to_string();
    let command = "every = \"1h\"\ncommand = [\"true\"]";
    assert_eq!(said(command, Reads::Unknown("why")), "p: 730 messages, bytes unknown: why");
    let batch = format!("{command}\nbatch = {{ max = 2 }}");
    assert_eq!(said(&batch, Reads::Unknown("why")), "p: at most 730 messages, bytes unknown: why");
    assert_eq!(
        said("every = \"1h\"\nfile = \"/nowhere\"\non_change = true", file(1)),
        "p: at most 730 messages, 730 units of 5 KB, 35.0 kB sent, 19.0 kB received"
    );
    assert!(said("every = \"1h\"\nfile = \"/nowhere\"", file(0)).ends_with("bytes unknown: its file is empty"));
    let field = said("every = \"1h\"\nfile = \"/nowhere\"\npayload = \"{{value.t}}\"", file(3));
    assert!(field.ends_with("bytes unknown: what its file holds doesn't go into its payload"), "{field}");
}

#[test]
fn everything_is_summed_up() {
    let config = config(
        "keep_alive = \"2m\"\n[[publish]]\nname = \"a\"\ntopic = \"t\"\nevery = \"1h\"\npayload = \"x\"\n\
         [[publish]]\nname = \"b\"\ntopic = \"t\"\nevery = \"1h\"\ncommand = [\"true\"]\n\
         [[ingest]]\nname = \"i\"\nsocket = \"/run/i.sock\"\ntopics = [\"t\"]\n[jobs]\n",
    );
    let mut publish: Vec<_> = config.publish.iter().map(|publish| (publish.clone(), Reads::Nothing)).collect();
    publish[1].1 = Reads::Unknown("why");
    assert_eq!(
        Cost::new(&config, &publish, FROM.parse().unwrap()).lines(),
        [
            "in a month, connected for all of its 43800 minutes: 1460 messages, 730 units of 5 KB, 548.2 kB sent, 544.6 kB received; \
             AWS's prices differ by region",
            "a: 730 messages, 730 units of 5 KB, 22.6 kB sent, 19.0 kB received",
            "b: 730 messages, bytes unknown: why",
            "keep alive: at most 525.6 kB sent, 525.6 kB received",
            "not counted, as it depends on others: ingest i, jobs",
        ]
    );
}
