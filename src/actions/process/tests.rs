use std::fs::{self, Permissions};
use std::future::{pending, ready};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::super::leftover::tests::{eventually, execution, is_running, pid_in, running};
use super::*;

const LONG: Duration = Duration::from_secs(60);

fn argv(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn impatient() -> Ending {
    Ending { grace: Duration::from_millis(50), ..Ending::default() }
}

async fn run_with(program: Program<'_>, cancelled: impl Future<Output = ()>, ending: &Ending) -> ProgramEnd {
    Running::start(program).unwrap().until_the_end(cancelled, ending).await
}

/// Runs it to its end, for the execution of this test.
async fn run_words(test: &str, words: &[&str]) -> ProgramEnd {
    run(Program { argv: &argv(words), execution: &execution(test), timeout: LONG }, pending()).await
}

async fn shell(test: &str, script: &str) -> ProgramEnd {
    run_words(test, &["sh", "-c", script]).await
}

/// Runs a script until it has made a file called `ready` in the directory that it finds in `$1`.
async fn until_ready(test: &str, directory: &TempDir, script: &str, ending: &Ending) -> ProgramEnd {
    let place = directory.path().to_str().unwrap();
    let argv = argv(&["sh", "-c", script, "sh", place]);
    let ready = directory.path().join("ready");
    let is_ready = eventually("the script is ready", || ready.exists().then_some(()));
    run_with(Program { argv: &argv, execution: &execution(test), timeout: LONG }, is_ready, ending).await
}

#[tokio::test(flavor = "local")]
async fn arguments_arrive_as_they_are_and_both_streams_are_told() {
    let ended = run_words("arguments", &["printf", "%s|", "$HOME; *", "", "two words"]).await;
    assert_eq!(ended, ProgramEnd { stdout: "$HOME; *||two words|".to_owned(), ..ProgramEnd::silently(How::Exit(0)) });
    assert!(ended.is_success());
    let ended = shell("arguments", "cat; pwd; echo one >&2; printf two >&2; exit 3").await;
    let expected = ProgramEnd { how: How::Exit(3), stdout: "/\n".into(), stderr: "one\ntwo".into(), stderr_lines: 2 };
    assert_eq!(ended, expected);
    assert_eq!(shell("arguments", "kill -SEGV $$").await.how, How::Signal(11));
    assert_eq!(How::Signal(11).to_string(), "was ended by signal SIGSEGV");
}

#[tokio::test(flavor = "local")]
async fn it_knows_its_execution_and_nothing_of_the_daemon() {
    let ended = run_words("environment", &["env"]).await;
    let own = execution("environment");
    let expected = [format!("GATEWIRE_EXECUTION={own}"), format!("GATEWIRE_JOB_ID={}", own.job())];
    let ours: Vec<_> = ended.stdout.lines().filter(|line| line.starts_with("GATEWIRE")).collect();
    assert_eq!(ours, expected);
    assert!(ended.stdout.contains("PATH=/") && !ended.stdout.contains("CARGO"), "{}", ended.stdout);
}

#[tokio::test(flavor = "local")]
async fn however_much_it_writes_it_never_waits() {
    let script = "head -c 10000000 /dev/zero | tr '\\0' '\\n' >&2; echo last >&2; echo done";
    let ended = shell("much", script).await;
    assert_eq!((ended.how, ended.stdout.as_str(), ended.stderr_lines), (How::Exit(0), "done\n", 10_000_001));
    // A newline is told as two characters.
    assert!(ended.stderr.ends_with("\n\nlast\n") && ended.stderr.len() == (1024 - "last".len()) / 2 + "last".len());
    // Standard error isn't left unread for the other stream, which always has something.
    let script = "yes & head -c 3000000 /dev/zero >&2; kill $!; wait; echo; echo done";
    let ended = shell("much", script).await;
    assert_eq!(ended.how, How::Exit(0));
    assert!(ended.stdout.ends_with("\ndone\n"), "{}", ended.stdout);
}

#[tokio::test(flavor = "local")]
async fn what_takes_too_long_is_ended_with_all_that_it_has_started() {
    let script = "trap '' TERM; setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' & while :; do sleep 1; done";
    let (argv, execution) = (argv(&["sh", "-c", script]), execution("too-long"));
    let program = Program { argv: &argv, execution: &execution, timeout: Duration::from_millis(300) };
    assert_eq!(run_with(program, pending(), &impatient()).await.how, How::TimedOut);
    assert_eq!(running(&execution), [0; 0]);
}

#[tokio::test(flavor = "local")]
async fn what_leaves_the_group_and_ignores_sigterm_is_killed_when_it_is_cancelled() {
    let directory = tempfile::tempdir().unwrap();
    let script = "setsid sh -c 'trap \"\" TERM; echo $$ > $0/1; while :; do sleep 1; done' $1 &
        sh -c 'trap \"\" TERM; echo $$ > $0/2; while :; do sleep 1; done' $1 &
        while [ ! -s $1/1 ] || [ ! -s $1/2 ]; do :; done
        echo writing >&2; : > $1/ready; wait";
    let ended = until_ready("leaves", &directory, script, &impatient()).await;
    assert_eq!((ended.how, ended.stderr.as_str()), (How::Cancelled, "writing\n"));
    for file in ["1", "2"] {
        assert!(!is_running(pid_in(&directory.path().join(file)).await), "{file}");
    }
}

#[tokio::test(flavor = "local")]
async fn it_may_take_its_time_to_end_and_say_so() {
    let directory = tempfile::tempdir().unwrap();
    let script =
        "trap 'head -c 1000000 /dev/zero; echo; echo bye; exit 0' TERM; : > $1/ready; while :; do sleep 0.01; done";
    let ended = until_ready("takes-its-time", &directory, script, &Ending::default()).await;
    // It was cancelled, whatever it ends with.
    assert_eq!(ended.how, How::Cancelled);
    assert!(ended.stdout.ends_with("\nbye\n"), "{ended:?}");
}

#[tokio::test(flavor = "local")]
async fn one_that_is_stopped_hears_sigterm_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let script = "trap 'echo heard; exit 0' TERM; echo $$ > $1/pid; kill -STOP $$; while :; do sleep 0.01; done";
    let argv = argv(&["sh", "-c", script, "sh", directory.path().to_str().unwrap()]);
    let is_stopped = async {
        let pid = pid_in(&directory.path().join("pid")).await;
        eventually("it is stopped", || {
            fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") T ")).then_some(())
        })
        .await;
    };
    let ended = run(Program { argv: &argv, execution: &execution("stopped"), timeout: LONG }, is_stopped).await;
    assert_eq!((ended.how, ended.stdout.as_str()), (How::Cancelled, "heard\n"));
}

