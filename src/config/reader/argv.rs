//! `publish.command` and `action.run`: a program and its words, for no shell to split.

use crate::actions::shell_words;
use crate::config::document::{Node, Value};
use crate::config::explain::quoted;
use crate::config::redact::holds_a_key;
use crate::config::values::{string, strings};

/// The most bytes of a word that Linux passes to a program, without the NUL at its end (`MAX_ARG_STRLEN`).
const MAX_WORD: usize = 128 * 1024 - 1;

/// The most bytes of all words together: half of what Linux passes with the usual limit of the stack, beside the environment.
const MAX_WORDS: usize = 1024 * 1024;

/// What begins with the name of a program, or must begin with its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    NameOrPath,
    Path,
}

/// A program and its arguments.
pub(super) fn argv(first: First) -> impl Fn(&Node) -> Result<Vec<String>, String> {
    move |node| {
        if let Value::String(line) = &node.value {
            return Err(in_one_string(line, first));
        }
        let example = match first {
            First::NameOrPath => "[\"vcgencmd\", \"measure_temp\"]",
            First::Path => "[\"/usr/bin/systemctl\", \"restart\", \"nodered\"]",
        };
        let words = strings(node, example)?.iter().map(|word| string(word).map(str::to_owned));
        let argv = words.collect::<Result<Vec<_>, _>>()?;
        let (longest, all) = (argv.iter().map(String::len).max(), argv.iter().map(String::len).sum::<usize>());
        match longest {
            _ if argv.iter().any(|word| word.contains('\0')) => Err("must not hold a NUL character".to_owned()),
            Some(length) if length > MAX_WORD => {
                Err(format!("holds a word of {length} bytes, and Linux passes at most {MAX_WORD} in one to a program"))
            }
            _ if all > MAX_WORDS => {
                Err(format!("is {all} bytes long, at most {MAX_WORDS} are allowed for all words together"))
            }
            _ if argv[0].is_empty() => Err(match first {
                First::NameOrPath => "must begin with the name or path of a program".to_owned(),
                First::Path => {
                    "must begin with the full path of the program, such as \"/usr/bin/systemctl\"".to_owned()
                }
            }),
            _ => Ok(argv),
        }
    }
}

/// What is said of a whole line in one pair of quotes.
fn in_one_string(line: &str, first: First) -> String {
    let mut words = shell_words(line);
    if words.is_empty() {
        return "must not be empty; it is an array of strings, the program and its arguments".to_owned();
    }
    // A key in a file of PEM is one no more once its words stand by themselves.
    if holds_a_key(line) {
        return "must be an array of strings, the program and its arguments, because no shell splits it".to_owned();
    }
    let is_for_shell = line.contains(['|', ';', '&', '>', '<', '`']) || line.contains("$(");
    if is_for_shell {
        let shell = if first == First::Path { "/bin/sh" } else { "sh" };
        words = vec![shell.to_owned(), "-c".to_owned(), line.to_owned()];
    }
    let program = &mut words[0];
    let mut note = String::new();
    // Of a URL the end alone, which may be a login, wouldn't be recognised as a secret.
    if first == First::Path && !program.starts_with('/') && !program.contains("://") {
        let name = program.rsplit('/').next().unwrap_or_default().to_owned();
        *program = format!("/usr/bin/{name}");
        note = format!(" (`command -v {name}` shows the full path)");
    }
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("must be an array of strings, because no shell splits it: [{}]{note}", words.join(", "))
}
