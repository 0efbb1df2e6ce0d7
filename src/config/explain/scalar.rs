//! Values without quotes and brackets: what is a number or `true`, and what was meant by anything else.

use toml::de::DeTable;

use crate::actions::shell_words;

/// What is wrong with a value, and how it should be written, if that can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mended {
    pub(super) problem: String,
    pub(super) fixed: Option<String>,
}

/// Keys that take a number. All others but those of [`BOOLEANS`] take text, an array or a table.
const NUMBERS: [&str; 11] = [
    "port",
    "count",
    "qos",
    "messages",
    "burst",
    "messages_per_second",
    "connects_per_second",
    "max_subscriptions",
    "max",
    "max_args",
    "min_change",
];

/// Keys that have no default where they can stand, or not everywhere.
const NEEDED: [&str; 8] = ["endpoint", "client_id", "name", "topic", "payload", "socket", "filters", "topics"];

/// Keys that take true or false.
const BOOLEANS: [&str; 8] =
    ["retain", "topic_alias", "urgent", "at_start", "on_change", "split", "rerun", "report_output"];

/// Keys that take an array of strings.
const LISTS: [&str; 8] = ["allow", "filters", "topics", "command", "metrics", "except", "run", "hosts"];

/// What is wrong with the bare `token`, which isn't empty, as the value of `key`; `None` if nothing is.
pub(super) fn bare(token: &str, key: &str) -> Option<Mended> {
    if is_value(token) {
        return None;
    }
    let key = key.rsplit('.').next().unwrap_or(key).trim();
    let kind = kind_of_text(token);
    // `max` is a number of a batch, and a duration of the backoff.
    let is_number = NUMBERS.contains(&key) && !(key == "max" && kind == DURATION);
    let mended = |problem: &str, fixed: Option<String>| Some(Mended { problem: problem.to_owned(), fixed });
    // Of a key that takes text it is a text.
    let is_text = crate::config::known::is_key(key) && !BOOLEANS.contains(&key);
    match token.to_lowercase().as_str() {
        "true" | "false" if !is_number && !is_text => {
            return mended("true and false are written in small letters", Some(token.to_lowercase()));
        }
        "yes" | "on" | "enabled" if !is_number && !is_text => {
            return mended(&format!("`{token}` is written `true`"), Some("true".to_owned()));
        }
        "no" | "off" | "disabled" if !is_number && !is_text => {
            return mended(&format!("`{token}` is written `false`"), Some("false".to_owned()));
        }
        "none" | "null" | "nil" | "~" | "undefined" if NEEDED.contains(&key) => {
            return mended(&format!("there is no null in TOML, and `{key}` needs a value: write one"), None);
        }
        "none" | "null" | "nil" | "~" | "undefined" => {
            return mended("there is no null in TOML; delete the line, and the key has its default", None);
        }
        _ => {}
    }
    if key == "mode" && is_octal(token) {
        return mended("permission bits must be in quotes", Some(format!("\"{token:0>4}\"")));
    }
    let is_whole = is_number && key != "min_change";
    if is_whole && let Some(fixed) = without_separators(token) {
        return mended("a number has nothing between its thousands", Some(fixed));
    }
    if !is_whole
        && let Some((whole, fraction)) = token.split_once(',')
        && is_digits(whole)
        && is_digits(fraction)
    {
        return mended("the decimal point is a `.`, not a comma", Some(format!("{whole}.{fraction}")));
    }
    if is_number {
        return Some(number(token));
    }
    if BOOLEANS.contains(&key) {
        return mended(&format!("`{key}` takes true or false"), None);
    }
    for (mark, problem) in [
        ("\\\"", "a `\\` stands before the quotes, as in a program or in JSON"),
        ("&quot;", "`&quot;` is a quote in the source of a web page"),
        ("&#34;", "`&#34;` is a quote in the source of a web page"),
    ] {
        if let Some(text) = token.strip_prefix(mark) {
            let text =
                text.strip_suffix(mark).or_else(|| text.strip_suffix(mark.trim_end_matches(';'))).unwrap_or(text);
            return mended(problem, Some(quoted(text)));
        }
    }
    if let Some(bare) = Some(token).filter(|_| key == "args").and_then(between_slashes) {
        return mended("a regular expression must be in quotes, without slashes around it", Some(quoted(&bare)));
    }
    if let Some(text) = token.strip_suffix(['"', '\'']).filter(|text| !text.contains(['"', '\''])) {
        return mended("the opening quote is missing", Some(quoted(text)));
    }
    mended(kind, Some(quoted(without_prefix(token))))
}

/// Whether it is an array of strings.
pub(super) fn takes_list(key: &str) -> bool {
    LISTS.contains(&key)
}

/// What is wrong with the bare `token` where an array of strings is to be; `None` if `key` takes none, or it is no text.
pub(super) fn bare_list(token: &str, key: &str) -> Option<Mended> {
    if !takes_list(key) || is_value(token) {
        return None;
    }
    let is_command = ["command", "run"].contains(&key);
    let mut items: Vec<String> = match is_command && token.contains(['"', '\'']) {
        true => shell_words(token),
        false => token
            .split(|c: char| c == ',' || (is_command && c.is_whitespace()))
            .map(|item| item.trim().trim_matches(['"', '\'']).to_owned())
            .filter(|item| !item.is_empty())
            .collect(),
    };
    if let Some(program) = items.first_mut().filter(|program| key == "run" && !program.contains('/')) {
        program.insert_str(0, "/usr/bin/");
    }
    let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
    Some(Mended {
        problem: "text must be in quotes, and a list of texts in brackets".to_owned(),
        fixed: Some(format!("[{}]", items.join(", "))),
    })
}

