//! Job documents: what is made of those that are right, and what is said of the others.

mod properties;

use serde_json::{Value, json};

use super::fuzzing::actions;
use super::*;

const URL: &str = "https://models.s3.eu-west-1.amazonaws.com/m.bin?X=1";
const SUM: &str = "abababababababababababababababababababababababababababababababAB";

fn planned(document: &Value) -> Plan {
    plan(&document.to_string(), &actions()).unwrap_or_else(|why| panic!("{document}: {why:?}"))
}

/// The program and words of each step that runs something.
fn argvs(document: &Value) -> Vec<Vec<String>> {
    let argv = |step: &Step| match &step.work {
        Work::Run { invocation, .. } => Some(invocation.argv(Some("/file"))),
        Work::Reload | Work::Diagnose | Work::Rotate => None,
    };
    planned(document).steps.iter().filter_map(argv).collect()
}

fn refused(document: &str) -> (bool, String) {
    match plan(document, &actions()) {
        Ok(plan) => panic!("{document}: {plan:?}"),
        Err(Unplanned::NoAction(fault)) => (true, fault.to_string()),
        Err(Unplanned::Rejected(fault)) => (false, fault.to_string()),
    }
}

fn rejected(document: &Value) -> String {
    let (is_free, text) = refused(&document.to_string());
    assert!(!is_free, "{text}");
    text
}

fn steps(actions: &[Value]) -> Value {
    let steps: Vec<Value> = actions.iter().map(|action| json!({"action": action})).collect();
    json!({"version": "1.0", "steps": steps})
}

fn handler(handler: &str, args: &[&str]) -> Value {
    let input = json!({"handler": handler, "args": args, "path": "/tmp/evil"});
    json!({"name": "Step", "type": "runHandler", "input": input})
}

fn command(command: &str) -> Value {
    json!({"name": "Step", "type": "runCommand", "input": {"command": command}})
}

#[test]
fn a_managed_template_passes_all_names_in_one_argument() {
    let mut action = handler("restart-services.sh", &["zigbee2mqtt nodered  zigbee2mqtt "]);
    action["runAsUser"] = json!("root");
    let expected = ["/usr/bin/systemctl", "restart", "--", "zigbee2mqtt", "nodered", "zigbee2mqtt"];
    assert_eq!(argvs(&steps(&[action.clone()])), [expected]);
    // Empty or missing is no user.
    for user in [json!(""), json!(null)] {
        action["runAsUser"] = user;
        assert_eq!(argvs(&steps(&[action.clone()])), [expected]);
    }
    action["runAsUser"] = json!("pi");
    assert_eq!(rejected(&steps(&[action])), "steps[0].action.runAsUser: this action doesn't run as \"pi\" but as root");
}

#[test]
fn the_flat_form_names_an_action_or_its_handler() {
    let expected = ["/usr/bin/systemctl", "restart", "--", "nodered"];
    for operation in ["restart", "restart-services.sh"] {
        let document = json!({"operation": operation, "args": ["nodered"], "path": "/tmp", "includeStdOut": "true", "allowStdErr": 2});
        assert_eq!(argvs(&document), [expected]);
        let step = &planned(&document).steps[0];
        assert_eq!((step.name.as_str(), step.shows_stdout, step.allowed_stderr_lines), (operation, true, Some(2)));
        assert_eq!((step.ignores_failure, step.is_final), (false, false));
    }
    assert_eq!(argvs(&json!({"operation": "reboot"})), [["/usr/bin/systemctl", "reboot"]]);
    assert_eq!(
        argvs(&json!({"operation": "reboot", "args": null, "version": "1.0"})),
        [["/usr/bin/systemctl", "reboot"]]
    );
}

