//! An action and its arguments.

use std::sync::Arc;

use super::{Action, Word, shown};
use crate::count::count;

/// An action and arguments that it takes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Invocation {
    action: Arc<Action>,
    /// After `split`; each matches the action's pattern.
    arguments: Vec<String>,
}

/// Why an action doesn't take arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Its number in what was given, from 0.
    pub(crate) argument: usize,
    /// A sentence without a full stop that can be shown.
    pub(crate) text: String,
}

impl Invocation {
    /// The only way to one: what a document, a command or the daemon's request to `gatewire act` gives is checked here.
    ///
    /// # Errors
    /// One of the arguments has a control character or doesn't match the action's pattern as a whole, there are too many, or the
    /// action takes none.
    pub(crate) fn new<'t>(
        action: &Arc<Action>,
        given: impl IntoIterator<Item = &'t str>,
    ) -> Result<Invocation, Refused> {
        let mut arguments = Vec::new();
        for (number, text) in given.into_iter().enumerate() {
            let refused = |text: String| Refused { argument: number, text };
            if let Some(c) = text.chars().find(|c| c.is_control()) {
                return Err(refused(format!("it has a control character, U+{:04X}", u32::from(c))));
            }
            let words: Vec<&str> = match action.split {
                true => text.split(' ').filter(|word| !word.is_empty()).collect(),
                false => vec![text],
            };
            for word in words {
                let Some(pattern) = &action.arguments else {
                    return Err(refused(format!("the action \"{}\" takes no arguments", action.name)));
                };
                if arguments.len() == action.max_arguments {
                    let (name, most) = (&action.name, count(action.max_arguments, "argument"));
                    return Err(refused(format!("the action \"{name}\" takes at most {most} (`max_args`)")));
                }
                if !pattern.matches(word) {
                    let (name, word) = (&action.name, shown(word));
                    return Err(refused(format!("\"{word}\" doesn't match `args` of the action \"{name}\"")));
                }
                arguments.push(word.to_owned());
            }
        }
        Ok(Invocation { action: Arc::clone(action), arguments })
    }

    pub(crate) fn action(&self) -> &Arc<Action> {
        &self.action
    }

    /// After `split`.
    pub(crate) fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// The program and its words. `download` is the path of the file that was downloaded; an action with `download` needs one.
    pub(crate) fn argv(&self, download: Option<&str>) -> Vec<String> {
        let run = &self.action.run;
        let mut argv = vec![run.program.clone()];
        for word in &run.words {
            match word {
                Word::Text(text) => argv.push(text.clone()),
                Word::Arguments => argv.extend_from_slice(&self.arguments),
                Word::Download { before, after } => {
                    argv.extend(download.map(|path| format!("{before}{path}{after}")));
                }
            }
        }
        argv
    }
}
