mod properties;
mod served;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::desk::{ClientId, Desk, MAX_ANSWERS, MAX_UNWRITTEN, PACE, PATIENCE};
use super::line::Reject;
use super::{MAX_LINE, Offer, Said, line};
use crate::services::jobs::{Identity, Status};
use crate::socket::Line;

fn identity(job: &str, number: i64) -> Identity {
    Identity { job: job.to_owned(), number }
}

fn offer(job: &str, number: i64) -> Offer {
    Offer {
        identity: identity(job, number),
        document: "{\"do\": [ \"a b\" ],\n\"n\": 1.50}".to_owned(),
        deadline: None,
        is_noted: true,
    }
}

/// What a client is to be written, which it takes.
fn taken(desk: &mut Desk, id: ClientId, now: Instant) -> Vec<Value> {
    let text = String::from_utf8(desk.unwritten(id).to_vec()).unwrap();
    desk.wrote(id, text.len(), now);
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What is answered to a line of a client to which nothing else is written.
fn answered(desk: &mut Desk, id: ClientId, text: &str, now: Instant) -> Option<Value> {
    desk.heard(id, &Line::Text(text), now);
    let mut all = taken(desk, id, now);
    assert!(all.len() <= 1);
    all.pop()
}

/// The code of an answer, and its detail.
fn error(answer: Option<Value>) -> (String, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    answer.map_or_else(Default::default, |answer| (text(&answer["error"]), text(&answer["detail"])))
}

#[test]
fn a_job_goes_to_the_reader_connected_longest_and_its_result_is_told_once() {
    let (mut desk, now) = (Desk::default(), Instant::now());
    let readers = [(); 3].map(|()| desk.connected(false, now));
    desk.offer(offer("j", 2), now);
    assert_eq!(
        taken(&mut desk, readers[0], now),
        [json!({"job": "j", "execution": 2, "document": {"do": ["a b"], "n": 1.5}, "deadline": null})]
    );
    assert!(readers[1..].iter().all(|reader| desk.unwritten(*reader).is_empty()));
    assert_eq!(answered(&mut desk, readers[0], r#"{"job":"j","progress":{"at":"50 %"}}"#, now), None);
    let Some(Said::Progress(of, details)) = desk.next_said(now) else { panic!("nothing is said") };
    assert_eq!((of, details.get("at")), (identity("j", 2), Some("50 %")));
    let result =
        r#"{"job":"j","execution":2,"result":"failed","details":{"reason":"no","code":3,"ok":false,"x":null}}"#;
    assert_eq!(answered(&mut desk, readers[0], result, now), None);
    let Some(Said::Ended(_, outcome)) = desk.next_said(now) else { panic!("nothing is said") };
    assert_eq!(outcome.status, Status::Failed);
    let details = ["reason", "code", "ok", "x"].map(|key| outcome.details.get(key));
    assert_eq!(details, [Some("no"), Some("3"), Some("false"), None]);
    // A second time it isn't theirs any more.
    assert_eq!(error(answered(&mut desk, readers[0], result, now)).0, "not_yours");
    assert_eq!(desk.next_said(now), None);
}

#[test]
fn a_job_waits_without_a_reader_and_a_reader_that_goes_leaves_it_to_the_next() {
    let (mut desk, now) = (Desk::default(), Instant::now());
    let observer = desk.connected(true, now);
    let offer =
        Offer { deadline: Some("2026-01-31T12:00:00Z".parse::<jiff::Timestamp>().unwrap().into()), ..offer("j", 1) };
    desk.offer(offer, now);
    assert_eq!((desk.readers(), desk.unwritten(observer)), (0, &b""[..]), "an observer is none");
    let first = desk.connected(false, now);
    assert_eq!(taken(&mut desk, first, now)[0]["deadline"], "2026-01-31T12:00:00.000Z");
    let second = desk.connected(false, now);
    assert!(desk.unwritten(second).is_empty() && desk.has_job(first));
    assert!(desk.gone(first, now));
    assert_eq!(taken(&mut desk, second, now)[0]["job"], "j");
    assert!(desk.sends_no_more(second, now), "no result can come of it");
    let third = desk.connected(false, now);
    assert_eq!(taken(&mut desk, third, now)[0]["job"], "j");
    for other in [second, observer] {
        assert_eq!(error(answered(&mut desk, other, r#"{"job":"j","result":"succeeded"}"#, now)).0, "not_yours");
    }
    assert_eq!(desk.next_said(now), None);
    assert_eq!(answered(&mut desk, third, r#"{"job":"j","result":"succeeded"}"#, now), None);
    assert!(matches!(desk.next_said(now), Some(Said::Ended(..))));
}

#[test]
fn no_reader_is_given_a_job_before_that_is_noted() {
    let (mut desk, now) = (Desk::default(), Instant::now());
    let unnoted = || Offer { is_noted: false, ..offer("j", 1) };
    desk.offer(unnoted(), now);
    desk.connected(true, now);
    assert_eq!(desk.next_said(now), None, "it waits for a reader");
    let first = desk.connected(false, now);
    assert_eq!(desk.next_said(now), Some(Said::Wanted(identity("j", 1))));
    let second = desk.connected(false, now);
    assert_eq!(desk.next_said(now), None, "it is said once");
    desk.offer(unnoted(), now);
    assert_eq!(desk.next_said(now), Some(Said::Wanted(identity("j", 1))), "and again to whoever offers it again");
    assert_eq!(error(answered(&mut desk, first, r#"{"job":"j","result":"succeeded"}"#, now)).0, "not_yours");
    assert!(!desk.gone(first, now) && !desk.noted(&identity("j", 2), now));
    assert!(desk.unwritten(second).is_empty());
    assert!(desk.noted(&identity("j", 1), now));
    assert_eq!(taken(&mut desk, second, now)[0]["job"], "j");
    assert_eq!(desk.next_said(now), None);
}

#[test]
fn a_cancelled_job_is_told_to_its_reader_and_its_answers_do_not_count() {
    let (mut desk, now) = (Desk::default(), Instant::now());
    let reader = desk.connected(false, now);
    desk.offer(offer("j", 1), now);
    taken(&mut desk, reader, now);
    answered(&mut desk, reader, r#"{"job":"j","progress":{}}"#, now);
    assert!(!desk.cancel(&identity("j", 2), now) && !desk.cancel(&identity("k", 1), now));
    assert!(desk.cancel(&identity("j", 1), now));
    assert_eq!(taken(&mut desk, reader, now), [json!({"job": "j", "cancelled": true})]);
    let late = answered(&mut desk, reader, r#"{"job":"j","result":"succeeded"}"#, now).unwrap();
    assert_eq!((&late["job"], &late["error"]), (&json!("j"), &json!("not_yours")));
    assert_eq!(desk.next_said(now), None, "nor what was said before");
    // What comes after it is its own.
    desk.offer(offer("j", 2), now);
    taken(&mut desk, reader, now);
    let (code, detail) = error(answered(&mut desk, reader, r#"{"job":"j","execution":1,"result":"succeeded"}"#, now));
    assert_eq!((code.as_str(), detail.as_str()), ("not_yours", "this client was given execution 2 of this job"));
    assert!(desk.has_job(reader));
    // A result that isn't told yet is none.
    answered(&mut desk, reader, r#"{"job":"j","execution":2,"result":"succeeded"}"#, now);
    assert!(!desk.cancel(&identity("j", 2), now));
    assert_eq!((desk.next_said(now), desk.unwritten(reader)), (None, &b""[..]));
}

#[test]
fn the_same_offered_again_stays_where_it_is() {
    let (mut desk, now) = (Desk::default(), Instant::now());
    let reader = desk.connected(false, now);
    desk.offer(offer("j", 1), now);
    taken(&mut desk, reader, now);
    desk.offer(offer("j", 1), now);
    assert_eq!(answered(&mut desk, reader, r#"{"job":"j","result":"succeeded"}"#, now), None);
    // Its result isn't told yet: that is what there is to know.
    desk.offer(offer("j", 1), now);
    assert_eq!(desk.offered_now(), Some(&identity("j", 1)));
    assert!(desk.unwritten(reader).is_empty() && matches!(desk.next_said(now), Some(Said::Ended(..))));
    assert_eq!(desk.offered_now(), None);
    desk.offer(offer("j", 1), now);
    assert_eq!(taken(&mut desk, reader, now).len(), 1, "whoever has heard of the result has forgotten it");
}

#[test]
fn another_offer_cancels_the_one_before() {
    let (mut desk, now) = (Desk::default(), Instant::now());
    let reader = desk.connected(false, now);
    desk.offer(offer("j", 1), now);
    desk.offer(offer("k", 1), now);
    let lines = taken(&mut desk, reader, now);
    assert_eq!(lines.iter().map(|line| &line["job"]).collect::<Vec<_>>(), ["j", "j", "k"]);
    assert_eq!(lines[1]["cancelled"], true);
}

#[test]
fn lines_that_make_no_sense_are_answered_and_nothing_is_lost() {
    let (mut desk, now) = (Desk::default(), Instant::now());
    let reader = desk.connected(false, now);
    desk.offer(offer("j", 1), now);
    taken(&mut desk, reader, now);
    for (line, detail) in [
        ("{}", "`job` is missing"),
        (
            "[\"j\"]",
            "the line isn't a JSON object: it is an array. Write an object like {\"job\":ID,\"result\":\"succeeded\",\"details\":{}}",
        ),
        ("done", "the line isn't a JSON object: what stands at byte 1 isn't JSON"),
        (r#"{"job":"j","result":"succeeded""#, "the line isn't a JSON object: it ends too early"),
        (r#"{"job":"j","result":"succeeded"} {}"#, "something follows it at byte 33"),
        (
            r#"{"job":"j","result":"succeeded","more":1}"#,
            "unknown key \"more\". The keys are job, execution, progress, result, details",
        ),
        (r#"{"job":"j","results":"succeeded"}"#, "unknown key \"results\"; the nearest is `result`."),
        (r#"{"job":"j","status":"succeeded"}"#, "unknown key \"status\""),
        (r#"{"job":"j","result":"succeeded","result":"failed"}"#, "`result` is given twice"),
        (r#"{"job":7,"result":"succeeded"}"#, "`job` must be a string"),
        (r#"{"job":"j"}"#, "`progress` or `result` is missing"),
        (r#"{"job":"j","details":{}}"#, "`progress` or `result` is missing"),
        (r#"{"job":"j","result":"SUCCEEDED"}"#, "`result` must be \"succeeded\", \"failed\" or \"rejected\""),
        (r#"{"job":"j","result":"succeeded","progress":{}}"#, "`progress` and `result` are both given"),
        (r#"{"job":"j","progress":{},"details":{}}"#, "`details` goes with `result`"),
        (r#"{"job":"j","execution":"1","result":"succeeded"}"#, "`execution` must be a whole number"),
        (r#"{"job":"j","execution":1.0,"result":"succeeded"}"#, "`execution` must be a whole number"),
        (r#"{"job":"j","result":"succeeded","details":"none"}"#, "`details` must be an object like"),
        (r#"{"job":"j","result":"succeeded","details":["a"]}"#, "`details` must be an object like"),
        (r#"{"job":"j","progress":"50%"}"#, "`progress` must be an object like {\"step\":\"2 of 3\"}"),
        (
            r#"{"job":"j","progress":{"a":{"b":1}}}"#,
            "`progress`: the value of \"a\" must be a text, a number, true or false",
        ),
        (r#"{"job":"j","progress":{"a":[1]}}"#, "the value of \"a\" must be"),
        (r#"{"job":"j","progress":{"a":"\ud800"}}"#, "the value of \"a\" has half of a surrogate pair (U+D800)"),
        (r#"{"job":"j","progress":{"\ud800":"a"}}"#, "a name has half of a surrogate pair (U+D800)"),
        (r#"{"job":"j","progress":{"b":"1","a":""}}"#, "`progress`: the value of \"a\" is empty"),
        (r#"{"job":"j","result":"failed","details":{"a b":"1"}}"#, "`details`: \"a b\" is no name that AWS takes"),
        (r#"{"job":"j","result":"failed","details":{"":"1"}}"#, "`details`: \"\" is no name that AWS takes"),
        (r#"{"job":"j","result":"failed","details":{"a":"1","\u0061":"2"}}"#, "`details`: \"a\" is given twice"),
        (
            r#"{"job":"j","progress":{"1":1,"2":1,"3":1,"4":1,"5":1,"6":1,"7":1,"8":1,"9":1,"10":1,"11":1,"12":null}}"#,
            "`progress`: it has 11 pairs, and AWS takes at most 10",
        ),
    ] {
        let answer = answered(&mut desk, reader, line, now);
        let job = answer.as_ref().map(|answer| answer["job"].clone());
        let (code, found) = error(answer);
        assert_eq!(code, "bad_line", "{line}");
        assert!(found.contains(detail) && !found.contains(" at line "), "{line}: {found}");
        // It says whose answer it is, as far as that could be made out.
        let is_of_job = line.starts_with(r#"{"job":"j""#) && !found.contains("isn't a JSON object");
        assert_eq!(job.as_ref() == Some(&json!("j")), is_of_job, "{line}");
    }
    for (line, detail) in [(Line::TooLong, "128 KiB"), (Line::NotUtf8, "UTF-8")] {
        desk.heard(reader, &line, now);
        assert!(error(taken(&mut desk, reader, now).pop()).1.contains(detail));
    }
    assert!(desk.next_said(now).is_none() && desk.has_job(reader));
    assert_eq!(answered(&mut desk, reader, r#" {"execution":null,"result":"rejected","job":"\u006a"} "#, now), None);
    assert!(matches!(desk.next_said(now), Some(Said::Ended(_, outcome)) if outcome.status == Status::Rejected));
}

#[test]
fn answers_are_short_whatever_they_answer() {
    let long = "x".repeat(MAX_LINE);
    for line in [long.clone(), format!("{{\"{long}\":1}}"), format!("{{\"job\":\"{long}\",\"result\":\"failed\"}}")] {
        let (job, said) = line::parse(&Line::Text(&line));
        let reject = said.err().unwrap_or(Reject::NotYours);
        assert!(line::rejected(job.as_deref(), &reject).len() < 1000, "{reject:?}");
    }
}

#[test]
fn a_value_is_cut_to_what_aws_takes() {
    let pairs: Vec<String> = (0..10).rev().map(|n| format!("\"k{n}\":\"{}\"", "é".repeat(2000))).collect();
    let (mut desk, now) = (Desk::default(), Instant::now());
    let reader = desk.connected(false, now);
    desk.offer(offer("j", 1), now);
    taken(&mut desk, reader, now);
    let line = format!("{{\"job\":\"j\",\"result\":\"succeeded\",\"details\":{{{}}}}}", pairs.join(","));
    assert_eq!(answered(&mut desk, reader, &line, now), None);
    let Some(Said::Ended(_, outcome)) = desk.next_said(now) else { panic!("nothing is said") };
    let lengths: Vec<_> =
        (0..10).map(|n| outcome.details.get(&format!("k{n}")).map(|value| value.chars().count())).collect();
    assert_eq!(lengths, [Some(1024); 10]);
}

#[test]
fn progress_is_told_at_most_once_a_second_and_the_newest() {
    let (mut desk, start) = (Desk::default(), Instant::now());
    let reader = desk.connected(false, start);
    desk.offer(offer("j", 1), start);
    taken(&mut desk, reader, start);
    let (mut told, mut now) = (Vec::new(), start);
    for n in 0..1000 {
        now = start + Duration::from_millis(n * 10);
        answered(&mut desk, reader, &format!(r#"{{"job":"j","progress":{{"n":{n}}}}}"#), now);
        if let Some(Said::Progress(_, details)) = desk.next_said(now) {
            told.push(details.get("n").unwrap().parse::<u64>().unwrap());
        }
    }
    assert_eq!(told, (0..10).map(|n| n * 100).collect::<Vec<_>>());
    assert_eq!(desk.said_at(), Some(start + Duration::from_secs(9) + PACE));
    assert!(matches!(desk.next_said(now + PACE), Some(Said::Progress(_, details)) if details.get("n") == Some("999")));
    // A result doesn't wait for that, and what was before it doesn't matter any more.
    answered(&mut desk, reader, r#"{"job":"j","progress":{"n":1}}"#, now);
    answered(&mut desk, reader, r#"{"job":"j","result":"succeeded"}"#, now);
    assert!(matches!(desk.next_said(now), Some(Said::Ended(..))));
    assert_eq!((desk.next_said(now + PACE), desk.said_at()), (None, None));
}

#[test]
fn a_client_that_reads_nothing_is_waited_for_only_so_long() {
    let (mut desk, now) = (Desk::default(), Instant::now());
    let reader = desk.connected(false, now);
    assert_eq!(desk.patience_ends(reader), None, "nothing is to be read");
    desk.offer(offer("j", 1), now);
    assert_eq!(desk.patience_ends(reader), Some(now + PATIENCE));
    let later = now + Duration::from_secs(5);
    desk.wrote(reader, 3, later);
    assert_eq!(desk.patience_ends(reader), Some(later + PATIENCE));
    let large = Offer { document: format!("\"{}\"", "x".repeat(MAX_UNWRITTEN)), ..offer("k", 1) };
    assert!(desk.may_speak(reader));
    desk.offer(large, later);
    assert!(!desk.may_speak(reader) && desk.unwritten(reader).len() > MAX_ANSWERS);
    assert_eq!(desk.patience_ends(reader), Some(later), "that is too much");
    desk.wrote(reader, usize::MAX, later);
    assert_eq!(desk.patience_ends(reader), None);
}
