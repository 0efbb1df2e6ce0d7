//! A job document of either form that AWS has, taken apart.
//!
//! The flat form is `{"operation":"restart","args":["nodered"]}`: the operation is an action's name, or its handler. That of AWS's
//! managed templates has `"version":"1.0"`, 1 to 20 `steps` and perhaps a `finalStep`, each an `action` with `name`, `type`, `input`,
//! and perhaps `runAsUser`. Its `type` is `runHandler`, whose `input` has the `handler` of an action and `args`, or `runCommand`, whose
//! `input.command` has words between commas (`\,` for a comma within one), the first of which is an action's name.
//!
//! `path` is ignored, as are fields that aren't known, and null is as good as nothing. Documents of more than 32 KiB, with a key
//! twice in an object, or nested more than 32 levels deep are refused whatever they hold.

use super::json::{At, Json, parse};
use super::matching::{Call, Found, found, matched};
use super::plan::{DocumentFault, Plan, Step, Unplanned};
use super::{Actions, ROTATE, shown};

/// The largest document, in bytes.
const MAX_DOCUMENT: usize = 32 * 1024;

/// The most steps, without the final one.
const MAX_STEPS: usize = 20;

/// The version of the form with steps.
const VERSION: &str = "1.0";

/// What is to be done for a job with this document.
///
/// # Errors
/// No action takes it, or something is wrong with it: then nothing of it may be done.
pub(crate) fn plan(document: &str, actions: &Actions) -> Result<Plan, Unplanned> {
    if document.len() > MAX_DOCUMENT {
        let text = format!("the document is {} bytes long, at most {MAX_DOCUMENT} are taken", document.len());
        return Err(Unplanned::Rejected(DocumentFault { path: String::new(), text }));
    }
    let json = parse(document).map_err(Unplanned::Rejected)?;
    let described = described(&json)?;
    // All that no action takes is told apart from what is wrong in part.
    let found: Vec<_> = described.iter().map(|step| found(&step.call, actions)).collect();
    if let Some(fault) = found.iter().find_map(|found| found.as_ref().err()).cloned() {
        let is_ours = described.iter().any(|step| step.call.is_rotation());
        return Err(match !is_ours && found.iter().all(Result::is_err) {
            true => Unplanned::NoAction(fault),
            false => Unplanned::Rejected(fault),
        });
    }
    let steps = described.into_iter().zip(found.into_iter().flatten());
    let steps = steps.map(|(described, found)| {
        Ok(Step {
            work: matched(&described.call, found)?,
            name: shown(described.name),
            ignores_failure: described.ignores_failure,
            shows_stdout: described.shows_stdout,
            allowed_stderr_lines: described.allowed_stderr_lines,
            is_final: described.is_final,
        })
    });
    let steps = steps.collect::<Result<Vec<Step>, DocumentFault>>().map_err(Unplanned::Rejected)?;
    Ok(Plan { steps })
}

/// What a document asks for first that there is, be it right or not: the name of an action, or of what is built in.
pub(crate) fn asked_for(document: &str, actions: &Actions) -> Option<String> {
    let json =
        Some(document).filter(|document| document.len() <= MAX_DOCUMENT).and_then(|document| parse(document).ok())?;
    let described = described(&json).ok()?;
    described.iter().find_map(|step| found(&step.call, actions).ok()).map(|found| match found {
        Found::Action(action) => action.name.clone(),
        Found::Reload => "gatewire:reload".to_owned(),
        Found::Diagnose => "gatewire:diagnose".to_owned(),
        Found::Rotate => ROTATE.to_owned(),
    })
}

/// A step as a document describes it.
struct Described<'j> {
    name: &'j str,
    call: Call<'j>,
    ignores_failure: bool,
    shows_stdout: bool,
    allowed_stderr_lines: Option<u32>,
    is_final: bool,
}

