use std::future::{pending, ready};
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::UnixListener;

use super::*;
use crate::actions::{Action, Pattern, Run, RunsAs, Word};

fn invocation(done: Done) -> Invocation {
    let action = Action {
        name: "restart".to_owned(),
        handler: None,
        split: false,
        arguments: Some(Pattern::new("[a-z]+").unwrap()),
        max_arguments: 8,
        run: Run { program: "/usr/bin/systemctl".to_owned(), words: vec![Word::Arguments] },
        runs_as: RunsAs::Root,
        timeout: Duration::from_secs(120),
        done,
        rerun: false,
        report_output: false,
        download: None,
    };
    Invocation::new(&Arc::new(action), ["nodered"]).unwrap()
}

fn execution() -> ExecutionId {
    "job:1".parse().unwrap()
}

/// In the place of systemd and the helper.
struct Helper {
    listener: UnixListener,
    directory: TempDir,
}

/// A connection that it was asked on.
struct Asked {
    lines: Lines<BufReader<OwnedReadHalf>>,
    answers: OwnedWriteHalf,
}

impl Helper {
    fn new() -> Helper {
        let directory = tempfile::tempdir().unwrap();
        Helper { listener: UnixListener::bind(directory.path().join("socket")).unwrap(), directory }
    }

    fn root(&self) -> Root {
        Root::at(&self.directory.path().join("socket"))
    }

    /// The next connection, and its request.
    async fn asked(&self) -> (Asked, Value) {
        let (lines, answers) = self.listener.accept().await.unwrap().0.into_split();
        let mut asked = Asked { lines: BufReader::new(lines).lines(), answers };
        let request = asked.next().await;
        (asked, request)
    }
}

impl Asked {
    /// The next line; `null` at the end.
    async fn next(&mut self) -> Value {
        self.lines.next_line().await.unwrap().map_or(Value::Null, |line| serde_json::from_str(&line).unwrap())
    }

    async fn answer(&mut self, answer: Value) {
        self.answers.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
    }
}

#[tokio::test(flavor = "local")]
async fn the_helper_is_asked_by_name_and_its_answer_is_the_end() {
    let helper = Helper::new();
    let (root, invocation, execution) = (helper.root(), invocation(Done::Exit), execution());
    let answering = async {
        let (mut asked, request) = helper.asked().await;
        assert_eq!(
            request,
            json!({ "action": "restart", "arguments": ["nodered"], "execution": "job:1", "download": "/f" })
        );
        asked.answer(json!({ "waiting": true })).await;
        asked.answer(json!({ "started": true })).await;
        asked.answer(json!({ "exit_code": 4, "stderr": "no", "stderr_lines": 1 })).await;
        let (mut asked, _) = helper.asked().await;
        asked.answer(json!({ "error": "it isn't listed" })).await;
    };
    let asking = async {
        let ended = root.run(&invocation, &execution, Some(Path::new("/f")), pending()).await;
        let expected = ProgramEnd { stderr: "no".to_owned(), stderr_lines: 1, ..ProgramEnd::silently(How::Exit(4)) };
        assert_eq!(ended, expected);
        let ended = root.run(&invocation, &execution, None, pending()).await;
        assert_eq!(ended, ProgramEnd::silently(How::NotStarted("it isn't listed".to_owned())));
    };
    tokio::join!(answering, asking);
}

#[tokio::test(flavor = "local")]
async fn what_is_cancelled_is_ended_by_the_helper() {
    let helper = Helper::new();
    let (cancel, cancelled) = tokio::sync::oneshot::channel::<()>();
    let (root, invocation, execution) = (helper.root(), invocation(Done::Exit), execution());
    let answering = async {
        let (mut asked, _) = helper.asked().await;
        asked.answer(json!({ "started": true })).await;
        drop(cancel);
        assert_eq!(asked.next().await, json!({ "cancel": true }));
        asked.answer(json!({ "cancelled": true, "stdout": "bye" })).await;
    };
    let asking = async {
        let ended = root.run(&invocation, &execution, None, async { drop(cancelled.await) }).await;
        assert_eq!(ended, ProgramEnd { stdout: "bye".to_owned(), ..ProgramEnd::silently(How::Cancelled) });
    };
    tokio::join!(answering, asking);
}

#[tokio::test(flavor = "local")]
async fn what_a_helper_that_died_has_left_is_ended_first() {
    let helper = Helper::new();
    let (root, invocation, execution) = (helper.root(), invocation(Done::Exit), execution());
    let answering = async {
        let (mut asked, _) = helper.asked().await;
        asked.answer(json!({ "started": true })).await;
        drop(asked);
        let (mut asked, request) = helper.asked().await;
        assert_eq!(request, json!({ "end_leftover": "job:1" }));
        asked.answer(json!({ "gone": true })).await;
        let (asked, _) = helper.asked().await;
        drop(asked);
        let (mut asked, _) = helper.asked().await;
        asked.answer(json!({ "error": "the process 7 doesn't end" })).await;
    };
    let asking = async {
        let how = root.run(&invocation, &execution, None, pending()).await.how;
        let How::Lost(why) = how else { panic!("{how:?}") };
        assert!(why.contains("closed the connection") && why.contains("journalctl"), "{why}");
        assert!(!why.contains("can't be ended"), "{why}");
        let how = root.run(&invocation, &execution, None, pending()).await.how;
        assert!(
            matches!(&how, How::Lost(why) if why.ends_with("can't be ended: the process 7 doesn't end")),
            "{how:?}"
        );
    };
    tokio::join!(answering, asking);
}

#[tokio::test(flavor = "local")]
async fn what_restarts_gatewire_is_left_alone() {
    let helper = Helper::new();
    let (root, invocation, execution) = (helper.root(), invocation(Done::AfterRestart), execution());
    let answering = async { drop(helper.asked().await) };
    let asking = async {
        // Nobody would answer to anything else that it asks.
        let how = root.run(&invocation, &execution, None, pending()).await.how;
        assert!(matches!(how, How::Lost(_)), "{how:?}");
    };
    tokio::join!(answering, asking);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_helper_that_says_nothing_is_given_up() {
    let helper = Helper::new();
    let (root, invocation, execution) = (helper.root(), invocation(Done::AfterBoot), execution());
    for is_cancelled in [false, true] {
        let cancelled = async {
            match is_cancelled {
                true => ready(()).await,
                false => pending().await,
            }
        };
        let how = root.run(&invocation, &execution, None, cancelled).await.how;
        assert!(matches!(&how, How::Lost(why) if why.contains("doesn't answer in time")), "{how:?}");
    }
    assert!(root.end_leftover(&execution).await.unwrap_err().contains("doesn't answer in time"));
}

#[tokio::test(flavor = "local")]
async fn without_the_socket_it_is_said_how_to_get_it() {
    let directory = tempfile::tempdir().unwrap();
    let root = Root::at(&directory.path().join("socket"));
    let (invocation, execution) = (invocation(Done::Exit), execution());
    for is_there in [false, true] {
        if is_there {
            // systemd has gone without removing it.
            drop(UnixListener::bind(directory.path().join("socket")).unwrap());
        }
        assert_eq!(root.is_there(), is_there);
        let how = root.run(&invocation, &execution, None, pending()).await.how;
        let How::NotStarted(why) = how else { panic!("{how:?}") };
        assert!(why.contains("`sudo systemctl enable --now gatewire-action.socket`"), "{why}");
    }
}
