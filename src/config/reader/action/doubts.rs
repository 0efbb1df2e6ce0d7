//! What an action allows that most likely isn't meant. A document is written by whoever may create jobs; what `args` allows is all that
//! keeps the program from anything else. The pattern isn't taken apart: strings are tried that nobody means to allow.

use super::shape;
use crate::actions::{Action, Pattern, RunsAs, Word};

/// What only a pattern for everything matches.
const ANYTHING: [&str; 3] = ["; x=$(y) 🦀", "-q=../\"'", "\\ `z`|&<>*"];

/// What is read as an option. Those in a row must all match: a single one may be in a list.
const OPTIONS: [&[&str]; 5] = [&["--option"], &["--option=value"], &["-option"], &["-q", "-z"], &["-Q", "-Z"]];

/// What is doubtful in `args`.
pub(super) fn doubts(action: &Action) -> Vec<String> {
    let Some(pattern) = &action.arguments else { return Vec::new() };
    let Some(behind) = action.run.words.iter().position(|word| *word == Word::Arguments) else { return Vec::new() };
    let before = &action.run.words[..behind];
    let (text, root) = (pattern.as_str(), if action.runs_as == RunsAs::Root { " as root" } else { "" });
    let name = action.run.program.rsplit('/').next().unwrap_or_default();
    if let Some(doubt) = shape::doubt(pattern, action.split) {
        return vec![doubt];
    }
    if ANYTHING.iter().all(|sample| pattern.matches(sample)) {
        let text = format!(
            "\"{text}\" allows everything, so that whoever may create a job decides what {name} does{root}; list what is needed, such as \
             \"(nodered|zigbee2mqtt)\""
        );
        return vec![text];
    }
    let option = OPTIONS.iter().find(|samples| samples.iter().all(|sample| pattern.matches(sample)));
    let option = option.filter(|_| !before.contains(&Word::Text("--".to_owned()))).map(|samples| {
        let sample = samples[0];
        format!(
            "\"{text}\" allows \"{sample}\", and {name} may read that as an option: let the pattern begin with a letter, or write \"--\" \
             before \"{{{{args}}}}\" in `run` if {name} knows that"
        )
    });
    option.into_iter().chain(path_out(pattern, name, root)).collect()
}

/// A path that leads where nobody means it to.
fn path_out(pattern: &Pattern, name: &str, root: &str) -> Option<String> {
    let text = pattern.as_str();
    let (start, end) = literal_ends(text);
    if start.contains("://") {
        return None;
    }
    let allows = |paths: &[String]| paths.iter().find(|path| pattern.matches(path)).cloned();
    let anywhere = ["/etc/shadow".to_owned(), format!("/etc/shadow{end}")];
    if let Some(path) = allows(&anywhere) {
        return Some(format!(
            "\"{text}\" allows every path, such as \"{path}\", which {name} gets{root}; if it takes it for a file, name the directory in \
             the pattern, and allow no `..`"
        ));
    }
    let up = ["../../etc/shadow", "x/../../etc/shadow"];
    let outside: Vec<String> =
        up.iter().flat_map(|up| [format!("{start}{up}{end}"), format!("{start}/{up}{end}")]).collect();
    allows(&outside).map(|path| {
        format!(
            "\"{text}\" allows \"{path}\", which leads out of the directory; if {name} takes it for a file, allow no `/` or no `.` in what may \
             vary, as with \"[a-z0-9_-]+\""
        )
    })
}

/// How what matches begins and ends, as far as that is plain text; often it isn't, and then nothing is found with it.
fn literal_ends(pattern: &str) -> (String, String) {
    let is_plain = |c: char| c.is_alphanumeric() || "/_-:@ ,=".contains(c);
    let bare = pattern.trim_start_matches(['^', '(']).trim_end_matches(['$', ')']);
    let start: String = bare.chars().take_while(|c| is_plain(*c)).collect();
    let mut end = String::new();
    for c in bare.chars().rev() {
        match c {
            // The backslash of `\.`; what is before it may be anything.
            '\\' if end.starts_with('.') => {}
            '.' if bare.ends_with(&format!("\\.{end}")) => end.insert(0, '.'),
            c if is_plain(c) && !end.starts_with('.') => end.insert(0, c),
            _ => break,
        }
    }
    // What repeats the last character isn't plain text.
    let rest = &bare[start.len()..];
    let start = match rest.starts_with(['*', '?', '+', '{']) {
        true => start.chars().take(start.chars().count().saturating_sub(1)).collect(),
        false => start,
    };
    (start, end)
}
