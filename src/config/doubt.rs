//! Texts that can be used and most likely aren't what is meant: placeholders written as elsewhere, ARNs, blanks at an end.

use super::explain::{invisible, made_visible};
use crate::template::NAMES;

/// A placeholder as other programs write it: `{name}`, `${name}`, `$name`, `%name%`, `<name>`.
pub(super) fn placeholder(text: &str) -> Option<String> {
    placeholder_of(text, &NAMES)
}

/// Likewise, one of `names`.
pub(super) fn placeholder_of(text: &str, names: &[&str]) -> Option<String> {
    // Those that are right don't count.
    let mut rest = String::new();
    let mut left = text;
    while let Some((before, after)) = left.split_once("{{") {
        rest.push_str(before);
        rest.push(' ');
        left = after.split_once("}}").map_or("", |(_, after)| after);
    }
    rest.push_str(left);
    let lower = rest.to_lowercase();
    for name in names {
        let ends = |written: &str| {
            let after = |at: usize| lower[at + written.len()..].chars().next();
            lower.match_indices(written).any(|(at, _)| !after(at).is_some_and(|c| c.is_alphanumeric() || c == '_'))
        };
        let braces = [
            format!("${{{name}}}"),
            format!("{{{name}}}"),
            format!("<{name}>"),
            format!("%{name}%"),
            format!("${name}"),
        ];
        let written = braces
            .into_iter()
            .find(|written| if written.starts_with('$') { ends(written) } else { lower.contains(written) });
        if let Some(written) = written {
            return Some(format!(
                "`{written}` isn't filled in; the placeholder is `{{{{{name}}}}}`, with two braces on each side"
            ));
        }
    }
    None
}

/// What a shell would act on, among the words of a command that none reads.
const OPERATORS: [&str; 14] = ["|", "|&", "||", "&", "&&", ";", ">", ">>", "<", "<<", "<<<", "2>&1", "&>", "2>"];

/// An argument that only a shell understands, in a command that is run without one; `with_shell` is how one is written there.
pub(super) fn shell(argv: &[String], with_shell: &str) -> Option<String> {
    // Programs to which these words mean something, and shells, whose script holds what it likes.
    const TAKERS: [&str; 5] = ["expr", "find", "test", "[", "-c"];
    let name = |word: &str| word.rsplit('/').next().unwrap_or_default().to_owned();
    let is_redirection = |word: &str| {
        let rest = word.trim_start_matches(|c: char| c.is_ascii_digit() || c == '&');
        rest.starts_with('>') && rest.trim_start_matches('>').starts_with(['/', '&'])
    };
    let is_for_a_shell = |word: &str| {
        OPERATORS.contains(&word) || is_redirection(word) || word.starts_with("$(") || word.starts_with('`')
    };
    let words = argv.iter().take_while(|word| !TAKERS.contains(&name(word).as_str()));
    let found = words.skip(1).find(|word| is_for_a_shell(word))?;
    // What else stands in the word may be a secret.
    let shown = OPERATORS.iter().find(|operator| *operator == found).copied();
    let shown = shown.unwrap_or(if found.contains('>') { ">" } else { "$(" });
    Some(format!(
        "`{shown}` is handed to the program as an argument, because no shell runs the command. To have one, write {with_shell}"
    ))
}

/// A mode of a socket that most likely isn't meant: connecting needs the permission to write. `is_public` is a socket that anybody
/// may use.
pub(super) fn mode(mode: u32, is_public: bool) -> Option<String> {
    let (read, write) = (mode >> 2 & 0o111, mode >> 1 & 0o111);
    let told = |text: &str| Some(format!("\"{mode:04o}\" {text}"));
    match () {
        () if write & 0o100 == 0 => told(
            "keeps gatewire's own user from connecting, for which one needs the permission to write. Write \"0660\" for its user \
             and its group, or \"0600\" for its user alone",
        ),
        () if write & 0o001 != 0 && !is_public => told(
            "lets every user and program of this machine connect. Write \"0660\" and add those who may to the group (`group` \
             says which)",
        ),
        () if read & !write != 0 => told(
            "lets some read who can't connect, for which one needs the permission to write. Write \"0660\" to let the group \
             connect, or \"0600\" for nobody but gatewire's user",
        ),
        () => None,
    }
}

