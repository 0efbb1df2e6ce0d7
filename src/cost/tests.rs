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
    row_on("gateways/thing-1/t", keys, reads, false)
}

fn row_on(topic: &str, keys: &str, reads: Reads, by_alias: bool) -> Row {
    let text = format!("[[publish]]\nname = \"p\"\ntopic = \"{topic}\"\n{keys}\n");
    let written = Written { protocol: Protocol::Mqtt5, by_alias };
    Row::publish(&config(&text).publish[0], &reads, written, FROM.parse().unwrap())
}

/// The lines for a whole configuration, whose publications read nothing.
fn lines(rest: &str) -> Vec<String> {
    let config = config(rest);
    let publish: Vec<_> = config.publish.iter().map(|publish| (publish.clone(), Reads::Nothing)).collect();
    Cost::new(&config, &publish, FROM.parse().unwrap()).lines()
}

fn schedule(name: &str, topic: &str, keys: &str) -> String {
    format!("[[publish]]\nname = \"{name}\"\ntopic = \"{topic}\"\n{keys}\n")
}

/// Messages, units and bytes sent and received.
fn numbers(keys: &str, reads: Reads) -> (u64, u64, u64, u64) {
    let row = row(keys, reads);
    let Traffic { units, sent, received, .. } = row.traffic.unwrap();
    (row.messages, units, sent, received)
}

fn file(len: usize) -> Reads {
    Reads::Value(SourceValue::text("x".repeat(len).into_bytes()))
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
    assert_eq!(messages("every = \"366d\""), 1);
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
    assert_eq!(
        said("every = \"365d\"\npayload = \"x\"", Reads::Nothing),
        "p: at most 1 message, 1 unit of 5 KB, 48 bytes sent, 26 bytes received"
    );
    let batch = format!("{command}\nbatch = {{ max = 2 }}");
    assert_eq!(said(&batch, Reads::Unknown("why")), "p: at most 730 messages, bytes unknown: why");
    assert_eq!(
        said("every = \"1h\"\nfile = \"/nowhere\"\non_change = true", file(1)),
        "p: at most 730 messages, 730 units of 5 KB, 35.0 kB sent, 19.0 kB received"
    );
    assert!(said("every = \"1h\"\nfile = \"/nowhere\"", file(0)).ends_with("bytes unknown: its file is empty"));
    let field = said("every = \"1h\"\nfile = \"/nowhere\"\npayload = \"{{value.t}}\"", file(3));
    assert!(field.ends_with("bytes unknown: its payload can't be made of what its file holds now"), "{field}");
}

#[test]
fn with_aliases_a_topic_is_counted_once_and_then_its_number() {
    let keys = "every = \"1m\"\npayload = \"on\"";
    let sent = |by_alias| row_on("gateways/thing-1/t", keys, Reads::Nothing, by_alias).traffic.unwrap().sent;
    assert_eq!(sent(false), 43_800 * 49);
    // 3 of alias for 18 of topic; AWS meters the topic all the same.
    assert_eq!(sent(true), 43_800 * (49 + 3 - 18) + 18);
    let topics = |n: usize, head: &str| {
        let publish: String = (0..n).map(|n| schedule(&format!("p{n}"), &format!("t/{n}"), keys)).collect();
        lines(&format!("{head}\n{publish}"))
    };
    let said = |lines: Vec<String>| lines.iter().find(|line| line.starts_with("topic_alias")).cloned();
    assert_eq!(
        said(topics(8, "topic_alias = true")).unwrap(),
        "topic_alias: each topic counted once in full, as IoT Core takes 8 aliases a connection"
    );
    assert_eq!(
        said(topics(9, "topic_alias = true")).unwrap(),
        "topic_alias: not counted, as there are more topics than the 8 aliases that IoT Core takes"
    );
    assert_eq!(said(topics(1, "")), None);
    assert_eq!(said(topics(1, "topic_alias = true\nprotocol = \"3.1.1\"")), None);
}

#[test]
fn what_is_packed_is_counted_as_it_differs_from_one_publication_to_the_next() {
    let batch = "batch = { max = 50, within = \"1h\", encoding = \"gzip\" }";
    let payload = |payload: &str| row(&format!("every = \"1m\"\n{payload}\n{batch}"), Reads::Nothing);
    let sent = |row: &Row| row.traffic.unwrap().sent / row.messages;
    let same = payload("payload = { t = \"2026-01-01T00:00:00.000Z\", n = 43800 }");
    let each = payload("payload = { t = \"{{timestamp}}\", n = \"{{count}}\" }");
    assert_eq!((same.messages, each.messages), (876, 876));
    // 19 of the content type, beside what a message without a payload has.
    let least = 47 + 19;
    assert!((least + 40..least + 110).contains(&sent(&same)), "{}", sent(&same));
    assert!((least + 220..least + 600).contains(&sent(&each)), "{}", sent(&each));
    assert!(!same.is_at_least && !each.is_at_least);
    let of_file = row(&format!("every = \"1m\"\nfile = \"/nowhere\"\n{batch}"), file(100));
    assert!(of_file.to_string().starts_with("p: 876 messages, at least 876 units of 5 KB, "), "{of_file}");
    let moved = row(&format!("every = \"1m\"\nfile = \"/nowhere\"\non_change = true\n{batch}"), file(100));
    assert!(
        moved.to_string().ends_with("bytes unknown: how well gzip packs its values depends on how they change"),
        "{moved}"
    );
}

