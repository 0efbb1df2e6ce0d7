//! Configurations that nobody wrote: valid ones are understood, no text brings the reader down.

use std::fmt::Debug;

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// `key = value` and what becomes of it.
type Pair<T> = (String, T);

fn pair<T: Clone + Debug + 'static>(key: &str, values: &[(&str, T)]) -> impl Strategy<Value = Pair<T>> + use<T> {
    let pairs: Vec<Pair<T>> = values.iter().map(|(text, value)| (format!("{key} = {text}\n"), value.clone())).collect();
    select(pairs)
}

/// A duration as people may write it, of whole seconds within the bounds.
fn seconds(key: &'static str, from: u64, to: u64) -> impl Strategy<Value = Pair<Duration>> {
    (from..=to, any::<bool>()).prop_map(move |(n, split)| {
        let text = if split { format!("{}h {}m {}s", n / 3600, n % 3600 / 60, n % 60) } else { format!("{n}s") };
        (format!("{key} = \"{text}\"\n"), Duration::from_secs(n))
    })
}

fn names() -> impl Strategy<Value = Vec<String>> {
    btree_set("[a-z][a-zA-Z0-9 äß_-]{0,10}", 0..4).prop_map(|names| names.into_iter().collect())
}

/// One to seven levels, as in `a/b/c`.
fn topic() -> impl Strategy<Value = String> {
    vec("[a-zA-Z0-9_ ü-]{1,8}", 1..=7).prop_map(|levels| levels.join("/"))
}

fn filter() -> impl Strategy<Value = String> {
    (topic(), select(vec!["", "/+", "/#"])).prop_map(|(topic, end)| topic + end)
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[\\[\\]a-z_=\"{}0-9.,\n# ]{0,300}") {
        let _ = load(&text, &[]);
        let _ = load(&format!("{CONNECTION}{text}"), &[]);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(main in vec(any::<u8>(), 0..200), drop_in in any::<String>()) {
        let _ = load_bytes(&main, &[("a.toml", drop_in.as_bytes())]);
    }

    #[test]
    fn each_complaint_is_one_line_that_begins_with_its_place(
        line in 1..60_usize,
        damage in "[\\[\\]a-z_=\"{}0-9.,\\\\ \u{0}-\u{1f}äß]{0,40}",
    ) {
        let mut lines: Vec<&str> = include_str!("../../../config/gatewire.toml").lines().filter(|line| !line.starts_with('#')).collect();
        let at = line % lines.len();
        lines[at] = &damage;
        for error in load(&lines.join("\n"), &[]).err().unwrap_or_default() {
            let number = error.strip_prefix("gatewire.toml:").and_then(|rest| rest.split_once(": ")).map(|(number, _)| number);
            let number = number.and_then(|number| number.parse::<usize>().ok());
            prop_assert!(number.is_some_and(|number| number >= 1 && number <= lines.len() + damage.len()), "{}", error);
        }
    }

    #[test]
    fn a_valid_connection_is_understood(
        keep_alive in seconds("keep_alive", 30, 1200),
        session_expiry in option::of(seconds("session_expiry", 0, 7 * 24 * 3600)),
        ack_timeout in seconds("ack_timeout", 1, 600),
        port in 1..=u16::MAX,
        // Without x: `xxxx`, which examples have in the place of names, is warned of.
        client_id in "[a-wyzA-WYZ0-9:_-]{1,128}",
        level in pair("level", &[("\"warn\"", log::LevelFilter::Warn), ("\"debug\"", log::LevelFilter::Debug)]),
        size in 1..=10_000_u64,
    ) {
        let session_expiry = session_expiry.unwrap_or((String::new(), Duration::from_secs(3600)));
        let text = format!(
            "{}port = {port}\n{}{}{}[log]\n{}[outbox]\nmax_size = \"{size} MiB\"\n",
            CONNECTION.replace("thing-1", &client_id), keep_alive.0, session_expiry.0, ack_timeout.0, level.0
        );
        let (config, warnings) = load(&text, &[]).unwrap();
        prop_assert!(warnings.is_empty());
        let connection = config.connection;
        prop_assert_eq!((connection.port, connection.client_id), (port, client_id));
        prop_assert_eq!((connection.keep_alive, connection.session_expiry),
            (KeepAlive::Fixed(keep_alive.1), session_expiry.1));
        prop_assert_eq!((connection.ack_timeout, config.log.level), (ack_timeout.1, level.1));
        prop_assert_eq!(config.outbox.max_size, size << 20);
    }

    #[test]
    fn valid_tables_are_understood_however_they_are_spread_over_files(
        names in names(),
        topic in topic(),
        filters in vec(filter(), 1..5),
        every in seconds("every", 1, 100_000),
        qos in pair("qos", &[("0", Qos::AtMostOnce), ("1", Qos::AtLeastOnce)]),
        mode in 0..=0o777_u32,
        split in any::<prop::sample::Index>(),
    ) {
        let quoted = filters.iter().map(|filter| format!("{filter:?}")).collect::<Vec<_>>().join(", ");
        let table = |i: usize, name: &String| {
            format!(
                "[[publish]]\nname = \"{name}\"\ntopic = \"{topic}\"\n{}payload = [1]\n{}\
                 [[forward]]\nname = \"{name}\"\nfilters = [{quoted}]\nsocket = \"/f{i}\"\nmode = \"{mode:04o}\"\n\
                 [[ingest]]\nname = \"{name}\"\ntopics = [{quoted}]\nsocket = \"/i{i}\"\n",
                every.0, qos.0
            )
        };
        let tables: Vec<String> = names.iter().enumerate().map(|(i, name)| table(i, name)).collect();
        let (here, there) = tables.split_at(split.index(tables.len() + 1));
        let (config, _) = load(&format!("{CONNECTION}{}", here.concat()), &[("a.toml", &there.concat())]).unwrap();
        let known = |names: Vec<&String>| names.into_iter().cloned().collect::<Vec<_>>();
        prop_assert_eq!(&known(config.publish.iter().map(|publish| &publish.name).collect()), &names);
        prop_assert_eq!(&known(config.forward.iter().map(|forward| &forward.name).collect()), &names);
        prop_assert_eq!(&known(config.ingest.iter().map(|ingest| &ingest.name).collect()), &names);
        for publish in &config.publish {
            prop_assert_eq!((publish.topic.as_str(), &publish.when, publish.qos), (topic.as_str(), &When::Every(every.1), qos.1));
        }
        for forward in &config.forward {
            prop_assert_eq!(forward.filters.iter().map(TopicFilter::as_str).collect::<Vec<_>>(), filters.clone());
            prop_assert_eq!(forward.socket.mode, mode);
        }
    }
}
