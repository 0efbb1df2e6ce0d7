//! Rules that send round what comes to them.

use proptest::prelude::*;

use super::*;

#[test]
fn loops_are_refused_with_the_rules_that_make_them() {
    let found = errors(&format!(
        "{HOUSE}[[bridge.up]]\nfrom = \"x/#\"\nstrip = \"x/\"\nto = \"g/\"\n[[bridge.down]]\nfrom = \"g/set/#\"\nstrip = \"g/\"\nto = \"x/\"\n"
    ));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(
        found[0].starts_with(
            "gatewire.toml:13: `bridge.down.from`: a message would go round for ever: \"x/#\" goes up (gatewire.toml:9), then \"g/set/#\" \
             goes down (gatewire.toml:13), and so on"
        ),
        "{found:#?}"
    );
    assert!(found[0].ends_with("Write `except = [\"x/set/#\"]` below the `from` at gatewire.toml:9, so that what comes down stays here; or give it topics of its own, by another `from` or `to`"), "{found:#?}");
    let both = errors(&format!("{HOUSE}[[bridge.up]]\nfrom = \"x/#\"\n[[bridge.down]]\nfrom = \"x/#\"\n"));
    assert!(
        both.len() == 1 && both[0].contains("Give what comes down topics of its own, such as `from ="),
        "{both:#?}"
    );
    // The advice works as it is printed.
    assert_eq!(
        warnings(
            "[[bridge.up]]\nfrom = \"x/#\"\nexcept = [\"x/set/#\"]\nstrip = \"x/\"\nto = \"g/\"\n[[bridge.down]]\nfrom = \"g/set/#\"\nstrip = \"g/\"\nto = \"x/\"\n"
        ),
        [""; 0]
    );
    // The states that commands cause go up: that is one way only.
    assert_eq!(
        warnings(
            "[[bridge.up]]\nfrom = \"x/#\"\nto = \"g/\"\n[[bridge.down]]\nfrom = \"set/#\"\nstrip = \"set/\"\nto = \"x/\"\n"
        ),
        [""; 0]
    );
    assert_eq!(
        warnings("[[bridge.up]]\nfrom = \"x/#\"\nexcept = [\"x/+/set\"]\n[[bridge.down]]\nfrom = \"x/+/set\"\n"),
        [""; 0]
    );
    let two = "[[bridge]]\nname = \"a\"\nbroker = \"a:1883\"\n[[bridge.up]]\nfrom = \"a/#\"\nto = \"p/\"\n[[bridge.down]]\nfrom = \"q/#\"\nto = \"a/\"\n\
               [[bridge]]\nname = \"b\"\nbroker = \"b:1883\"\n[[bridge.up]]\nfrom = \"b/#\"\nto = \"q/\"\n[[bridge.down]]\nfrom = \"p/#\"\nto = \"b/\"\n";
    let found = errors(two);
    assert!(found.len() == 1 && found[0].contains("goes up of \"a\" (gatewire.toml:9), then"), "{found:#?}");
}

#[test]
fn echoes_are_a_warning_where_there_is_no_no_local() {
    let rules = "[[bridge.up]]\nfrom = \"x/#\"\nto = \"g/\"\n[[bridge.down]]\nfrom = \"set/#\"\nstrip = \"set/\"\nto = \"x/\"\n";
    let found = warnings(&format!("protocol = \"3.1.1\"\nstatus_topic = \"x/link\"\n{rules}"));
    assert!(
        found.len() == 2
            && found
                .iter()
                .all(|found| found.starts_with("gatewire.toml:11: warning: `bridge.up.from`: with `protocol")),
        "{found:#?}"
    );
    assert!(found.iter().any(|found| found.contains("on \"x/#\" goes up again, as an echo")), "{found:#?}");
    assert!(found.iter().any(|found| found.contains("except = [\"x/link\"]")), "{found:#?}");
    assert_eq!(warnings(rules), [""; 0]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn a_bridge_is_read_as_it_is_written_unless_a_message_would_go_round(rules in crate::mapping::testing::any_bridge()) {
        let ways = crate::mapping::testing::ways(&rules);
        let mut text = HOUSE.to_owned();
        for (header, rules) in [("up", &ways.up), ("down", &ways.down)] {
            for rule in rules {
                let except: Vec<String> = rule.except.iter().map(|filter| format!("{filter:?}")).collect();
                let except = if header == "up" { format!("except = [{}]\n", except.join(", ")) } else { String::new() };
                text.push_str(&format!("[[bridge.{header}]]\nfrom = {:?}\nstrip = {:?}\nto = {:?}\n{except}", rule.from, rule.strip, rule.to));
            }
        }
        let is_known = |found: &String| {
            ["go round for ever", "begins with `$`", "begin with `$`", "nothing is left", "isn't a topic", "is missing", "which is for the broker itself", "slashes that IoT Core"]
                .iter()
                .any(|known| found.contains(known))
        };
        match load(&format!("{CONNECTION}{text}"), &[]) {
            Ok((config, _)) => {
                let read = config.bridge[0].ways();
                let shown = |ways: &crate::mapping::Ways<'_>| format!("{ways:?}");
                prop_assert_eq!(shown(&read), shown(&ways));
                prop_assert!(crate::mapping::loops::loops(&[ways]).is_empty());
            }
            Err(errors) => prop_assert!(errors.iter().all(is_known), "{text}{errors:#?}"),
        }
    }
}
