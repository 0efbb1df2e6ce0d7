//! `[meter]`.

use super::*;

const URGENT: &str = "[[publish]]\nname = \"alarm\"\ntopic = \"t\"\nevery = \"1h\"\npayload = \"x\"\nurgent = true\n";

fn read(text: &str) -> (Option<Meter>, Vec<String>) {
    let (config, warnings) = load(&format!("{CONNECTION}[meter]\n{text}"), &[]).unwrap();
    (config.meter, warnings)
}

#[test]
fn without_the_section_nothing_is_counted_and_without_a_budget_nothing_is_said() {
    assert_eq!(load(CONNECTION, &[]).unwrap().0.meter, None);
    assert_eq!(read(""), (Some(Meter { budget: None }), Vec::new()));
}

#[test]
fn a_budget_is_a_size_and_what_happens_past_it() {
    let budget = |month, warn_at, then| (Some(Meter { budget: Some(Budget { month, warn_at, then }) }), Vec::new());
    assert_eq!(read("budget = { month = \"50 MB\" }\n"), budget(50_000_000, 80, Then::Warn));
    let text = format!("budget = {{ month = \"1 GiB\", warn_at = 100, then = \"urgent-only\" }}\n{URGENT}");
    assert_eq!(read(&text), budget(1 << 30, 100, Then::UrgentOnly));
}

#[test]
fn a_budget_that_would_stop_everything_is_warned_of() {
    let (_, warnings) = read("budget = { month = \"50 MB\", then = \"urgent-only\" }\n");
    assert!(warnings.len() == 1 && warnings[0].contains("nothing here is urgent"), "{warnings:?}");
    let (_, warnings) = read(&with_ingest("urgent-only", "urgent = false"));
    assert!(warnings.len() == 1 && warnings[0].contains("nothing here is urgent"), "{warnings:?}");
}

#[test]
fn a_budget_that_any_program_may_pass_is_warned_of_unless_that_is_written() {
    let (_, warnings) = read(&with_ingest("urgent-only", ""));
    assert!(
        warnings.len() == 1 && warnings[0].contains("[[ingest]] i may say") && warnings[0].contains("`urgent = false`"),
        "{warnings:?}"
    );
    assert_eq!(read(&with_ingest("urgent-only", "urgent = true")).1, [""; 0]);
    assert_eq!(read(&with_ingest("warn", "")).1, [""; 0]);
    assert_eq!(read(&format!("{}{URGENT}", with_ingest("urgent-only", "urgent = false"))).1, [""; 0]);
}

fn with_ingest(then: &str, keys: &str) -> String {
    let ingest = "[[ingest]]\nname = \"i\"\nsocket = \"/run/gatewire/i.sock\"\ntopics = [\"t\"]\n";
    format!("budget = {{ month = \"50 MB\", then = \"{then}\" }}\n{ingest}{keys}\n")
}

#[test]
fn what_is_wrong_is_told_with_what_to_write() {
    for (text, said) in [
        ("budget = { warn_at = 80 }", "`meter.budget.month`: is missing; it is written like `month = \"50 MB\"`"),
        ("budget = { month = \"0 MB\" }", "\"0 MB\" is out of range, it must be from \"1 KiB\" to \"1024 GiB\""),
        ("budget = { month = \"50 mb\" }", "\"50 mb\" isn't a size; write \"50 MB\""),
        ("budget = { month = \"50 gIb\" }", "\"50 gIb\" isn't a size; write \"50 GiB\""),
        ("budget = { month = \"99999999999999 TB\" }", "is out of range, it must be from \"1 KiB\" to \"1024 GiB\""),
        (
            "budget = { month = \"50 megs\" }",
            "isn't a size; its units are B, KiB, MiB and GiB (or kB, MB and GB), as in \"16 MiB\"",
        ),
        ("budget = { month = 50 }", "must be a size with its unit in quotes"),
        ("budget = { month = \"50 MB\", warn_at = 0 }", "0 is out of range, it must be from 1 to 100"),
        ("budget = { month = \"50 MB\", warn_at = 101 }", "101 is out of range, it must be from 1 to 100"),
        ("budget = { month = \"50 MB\", then = \"urgent\" }", "did you mean \"urgent-only\"?"),
        ("budget = { month = \"50 MB\", then = \"stop\" }", "\"stop\" isn't one of \"warn\", \"urgent-only\""),
        ("budget = \"50 MB\"", "`meter.budget`: must be a table, such as { month = \"50 MB\" }"),
        ("month = \"50 MB\"", "it belongs to `budget`: write `budget = { month = ... }`"),
    ] {
        let found = load(&format!("{CONNECTION}[meter]\n{text}\n"), &[]).unwrap_err();
        assert!(found.len() == 1 && found[0].contains(said) && found[0].contains(":6: "), "{text}: {found:#?}");
    }
}