#[tokio::test(flavor = "local")]
async fn closing_its_streams_isnt_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let script = "echo before; exec >&- 2>&-; : > $1/ready; while :; do sleep 1; done";
    let ended = until_ready("closes", &directory, script, &impatient()).await;
    assert_eq!((ended.how, ended.stdout.as_str()), (How::Cancelled, "before\n"));
}

#[tokio::test(flavor = "local")]
async fn what_it_leaves_running_stays_and_delays_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().to_str().unwrap();
    // Both hold the pipes open.
    let script = "sleep 1000 & echo $! > $1/1; setsid sh -c 'echo $$ > $1/2; exec sleep 1000' sh $1 &
        while [ ! -s $1/2 ]; do :; done; echo left";
    let ended = run_words("leaves-running", &["sh", "-c", script, "sh", place]).await;
    assert_eq!((ended.how, ended.stdout.as_str()), (How::Exit(0), "left\n"));
    for file in ["1", "2"] {
        let pid = pid_in(&directory.path().join(file)).await;
        assert!(is_running(pid), "{file}");
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
}

#[tokio::test(flavor = "local")]
async fn one_that_is_given_up_is_killed_with_its_children() {
    let directory = tempfile::tempdir().unwrap();
    let (file, place) = (directory.path().join("pid"), directory.path().to_str().unwrap());
    let script = "sh -c 'trap \"\" TERM; echo $$ > $0/pid; while :; do sleep 1; done' $1; true";
    let words = ["sh", "-c", script, "sh", place];
    let pid = tokio::select! {
        ended = run_words("given-up", &words) => panic!("{ended:?}"),
        pid = pid_in(&file) => pid,
    };
    eventually("it is gone", || (!is_running(pid)).then_some(())).await;
}

#[tokio::test(flavor = "local")]
async fn what_is_cancelled_before_is_not_started() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    let argv = argv(&["touch", file.to_str().unwrap()]);
    let program = Program { argv: &argv, execution: &execution("before"), timeout: LONG };
    assert_eq!(run(program, ready(())).await, ProgramEnd::silently(How::Cancelled));
    assert!(!file.exists());
}

