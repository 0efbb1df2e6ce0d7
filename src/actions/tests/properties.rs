//! Documents that nobody wrote.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::actions::fuzzing::{check, job_document};

/// A value that looks like a part of a document.
fn piece() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        select(vec![
            "1.0",
            "restart",
            "restart-services.sh",
            "anything.sh",
            "anything",
            "runHandler",
            "runCommand",
            "root",
            "true",
            "nodered",
            "nodered zigbee2mqtt",
            "reboot.sh",
            "download-file.sh",
            "fetch-model",
            URL,
            SUM,
            "/srv/x",
            "gatewire:reload",
            "anything,--,-rf",
            "{{args}}",
            "{{download}}",
            "--",
            "$(reboot)",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ];
    let leaf = prop_oneof![8 => text.prop_map(Value::from), 1 => any::<i64>().prop_map(Value::from), 1 => Just(Value::Null), 1 => any::<bool>().prop_map(Value::from)];
    leaf.prop_recursive(5, 60, 8, |inner| {
        let key = select(vec![
            "version",
            "steps",
            "finalStep",
            "action",
            "name",
            "type",
            "input",
            "handler",
            "args",
            "command",
            "path",
            "runAsUser",
            "operation",
            "url",
            "sha256",
            "allowStdErr",
            "includeStdOut",
            "ignoreStepFailure",
            "conditions",
            "x",
        ]);
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((key, inner), 0..6)
                .prop_map(|members| members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

fn argument() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => select(vec!["nodered", "zigbee2mqtt", "nodered zigbee2mqtt", "", " ", "--", "-rf", "{{args}}", "{{download}}", "/srv/x", URL, SUM]).prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_run_but_what_is_configured(
        name in select(vec!["restart-services.sh", "anything.sh", "reboot.sh", "download-file.sh"]),
        args in vec(argument(), 0..6),
        user in select(vec!["", "root", "gatewire", "pi"]),
    ) {
        let mut action = handler(name, &[]);
        action["input"]["args"] = json!(args);
        action["runAsUser"] = json!(user);
        let known = actions();
        if let Ok(plan) = plan(&steps(&[action]).to_string(), &known) {
            plan.steps.iter().for_each(|step| check(&step.work, &known));
            let Work::Run { invocation, .. } = &plan.steps[0].work else { panic!("{:?}", plan.steps) };
            prop_assert_eq!(invocation.action().handler.as_deref(), Some(name));
            let own = if invocation.action().runs_as == RunsAs::Root { "root" } else { "gatewire" };
            prop_assert!(user.is_empty() || user == own);
        }
    }

    #[test]
    fn no_document_makes_it_panic(document in piece(), cut in any::<prop::sample::Index>()) {
        let text = document.to_string();
        job_document(text.as_bytes());
        let mut whole = steps(&[handler("anything.sh", &["a"])]);
        whole["steps"][0]["action"]["input"] = document;
        job_document(whole.to_string().as_bytes());
        job_document(&text.as_bytes()[..cut.index(text.len() + 1)]);
    }

    #[test]
    fn an_action_takes_again_what_it_took(args in vec(argument(), 0..6)) {
        let known = actions();
        for action in known.iter() {
            if let Ok(invocation) = Invocation::new(action, args.iter().map(String::as_str)) {
                let again = Invocation::new(action, invocation.arguments().iter().map(String::as_str));
                prop_assert_eq!(again, Ok(invocation));
            }
        }
    }
}