/// At least one step.
fn described(json: &Json) -> Result<Vec<Described<'_>>, Unplanned> {
    let Json::Object(_) = json else {
        let text = format!("no action takes a document that is {}, not an object", json.kind());
        return Err(Unplanned::NoAction(DocumentFault { path: String::new(), text }));
    };
    let root = At::root(json);
    let (operation, steps, version) = (root.get("operation"), root.get("steps"), root.get("version"));
    let is_our_version = version.text().is_ok_and(|version| version == VERSION);
    if !operation.is_there() && !steps.is_there() && !is_our_version {
        let text = "no action takes a document that has neither `operation` nor `steps`";
        return Err(Unplanned::NoAction(root.fault(text)));
    }
    match operation.is_there() {
        true => flat(&root).map(|step| vec![step]),
        false => with_steps(&root),
    }
    .map_err(Unplanned::Rejected)
}

fn check_version(version: &At<'_>) -> Result<(), DocumentFault> {
    match version.text()? {
        VERSION => Ok(()),
        other => {
            Err(version.fault(format!("\"{}\" isn't a version that is known; that is \"{VERSION}\"", shown(other))))
        }
    }
}

fn flat<'j>(root: &At<'j>) -> Result<Described<'j>, DocumentFault> {
    if root.get("steps").is_there() {
        return Err(root.get("steps").fault("it can't stand beside `operation`"));
    }
    root.get("version").optional(check_version)?;
    check_conditions(root)?;
    let operation = root.get("operation");
    let name = operation.word()?;
    Ok(Described {
        name,
        call: Call::of_operation(operation, name, root)?,
        ignores_failure: false,
        shows_stdout: root.get("includeStdOut").flag()?,
        allowed_stderr_lines: root.get("allowStdErr").number()?,
        is_final: false,
    })
}

fn with_steps<'j>(root: &At<'j>) -> Result<Vec<Described<'j>>, DocumentFault> {
    check_version(&root.get("version"))?;
    check_conditions(root)?;
    let shows_stdout = root.get("includeStdOut").flag()?;
    let steps = root.get("steps");
    let items = steps.items()?;
    match items.len() {
        0 => return Err(steps.fault("it must hold at least one step")),
        1..=MAX_STEPS => {}
        many => return Err(steps.fault(format!("it has {many} steps, at most {MAX_STEPS} are taken"))),
    }
    let step = |at: At<'j>, is_final| step(&at.object()?.get("action").object()?, shows_stdout, is_final);
    let mut described = items.into_iter().map(|item| step(item, false)).collect::<Result<Vec<_>, _>>()?;
    let last = root.get("finalStep");
    if last.is_there() {
        described.push(step(last, true)?);
    }
    Ok(described)
}

/// They say on which machines a job is to be done, so what is ignored of them might be done on a wrong one.
fn check_conditions(root: &At<'_>) -> Result<(), DocumentFault> {
    let conditions = root.get("conditions");
    match conditions.optional(At::items)?.unwrap_or_default().is_empty() {
        true => Ok(()),
        false => Err(conditions.fault("conditions aren't understood, so that nothing is done")),
    }
}

fn step<'j>(action: &At<'j>, shows_stdout: bool, is_final: bool) -> Result<Described<'j>, DocumentFault> {
    let name = action.get("name").word()?;
    let (kind, input) = (action.get("type"), action.get("input"));
    let user = action.get("runAsUser");
    let user = user.optional(At::text)?.filter(|user| !user.is_empty()).map(|name| (user, name));
    let call = match kind.word()? {
        "runHandler" => Call::of_handler(&input.object()?, user)?,
        "runCommand" => Call::of_command(&input.object()?, user)?,
        other => {
            let text = format!("\"{}\" isn't known; there are \"runHandler\" and \"runCommand\"", shown(other));
            return Err(kind.fault(text));
        }
    };
    Ok(Described {
        name,
        call,
        ignores_failure: action.get("ignoreStepFailure").flag()?,
        shows_stdout,
        allowed_stderr_lines: action.get("allowStdErr").number()?,
        is_final,
    })
}
