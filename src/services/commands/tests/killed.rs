//! What becomes of commands when the daemon is killed, or wasn't there.

use super::*;

#[test]
fn what_was_under_way_when_the_daemon_was_killed_is_answered_in_its_time() {
    for (seconds, expected) in [(59, ("FAILED", "INTERRUPTED")), (60, ("TIMED_OUT", ""))] {
        let mut world = running(LISTED);
        world.pass(Duration::from_secs(1));
        world.kill(0);
        world.pass(Duration::from_secs(seconds - 1));
        world.connect(None);
        world.calm();
        is_said(&world, expected.0, expected.1);
        assert_eq!(world.begun.len(), 1);
    }
}

#[test]
fn a_result_is_told_by_the_next_life_of_the_daemon_though_its_time_has_passed() {
    let mut world = running(LISTED);
    world.end_action(Status::Succeeded);
    world.kill(1);
    world.pass(Duration::from_secs(3600));
    is_said(&world, "TIMED_OUT", "");
    world.connect(None);
    talk(&mut world);
    is_said(&world, "SUCCEEDED", "");
    world.calm();
}

#[test]
fn a_result_is_forgotten_once_aws_cant_want_it() {
    let mut world = running(LISTED);
    world.end_action(Status::Succeeded);
    world.written(true);
    world.cut(true);
    world.pass(Duration::from_secs(12 * 3600 - 1));
    assert!(world.over.is_empty());
    world.pass(Duration::from_secs(1));
    assert!(matches!(world.over["command-1"], Fate::Late(_)));
    assert_eq!(world.requests.outstanding(), 0);
}

#[test]
fn what_waits_for_its_turn_begins_in_its_time_or_not_at_all() {
    for (time, wait, expected) in [
        (Some(100), 99, ("SUCCEEDED", "")),
        (Some(100), 100, ("TIMED_OUT", "WAITED_TOO_LONG")),
        (None, 299, ("SUCCEEDED", "")),
        (None, 300, ("FAILED", "TOO_OLD")),
    ] {
        let mut world = World::new();
        world.connect(None);
        world.create(LISTED, Some(600));
        world.create(LISTED, time);
        world.bring(0);
        world.bring(1);
        world.written(true);
        world.written(true);
        assert!(world.unacknowledged.is_empty());
        world.pass(Duration::from_secs(wait));
        world.end_action(Status::Succeeded);
        world.calm();
        let command = world.cloud.command("command-2");
        let code = command.body["statusReason"]["reasonCode"].as_str().unwrap_or_default();
        assert_eq!((&*command.status, code), expected);
        assert_eq!(world.begun.len(), 1 + usize::from(expected.0 == "SUCCEEDED"));
    }
}

#[test]
fn what_is_resumed_may_begin_again_in_its_time_only() {
    let note = |time: &str| {
        format!(
            r#"{{"entries":[{{"execution":"e","came":1000,"time":{time},"stage":{{"begun":{{"payload":"{{}}"}}}}}}]}}"#
        )
    };
    let now = Instant::now();
    for (time, wall, expected) in [
        ("60", 1059, true),
        ("60", 1060, false),
        ("null", 1299, true),
        ("null", 1300, false),
        ("9999999", 1300, false),
        ("60", 5, true),
    ] {
        let mut commands = Commands::new("t", MAX_AGE, Journal::read(&note(time)), now, wall);
        match commands.next_effect() {
            Some(Effect::Resume { execution, is_in_time }) => {
                assert_eq!((&*execution.id, &*execution.payload, is_in_time), ("e", "{}", expected), "{time} {wall}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_was_waiting_when_the_daemon_was_killed_is_answered() {
    let mut world = running(LISTED);
    world.create(LISTED, Some(60));
    world.bring(0);
    world.written(true);
    world.kill(0);
    world.connect(None);
    world.calm();
    let command = world.cloud.command("command-2");
    assert_eq!(command.body["statusReason"]["reasonCode"], "INTERRUPTED");
    assert_eq!(world.begun.len(), 1);
}

#[test]
fn what_may_have_waited_at_iot_core_for_longer_than_it_may_isnt_begun() {
    let second = Duration::from_secs(1);
    for (was_down, after, is_begun) in [
        (None, 0, true),
        (Some(MAX_AGE), 0, true),
        (Some(MAX_AGE + second), 0, false),
        (Some(Duration::MAX), 10, false),
        (Some(Duration::MAX), 11, true),
    ] {
        let mut world = World::new();
        world.connect(was_down);
        world.pass(after * second);
        world.create(LISTED, None);
        world.calm();
        let expected = if is_begun { ("SUCCEEDED", "") } else { ("FAILED", "TOO_OLD") };
        assert_eq!(said(&world), (expected.0.to_owned(), expected.1.to_owned()), "{was_down:?} {after}");
    }
}

#[test]
fn what_may_have_waited_while_there_was_no_daemon_is_as_old() {
    let now = Instant::now();
    let topic = "$aws/commands/things/t/executions/e/request/json";
    for (seen, wall, was_down, is_taken) in [
        (1000, 1300, Some(Duration::ZERO), true),
        (1000, 1301, Some(Duration::ZERO), false),
        (1000, 1300, Some(Duration::from_secs(1)), false),
        (1000, 9999, None, true),
        (1000, 5, Some(Duration::ZERO), true),
        (0, 9999, Some(Duration::ZERO), true),
    ] {
        let journal = Journal::read(&format!(r#"{{"entries":[],"seen":{seen}}}"#));
        let mut commands = Commands::new("t", MAX_AGE, journal, now, wall);
        commands.connected(was_down, now + Duration::from_secs(2));
        let Some(Effect::Record(_, journal)) = commands.next_effect() else { panic!("it isn't noted") };
        assert_eq!(journal.seen, wall + 2);
        commands.received(&request(topic, b"{}", None, wall), None, now + Duration::from_secs(2));
        let is_found = matches!(commands.next_effect(), Some(Effect::Found(_)));
        assert_eq!(is_found, is_taken, "{seen} {wall} {was_down:?}");
        commands.connected(Some(Duration::ZERO), now + Duration::from_secs(60));
        commands.stopping(now + Duration::from_secs(70));
        let records = std::iter::from_fn(|| commands.next_effect());
        let last =
            records.filter_map(|effect| if let Effect::Record(_, journal) = effect { Some(journal) } else { None });
        assert_eq!(last.last().map(|journal| journal.seen), Some(wall + 70));
    }
}
