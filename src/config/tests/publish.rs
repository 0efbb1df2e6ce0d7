//! What the reader makes of `[[publish]]`.

use super::*;

/// With a cron pattern, which is on line 8.
fn scheduled(cron: &str, rest: &str) -> String {
    format!("[[publish]]\nname = \"p\"\ntopic = \"t\"\ncron = {cron}\npayload = \"x\"\n{rest}\n")
}

fn read_one(rest: &str) -> Publish {
    load(&format!("{CONNECTION}{rest}"), &[]).unwrap().0.publish.remove(0)
}

#[test]
fn an_error_in_a_publication_says_what_is_wrong() {
    for (rest, text) in [
        ("qos = 2", "`publish.qos`: IoT Core has no QoS 2; use 1"),
        ("jitter = \"1s\"", "must be shorter than `every`"),
        ("count = 0", "0 is out of range"),
        ("cron = \"* * * * *\"", "`publish.cron`: excludes `every`; leave one of them out"),
        ("timezone = \"UTC\"", "`publish.timezone`: is for `cron`, which isn't there"),
        ("file = \"/x\"", "`publish.file`: not supported yet"),
        ("command = [\"x\"]", "`publish.command`: not supported yet"),
        ("metrics = [\"cpu\"]", "`publish.metrics`: not supported yet"),
        ("on_change = true", "`publish.on_change`: not supported yet"),
        ("batch = { max = 50 }", "`publish.batch`: not supported yet"),
        ("qos = 3", "`publish.qos`: must be 0 or 1, not 3"),
        ("qos = \"1\"", "`publish.qos`: must be 0 or 1, not a string"),
        ("min_change = 1", "`publish.min_change`: not supported yet"),
        ("timeout = \"10s\"", "`publish.timeout`: not supported yet"),
        ("retain = 1", "must be true or false"),
        ("topik = 1", "did you mean `topic`?"),
    ] {
        let found = errors(&publish(rest));
        assert!(
            found.len() == 1 && found[0].starts_with("gatewire.toml:10: ") && found[0].contains(text),
            "{found:#?}"
        );
    }
    for (payload, text) in [
        ("\"{{cuont}}\"", "did you mean `{{count}}`?"),
        ("{ v = \"{{value}}\" }", "`{{value}}` is not supported yet"),
        ("{ v = inf }", "JSON has no number inf"),
        ("[1, [nan]]", "JSON has no number NaN"),
        ("{ v = 9223372036854775808 }", "an integer may have at most 64 bits"),
        ("{ \"{{cuont}}\" = 1 }", "did you mean `{{count}}`?"),
        ("\"{{count\"", "without `}}`"),
        ("5", "must be a string, a table or an array, not an integer"),
        (&format!("\"{}\"", "x".repeat(131_073)), "may get 131073 bytes long"),
    ] {
        let found = errors(&publish("").replace("\"x\"", payload));
        assert!(found.len() == 1 && found[0].starts_with("gatewire.toml:9: ") && found[0].contains(text), "{found:#?}");
    }
}

#[test]
fn every_part_of_a_payload_is_complained_about_where_it_stands() {
    let found = errors(
        "[[publish]]\nname = \"p\"\ntopic = \"t\"\nevery = \"1s\"\n[publish.payload]\nok = \"{{count}}\"\n\
         a = \"{{cuont}}\"\nb = [1, nan]\nc = 0xffffffffffffffffff\n",
    );
    assert_eq!(
        found,
        [
            "gatewire.toml:11: `publish.payload`: `{{cuont}}` isn't known; did you mean `{{count}}`?",
            "gatewire.toml:12: `publish.payload`: JSON has no number NaN; write it as a string",
            "gatewire.toml:13: `publish.payload`: an integer may have at most 64 bits; write it as a string",
        ]
    );
}

#[test]
fn nothing_under_aws_can_be_retained() {
    let found = errors(&publish("retain = true").replace("\"t\"", "\"$aws/rules/r\""));
    assert_eq!(found, ["gatewire.toml:10: `publish.retain`: IoT Core retains nothing under `$aws/`; leave it out"]);
}

#[test]
fn a_pattern_says_when_in_its_time_zone() {
    let found = read_one(&scheduled("\"*/5 3 * * *\"", "timezone = \"Europe/Berlin\""));
    assert_eq!(found.when.to_string(), "cron `*/5 3 * * *` (Europe/Berlin)");
    assert!(!found.at_start, "a start is no time of the pattern");
    let found = read_one(&scheduled("\"*/10 * * * * *\"", "at_start = true\njitter = \"5s\""));
    assert!(found.at_start && matches!(found.when, When::Cron(_)));
    assert!(read_one(&publish("")).at_start);
    assert_eq!(read_one(&publish("")).when.to_string(), "every 1s");
}

#[test]
fn a_wrong_pattern_or_zone_is_explained() {
    for (cron, rest, line, text) in [
        ("5", "", 8, "`publish.cron`: must be a string in quotes, not an integer"),
        ("\"* * * *\"", "", 8, "isn't a cron pattern such as \"*/5 * * * *\": it has 4 fields"),
        ("\"0 0 30 2 *\"", "", 8, "there is no such day"),
        ("\"0 3 * * *\"", "timezone = \"Europe/Berlim\"", 10, "did you mean \"Europe/Berlin\"?"),
        ("\"0 3 * * *\"", "timezone = \"+01\"", 10, "there is no time zone \"+01\"; they are written like"),
        ("\"0 3 * * *\"", "timezone = 1", 10, "`publish.timezone`: must be a string"),
    ] {
        let found = errors(&scheduled(cron, rest));
        let place = format!("gatewire.toml:{line}: ");
        assert!(found.len() == 1 && found[0].starts_with(&place) && found[0].contains(text), "{found:#?}");
    }
    // Both at once.
    assert_eq!(errors(&scheduled("\"* *\"", "timezone = \"Nowhere\"")).len(), 2);
}