/// What stands where a name is to be filled in: `<thing name>`, `YOUR_THING`.
pub(super) fn stand_in(text: &str) -> Option<String> {
    let has_brackets = text.split_once('<').is_some_and(|(_, rest)| rest.contains('>'));
    let lower = text.to_lowercase();
    let is_for_you = ["your_", "your-", "my_thing_name", "xxxx", "changeme", "example-thing"]
        .iter()
        .any(|part| lower.contains(part));
    (has_brackets || is_for_you)
        .then(|| format!("\"{text}\" looks like the placeholder of an example; write the name of this gateway's thing"))
}

/// Goes behind what is said of a control character: where it came from, if that was a backslash.
pub(super) fn escaped(text: &str) -> String {
    let written = text.chars().find_map(|c| {
        Some(match c {
            '\u{8}' => "\\b",
            '\t' => "\\t",
            '\n' => "\\n",
            '\u{c}' => "\\f",
            '\r' => "\\r",
            '\u{1b}' => "\\e",
            _ => return None,
        })
    });
    written.map_or_else(String::new, |written| {
        format!("; `{written}` in double quotes stands for it, and single quotes take a `\\` as it is")
    })
}

/// The wildcard of policies and file names, in the place of MQTT's.
pub(super) fn wildcard(text: &str) -> Option<String> {
    let meant: Vec<&str> = text.split('/').map(|level| if level == "*" { "+" } else { level }).collect();
    let mut meant = meant.join("/");
    if meant.ends_with("/+") || meant == "+" {
        meant.pop();
        meant.push('#');
    }
    text.split('/').any(|level| level == "*").then(|| {
        format!("`*` is no wildcard in MQTT: `+` stands for one level, `#` for all that follow, as in \"{meant}\"")
    })
}

/// What is said of an ARN in the place of what it names: `kind` is how IoT Core calls it.
pub(super) fn arn(text: &str) -> Option<String> {
    let resource = text.strip_prefix("arn:")?.splitn(5, ':').nth(4).unwrap_or_default();
    let name = resource.split_once('/').map_or("", |(_, name)| name);
    Some(match name {
        "" => format!("\"{text}\" is an ARN; write the name alone"),
        name => format!("\"{text}\" is an ARN; write the name alone, \"{name}\""),
    })
}

/// Blanks where nobody means them: at the ends, or beside a slash.
pub(super) fn blanks(text: &str) -> Option<String> {
    // A control character is refused by itself.
    let is_blank = |c: char| c.is_whitespace() && !c.is_control();
    let place = match () {
        () if text.starts_with(is_blank) => "begins with a blank",
        () if text.ends_with(is_blank) => "ends with a blank",
        () if text.split('/').any(|level| level.starts_with(is_blank) || level.ends_with(is_blank)) => {
            "has a blank beside a slash"
        }
        () => return None,
    };
    let meant: Vec<&str> = text.split('/').map(str::trim).collect();
    Some(format!("\"{text}\" {place}, which counts as a part of it; write \"{}\"", meant.join("/")))
}

/// A character that nobody sees, as it is copied from a web page.
pub(super) fn unseen(text: &str) -> Option<String> {
    // Control characters are refused by themselves.
    let (c, name) = text.chars().filter(|c| !c.is_control()).find_map(|c| Some((c, invisible(c)?)))?;
    let meant = made_visible(text);
    Some(format!("there is an invisible character in it ({name}, U+{:04X}); write \"{}\"", u32::from(c), meant.trim()))
}

/// What nobody sees in a topic and most likely nobody means.
pub(crate) fn about_topic(topic: &str) -> Option<String> {
    unseen(topic).or_else(|| blanks(topic))
}

/// What IoT Core says to a topic or filter under `$`: of those that clients can use there are two kinds.
pub(super) fn reserved(text: &str, prefixes: &[&str]) -> Option<String> {
    let is_taken = !text.starts_with('$') || prefixes.iter().any(|prefix| text.starts_with(prefix));
    (!is_taken).then(|| {
        let prefixes: Vec<String> = prefixes.iter().map(|prefix| format!("`{prefix}`")).collect();
        format!(
            "\"{text}\" begins with `$`, and under that IoT Core takes only what begins with {}",
            prefixes.join(" or ")
        )
    })
}