#[test]
fn basic_ingest_has_no_units_and_is_named() {
    let rule = row_on("$aws/rules/store/t", "every = \"1h\"\npayload = \"on\"", Reads::Nothing, false);
    assert_eq!(
        rule.to_string(),
        "p: 730 messages by Basic Ingest (no messaging charge), 35.8 kB sent, 19.0 kB received"
    );
    let keys = "every = \"1h\"\npayload = \"on\"";
    let both = schedule("a", "$aws/rules/store/t", keys) + &schedule("b", "t", keys);
    let sum = "in a month, connected for all of its 43,800 minutes: 730 messages, besides 730 by Basic Ingest, 730 units of 5 KB, ";
    assert!(lines(&both)[0].starts_with(sum), "{}", lines(&both)[0]);
}

#[test]
fn schedules_that_rate_limit_does_not_let_through_are_told_with_its_key() {
    let beyond = |head: &str, keys: &[&str]| {
        let publish: String = keys.iter().enumerate().map(|(n, keys)| schedule(&format!("p{n}"), "t", keys)).collect();
        let config = config(&format!("{head}\n{publish}"));
        let publish: Vec<_> = config.publish.iter().map(|publish| (publish.clone(), Reads::Nothing)).collect();
        Cost::new(&config, &publish, FROM.parse().unwrap()).beyond(&config.connection.rate_limit)
    };
    let hundred = "every = \"10ms\"\npayload = \"x\"";
    assert_eq!(beyond("", &[hundred]), [""; 0]);
    assert_eq!(
        beyond("", &[hundred, hundred]),
        [
            "`connection.rate_limit.messages_per_second`: schedules publish 200 messages a second, and 100 are let through: the outbox \
          fills up. Publish less often, or use `batch`; a higher limit is of use only where the server takes more (IoT Core takes \
          100 a second from a connection)"
        ]
    );
    let batch = "every = \"10ms\"\npayload = \"x\"\nbatch = { within = \"1s\" }";
    assert_eq!(beyond("", &[hundred, batch])[0].split(" messages").next().unwrap().rsplit(' ').next(), Some("102"));
    // What may be fewer isn't held against anybody.
    let maybe = "every = \"10ms\"\ncommand = [\"true\"]\non_change = true";
    assert_eq!(beyond("", &[hundred, maybe]), [""; 0]);
    let large = format!("every = \"100ms\"\npayload = \"{}\"", "x".repeat(100_000));
    let said = beyond("", &[&large]);
    assert!(
        said[0].starts_with(
            "`connection.rate_limit.bytes_per_second`: schedules publish 1.0 MB a second, and 524.3 kB are"
        ),
        "{said:?}"
    );
}

#[test]
fn the_sum_says_what_it_leaves_out() {
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
            "in a month, connected for all of its 43,800 minutes: at least 1,460 messages, 730 units of 5 KB, 548.2 kB sent, \
             544.6 kB received, and what isn't counted (below); AWS's prices differ by region",
            "a: 730 messages, 730 units of 5 KB, 22.6 kB sent, 19.0 kB received",
            "b: 730 messages, bytes unknown: why",
            "keep alive: at most 525.6 kB sent, 525.6 kB received",
            "not counted, as it isn't known: units and bytes of b",
            "not counted, as it depends on others: ingest i, jobs",
        ]
    );
    assert!(lines("")[0].contains(" minutes: 1.1 MB sent, "), "{}", lines("")[0]);
    let first = |keys: &str| lines(&schedule("a", "t", keys)).remove(0);
    assert!(first("every = \"1h\"\npayload = \"x\"").contains(" minutes: 730 messages, "));
    assert!(first("every = \"365d\"\npayload = \"x\"").contains(" minutes: at most 1 message, "));
}

#[test]
fn a_budget_is_compared_to_what_is_known() {
    let cost = |month: &str| {
        let config = config(&format!("keep_alive = \"2m\"\n[meter]\nbudget = {{ month = \"{month}\" }}\n"));
        Cost::new(&config, &[], FROM.parse().unwrap())
    };
    // Pings alone: 525.6 kB each way.
    assert!(cost("2 MB").lines().contains(&"1.1 MB of the month's budget of 2.0 MB, 52 %".to_owned()));
    assert_eq!(cost("2 MB").excess(), None);
    let excess = cost("1 MB").excess().unwrap();
    assert!(excess.starts_with("the month's budget of 1.0 MB isn't enough: 1.1 MB are known"), "{excess}");
}

#[test]
fn what_the_budget_holds_for_longer_than_it_may_wait_is_told() {
    let said = |then: &str, max_age: &str| {
        let text =
            format!("[meter]\nbudget = {{ month = \"2 MB\", then = \"{then}\" }}\n[outbox]\nmax_age = \"{max_age}\"\n");
        lines(&text).into_iter().find(|line| line.starts_with("past the budget"))
    };
    assert_eq!(
        said("urgent-only", "7d").unwrap(),
        "past the budget what isn't urgent waits for the next month, and is dropped after [outbox] max_age (7d)"
    );
    assert_eq!([said("warn", "7d"), said("urgent-only", "32d")], [None, None]);
}
