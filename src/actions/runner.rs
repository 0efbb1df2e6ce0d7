//! What a document could have a program run that runs what it is given, such as a shell. An action may use one, but what that runs is
//! for the configuration to say.

mod shell;
mod table;

use super::{Run, Word};
pub(crate) use shell::words as shell_words;
use shell::{DOWNLOAD, Positions, commands};
use table::{KEYWORDS, Rest, Runner, base, runner};

/// Something that a document says stands where only the configuration may say what is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedByDocument {
    /// What takes it: a file's name without the path.
    pub(crate) program: String,
    pub(crate) as_what: As,
    /// It is `{{download}}`, and not `{{args}}`.
    pub(crate) is_download: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum As {
    Program,
    Script,
    Code,
}

/// A program that is run, by its name without the path, and those of its words that are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) name: String,
    pub(crate) words: Vec<String>,
}

impl Run {
    /// What a document would name, if it is so.
    pub(crate) fn named_by_document(&self) -> Option<NamedByDocument> {
        self.walked().found
    }

    /// The program, and those that it is to run in its turn, as far as that can be told: in `["/usr/bin/env", "a"]` there are two.
    pub(crate) fn commands(&self) -> Vec<Command> {
        self.walked().commands
    }

    /// Whether the program runs what it is given, as a program or as a script.
    pub(crate) fn runs_what_it_is_given(&self) -> bool {
        runner(&self.program).is_some()
    }

    fn walked(&self) -> Walk {
        let mut walk = Walk::default();
        walk.program(&self.program, &self.words);
        walk
    }
}

/// So many words of a program that isn't known are looked at.
const LOOKED_AT: usize = 64;

/// What stands before a program among the words of `find`.
const OF_FIND: [&str; 4] = ["-exec", "-execdir", "-ok", "-okdir"];

#[derive(Debug, Default)]
struct Walk {
    commands: Vec<Command>,
    /// The first.
    found: Option<NamedByDocument>,
    /// How many programs that run what they are given stand in front of what is looked at.
    depth: usize,
}

/// More of them aren't looked into.
const DEEPEST: usize = 16;

impl Walk {
    /// A program and what stands behind it.
    fn program(&mut self, program: &str, words: &[Word]) {
        let known = words.iter().filter_map(|word| if let Word::Text(text) = word { Some(text.clone()) } else { None });
        self.commands.push(Command { name: base(program).to_owned(), words: known.collect() });
        if base(program) == "find" && self.depth < DEEPEST {
            let runs = |word: &Word| matches!(word, Word::Text(text) if OF_FIND.contains(&text.as_str()));
            self.depth += 1;
            for at in (0..words.len()).filter(|at| runs(&words[*at])) {
                self.place(&words[at + 1..], As::Program, "find");
            }
            self.depth -= 1;
        }
        match runner(program) {
            _ if self.depth >= DEEPEST => {}
            Some(runner) => {
                self.depth += 1;
                self.runner(runner, base(program), words);
                self.depth -= 1;
            }
            // Whatever it is, it may start a shell, as `docker exec NAME sh -c ..` does.
            None if self.found.is_none() => {
                self.found = (0..words.len().min(LOOKED_AT)).find_map(|at| self.code_behind(&words[at..]));
            }
            None => {}
        }
    }

    /// Code that a document names, if the first of `words` is a shell or an interpreter.
    fn code_behind(&self, words: &[Word]) -> Option<NamedByDocument> {
        let Some((Word::Text(name), behind)) = words.split_first() else { return None };
        let runner = runner(name).filter(|runner| runner.rest == Rest::Script)?;
        let mut walk = Walk { depth: self.depth + 1, ..Walk::default() };
        walk.runner(runner, base(name), behind);
        walk.found.filter(|found| found.as_what == As::Code)
    }

