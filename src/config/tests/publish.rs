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
fn an_argument_that_only_a_shell_understands_is_a_warning() {
    let warnings =
        |argv: &str| load(&format!("{CONNECTION}{}", publish(&format!("command = [{argv}]"))), &[]).unwrap().1;
    for (argv, operator) in [
        (r#""cat", "/proc/uptime", "|", "cut", "-d.", "-f1""#, "|"),
        (r#""a", ">", "/tmp/b""#, ">"),
        (r#""a", ">>", "/tmp/b""#, ">>"),
        (r#""a", "<", "/tmp/b""#, "<"),
        (r#""a", "&&", "b""#, "&&"),
        (r#""a", "||", "b""#, "||"),
        (r#""a", ";", "b""#, ";"),
        (r#""a", "2>&1""#, "2>&1"),
        (r#""a", "2>/dev/null""#, ">"),
        (r#""echo", "$(date)""#, "$("),
    ] {
        let found = warnings(argv);
        let begin = format!("gatewire.toml:10: warning: `publish.command`: `{operator}` is handed to the program");
        assert!(found.len() == 1 && found[0].starts_with(&begin), "{argv}: {found:?}");
        assert!(found[0].contains(r#"["sh", "-c", "..."]"#), "{found:?}");
    }
    for argv in [
        r#""sh", "-c", "cat /proc/uptime | cut -d. -f1 > x""#,
        r#""/bin/sh", "-c", "$(x)", ">""#,
        r#""find", "/x", "-exec", "cat", "{}", ";""#,
        r#""/usr/bin/expr", "1", "|", "2""#,
        r#""grep", "a|b", "->", "x>y", "$5""#,
    ] {
        assert_eq!(warnings(argv), [""; 0], "{argv}");
    }
}

#[test]
fn a_mode_with_which_nobody_or_everybody_can_connect_is_a_warning() {
    let warnings = |section: &str, mode: &str| {
        let rest = match section {
            "status" => "[status]\nsocket = \"/s\"\n",
            "ingest" => "[[ingest]]\nname = \"i\"\ntopics = [\"a\"]\nsocket = \"/s\"\n",
            _ => "[[forward]]\nname = \"f\"\nfilters = [\"a\"]\nsocket = \"/s\"\n",
        };
        load(&format!("{CONNECTION}{rest}mode = \"{mode}\"\n"), &[]).unwrap().1
    };
    for section in ["ingest", "forward", "status"] {
        for (mode, text) in [
            ("0000", "keeps gatewire's own user from connecting"),
            ("0444", "keeps gatewire's own user from connecting"),
            ("0060", "keeps gatewire's own user from connecting"),
            ("0777", "lets every user and program of this machine connect. Write \"0660\""),
            ("0666", "lets every user and program of this machine connect. Write \"0660\""),
            ("0602", "lets every user and program of this machine connect. Write \"0660\""),
            ("0644", "lets some read who can't connect"),
            ("0640", "lets some read who can't connect"),
            ("0660", ""),
            ("0600", ""),
            ("0770", ""),
            ("0620", ""),
        ] {
            let found = warnings(section, mode);
            let is_meant = text.is_empty() || section == "status" && text.starts_with("lets every");
            let line = if section == "status" { 7 } else { 9 };
            let begin = format!("gatewire.toml:{line}: warning: `{section}.mode`: \"{mode}\" {text}");
            match is_meant {
                true => assert_eq!(found, [""; 0], "{section} {mode}"),
                false => assert!(found.len() == 1 && found[0].starts_with(&begin), "{found:?} isn't {begin}"),
            }
        }
    }
}

#[test]
fn an_error_in_a_publication_says_what_is_wrong() {
    for (rest, text) in [
        ("qos = 2", "`publish.qos`: IoT Core has no QoS 2; use 1"),
        ("jitter = \"1s\"", "must be shorter than `every`"),
        ("count = 0", "0 is out of range"),
        ("cron = \"* * * * *\"", "`publish.cron`: can't stand beside `every`; delete one of the two"),
        ("timezone = \"UTC\"", "`publish.timezone`: is for `cron`, which isn't there"),
        ("qos = 3", "`publish.qos`: must be 0 or 1, not 3"),
        ("qos = \"1\"", "`publish.qos`: must be a number without quotes, 1"),
        ("retain = 1", "must be true, not 1"),
        ("topik = 1", "did you mean `topic`?"),
        ("comand = []", "did you mean `command`?"),
        ("file = \"x\"", "`publish.file`: \"x\" must be an absolute path"),
        ("command = \"vcgencmd measure_temp\"", "no shell splits it: [\"vcgencmd\", \"measure_temp\"]"),
        ("command = []", "must hold at least one string"),
        ("command = [1]", "must be a string in quotes"),
        ("command = [\"\"]", "must begin with the name or path of a program"),
        ("command = [\"a\\u0000\"]", "must not hold a NUL character"),
        ("metrics = [\"cpu\", \"memroy\"]", "did you mean \"memory\"?"),
        ("metrics = [\"cpu\", \"cpu\"]", "\"cpu\" is given twice"),
        ("timeout = \"5s\"", "`publish.timeout`: is for `command`, which isn't there"),
        ("on_change = true", "`publish.on_change`: needs something to read: `file`, `command` or `metrics`"),
        ("min_change = 1", "`publish.min_change`: is for `on_change = true`, which isn't there"),
        ("urgent = 1", "`publish.urgent`: must be true, not 1"),
        ("urgent = true\nbatch = {}", "`publish.urgent`: can't stand beside `batch`, which holds messages back"),
        ("batch = { max = 0 }", "`publish.batch.max`: 0 is out of range, it must be from 1 to 1000"),
        ("batch = { whithin = \"1s\" }", "`publish.batch.whithin`: unknown key; did you mean `within`?"),
        ("batch = 5", "must be a table, such as { max = 50, within = \"10s\" }"),
    ] {
        let found = errors(&publish(rest));
        assert!(
            found.len() == 1 && found[0].starts_with("gatewire.toml:10: ") && found[0].contains(text),
            "{found:#?}"
        );
    }
    for (payload, text) in [
        ("\"{{cuont}}\"", "did you mean `{{count}}`?"),
        ("{ v = \"{{value}}\" }", "`{{value}}` needs something to read it from: `file`, `command` or `metrics`"),
        ("{ v = \"{{value.}}\" }", "fields are named like `{{value.temp}}`"),
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
        ("5", "", 8, "`publish.cron`: must be a string in quotes, \"5\""),
        ("\"* * * *\"", "", 8, "isn't a cron pattern such as \"*/5 * * * *\": it has 4 fields"),
        ("\"0 0 30 2 *\"", "", 8, "there is no such day"),
        ("\"0 3 * * *\"", "timezone = \"Europe/Berlim\"", 10, "did you mean \"Europe/Berlin\"?"),
        ("\"0 3 * * *\"", "timezone = \"+01\"", 10, "there is no time zone \"+01\"; they are written like"),
        ("\"0 3 * * *\"", "timezone = 1", 10, "`publish.timezone`: must be a string in quotes, \"1\""),
    ] {
        let found = errors(&scheduled(cron, rest));
        let place = format!("gatewire.toml:{line}: ");
        assert!(found.len() == 1 && found[0].starts_with(&place) && found[0].contains(text), "{found:#?}");
    }
    // Both at once.
    assert_eq!(errors(&scheduled("\"* *\"", "timezone = \"Nowhere\"")).len(), 2);
}

#[test]
fn a_source_reads_the_value_and_only_one_can() {
    let found =
        read_one(&publish("file = \"/sys/class/thermal/thermal_zone0/temp\"\non_change = true\nmin_change = 0.5"));
    assert_eq!(found.source, Some(Source::File("/sys/class/thermal/thermal_zone0/temp".into())));
    assert_eq!(found.on_change, Some(OnChange { min_change: Some(0.5) }));
    let found = read_one(&publish("command = [\"vcgencmd\", \"measure_temp\"]\nbatch = { max = 5 }"));
    let argv = vec!["vcgencmd".to_owned(), "measure_temp".to_owned()];
    assert_eq!(found.source, Some(Source::Command { argv, timeout: Duration::from_secs(10) }));
    assert!(!found.urgent && read_one(&publish("urgent = true")).urgent);
    assert_eq!(
        (found.on_change, found.batch),
        (None, Some(Batch { max: 5, within: Duration::from_secs(10), encoding: Encoding::None }))
    );
    let without = publish("metrics = [\"uptime\", \"cpu\"]\nbatch = {}").replace("payload = \"x\"\n", "");
    let found = read_one(&without);
    assert_eq!(found.source, Some(Source::Metrics(vec![Metric::Uptime, Metric::Cpu])));
    assert_eq!(found.payload, crate::template::Template::bare_value(), "the value itself");
    assert_eq!(found.batch, Some(Batch { max: 50, within: Duration::from_secs(10), encoding: Encoding::None }));
    assert_eq!(
        errors(&publish("command = [\"x\"]\nfile = \"/x\"\nmetrics = [\"cpu\"]")),
        [
            "gatewire.toml:10: `publish.command`: can't stand beside `file`; delete one of the two",
            "gatewire.toml:12: `publish.metrics`: can't stand beside `file`; delete one of the two",
        ]
    );
    // A source that is wrong is one: nothing else is said to be missing.
    let wrong = publish("file = 5\non_change = true\nmin_change = -1").replace("payload = \"x\"\n", "");
    assert_eq!(
        errors(&wrong),
        [
            "gatewire.toml:9: `publish.file`: must be a string in quotes, \"5\"",
            "gatewire.toml:11: `publish.min_change`: -1 is out of range, it must be above 0",
        ]
    );
}

#[test]
fn an_ingest_may_have_batches() {
    let ingest = "[[ingest]]\nname = \"i\"\nsocket = \"/x\"\ntopics = [\"a\"]\n";
    let text = format!("{CONNECTION}{ingest}batch = {{ max = 9, within = \"500ms\", encoding = \"gzip\" }}\n");
    let (config, _) = load(&text, &[]).unwrap();
    let expected = Batch { max: 9, within: Duration::from_millis(500), encoding: Encoding::Gzip };
    assert_eq!(config.ingest[0].batch, Some(expected));
    let found = errors(&format!("{ingest}batch = {{ encoding = \"zip\" }}\n"));
    assert!(found.len() == 1 && found[0].starts_with("gatewire.toml:9: `ingest.batch.encoding`: "), "{found:?}");
    assert_eq!(load(&format!("{CONNECTION}{ingest}"), &[]).unwrap().0.ingest[0].batch, None);
    let found = errors(&format!("{ingest}batch = {{ within = 5 }}\n"));
    assert!(found.len() == 1 && found[0].starts_with("gatewire.toml:9: `ingest.batch.within`: must be a duration"));
}

#[test]
fn the_example_of_the_documentation_is_right() {
    let text = include_str!("../../../docs/sources.md");
    let example = text.split_once("```toml\n").and_then(|(_, rest)| rest.split_once("```")).unwrap().0;
    let found = read_one(example);
    assert_eq!(found.when.to_string(), "cron `*/5 6-22 * * *` (Europe/Berlin)");
    assert!(found.payload.takes_value() && found.on_change.is_some());
}
