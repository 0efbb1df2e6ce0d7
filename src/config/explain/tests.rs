//! That nothing is wrong with what is TOML, and that no text brings the reader down.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;

fn faults(text: &str) -> Vec<Mistake> {
    Statements::new(text).all().0
}

#[test]
fn nothing_is_said_of_what_is_toml() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let in_directory = |name: &str| fs::read_dir(root.join(name)).unwrap().map(|entry| entry.unwrap().path());
    let files = in_directory("config")
        .chain(in_directory("docs/recipes"))
        .chain([root.join("Cargo.toml"), root.join("deny.toml")]);
    let mut checked = 0;
    for path in files.filter(|path| path.extension().is_some_and(|extension| extension == "toml")) {
        assert_eq!(faults(&fs::read_to_string(&path).unwrap()), [], "{}", path.display());
        checked += 1;
    }
    assert!(checked > 4, "{checked}");
    for text in [
        "a = 1\r\nb = \"x\" # c\r\n",
        "a = [\n  1, # one\n  2,\n]\nb.c = { d = [1], e = \"f\" }\n",
        "a = { b = 1,\n  c = 2,\n}\n",
        "a = \"\"\"x\ny\"\"\"\nb = '''\n[x]\n'''\n",
        "\"quoted key\" = 1\n'other' = 2\n[\"a b\".c]\n",
        "a = 1979-05-27T07:32:00Z\nb = 0xff\nc = 1e3\nd = inf\ne = [[1, 2], [3]]\n",
        "a = \"#\" # \"\nb = '\\'\nc = \"\\\"\"\nd = \"it's\"\n",
        "\u{feff}[a]\nb = true",
        "a = [\"b=c\", \"d:e\"]\n[[b]]\n[[b]]\n",
        "a = [\n{ b = 1 },\n{ b = 2 }\n]\n",
    ] {
        assert!(toml::de::DeTable::parse(text).is_ok(), "{text}");
        assert_eq!(faults(text), [], "{text}");
    }
}

#[test]
fn what_was_copied_along_with_a_header_is_told_from_a_command_and_a_comment() {
    for (copied, sign) in [("+", "+"), ("> ", ">"), ("$ ", "$"), ("7 ", "7"), ("12| ", "12|"), ("- ", "-")] {
        let said = explain(&format!("{copied}[connection]\n{copied}port = 8883\n"), &[]);
        let header = format!("`{sign}` isn't needed before the name of a section; write `[connection]`");
        assert!(said[0].text == header && said[1].text.contains("write `port = 8883`"), "{said:#?}");
    }
    let said = explain("$ gatewire check\n", &[]);
    assert!(said[0].text.contains("a command for a shell"), "{said:#?}");
}

#[test]
fn no_secret_is_repeated() {
    let key = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQDRx4Zk";
    for text in [
        format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n"),
        format!("key_file = -----BEGIN PRIVATE KEY-----\n{key}\n"),
        format!("{key}\n{key}==\n{key} = 5\n"),
        format!("key_file = {key}\n"),
        format!("key_file = \"{key}\n"),
        format!("key_file = “{key}”\n"),
        format!("[{key}\n"),
        format!("{key}: {key}\n"),
        format!("a = [\"x\" \"{key}\"]\n"),
        format!("proxy = http://u:{key}@p:1\nproxy = “http://u:{key}@p:1”\nproxy \"http://u:{key}@p:1\"\n"),
        "proxy = http://user:pass@p:1\nproxy: http://user:pass@p:1\nproxy = \"http://user:pass@p:1\n".to_owned(),
    ] {
        for fault in explain(&text, &[]) {
            assert!(!fault.text.contains(&key[..12]) && !fault.text.contains("pass"), "{text}\n{fault:?}");
        }
        assert!(!explain(&text, &[]).is_empty(), "{text}");
    }
}

proptest! {
    #[test]
    fn whatever_the_text_each_fault_is_on_one_of_its_lines(
        text in "[\\[\\]{}()a-z_=\"'{}0-9.,;:\\\\\n#  \u{a0}“”‘-]{0,200}",
    ) {
        let lines = text.matches('\n').count() + 1;
        for fault in explain(&text, &[]) {
            prop_assert!((1..=lines).contains(&fault.line) && fault.unknown.contains(&fault.line), "{fault:?}");
            prop_assert!(!fault.text.is_empty());
        }
    }

    #[test]
    fn no_characters_bring_it_down(text in any::<String>(), key in "[a-z]{1,8}", quote in "[\"'“‘`\\[{(]") {
        explain(&text, &[]);
        explain(&format!("{key} = {text}\n"), &[]);
        explain(&format!("{key} = {quote}{text}\n[log]\n"), &[]);
        explain(&format!("{key}{text}\n"), &[]);
        explain(&format!("[{text}\n"), &[]);
    }
}