    /// What a runner is given.
    fn runner(&mut self, runner: &Runner, name: &str, words: &[Word]) {
        let (mut rest, mut operands, mut has_code, mut may_be_option) = (runner.rest, runner.operands, false, true);
        let mut at = 0;
        while let Some(word) = words.get(at) {
            at += 1;
            let (text, is_given) = match word {
                Word::Text(text) => (text.as_str(), false),
                Word::Arguments => ("", true),
                Word::Download { before, .. } => (before.as_str(), true),
            };
            match text {
                "--" if !is_given && may_be_option => may_be_option = false,
                option if option.len() > 1 && option.starts_with(['-', '+']) && may_be_option => {
                    match taken(runner, option) {
                        // The code of a shell is its first operand.
                        Taken::Code(_) if runner.is_shell() => {
                            rest = Rest::Code;
                            at += usize::from(option.ends_with(['o', 'O']));
                        }
                        Taken::Code("") if is_given => return self.note(word, As::Code, name),
                        Taken::Code("") => {
                            self.code(&words[at..], name, runner);
                            (at, has_code) = (at + 1, true);
                        }
                        Taken::Code(_) => has_code = true,
                        Taken::Value => at += usize::from(!is_given),
                        Taken::Nothing => {}
                    }
                    if runner.is_runuser() && (option.starts_with("-u") || option.starts_with("--user")) {
                        operands = 0;
                    }
                }
                // The login of `su -`.
                "-" if !is_given => {}
                text if runner.sets_variables() && !is_given && text.contains('=') => {}
                _ if operands > 0 && *word != Word::Arguments => {
                    operands -= 1;
                    may_be_option &= runner.permutes() || operands == 0;
                }
                _ if has_code => return,
                _ => {
                    // What a document gives may be more than the operand that is due.
                    let words = &words[at - 1..];
                    return match rest {
                        Rest::Program => self.place(words, As::Program, name),
                        Rest::Script => self.place(words, As::Script, name),
                        Rest::Code => self.code(words, name, runner),
                        Rest::AllCode => match words.iter().find(|word| !matches!(word, Word::Text(_))) {
                            Some(given) => self.note(given, As::Code, name),
                            None => self.code(words, name, runner),
                        },
                        Rest::Data => {}
                    };
                }
            }
        }
    }

    /// A program or script is the first of `words`, and the others are what it gets.
    fn place(&mut self, words: &[Word], as_what: As, name: &str) {
        match words.split_first() {
            Some((Word::Text(program), words)) if as_what == As::Program => self.program(program, words),
            Some((Word::Text(_), _)) | None => {}
            Some((given, _)) => self.note(given, as_what, name),
        }
    }

    /// Code is the first of `words`; a shell's own may use the others.
    fn code(&mut self, words: &[Word], name: &str, runner: &Runner) {
        let Some((code, behind)) = words.split_first() else { return };
        let is_for_a_shell = runner.reads_as_a_shell();
        let code = match code {
            Word::Text(code) => code.clone(),
            Word::Download { before, after }
                if is_for_a_shell && !(before.trim().is_empty() && after.trim().is_empty()) =>
            {
                format!("{before}{DOWNLOAD}{after}")
            }
            Word::Download { before, .. } if !before.trim().is_empty() => return,
            given => return self.note(given, As::Code, name),
        };
        if !is_for_a_shell {
            return;
        }
        let first = behind.iter().position(|word| !matches!(word, Word::Text(_)));
        let first = first.filter(|_| runner.is_shell()).map(|first| Positions { first, given: &behind[first] });
        for command in commands(&code, first) {
            let is_keyword = |word: &&Word| matches!(word, Word::Text(text) if KEYWORDS.contains(&text.as_str()) || is_assignment(text));
            let keywords = command.iter().take_while(is_keyword).count();
            self.place(&command[keywords..], As::Program, name);
        }
    }

    fn note(&mut self, given: &Word, as_what: As, program: &str) {
        let is_download = matches!(given, Word::Download { .. });
        self.found.get_or_insert(NamedByDocument { program: program.to_owned(), as_what, is_download });
    }
}

fn is_assignment(text: &str) -> bool {
    let name = text.split_once('=').map_or("", |(name, _)| name);
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// What an option takes.
enum Taken<'t> {
    /// What is run: what stands behind it in the same word, or the next word if there is nothing.
    Code(&'t str),
    /// The next word, which isn't run.
    Value,
    Nothing,
}

fn taken<'t>(runner: &Runner, option: &'t str) -> Taken<'t> {
    if let Some(long) = option.strip_prefix("--") {
        let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
        return match () {
            () if runner.takes_code_named(name) => Taken::Code(value.unwrap_or_default()),
            () if runner.takes_value_named(name) && value.is_none() => Taken::Value,
            () => Taken::Nothing,
        };
    }
    // As in `java -jar`.
    if option.len() > 2 && runner.takes_code_named(&option[1..]) {
        return Taken::Code("");
    }
    let letters = option.char_indices().skip(1);
    for (at, letter) in letters {
        let behind = &option[at + letter.len_utf8()..];
        if runner.takes_code(letter) {
            return Taken::Code(behind);
        }
        if runner.has_attached(letter) {
            return Taken::Nothing;
        }
        if runner.takes_value(letter) {
            return if behind.is_empty() { Taken::Value } else { Taken::Nothing };
        }
    }
    Taken::Nothing
}

#[cfg(test)]
mod tests;
