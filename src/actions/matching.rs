//! What a step asks for, and the action that takes it.

use std::sync::Arc;

use super::json::At;
use super::plan::{DocumentFault, Wanted, Work};
use super::{Action, Actions, Download, Invocation, ROTATE, RunsAs, Url, shown};

/// What a step asks for.
pub(super) struct Call<'j> {
    /// Where what names the action stands.
    at: At<'j>,
    name: Name<'j>,
    arguments: Vec<Argument<'j>>,
    url: At<'j>,
    sha256: At<'j>,
    /// The user that the document asks for, and where it stands.
    user: Option<(At<'j>, &'j str)>,
}

/// How an action is named.
enum Name<'j> {
    /// By `operation`: its name or its handler.
    Operation(&'j str),
    /// By the `handler` of AWS's managed templates.
    Handler(&'j str),
    /// By the first word of a command: its name.
    Command(String),
}

/// An argument as it is given, and its place.
struct Argument<'j> {
    text: std::borrow::Cow<'j, str>,
    path: String,
}

/// What takes a step.
pub(super) enum Found<'a> {
    Action(&'a Arc<Action>),
    Reload,
    Diagnose,
    Rotate,
}

impl<'j> Call<'j> {
    /// The flat form: all of it stands in `root`.
    pub(super) fn of_operation(at: At<'j>, name: &'j str, root: &At<'j>) -> Result<Call<'j>, DocumentFault> {
        Call::of(at, Name::Operation(name), root, None)
    }

    pub(super) fn of_handler(input: &At<'j>, user: Option<(At<'j>, &'j str)>) -> Result<Call<'j>, DocumentFault> {
        let at = input.get("handler");
        let name = Name::Handler(at.word()?);
        Call::of(at, name, input, user)
    }

    fn of(
        at: At<'j>,
        name: Name<'j>,
        input: &At<'j>,
        user: Option<(At<'j>, &'j str)>,
    ) -> Result<Call<'j>, DocumentFault> {
        let args = input.get("args");
        let argument = |at: &At<'j>| Ok(Argument { text: at.text()?.into(), path: at.path.clone() });
        let arguments = args.optional(At::items)?.unwrap_or_default();
        let arguments = arguments.iter().map(argument).collect::<Result<Vec<_>, DocumentFault>>()?;
        Ok(Call { at, name, arguments, url: input.get("url"), sha256: input.get("sha256"), user })
    }

    /// Whether it is for gatewire and nobody else, with an identity that gatewire hasn't made itself too.
    pub(super) fn is_rotation(&self) -> bool {
        matches!(self.name, Name::Operation(ROTATE))
    }

    pub(super) fn of_command(input: &At<'j>, user: Option<(At<'j>, &'j str)>) -> Result<Call<'j>, DocumentFault> {
        let at = input.get("command");
        let mut words = words(at.word()?).into_iter();
        let name = Name::Command(words.next().unwrap_or_default());
        let argument = |word: String| Argument { text: word.into(), path: at.path.clone() };
        let arguments = words.map(argument).collect();
        Ok(Call { at, name, arguments, url: input.get("url"), sha256: input.get("sha256"), user })
    }
}

/// The words between commas, with `\,` for a comma.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut chars = command.chars().peekable();
    while let Some(c) = chars.next() {
        let word = match c {
            ',' => {
                words.push(String::new());
                continue;
            }
            '\\' => chars.next_if_eq(&',').unwrap_or('\\'),
            c => c,
        };
        words.last_mut().unwrap_or(&mut String::new()).push(word);
    }
    words
}

/// What takes the step.
///
/// # Errors
/// Nothing does.
pub(super) fn found<'a>(call: &Call<'_>, actions: &'a Actions) -> Result<Found<'a>, DocumentFault> {
    let (name, action) = match &call.name {
        Name::Operation(name) => (*name, actions.named(name).or_else(|| actions.of_handler(name))),
        Name::Handler(name) => (*name, actions.of_handler(name)),
        Name::Command(name) => (name.as_str(), actions.named(name)),
    };
    match (name, action, &call.name) {
        ("gatewire:reload", ..) => Ok(Found::Reload),
        ("gatewire:diagnose", ..) => Ok(Found::Diagnose),
        (_, Some(action), _) => Ok(Found::Action(action)),
        (ROTATE, None, Name::Operation(_)) if actions.rotate() => Ok(Found::Rotate),
        (ROTATE, None, Name::Operation(_)) => Err(call.at.fault(
            "the certificate and its key were put there by hand (`tls.cert_file`, `tls.key_file`): gatewire only rotates those that \
             it has made itself, with [provisioning]",
        )),
        (name, None, Name::Handler(_)) => Err(call.at.fault(format!("no action has the handler \"{}\"", shown(name)))),
        (name, None, _) => Err(call.at.fault(format!("no action is called \"{}\"", shown(name)))),
    }
}

/// What is to be done for the step.
///
/// # Errors
/// It asks for another user, for arguments that the action doesn't take, or for a file that it may not have.
pub(super) fn matched(call: &Call<'_>, found: Found<'_>) -> Result<Work, DocumentFault> {
    let users: &[&str] = match &found {
        Found::Action(action) if action.runs_as == RunsAs::Root => &["root"],
        _ => &["gatewire"],
    };
    if let Some((at, name)) = call.user.as_ref().filter(|(_, name)| !users.contains(name)) {
        let text = format!("this action doesn't run as \"{}\" but as {}", shown(name), users[0]);
        return Err(at.fault(text));
    }
    let action = match found {
        Found::Action(action) => action,
        built_in => {
            if let Some(first) = call.arguments.first() {
                return Err(DocumentFault {
                    path: first.path.clone(),
                    text: "this operation takes no arguments".to_owned(),
                });
            }
            return Ok(match built_in {
                Found::Reload => Work::Reload,
                Found::Rotate => Work::Rotate,
                Found::Diagnose | Found::Action(_) => Work::Diagnose,
            });
        }
    };
    let mut arguments: Vec<&Argument<'_>> = call.arguments.iter().collect();
    let download = match &action.download {
        Some(download) => Some(wanted(call, download, &mut arguments)?),
        None => {
            if let Some(at) = [&call.url, &call.sha256].into_iter().find(|at| at.is_there()) {
                return Err(at.fault(format!("the action \"{}\" downloads nothing", action.name)));
            }
            None
        }
    };
    let invocation = Invocation::new(action, arguments.iter().map(|argument| &*argument.text)).map_err(|refused| {
        let path = arguments.get(refused.argument).map_or_else(String::new, |argument| argument.path.clone());
        DocumentFault { path, text: refused.text }
    })?;
    Ok(Work::Run { invocation, download })
}

/// The file that a step wants.
///
/// Without `url` it is as for AWS's `download-file.sh`: the first argument is the URL. Its SHA-256 is `sha256`, or stands behind the URL
/// as `#sha256=...`, or is the last argument. What else there is are the arguments of the action.
fn wanted(call: &Call<'_>, download: &Download, arguments: &mut Vec<&Argument<'_>>) -> Result<Wanted, DocumentFault> {
    let is_of_aws = !call.url.is_there();
    let (text, path) = match is_of_aws {
        false => (call.url.word()?, call.url.path.clone()),
        true if arguments.is_empty() => return Err(call.url.fault("it is missing: the action downloads a file")),
        true => {
            let first = arguments.remove(0);
            (&*first.text, first.path.clone())
        }
    };
    let url = Url::parse(text).and_then(|url| url.allowed(&download.hosts));
    let url = url.map_err(|why| DocumentFault { path: path.clone(), text: why.to_string() })?;
    let fragment = text.split_once('#').map_or("", |(_, fragment)| fragment);
    let last = arguments.last().and_then(|argument| sha256(&argument.text));
    let sha256 = match (fragment.strip_prefix("sha256="), last.filter(|_| is_of_aws)) {
        _ if call.sha256.is_there() => {
            let sum = call.sha256.word()?;
            sha256(sum).ok_or_else(|| call.sha256.fault("it must have 64 hexadecimal digits"))?
        }
        (Some(sum), _) => sha256(sum).ok_or_else(|| DocumentFault {
            path,
            text: "behind `#sha256=` there must be 64 hexadecimal digits".to_owned(),
        })?,
        (None, Some(sum)) => {
            arguments.pop();
            sum
        }
        (None, None) => {
            return Err(call.sha256.fault("it is missing: a file is only downloaded if its SHA-256 is known"));
        }
    };
    Ok(Wanted { url, sha256 })
}

fn sha256(text: &str) -> Option<[u8; 32]> {
    let mut sum = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, digits) in sum.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(digits[0])? << 4 | digit(digits[1])?).ok()?;
    }
    Some(sum)
}
