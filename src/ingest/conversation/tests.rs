//! Whatever a client does, each of its lines has an answer, in order, or the connection ends.

use std::time::Duration;

use proptest::prelude::*;

use super::{ConversationEnd, LINGER, PATIENCE, STALLED, UNFINISHED};
use crate::ingest::fuzzing::bench::{Bench, Step};

const LINE: &str = "{\"topic\":\"t\",\"payload\":1,\"id\":";

fn good(ids: std::ops::Range<usize>) -> Vec<u8> {
    ids.map(|id| format!("{LINE}{id}}}\n")).collect::<String>().into()
}

#[test]
fn lines_that_are_written_at_once_are_all_answered_though_they_are_read_late() {
    for capacity in [100, 16 * 1024, 200_000] {
        let mut bench = Bench::new(b"x\n".repeat(20_000), capacity);
        bench.step(Step::Send(usize::MAX));
        bench.finish();
        bench.check();
        assert_eq!(bench.received().iter().filter(|byte| **byte == b'\n').count(), 20_000);
        assert_eq!(bench.end, Some(ConversationEnd::Done));
    }
}

#[test]
fn an_answer_is_bounded_whatever_the_id() {
    for (len, comes_back) in [(4096, true), (4097, false), (150_000, false)] {
        let id = "9".repeat(len);
        let mut bench = Bench::new(format!("{LINE}{id}}}\n{LINE}2}}\n").into(), 200_000);
        bench.step(Step::Send(usize::MAX));
        bench.finish();
        bench.check();
        let received = String::from_utf8_lossy(bench.received()).into_owned();
        assert_eq!(received.contains(&id), comes_back, "{len}");
        assert!(received.ends_with("{\"id\":2,\"result\":\"delivered\"}\n"), "{received}");
        assert!(
            comes_back || received.starts_with("{\"error\":\"bad_line\",\"detail\":\"`id` is longer than 4096 bytes")
        );
    }
}

#[test]
fn a_client_that_never_reads_is_disconnected() {
    let mut bench = Bench::new(b"x\n".repeat(20_000), 1000);
    bench.step(Step::Send(usize::MAX));
    bench.step(Step::Pass(PATIENCE - Duration::from_secs(1)));
    assert_eq!(bench.end, None);
    bench.step(Step::Read(1));
    bench.step(Step::Pass(PATIENCE - Duration::from_secs(1)));
    assert_eq!(bench.end, None, "it has read something");
    bench.step(Step::Pass(Duration::from_secs(1)));
    assert_eq!(bench.end, Some(ConversationEnd::Unread));
    // One that reads a little is slow, and the socket may not say so before half of it is read.
    let mut bench = Bench::new(b"x\n".repeat(20_000), 1000);
    bench.step(Step::Send(usize::MAX));
    for _ in 0..10 {
        bench.read_unseen(10);
        bench.step(Step::Pass(PATIENCE));
        assert_eq!(bench.end, None);
    }
    // One that is owed nothing may be silent for as long as it likes.
    let mut bench = Bench::new(good(0..1), 1000);
    bench.step(Step::Send(usize::MAX));
    bench.step(Step::Deliver(1));
    bench.step(Step::Pass(100 * PATIENCE));
    assert_eq!(bench.end, None);
}

#[test]
fn a_client_that_goes_is_noticed_whatever_is_waited_for() {
    let blocked = [Step::Send(usize::MAX), Step::Deliver(usize::MAX)];
    let full = [Step::TurnOutbox, Step::Send(usize::MAX)];
    let owing = [Step::Send(usize::MAX), Step::ShutDown];
    for (script, before) in [(b"x\n".repeat(20_000), blocked), (good(0..2000), full), (good(0..500), owing)] {
        let mut bench = Bench::new(script, 10_000);
        before.into_iter().for_each(|step| bench.step(step));
        assert_eq!(bench.end, None);
        bench.step(Step::Close);
        bench.step(Step::Pass(LINGER));
        assert!(bench.end.is_some());
    }
}

#[test]
fn what_a_client_sent_before_it_closed_is_taken() {
    let mut bench = Bench::new(good(0..2000), 1 << 20);
    bench.step(Step::TurnOutbox);
    bench.step(Step::Send(usize::MAX));
    bench.step(Step::Close);
    assert_eq!(bench.end, None);
    bench.step(Step::TurnOutbox);
    assert_eq!((bench.end, bench.accepted()), (Some(ConversationEnd::Done), 2000));
}

#[test]
fn a_long_line_is_given_up_only_where_others_need_its_memory() {
    let mut script = format!("{LINE}1,\"x\":\"{}", "y".repeat(100_000)).into_bytes();
    script.extend_from_slice(b"\"}\n");
    script.extend(good(2..3));
    let cut = script.len() - 60;
    for is_contended in [false, true] {
        let mut bench = Bench::new(script.clone(), 1 << 20);
        bench.step(Step::Send(cut));
        if is_contended {
            bench.step(Step::TurnMemory);
        }
        for _ in 0..9 {
            bench.step(Step::Pass(STALLED / 2));
            bench.step(Step::Send(1));
        }
        assert_eq!(bench.received().len(), 0);
        bench.step(Step::Pass(UNFINISHED - STALLED * 9 / 2));
        bench.step(Step::Read(usize::MAX));
        let answer = String::from_utf8_lossy(bench.received()).into_owned();
        assert_eq!(answer.contains("isn't complete, and other clients"), is_contended, "{answer}");
        bench.finish();
        bench.check();
        assert_eq!(bench.received().split_inclusive(|byte| *byte == b'\n').count(), 2);
    }
}

fn script() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        4 => any::<u16>().prop_map(|id| format!("{LINE}{id}}}\n").into_bytes()),
        2 => Just(b"nonsense\n".to_vec()),
        1 => Just(b"\n\r\n".to_vec()),
        1 => Just(b"\xff\n".to_vec()),
        1 => (0..300_000usize).prop_map(|len| format!("{LINE}\"{}\"}}\r\n", "z".repeat(len)).into_bytes()),
    ];
    (prop::collection::vec(line, 0..12), 1..80usize, any::<bool>()).prop_map(|(lines, times, has_end)| {
        let mut script = lines.concat();
        let times = if script.len() > 10_000 { 1 } else { times };
        script = script.repeat(times);
        if !has_end {
            script.extend_from_slice(b"{\"topic\":\"t\",\"payload\":\"unfin");
        }
        script
    })
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![1..100usize, 1..100_000usize];
    prop_oneof![
        4 => size.clone().prop_map(Step::Send),
        4 => size.clone().prop_map(Step::Read),
        2 => size.prop_map(Step::Deliver),
        1 => Just(Step::TurnOutbox),
        1 => Just(Step::TurnMemory),
        1 => (0..20u64).prop_map(|seconds| Step::Pass(Duration::from_secs(seconds))),
        1 => prop_oneof![9 => Just(Step::Pass(Duration::ZERO)), 1 => Just(Step::ShutDown), 1 => Just(Step::Close)],
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn each_line_has_its_answer_or_the_connection_ends(
        script in script(),
        capacity in prop_oneof![1..300usize, 1..300_000usize],
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut bench = Bench::new(script, capacity);
        steps.into_iter().for_each(|step| bench.step(step));
        bench.finish();
        bench.check();
    }
}