#[test]
fn steps_are_done_in_their_order_and_the_final_one_last() {
    let mut first = handler("anything.sh", &["a b", ""]);
    first["ignoreStepFailure"] = json!("true");
    first["allowStdErr"] = json!(0);
    let mut document = steps(&[first, command("restart,nodered"), command("gatewire:reload")]);
    document["finalStep"] = json!({"action": handler("reboot.sh", &[])});
    document["includeStdOut"] = json!(true);
    let plan = planned(&document);
    let told: Vec<_> =
        plan.steps.iter().map(|step| (step.ignores_failure, step.allowed_stderr_lines, step.is_final)).collect();
    assert_eq!(told, [(true, Some(0), false), (false, None, false), (false, None, false), (false, None, true)]);
    assert!(plan.steps.iter().all(|step| step.shows_stdout));
    assert_eq!(plan.steps[2].work, Work::Reload);
    let argvs = argvs(&document);
    assert_eq!(argvs[0], ["/bin/echo", "a b", "", "end", "a b", ""]);
    assert_eq!(argvs[2], ["/usr/bin/systemctl", "reboot"]);
}

#[test]
fn a_command_is_split_at_commas_alone() {
    let words = |text: &str| match &planned(&steps(&[command(text)])).steps[0].work {
        Work::Run { invocation, .. } => invocation.arguments().to_vec(),
        other => panic!("{other:?}"),
    };
    assert_eq!(words("anything,a\\,b,c d,;rm -rf /,\\x,"), ["a,b", "c d", ";rm -rf /", "\\x", ""]);
    assert_eq!(words("anything"), [""; 0]);
    // The handler isn't what a command begins with, nor is a path.
    for text in
        ["restart-services.sh,nodered", "/bin/echo,a", "echo", ",anything", "anything a", " anything", "anything\\,a"]
    {
        let (is_free, text) = refused(&steps(&[command(text)]).to_string());
        assert!(is_free && text.starts_with("steps[0].action.input.command: no action is called \""), "{text}");
    }
}

#[test]
fn what_no_action_takes_is_told_from_what_is_wrong() {
    for (document, expected) in [
        (json!([1]), "no action takes a document that is an array, not an object"),
        (json!({"job": "mine"}), "no action takes a document that has neither `operation` nor `steps`"),
        (json!({"version": "3", "tasks": []}), "no action takes a document that has neither"),
        (json!({"operation": "mine"}), "operation: no action is called \"mine\""),
        (
            steps(&[handler("mine.sh", &[]), command("mine")]),
            "steps[0].action.input.handler: no action has the handler \"mine.sh\"",
        ),
        (json!({"operation": "gatewire:update"}), "operation: no action is called \"gatewire:update\""),
    ] {
        let (is_free, text) = refused(&document.to_string());
        assert!(is_free && text.starts_with(expected), "{text}");
    }
    // No program is offered a rotation: it would wait for ever for one that knows what to do with the key.
    let rotation = json!({"operation": "ROTATE_CERTIFICATE"});
    assert!(rejected(&rotation).starts_with("operation: the certificate and its key were put there by hand"));
    // In part it is nobody's.
    let partly = steps(&[handler("reboot.sh", &[]), handler("rm.sh", &["-rf", "/"])]);
    assert_eq!(rejected(&partly), "steps[1].action.input.handler: no action has the handler \"rm.sh\"");
    // A handler isn't a name, nor a path.
    for name in ["restart", "/bin/sh", "../restart-services.sh", "RESTART-SERVICES.SH", "gatewire"] {
        assert!(refused(&steps(&[handler(name, &[])]).to_string()).0, "{name}");
    }
}

#[test]
fn what_is_asked_for_is_known_though_it_is_rejected() {
    let unknown = json!({"name": "a", "type": "runHandler", "input": {"handler": "unknown.sh"}});
    let wrong =
        json!({"name": "b", "type": "runHandler", "input": {"handler": "restart-services.sh", "args": ["sshd"]}});
    for (document, expected) in [
        (json!({"operation": "restart", "args": ["sshd"]}), Some("restart")),
        (json!({"operation": "restart-services.sh", "args": ["sshd"]}), Some("restart")),
        (json!({"operation": "gatewire:reload", "args": ["x"]}), Some("gatewire:reload")),
        (json!({"operation": "unknown"}), None),
        (json!({"operation": 5}), None),
        (json!([]), None),
        (json!({"version": "1.0", "steps": [{"action": unknown}, {"action": wrong}]}), Some("restart")),
    ] {
        assert!(plan(&document.to_string(), &actions()).is_err(), "{document}");
        assert_eq!(asked_for(&document.to_string(), &actions()).as_deref(), expected, "{document}");
    }
}

