use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

use tempfile::TempDir;

use super::*;

/// Another one for each test of each run of the tests.
pub(crate) fn execution(test: &str) -> ExecutionId {
    ExecutionId::new(&format!("{test}-{}", std::process::id()), 1).unwrap()
}

/// Looks until `look` finds something: what processes do gives no other sign here.
pub(crate) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            match look() {
                Some(found) => break found,
                None => sleep(Duration::from_millis(5)).await,
            }
        }
    };
    timeout(Duration::from_secs(60), found).await.unwrap_or_else(|_| panic!("in vain: {what}"))
}

/// The number of a process, once a script has written it.
pub(crate) async fn pid_in(file: &Path) -> i32 {
    let written = || fs::read_to_string(file).ok().filter(|text| text.ends_with('\n'));
    eventually("a number of a process", written).await.trim().parse().unwrap()
}

/// Whether a process is there, and not only as a corpse.
pub(crate) fn is_running(pid: i32) -> bool {
    fs::read(format!("/proc/{pid}/stat"))
        .ok()
        .as_deref()
        .and_then(state_and_group)
        .is_some_and(|(state, _)| state != b'Z')
}

/// What runs of an execution on this machine.
pub(crate) fn running(execution: &ExecutionId) -> Vec<i32> {
    let marker = format!("GATEWIRE_EXECUTION={execution}");
    find(Path::new("/proc"), marker.as_bytes(), None).unwrap().iter().map(|found| found.pid.as_raw()).collect()
}

/// A child that says when it is ready by a file with its number.
async fn child(place: &TempDir, name: &str, script: &str, execution: Option<&ExecutionId>) -> Child {
    let file = place.path().join(name);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{script}; echo $$ > $0; while :; do sleep 1; done")]).arg(&file).process_group(0);
    match execution {
        Some(execution) => command.env("GATEWIRE_EXECUTION", execution.to_string()),
        None => command.env_remove("GATEWIRE_EXECUTION"),
    };
    let child = command.spawn().unwrap();
    pid_in(&file).await;
    child
}

/// A /proc that has these processes only.
fn proc_of(place: &TempDir, children: &[&Child]) -> PathBuf {
    let proc = place.path().join("proc");
    fs::create_dir(&proc).unwrap();
    fs::write(proc.join("uptime"), "1 1").unwrap();
    // It has ended since it was listed.
    fs::create_dir(proc.join("999999999")).unwrap();
    for child in children {
        symlink(format!("/proc/{}", child.id()), proc.join(child.id().to_string())).unwrap();
    }
    proc
}

#[tokio::test(flavor = "local")]
async fn what_a_killed_daemon_has_left_is_ended_and_nothing_else() {
    let place = tempfile::tempdir().unwrap();
    let (own, other) = (execution("left"), execution("left-2"));
    let mut meek = child(&place, "meek", "true", Some(&own)).await;
    let mut stubborn = child(&place, "stubborn", "trap '' TERM", Some(&own)).await;
    let mut of_another = child(&place, "other", "true", Some(&other)).await;
    let mut of_none = child(&place, "none", "true", None).await;
    let proc = proc_of(&place, &[&meek, &stubborn, &of_another, &of_none]);
    let ending = Ending { proc, grace: Duration::from_millis(100) };
    assert_eq!(ending.of(&own).await, Ok(()));
    assert!(meek.try_wait().unwrap().is_some_and(|status| status.to_string().contains("SIGTERM")));
    assert!(stubborn.try_wait().unwrap().is_some_and(|status| status.to_string().contains("SIGKILL")));
    // The children's own: `sleep 1` is theirs, and in no /proc of this test.
    for child in [&mut of_another, &mut of_none] {
        assert_eq!(child.try_wait().unwrap(), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(ending.of(&own).await, Ok(()), "there is nothing any more");
}

#[tokio::test(flavor = "local")]
async fn what_cannot_be_looked_for_is_not_said_to_be_gone() {
    tokio::time::pause();
    let place = tempfile::tempdir().unwrap();
    let ending = Ending { proc: place.path().join("none"), grace: GRACE };
    assert_eq!(ending.of(&execution("unknown")).await, Err(StillThere::Unknown));
    let one = StillThere::Processes(vec![12]).to_string();
    let two = StillThere::Processes(vec![12, 13]).to_string();
    assert!(one.starts_with("the process 12 doesn't end") && two.starts_with("the processes 12, 13 don't end"));
}

#[test]
fn a_process_may_be_called_anything() {
    assert_eq!(state_and_group(b"12 (a) R 7 (b c) S 1 12 12 0 -1 4"), Some((b'S', 12)));
    assert_eq!(state_and_group(b"12 (sh) Z 1 34 12"), Some((b'Z', 34)));
    for stat in [&b""[..], b"12 (sh)", b"12 (sh) S 1", b"12 sh S 1 2"] {
        assert_eq!(state_and_group(stat), None);
    }
}
