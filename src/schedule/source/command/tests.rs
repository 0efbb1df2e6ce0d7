use std::fs;
use std::path::Path;

use super::*;

const SECONDS: Duration = Duration::from_secs(20);

fn argv(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

async fn shell(script: &str, limit: Duration) -> Result<String, CommandError> {
    run(&argv(&["sh", "-c", script]), limit).await.map(|out| String::from_utf8(out).unwrap())
}

/// Looks until `look` finds something: what processes do gives no other sign here.
async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            match look() {
                Some(found) => break found,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(SECONDS, found).await.unwrap_or_else(|_| panic!("in vain: {what}"))
}

/// Waits until a process is gone, or a corpse that its parent has still to bury.
async fn is_gone(pid_file: &Path) {
    let pid = eventually("a number of a process", || {
        fs::read_to_string(pid_file).ok().filter(|text| text.ends_with('\n')).map(|text| text.trim().to_owned())
    })
    .await;
    eventually(&format!("{pid} is gone"), || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.map_or(true, |stat| stat.contains(") Z ")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "local")]
async fn what_it_prints_is_the_value_and_no_shell_comes_between() {
    assert_eq!(run(&argv(&["printf", "%s\\n", "$HOME; *"]), SECONDS).await.unwrap(), b"$HOME; *\n");
    assert_eq!(shell("cat; echo end; echo noise >&2", SECONDS).await.unwrap(), "end\n");
    let all = shell(&format!("head -c {MAX_PAYLOAD} /dev/zero | tr '\\0' x; echo"), SECONDS).await.unwrap();
    assert_eq!(all.len(), MAX_PAYLOAD + 1);
}

#[tokio::test(flavor = "local")]
async fn how_it_fails_is_told_with_the_end_of_what_it_complained() {
    let error = shell("echo begin >&2; echo 'no sensor at\t0x48' >&2; exit 3", SECONDS).await.unwrap_err();
    assert!(error.to_string().ends_with("ended with exit code 3: begin no sensor at 0x48"), "{error}");
    let error = shell("kill -SEGV $$", SECONDS).await.unwrap_err();
    assert!(error.to_string().ends_with("ended with signal SIGSEGV"), "{error}");
    let error = shell("seq 1000 >&2; printf '\\033[31mred' >&2; false", SECONDS).await.unwrap_err().to_string();
    assert!(error.contains("ended with exit code 1: ") && error.ends_with(" 1000 [31mred"), "{error}");
    assert!(error.len() < MAX_COMPLAINT + 200);
    // An argument may be a password.
    let error = run(&argv(&["/nowhere/program", "-u", "me:hunter2"]), SECONDS).await.unwrap_err().to_string();
    assert!(error.starts_with("`/nowhere/program` can't be started: there is no such program"), "{error}");
}

#[tokio::test(flavor = "local")]
async fn the_same_complaint_may_have_other_numbers() {
    let error = |script: &'static str| async move { shell(script, SECONDS).await.unwrap_err() };
    let script = "echo \"12:30:0$0 no answer from 0x48\" >&2; exit 1";
    let with = |arguments: [&str; 1]| {
        let argv = argv(&[&["sh", "-c", script], &arguments[..]].concat());
        async move {
            match run(&argv, SECONDS).await.unwrap_err() {
                CommandError::Failed { complaint, .. } => complaint,
                other => panic!("{other}"),
            }
        }
    };
    assert_eq!(with(["1"]).await, with(["29"]).await);
    assert_ne!(with(["1"]).await, with(["x"]).await);
    assert_ne!(error("exit 1").await, error("exit 2").await);
}

#[tokio::test(flavor = "local")]
async fn a_command_that_hangs_is_killed_with_its_children() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (child, grandchild) = (path("child"), path("grandchild"));
    let script = format!(
        "echo $$ > {}; sh -c 'echo $$ > {}; trap \"\" TERM; while :; do sleep 1; done' & echo waiting >&2; wait",
        child.display(),
        grandchild.display()
    );
    // On a slow machine the time may be over before both are there.
    let is_there = |path: &Path| fs::read_to_string(path).is_ok_and(|text| text.ends_with('\n'));
    let mut tries = 0;
    while !(is_there(&child) && is_there(&grandchild)) {
        tries += 1;
        assert!(tries <= 10, "it never comes so far");
        let error = shell(&script, Duration::from_millis(500)).await.unwrap_err();
        assert!(error.to_string().contains("took longer than its timeout of 500ms"), "{error}");
    }
    is_gone(&child).await;
    is_gone(&grandchild).await;
}

#[tokio::test(flavor = "local")]
async fn a_run_that_is_given_up_is_killed_with_its_children() {
    let directory = tempfile::tempdir().unwrap();
    let pid = directory.path().join("pid");
    let script = format!("sh -c 'echo $$ > {}; sleep 1000'; true", pid.display());
    let given_up = eventually("the child has begun", || pid.exists().then_some(()));
    tokio::select! {
        ended = shell(&script, SECONDS) => panic!("{ended:?}"),
        () = given_up => {}
    }
    is_gone(&pid).await;
}

#[tokio::test(flavor = "local")]
async fn what_a_command_leaves_behind_ends_with_it_and_delays_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let pid = directory.path().join("pid");
    let script =
        format!("sh -c 'echo $$ > {0}; sleep 1000' & while [ ! -s {0} ]; do :; done; echo 21.5", pid.display());
    assert_eq!(shell(&script, SECONDS).await.unwrap(), "21.5\n");
    is_gone(&pid).await;
}

#[tokio::test(flavor = "local")]
async fn a_command_that_prints_without_end_is_stopped() {
    let error = run(&argv(&["yes"]), SECONDS).await.unwrap_err();
    assert_eq!(error, CommandError::TooMuch("yes".to_owned()));
    // To standard error it may complain as long as it likes.
    assert_eq!(shell("seq 100000 >&2; echo 1", SECONDS).await.unwrap(), "1\n");
}
