//! `action.run`: the program, and what becomes of the words behind it.

use super::super::publish::argv;
use crate::actions::{Run, Word};
use crate::config::doubt;
use crate::config::section::Section;
use crate::spelling;
use crate::template::NAMES;

/// The placeholders that there are here, and what people call them otherwise.
const PLACEHOLDERS: [&str; 2] = ["args", "download"];
const OTHER_NAMES: [(&str, &str); 7] = [
    ("arg", "args"),
    ("argument", "args"),
    ("arguments", "args"),
    ("argv", "args"),
    ("params", "args"),
    ("file", "download"),
    ("path", "download"),
];

/// `None` if anything is wrong with it, which is reported.
pub(super) fn run(section: &Section<'_>, has_arguments: bool, has_download: bool) -> Option<Run> {
    let example = "[\"/usr/bin/systemctl\", \"restart\", \"--\", \"{{args}}\"]";
    let argv = section.require("run", example, argv)?;
    if let Some(doubt) = doubt::shell(&argv) {
        section.warning("run", &doubt);
    }
    let (program, rest) = argv.split_first()?;
    let program = self::program(program).map_err(|text| section.error("run", &text)).ok();
    let words: Vec<_> = rest
        .iter()
        .map(|text| word(text, has_arguments, has_download).map_err(|text| section.error("run", &text)).ok())
        .collect();
    Some(Run { program: program?, words: words.into_iter().collect::<Option<Vec<Word>>>()? })
}

fn program(text: &str) -> Result<String, String> {
    if placeholders(text).next().is_some() {
        return Err(format!("\"{text}\": the program stands here; what a document says never is one"));
    }
    if text.contains(char::is_control) {
        return Err("must not hold control characters in the path of the program".to_owned());
    }
    match text.strip_prefix('/') {
        Some(rest) if !rest.is_empty() && !rest.ends_with('/') => Ok(text.to_owned()),
        Some(_) => Err(format!("\"{text}\" must name a program, not a directory")),
        None => {
            let name = text.rsplit('/').next().unwrap_or_default();
            let name = if name.is_empty() { "NAME" } else { name };
            Err(format!(
                "\"{text}\" must be the full path of the program, such as \"/usr/bin/{name}\" (`command -v {name}` shows it): it isn't \
                 looked for"
            ))
        }
    }
}

fn word(text: &str, has_arguments: bool, has_download: bool) -> Result<Word, String> {
    let mut found = None;
    for (start, name, end) in placeholders(text) {
        let (before, after) = (&text[..start], &text[end..]);
        match name {
            "args" if !has_arguments => {
                return Err("`{{args}}` needs `args`, the regular expression that each argument must match".to_owned());
            }
            "args" if !before.is_empty() || !after.is_empty() => {
                return Err(
                    "`{{args}}` must stand alone in its quotes, because each argument becomes a word of its own"
                        .to_owned(),
                );
            }
            "args" => return Ok(Word::Arguments),
            "download" if !has_download => {
                return Err("`{{download}}` needs `download`, which says where files may come from".to_owned());
            }
            "download" if found.is_some() => {
                return Err(format!("\"{text}\": `{{{{download}}}}` may stand there once"));
            }
            "download" => found = Some(Word::Download { before: before.to_owned(), after: after.to_owned() }),
            other => {
                let meant = spelling::meant(other, &PLACEHOLDERS, &OTHER_NAMES);
                if let Some(meant) = meant {
                    return Err(format!("`{{{{{other}}}}}` isn't known; did you mean `{{{{{meant}}}}}`?"));
                }
                if NAMES.contains(&other) {
                    return Err(format!(
                        "`{{{{{other}}}}}` isn't filled in here, only `{{{{args}}}}` and `{{{{download}}}}` are; write the text itself"
                    ));
                }
            }
        }
    }
    // What else has braces may mean something to the program.
    Ok(found.unwrap_or_else(|| Word::Text(text.to_owned())))
}

/// What stands in double braces: from where, its name, and up to where.
fn placeholders(text: &str) -> impl Iterator<Item = (usize, &str, usize)> {
    text.match_indices("{{").filter_map(|(start, _)| {
        let rest = &text[start + 2..];
        let len = rest.find("}}")?;
        Some((start, rest[..len].trim(), start + 2 + len + 2))
    })
}