/// A number as it is written in many countries, with commas, points or apostrophes between its thousands.
fn without_separators(token: &str) -> Option<String> {
    let groups: Vec<&str> = token.split([',', '.', '\'', '’']).collect();
    let (first, others) = groups.split_first()?;
    let are_thousands = !others.is_empty() && others.iter().all(|group| group.len() == 3 && is_digits(group));
    (are_thousands && is_digits(first) && first.len() <= 3 && !first.starts_with('0')).then(|| groups.concat())
}

/// A number that isn't written as one.
fn number(token: &str) -> Mended {
    let groups: Vec<&str> = token.split(['_', '\'', ' ']).filter(|group| !group.is_empty()).collect();
    let first = groups.first().map_or(0, |group| group.len());
    let are_thousands = first <= 3 && groups.iter().skip(1).all(|group| group.len() == 3);
    let digits = groups.concat();
    if is_digits(&digits) && (are_thousands || !token.contains(' ')) {
        let number = digits.trim_start_matches('0');
        let fixed = if number.is_empty() { "0" } else { number };
        return Mended {
            problem: "a number is written with its digits alone, and doesn't begin with 0".to_owned(),
            fixed: Some(fixed.to_owned()),
        };
    }
    let fraction = token.strip_prefix('.').filter(|rest| is_digits(rest)).map(|rest| format!("0.{rest}"));
    let fraction =
        fraction.or_else(|| token.strip_suffix('.').filter(|rest| is_digits(rest)).map(|rest| format!("{rest}.0")));
    if let Some(fixed) = fraction {
        return Mended { problem: "a number has digits on both sides of its point".to_owned(), fixed: Some(fixed) };
    }
    let leading: String = token.chars().take_while(char::is_ascii_digit).collect();
    // What 1k means is a thousand times what its digits say.
    let rest = &token[leading.len()..];
    let fixed = match rest.trim() {
        "k" | "K" => Some(format!("{leading}000")),
        rest if rest.starts_with(['k', 'K', 'm', 'M', 'g', 'G', 'e', 'E', 'x', ',', '.', '/'])
            && !rest.starts_with("/t") =>
        {
            None
        }
        _ => Some(leading),
    };
    Mended {
        problem: "this must be a number, without a unit or other letters".to_owned(),
        fixed: fixed.filter(|digits| digits == "0" || !(digits.is_empty() || digits.starts_with('0'))),
    }
}

const DURATION: &str = "a duration must be in quotes";

/// What a text without quotes is.
fn kind_of_text(token: &str) -> &'static str {
    const UNITS: [&str; 17] = [
        "ms", "msec", "s", "sec", "secs", "second", "seconds", "m", "min", "mins", "minute", "minutes", "h", "hour",
        "hours", "d", "days",
    ];
    let begins_with_digit = token.starts_with(|c: char| c.is_ascii_digit());
    let letters: Vec<String> =
        token.split(|c: char| !c.is_alphabetic()).filter(|part| !part.is_empty()).map(str::to_lowercase).collect();
    let plain = token.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '.'));
    match &letters[..] {
        _ if !begins_with_digit || !plain => "text must be in quotes",
        units if !units.is_empty() && units.iter().all(|unit| UNITS.contains(&unit.as_str())) => DURATION,
        [unit] if ["b", "kb", "kib", "mb", "mib", "gb", "gib", "k", "g"].contains(&unit.as_str()) => {
            "a size must be in quotes"
        }
        _ => "text must be in quotes",
    }
}

/// `text` as a TOML string.
pub(in crate::config) fn quoted(text: &str) -> String {
    if text.contains(['\\', '"']) && !text.contains('\'') {
        return format!("'{text}'");
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// What stands between the slashes, as other languages write a regular expression; not if it may be a path.
pub(in crate::config) fn between_slashes(text: &str) -> Option<String> {
    let (inner, flags) = text.strip_prefix('/')?.rsplit_once('/')?;
    let is_one = !inner.is_empty() && !inner.contains('/') && inner.contains(['|', '(', '[', '^', '$', '*', '+', '\\']);
    let is_flags = flags.chars().all(|c| "gimsuy".contains(c));
    (is_one && is_flags).then(|| if flags.contains('i') { format!("(?i){inner}") } else { inner.to_owned() })
}

/// A string as other languages mark it, `r"..."`: what is in it.
fn without_prefix(token: &str) -> &str {
    let rest = token.trim_start_matches(|c: char| c.is_ascii_alphabetic() || matches!(c, '@' | '$'));
    let inner = rest.strip_prefix(['"', '\'']).and_then(|rest| rest.strip_suffix(['"', '\'']));
    inner.filter(|_| token.len() - rest.len() <= 2).unwrap_or(token)
}

fn is_value(token: &str) -> bool {
    !token.contains(['"', '\'', '\n', '#', '[', '{']) && DeTable::parse(&format!("x = {token}")).is_ok()
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_octal(text: &str) -> bool {
    (3..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte))
}
