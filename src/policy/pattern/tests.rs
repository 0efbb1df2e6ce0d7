use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::search::TooComplex;
use super::*;

fn outside(pattern: &str, others: &[&str]) -> Option<String> {
    let others: Vec<Pattern> = others.iter().map(|other| Pattern::glob(other)).collect();
    Pattern::glob(pattern).outside(&others.iter().collect::<Vec<_>>()).unwrap()
}

#[test]
fn wildcards_match_as_policies_say() {
    for (pattern, text) in
        [("*", ""), ("a*", "a"), ("a*c", "abc/c"), ("?", "/"), ("**?", "x"), ("a/*/b", "a//b"), ("*ab", "aab")]
    {
        assert!(Pattern::glob(pattern).matches(text), "{pattern} should match {text}");
    }
    for (pattern, text) in [("", "a"), ("a?", "a"), ("a*b", "ba"), ("?", "ab"), ("A", "a")] {
        assert!(!Pattern::glob(pattern).matches(text), "{pattern} shouldn't match {text}");
    }
    assert!(!Pattern::from_iter([Piece::Run("/")]).matches("a/b"));
    assert!(!Pattern::from_iter([Piece::One("$")]).matches("$"));
}

#[test]
fn many_wildcards_in_a_row_and_side_by_side_take_no_longer_than_a_few() {
    let stars = "*".repeat(1000);
    assert_eq!(Pattern::glob(&stars), Pattern::glob("*"));
    assert_eq!(Pattern::literal("a").then(&Pattern::glob("*")).then(&Pattern::glob("**b")), Pattern::glob("a*b"));
    assert!(Pattern::glob(&stars).overlap(&Pattern::glob("a*")).is_some());
    let patterns: Vec<Pattern> = (0..64).map(|n| Pattern::glob(&format!("*{n}*"))).collect();
    assert_eq!(common_outside(&patterns.iter().collect::<Vec<_>>(), &[]), Err(TooComplex));
}

#[test]
fn containment_is_exact() {
    for (pattern, others) in [
        ("a/*/b", &["a/*"] as &[&str]),
        ("a/*", &["*"]),
        ("a*b*c", &["a*c"]),
        ("*", &["", "?*"]),
        ("*", &["", "?", "??*"]),
        ("a?", &["a*"]),
        ("?*?", &["*??", "x"]),
        ("*a*", &["*?*"]),
    ] {
        assert_eq!(outside(pattern, others), None, "{pattern} in {others:?}");
    }
    for (pattern, others, escapes) in [
        ("a*b", &["a*?b"] as &[&str], "ab"),
        ("*", &["?*"], ""),
        ("*", &["", "??*"], "z"),
        ("a/*", &["a/b*", "a/c"], "a/"),
        ("a*", &["*b", "a"], "az"),
        ("ab", &[], "ab"),
        ("*a", &["*b*a", "*ca", "a", "?a"], "zza"),
    ] {
        assert_eq!(outside(pattern, others).as_deref(), Some(escapes), "{pattern} in {others:?}");
    }
}

#[test]
fn what_two_patterns_share_is_shown() {
    let overlap = |a: &str, b: &str| Pattern::glob(a).overlap(&Pattern::glob(b));
    assert_eq!(overlap("a/*/b", "*/x/*"), Some("a/x/b".to_owned()));
    assert_eq!(overlap("a*", "*b"), Some("ab".to_owned()));
    assert_eq!(overlap("a*", "b*"), None);
    assert_eq!(overlap("??", "???*"), None);
    assert_eq!(overlap("", "*"), Some(String::new()));
    let level = Pattern::literal("a/").then(&Pattern::from_iter([Piece::Run("/")])).then(&Pattern::literal("/b"));
    assert_eq!(level.overlap(&Pattern::glob("a/?/?/b")), None);
}

#[test]
fn a_search_that_would_not_end_is_given_up() {
    let lengths: Vec<String> = (0..60).map(|n| format!("*/{}/*", "?".repeat(n))).collect();
    let lengths: Vec<Pattern> = lengths.iter().map(|text| Pattern::glob(text)).collect();
    let pattern = Pattern::glob("*/*/*/*/*/*/*/*/*");
    assert_eq!(pattern.outside(&lengths.iter().collect::<Vec<_>>()), Err(TooComplex));
}

fn piece() -> impl Strategy<Value = Piece> {
    select(vec![
        Piece::Char('a'),
        Piece::Char('b'),
        Piece::Char('/'),
        Piece::ANY_ONE,
        Piece::ANY_RUN,
        Piece::Run("/"),
        Piece::One("a/"),
    ])
}

fn pattern() -> impl Strategy<Value = Pattern> {
    vec(piece(), 0..6).prop_map(Pattern)
}

/// Every string of up to five of the characters that patterns tell apart.
fn strings() -> Vec<String> {
    let mut strings = vec![String::new()];
    let mut from = 0;
    for _ in 0..5 {
        let to = strings.len();
        for index in from..to {
            strings.extend(['a', 'b', '/', 'c'].map(|c| format!("{}{c}", strings[index])));
        }
        from = to;
    }
    strings
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn containment_agrees_with_trying_every_string(pattern in pattern(), others in vec(pattern(), 0..4)) {
        let any = |text: &str| others.iter().any(|other| other.matches(text));
        match pattern.outside(&others.iter().collect::<Vec<_>>()).unwrap() {
            Some(escapes) => prop_assert!(pattern.matches(&escapes) && !any(&escapes), "{escapes:?}"),
            None => {
                for text in strings() {
                    prop_assert!(!pattern.matches(&text) || any(&text), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn what_several_share_agrees_with_trying_every_string(all in vec(pattern(), 1..4), others in vec(pattern(), 0..3)) {
        let all_match = |text: &str| all.iter().all(|pattern| pattern.matches(text));
        let any = |text: &str| others.iter().any(|other| other.matches(text));
        match common_outside(&all.iter().collect::<Vec<_>>(), &others.iter().collect::<Vec<_>>()).unwrap() {
            Some(found) => prop_assert!(all_match(&found) && !any(&found), "{found:?}"),
            None => {
                for text in strings() {
                    prop_assert!(!all_match(&text) || any(&text), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn overlap_agrees_with_trying_every_string(a in pattern(), b in pattern()) {
        match a.overlap(&b) {
            Some(shared) => prop_assert!(a.matches(&shared) && b.matches(&shared), "{shared:?}"),
            None => {
                for text in strings() {
                    prop_assert!(!(a.matches(&text) && b.matches(&text)), "{text:?}");
                }
            }
        }
    }
}