#[test]
fn a_fault_names_its_place() {
    let step = |change: &dyn Fn(&mut Value)| {
        let mut action = handler("anything.sh", &[]);
        change(&mut action);
        steps(&[handler("reboot.sh", &[]), action])
    };
    let many: Vec<Value> = (0..21).map(|_| handler("reboot.sh", &[])).collect();
    for (document, expected) in [
        (json!({"version": "2.0", "steps": []}), "version: \"2.0\" isn't a version that is known; that is \"1.0\""),
        (json!({"version": 1.0, "steps": []}), "version: it must be a string, not a number"),
        (json!({"steps": [1]}), "version: it is missing"),
        (json!({"version": "1.0"}), "steps: it is missing"),
        (json!({"version": "1.0", "steps": []}), "steps: it must hold at least one step"),
        (json!({"version": "1.0", "steps": {}}), "steps: it must be an array, not an object"),
        (json!({"version": "1.0", "steps": [5]}), "steps[0]: it must be an object, not a number"),
        (json!({"version": "1.0", "steps": [null]}), "steps[0]: it must be an object, not null"),
        (json!({"version": "1.0", "steps": [{}]}), "steps[0].action: it is missing"),
        (steps(&many), "steps: it has 21 steps, at most 20 are taken"),
        (step(&|action| action["name"] = json!(null)), "steps[1].action.name: it is missing"),
        (step(&|action| action["name"] = json!("")), "steps[1].action.name: it must not be empty"),
        (
            step(&|action| action["type"] = json!("runScript")),
            "steps[1].action.type: \"runScript\" isn't known; there are",
        ),
        (step(&|action| action["type"] = json!(null)), "steps[1].action.type: it is missing"),
        (step(&|action| action["type"] = json!("runCommand")), "steps[1].action.input.command: it is missing"),
        (step(&|action| action["input"] = json!("x")), "steps[1].action.input: it must be an object, not a string"),
        (step(&|action| action["input"] = json!({})), "steps[1].action.input.handler: it is missing"),
        (
            step(&|action| action["input"]["args"] = json!("a")),
            "steps[1].action.input.args: it must be an array, not a string",
        ),
        (
            step(&|action| action["input"]["args"] = json!(["a", 5])),
            "steps[1].action.input.args[1]: it must be a string, not a number",
        ),
        (
            step(&|action| action["input"]["args"] = json!(["a", null])),
            "steps[1].action.input.args[1]: it must be a string, not null",
        ),
        (
            step(&|action| action["input"]["args"] = json!(["a\u{0}"])),
            "steps[1].action.input.args[0]: it has a control character, U+0000",
        ),
        (
            step(&|action| action["input"]["args"] = json!(["a", "b\n"])),
            "steps[1].action.input.args[1]: it has a control character, U+000A",
        ),
        (
            step(&|action| action["input"]["args"] = json!(vec!["x"; 33])),
            "steps[1].action.input.args[32]: the action \"anything\" takes at most 32 arguments (`max_args`)",
        ),
        (
            step(&|action| action["runAsUser"] = json!(5)),
            "steps[1].action.runAsUser: it must be a string, not a number",
        ),
        (
            step(&|action| action["runAsUser"] = json!("root")),
            "steps[1].action.runAsUser: this action doesn't run as \"root\" but as gatewire",
        ),
        (
            step(&|action| action["allowStdErr"] = json!(-1)),
            "steps[1].action.allowStdErr: it must be a whole number, and not negative",
        ),
        (
            step(&|action| action["allowStdErr"] = json!(1.5)),
            "steps[1].action.allowStdErr: it must be a whole number, and not negative",
        ),
        (
            step(&|action| action["allowStdErr"] = json!("x")),
            "steps[1].action.allowStdErr: it must be a whole number, not a string",
        ),
        (
            step(&|action| action["ignoreStepFailure"] = json!("yes")),
            "steps[1].action.ignoreStepFailure: it must be \"true\" or \"false\", not \"yes\"",
        ),
        (
            steps(&[handler("restart-services.sh", &["nodered sshd"])]),
            "steps[0].action.input.args[0]: \"sshd\" doesn't match `args` of the action \"restart\"",
        ),
        (
            steps(&[handler("restart-services.sh", &["nodered\nsshd"])]),
            "steps[0].action.input.args[0]: it has a control character",
        ),
        (
            steps(&[handler("restart-services.sh", &["nodered nodered nodered nodered"])]),
            "steps[0].action.input.args[0]: the action \"restart\" takes at most 3 arguments",
        ),
        (
            steps(&[handler("reboot.sh", &["now"])]),
            "steps[0].action.input.args[0]: the action \"reboot\" takes no arguments",
        ),
        (steps(&[command("restart,sshd")]), "steps[0].action.input.command: \"sshd\" doesn't match `args`"),
        (steps(&[command("gatewire:reload,now")]), "steps[0].action.input.command: this operation takes no arguments"),
        (
            json!({"version": "1.0", "steps": [{"action": handler("reboot.sh", &[])}], "finalStep": {}}),
            "finalStep.action: it is missing",
        ),
        (
            json!({"version": "1.0", "steps": [{"action": handler("reboot.sh", &[])}], "conditions": [{"key": "x"}]}),
            "conditions: conditions aren't understood",
        ),
        (json!({"operation": 5}), "operation: it must be a string, not a number"),
        (json!({"operation": ""}), "operation: it must not be empty"),
        (json!({"operation": "reboot", "steps": []}), "steps: it can't stand beside `operation`"),
        (json!({"operation": "reboot", "version": "2.0"}), "version: \"2.0\" isn't a version"),
        (json!({"operation": "restart", "args": ["nodered", "sshd"]}), "args[1]: \"sshd\" doesn't match"),
        (json!({"operation": "restart", "args": {}}), "args: it must be an array, not an object"),
        (json!({"operation": "restart", "url": URL}), "url: the action \"restart\" downloads nothing"),
        (json!({"operation": "reboot", "includeStdOut": 1}), "includeStdOut: it must be true or false, not a number"),
    ] {
        let said = rejected(&document);
        assert!(said.starts_with(expected), "{document}\n{said}\n{expected}");
    }
}

