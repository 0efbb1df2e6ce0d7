//! Job documents of anything, with actions of all kinds.

use super::{Actions, Unplanned, Word, Work, plan};
use crate::config::fuzzing::configured;
use crate::printable::printable;

/// Takes an action of each kind.
const CONFIGURATION: &str = r#"
connection = { endpoint = "localhost", client_id = "gw-1" }
jobs = {}

[[action]]
name = "restart"
handler = "restart-services.sh"
split = true
args = "(zigbee2mqtt|nodered)"
max_args = 3
run = ["/usr/bin/systemctl", "restart", "--", "{{args}}"]
as = "root"

[[action]]
name = "anything"
handler = "anything.sh"
args = '(?s).*'
max_args = 32
run = ["/bin/echo", "{{args}}", "end", "{{args}}"]

[[action]]
name = "reboot"
handler = "reboot.sh"
run = ["/usr/bin/systemctl", "reboot"]
as = "root"
done = "after-boot"

[[action]]
name = "fetch-model"
handler = "download-file.sh"
args = '/srv/[a-z]+'
run = ["/usr/local/bin/install-model", "--file={{download}}", "{{args}}"]
download = { hosts = ["*.s3.eu-west-1.amazonaws.com", "192.0.2.1"], max_size = "1 MiB" }
"#;

/// The actions that documents are matched with.
pub(crate) fn actions() -> Actions {
    configured(CONFIGURATION).actions
}

/// A document becomes a plan, or is refused in words that can be shown. Whatever it says, nothing is run but what is configured.
pub fn job_document(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let actions = actions();
    match plan(text, &actions) {
        Ok(plan) => {
            assert!((1..=21).contains(&plan.steps.len()));
            assert!(plan.steps.iter().rev().skip(1).all(|step| !step.is_final));
            plan.steps.iter().for_each(|step| check(&step.work, &actions));
        }
        Err(Unplanned::NoAction(fault) | Unplanned::Rejected(fault)) => {
            let said = fault.to_string();
            assert!(!fault.text.is_empty() && printable(&said) == said, "{said:?}");
        }
    }
}

/// That the work is one of a configured action, with arguments that it takes.
pub(super) fn check(work: &Work, actions: &Actions) {
    let Work::Run { invocation, download } = work else { return };
    let (action, arguments) = (invocation.action(), invocation.arguments());
    assert!(actions.iter().any(|known| known == action));
    assert!(arguments.len() <= action.max_arguments);
    for argument in arguments {
        assert!(action.arguments.as_ref().is_some_and(|pattern| pattern.matches(argument)));
        assert!(!(argument.contains(char::is_control) || action.split && argument.contains(' ')));
    }
    assert_eq!(download.is_some(), action.download.is_some());
    if let Some((wanted, allowed)) = download.as_ref().zip(action.download.as_ref()) {
        assert!(allowed.hosts.iter().any(|host| host.matches(wanted.url.host())), "{}", wanted.url);
    }
    // The words of the action, in its order, and between them only the arguments.
    let argv = invocation.argv(Some("/file"));
    let mut rest = argv.iter();
    assert_eq!(rest.next(), Some(&action.run.program));
    for word in &action.run.words {
        match word {
            Word::Text(text) => assert_eq!(rest.next(), Some(text)),
            Word::Arguments => arguments.iter().for_each(|argument| assert_eq!(rest.next(), Some(argument))),
            Word::Download { before, after } => assert_eq!(rest.next(), Some(&format!("{before}/file{after}"))),
        }
    }
    assert_eq!(rest.next(), None);
}