#[tokio::test(flavor = "local")]
async fn one_that_wants_a_terminal_gets_none() {
    // In a terminal's background, where tests may run, it is stopped instead.
    let argv = argv(&["sh", "-c", "read answer < /dev/tty && echo $answer"]);
    let program = Program { argv: &argv, execution: &execution("terminal"), timeout: Duration::from_secs(5) };
    let ended = run_with(program, pending(), &impatient()).await;
    assert!(matches!(ended.how, How::Exit(1..) | How::TimedOut), "{ended:?}");
    assert_eq!(ended.stdout, "");
}

/// A program of `content` with these permission bits.
fn program(directory: &TempDir, name: &str, content: &[u8], mode: u32) -> PathBuf {
    let file = directory.path().join(name);
    fs::write(&file, content).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
    file
}

#[tokio::test(flavor = "local")]
async fn why_it_cant_be_started_is_said_for_a_person() {
    let directory = tempfile::tempdir().unwrap();
    // Of a type that nothing runs, so that no emulator takes it for one of its own.
    let foreign = [&b"\x7fELF\x02\x01\x01"[..], &[0; 9], &[1, 0, 8, 0], &[0; 60]].concat();
    let programs: [(&str, &[u8], u32, &str); 10] = [
        ("mark", b"\xef\xbb\xbf#!/bin/sh\n", 0o755, "it begins with a byte order mark"),
        ("empty", b"", 0o755, "the file is empty"),
        ("text", b"echo hello\n", 0o755, "neither a program for this machine nor a script"),
        ("no-mode", b"#!/bin/sh\n", 0o644, "it isn't executable; `chmod +x "),
        ("crlf", b"#!/bin/sh\r\necho hello\r\n", 0o755, "ends with CR LF, as Windows writes it"),
        ("crlf-env", b"#!/usr/bin/env sh\r\necho hello\r\n", 0o755, "`sed -i 's/\\r$//' "),
        ("crlf-argument", b"#!/bin/nowhere -e\r\n", 0o755, "ends with CR LF"),
        (
            "interpreter",
            b"#! /opt/nowhere/python3 -u\n",
            0o755,
            "/opt/nowhere/python3, which isn't there (bad interpreter)",
        ),
        ("interpreter-mode", b"#!/etc/passwd\n", 0o755, "/etc/passwd, which isn't executable (bad interpreter)"),
        ("foreign", &foreign, 0o755, "it is a program for MIPS that can't run on this system"),
    ];
    for (name, content, mode, expected) in programs {
        let file = program(&directory, name, content, mode);
        let ended = run_words("why", &[file.to_str().unwrap(), "argument"]).await;
        let How::NotStarted(why) = &ended.how else { panic!("{name}: {ended:?}") };
        assert!(why.contains(expected) && !why.contains('\r'), "{name}: {why}");
    }
    std::os::unix::fs::symlink("/nowhere/program", directory.path().join("link")).unwrap();
    let link = directory.path().join("link");
    for (path, expected) in [
        ("/nowhere/program", "there is no such program"),
        (link.to_str().unwrap(), "it is a link to a program that isn't there"),
        (directory.path().to_str().unwrap(), "it is a directory, not a program"),
        ("/dev/null", "it is a device, not a program"),
        ("no-such-program-anywhere", "there is no program no-such-program-anywhere in PATH (/"),
    ] {
        let How::NotStarted(why) = run_words("why", &[path]).await.how else { panic!("{path} was started") };
        assert!(why.contains(expected), "{path}: {why}");
    }
    assert_eq!(run_words("why", &[]).await.how, How::NotStarted("no program is named".to_owned()));
    let long = "x".repeat(300_000);
    let How::NotStarted(why) = run_words("why", &["true", &long]).await.how else { panic!("it was started") };
    assert_eq!(why, "its arguments are longer than the system allows");
}

#[tokio::test(flavor = "local")]
async fn the_advice_for_a_script_of_windows_works_as_printed() {
    let directory = tempfile::tempdir().unwrap();
    let file = program(&directory, "it's one", b"#!/bin/sh\r\necho hello\r\n", 0o755);
    let How::NotStarted(why) = run_words("advice", &[file.to_str().unwrap()]).await.how else { panic!("started") };
    let command = why.split('`').nth(1).unwrap();
    assert!(shell("advice", command).await.is_success(), "{command}");
    assert_eq!(run_words("advice", &[file.to_str().unwrap()]).await.stdout, "hello\n");
}