#[test]
fn a_text_that_can_be_read_in_two_ways_is_refused() {
    let big = format!("{{\"operation\":\"reboot\",\"x\":\"{}\"}}", "x".repeat(32 * 1024));
    for (text, expected) in [
        ("", "it isn't JSON: EOF while parsing a value, in line 1, column 0"),
        ("{\"operation\":", "it isn't JSON: EOF while parsing a value, in line 1, column 13"),
        ("{\"operation\":\"reboot\"}x", "it isn't JSON: trailing characters, in line 1, column 23"),
        ("{\"operation\":\"\u{1}\"}", "it isn't JSON: control character"),
        ("{\"operation\":\"restart\",\"operation\":\"reboot\"}", "operation: it is there twice"),
        ("{\"operation\":\"reboot\",\"x\":[{\"a\\n\":1,\"a\\n\":2}]}", "x[0].a\\n: it is there twice"),
        (
            "{\"version\":\"1.0\",\"steps\":[{\"action\":{\"name\":\"a\",\"name\":\"b\"}}]}",
            "steps[0].action.name: it is there twice",
        ),
        (&big, "the document is 32797 bytes long, at most 32768 are taken"),
    ] {
        let (is_free, said) = refused(text);
        assert!(!is_free && said.starts_with(expected), "{said}");
    }
    let nested =
        |levels: usize| format!("{{\"operation\":\"reboot\",\"x\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    assert!(plan(&nested(31), &actions()).is_ok());
    for levels in [32, 200, 15_000] {
        let (is_free, said) = refused(&nested(levels));
        assert!(
            !is_free && said.starts_with("x[0][0]") && said.ends_with(": it is nested too deeply, more than 32 levels"),
            "{said}"
        );
    }
}

#[test]
fn a_file_is_downloaded_from_allowed_hosts_with_its_sum_alone() {
    let wanted = |document: &Value| match &planned(document).steps[0].work {
        Work::Run { invocation, download } => (download.clone().unwrap(), invocation.arguments().to_vec()),
        other => panic!("{other:?}"),
    };
    let mut sha256 = [0xab; 32];
    sha256[31] = 0xab;
    let file = Wanted { url: Url::parse(URL).unwrap(), sha256 };
    let of_aws = |args: &[&str]| steps(&[handler("download-file.sh", args)]);
    let with_sum = format!("{URL}#sha256={SUM}");
    let in_input = |input: Value| steps(&[json!({"name": "n", "type": "runHandler", "input": input})]);
    for (document, arguments) in [
        (json!({"operation": "fetch-model", "url": URL, "sha256": SUM}), &[][..]),
        (json!({"operation": "fetch-model", "url": URL, "sha256": SUM, "args": ["/srv/x"]}), &["/srv/x"]),
        (json!({"operation": "fetch-model", "url": with_sum}), &[]),
        (of_aws(&[URL, "/srv/x", SUM]), &["/srv/x"]),
        (of_aws(&[URL, SUM]), &[]),
        (of_aws(&[&with_sum, "/srv/x"]), &["/srv/x"]),
        (in_input(json!({"handler": "download-file.sh", "url": URL, "sha256": SUM, "args": ["/srv/x"]})), &["/srv/x"]),
        (steps(&[command(&format!("fetch-model,{URL},/srv/x,{SUM}"))]), &["/srv/x"]),
    ] {
        let (found, given) = wanted(&document);
        assert_eq!(
            (&found, &given[..]),
            (&file, &arguments.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()[..]),
            "{document}"
        );
    }
    let other = |url: &str| json!({"operation": "fetch-model", "url": url, "sha256": SUM});
    for (document, expected) in [
        (json!({"operation": "fetch-model", "sha256": SUM}), "url: it is missing: the action downloads a file"),
        (
            json!({"operation": "fetch-model", "url": URL}),
            "sha256: it is missing: a file is only downloaded if its SHA-256 is known",
        ),
        (
            json!({"operation": "fetch-model", "url": URL, "sha256": "abc"}),
            "sha256: it must have 64 hexadecimal digits",
        ),
        (
            json!({"operation": "fetch-model", "url": URL, "sha256": SUM.replace('a', "ä").replace("bä", "")}),
            "sha256: it must have 64",
        ),
        (
            json!({"operation": "fetch-model", "url": format!("{URL}#sha256=12")}),
            "url: behind `#sha256=` there must be 64",
        ),
        (other("http://a.s3.eu-west-1.amazonaws.com/x"), "url: it must begin with https://"),
        (other("https://example.com/x"), "url: its host example.com isn't in download.hosts of the action"),
        (other("https://a.s3.eu-west-1.amazonaws.com@example.com/x"), "url: it has a user name before the host"),
        (other("https://s3.eu-west-1.amazonaws.com/x"), "url: its host s3.eu-west-1.amazonaws.com isn't in"),
        (of_aws(&[URL, "/srv/x"]), "steps[0].action.input.sha256: it is missing"),
        (of_aws(&[]), "steps[0].action.input.url: it is missing"),
        (of_aws(&["/srv/x", URL, SUM]), "steps[0].action.input.args[0]: it isn't a URL such as"),
        (of_aws(&[URL, "/etc/passwd", SUM]), "steps[0].action.input.args[1]: \"/etc/passwd\" doesn't match `args`"),
        (of_aws(&[&with_sum, "/srv/x", SUM]), "steps[0].action.input.args[2]: \"abababab"),
    ] {
        let said = rejected(&document);
        assert!(said.starts_with(expected), "{document}\n{said}\n{expected}");
    }
}
