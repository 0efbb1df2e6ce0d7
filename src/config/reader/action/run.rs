//! `action.run`: the program, and what becomes of the words behind it.

use super::super::argv::{First, argv};
use crate::actions::{As, NamedByDocument, Run, Word};
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

/// The longest path, in bytes, without the NUL at its end (`PATH_MAX`).
const MAX_PATH: usize = 4095;

/// `None` if anything is wrong with it, which is reported.
pub(super) fn run(section: &Section<'_>, has_arguments: bool, has_download: bool) -> Option<Run> {
    let example = "[\"/usr/bin/systemctl\", \"restart\", \"--\", \"{{args}}\"]";
    let argv = section.require("run", example, argv(First::Path))?;
    let (program, rest) = argv.split_first()?;
    let program = self::program(program).map_err(|text| section.error("run", &text)).ok();
    let words: Vec<_> = rest
        .iter()
        .map(|text| word(text, has_arguments, has_download).map_err(|text| section.error("run", &text)).ok())
        .collect();
    let run = Run { program: program?, words: words.into_iter().collect::<Option<Vec<Word>>>()? };
    if let Some(named) = run.named_by_document() {
        section.error("run", &about_named(&named));
        return None;
    }
    if let Some(doubt) = doubt::shell(&argv, &with_shell(&run)) {
        section.warning("run", &doubt);
    }
    rest.iter().filter_map(|text| unfilled(text)).for_each(|doubt| section.warning("run", &doubt));
    Some(run)
}

/// Why a document must not say what stands there, and what to do instead.
fn about_named(named: &NamedByDocument) -> String {
    let NamedByDocument { program, as_what, is_download } = named;
    let placeholder = if *is_download { "{{download}}" } else { "{{args}}" };
    let (what, is) = match as_what {
        As::Program => ("the name of a program to run", "a program"),
        As::Script => ("the script that it runs", "a script"),
        As::Code => ("code that it runs", "code"),
    };
    let way = match is_download {
        true => {
            "name a program of your own that checks the file and uses it: `run = [\"/usr/local/bin/install-model\", \"{{download}}\"]`"
        }
        false => {
            "name the program itself before it, or a script of your own: `run = [\"/usr/local/bin/restart.sh\", \"{{args}}\"]`; for \
             several programs write an [[action]] each"
        }
    };
    format!(
        "{program} takes `{placeholder}` for {what}, and {is} never comes from a document, whatever `args` and `download` allow; {way}"
    )
}

/// How the line is written with a shell: what a document gives is never a part of the script.
fn with_shell(run: &Run) -> String {
    let has_download = run.words.iter().any(|word| matches!(word, Word::Download { .. }));
    let (given, is) = match (has_download, run.words.contains(&Word::Arguments)) {
        (false, false) => {
            return "[\"/bin/sh\", \"-c\", \"...\"] with the whole line in the last pair of quotes".to_owned();
        }
        (false, true) => ("\"{{args}}\"", "the first argument"),
        (true, false) => ("\"{{download}}\"", "the file"),
        (true, true) => ("\"{{download}}\", \"{{args}}\"", "the file and `\"$2\"` the first argument"),
    };
    format!("[\"/bin/sh\", \"-c\", '...', \"sh\", {given}] with the whole line for the dots, in which `\"$1\"` is {is}")
}

fn program(text: &str) -> Result<String, String> {
    if placeholders(text).next().is_some() {
        return Err(format!("\"{text}\": the program stands here; what a document says never is one"));
    }
    if text.contains(char::is_control) {
        return Err("must not hold control characters in the path of the program".to_owned());
    }
    if text.len() > MAX_PATH {
        return Err(format!(
            "is {} bytes long, and Linux takes at most {MAX_PATH} in the path of a program",
            text.len()
        ));
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
                return Err("`{{args}}` must stand alone in its quotes, because each argument becomes a word of its own; put what stands \
                     around it into the pattern of `args`, which must match the whole word"
                    .to_owned());
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

/// A placeholder that there isn't. It may mean something to the program: a name as in other templates, but not `{{.Names}}`.
fn unfilled(text: &str) -> Option<String> {
    let is_name = |name: &str| {
        let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        begins && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-[]".contains(c))
    };
    let (_, name, _) = placeholders(text).find(|(_, name, _)| is_name(name) && !PLACEHOLDERS.contains(name))?;
    let lower = name.to_lowercase();
    let hint = match () {
        () if lower.contains("job") || lower.contains("execution") => {
            "; the program finds the job's id in its environment, as `GATEWIRE_JOB_ID`"
        }
        () if lower.contains("args") || lower.starts_with(|c: char| c.is_ascii_digit()) => {
            "; `{{args}}` becomes all arguments, and which is which is for the program to say"
        }
        () if ["url", "sha", "file"].iter().any(|part| lower.contains(part)) => {
            "; `{{download}}` becomes the path of the file that was downloaded"
        }
        () => "; there are only `{{args}}` and `{{download}}`",
    };
    Some(format!("`{{{{{name}}}}}` isn't filled in, the program gets it as it stands{hint}"))
}

/// What stands in double braces: from where, its name, and up to where.
fn placeholders(text: &str) -> impl Iterator<Item = (usize, &str, usize)> {
    text.match_indices("{{").filter_map(|(start, _)| {
        let rest = &text[start + 2..];
        let len = rest.find("}}")?;
        Some((start, rest[..len].trim(), start + 2 + len + 2))
    })
}
