//! How an action ends before its time.

use super::*;

#[test]
fn what_takes_too_long_or_is_cancelled_is_ended() {
    let place = Place::new();
    let mut daemon = place.run("short", &[]);
    assert_eq!([daemon.next(), daemon.next()], [json!({ "started": true }), json!({ "timed_out": true })]);
    // Until the helper is gone, the next one waits for its turn.
    daemon.ended();
    let mut daemon = place.run("slow", &[]);
    place.wait_for("begun");
    daemon.say(json!({ "nonsense": true }));
    daemon.say(json!({ "cancel": true }));
    assert_eq!([daemon.next(), daemon.next()], [json!({ "started": true }), json!({ "cancelled": true })]);
    assert!(place.path("ended").exists() && !place.is_running());
}

#[test]
fn a_daemon_that_dies_takes_its_action_with_it() {
    let place = Place::new();
    let mut daemon = place.run("slow", &[]);
    place.wait_for("begun");
    assert_eq!(daemon.next(), json!({ "started": true }));
    let Daemon { connection, lines, helper } = daemon;
    drop((connection, lines));
    let output = helper.wait_with_output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("was cancelled"));
    assert!(place.path("ended").exists() && !place.is_running());
}

#[test]
fn what_restarts_the_daemon_outlives_it() {
    let place = Place::new();
    let daemon = place.run("lasting", &[]);
    place.wait_for("begun");
    let Daemon { connection, lines, mut helper } = daemon;
    drop((connection, lines));
    // The next one waits for it.
    let mut next = place.run("say", &[]);
    assert_eq!(next.next(), json!({ "waiting": true }));
    assert!(helper.try_wait().unwrap().is_none() && place.is_running());
    place.write("go", "");
    place.wait_for("done");
    assert_eq!(next.next(), json!({ "started": true }));
    assert!(helper.wait().unwrap().success());
}

#[test]
fn who_waits_for_a_turn_may_give_it_up() {
    let place = Place::new();
    let mut first = place.run("slow", &[]);
    assert_eq!(first.next(), json!({ "started": true }));
    let mut second = place.run("say", &[]);
    assert_eq!(second.next(), json!({ "waiting": true }));
    second.say(json!({ "cancel": true }));
    assert_eq!(second.next(), json!({ "cancelled": true }));
    second.ended();
    first.say(json!({ "cancel": true }));
    assert_eq!(first.next(), json!({ "cancelled": true }));
}

#[test]
fn sigterm_ends_an_action_but_not_one_that_may_have_caused_it() {
    let place = Place::new();
    for (name, ends) in [("slow", true), ("lasting", false)] {
        let mut daemon = place.run(name, &[]);
        place.wait_for("begun");
        assert_eq!(daemon.next(), json!({ "started": true }));
        let helper = nix::unistd::Pid::from_raw(daemon.helper.id().try_into().unwrap());
        nix::sys::signal::kill(helper, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert_eq!(daemon.next(), if ends { json!({ "cancelled": true }) } else { Value::Null });
        daemon.ended();
        assert_eq!(place.is_running(), !ends);
        fs::remove_file(place.path("begun")).unwrap();
    }
    place.write("go", "");
    place.wait_for("done");
}

#[test]
fn what_a_killed_helper_has_left_is_ended_when_the_daemon_asks() {
    let place = Place::new();
    let request = |execution: &str| json!({ "end_leftover": execution });
    let mut daemon = place.run("slow", &[]);
    place.wait_for("begun");
    assert_eq!(daemon.next(), json!({ "started": true }));
    daemon.helper.kill().unwrap();
    daemon.helper.wait().unwrap();
    assert!(place.is_running());
    assert_eq!(place.ask(request(&place.execution.replace(":1", ":2"))).next(), json!({ "gone": true }));
    assert!(place.is_running(), "of another execution");
    assert_eq!(place.ask(request(&place.execution)).next(), json!({ "gone": true }));
    assert!(place.path("ended").exists() && !place.is_running());
}
