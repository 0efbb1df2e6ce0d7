//! The requests, by example and against a service that misbehaves.

mod model;
mod properties;

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Map, json};

use super::request::RequestError;
use super::requests::MAX_OUTSTANDING;
use super::retry;
use super::{Answer, Asker, Availability, Counters, Event, Names, Rejection, Request, RequestId, Requests, Service};
use crate::message::{Topic, TopicFilter};

const START_NEXT: &str = "$aws/things/t/jobs/start-next";

pub(super) fn request(topic: &str) -> Request {
    Request::new(Service::Jobs, topic, Map::new()).unwrap()
}

pub(crate) fn names(thing: &str) -> Names<'_> {
    Names { thing, template: "gateways" }
}

fn filters() -> Vec<TopicFilter> {
    Service::Jobs.filters(names("t")).unwrap()
}

/// With Jobs configured, and subscribed to.
fn ready(now: Instant) -> Requests {
    let mut requests = Requests::new(7);
    requests.configure([(Service::Jobs, filters())].into(), now);
    requests.settled(filters().iter(), now);
    assert_eq!(requests.next_event(Asker::Executions), Some(Event::Ready(Service::Jobs)));
    requests
}

/// Sends what may be sent; the payloads.
fn send(requests: &mut Requests, now: Instant) -> Vec<Bytes> {
    let sendable: Vec<(RequestId, Bytes)> =
        requests.sendable().map(|(id, _, message)| (id, message.payload.clone())).collect();
    sendable.iter().for_each(|(id, _)| requests.sent(*id, now));
    sendable.into_iter().map(|(_, payload)| payload).collect()
}

fn token(payload: &Bytes) -> String {
    let request: serde_json::Value = serde_json::from_slice(payload).unwrap();
    request["clientToken"].as_str().unwrap().to_owned()
}

fn answer(requests: &mut Requests, end: &str, answer: &serde_json::Value, now: Instant) -> bool {
    requests.received(&Topic::received(&format!("{START_NEXT}/{end}")), &Bytes::from(answer.to_string()), now)
}

fn availability(requests: &Requests) -> Availability {
    requests.services().next().unwrap().1.clone()
}

fn counters(requests: &Requests) -> Counters {
    requests.services().next().unwrap().3
}

#[test]
fn a_request_goes_out_once_each_filter_stands_and_its_answer_ends_it() {
    let now = Instant::now();
    let mut requests = Requests::new(7);
    assert_eq!(requests.ask(request(START_NEXT)), None, "Jobs isn't configured");
    requests.configure([(Service::Jobs, filters())].into(), now);
    assert!(requests.take_filters_changed() && !requests.take_filters_changed());
    assert_eq!(requests.filters().count(), 4);
    let id = requests.ask(request(START_NEXT)).unwrap();
    requests.settled(filters()[1..].iter(), now);
    assert_eq!((requests.sendable().count(), availability(&requests)), (0, Availability::Waiting));
    requests.settled(filters().iter(), now);
    let sent = send(&mut requests, now);
    assert_eq!(requests.sendable().count(), 0);
    let accepted = json!({"clientToken": token(&sent[0]), "timestamp": 1});
    assert!(answer(&mut requests, "accepted", &accepted, now));
    assert_eq!(requests.next_event(Asker::Executions), Some(Event::Ready(Service::Jobs)));
    assert_eq!(
        requests.next_event(Asker::Executions),
        Some(Event::Answered(id, Answer::Accepted(Bytes::from(accepted.to_string()))))
    );
    assert!(!answer(&mut requests, "accepted", &accepted, now), "a second time");
    assert_eq!((requests.next_event(Asker::Executions), requests.outstanding(), requests.timeout()), (None, 0, None));
    assert_eq!(counters(&requests), Counters { sent: 1, answered: 1, ..Counters::default() });
}

#[test]
fn a_filter_of_a_forward_that_covers_those_of_a_service_will_do() {
    let now = Instant::now();
    let mut requests = Requests::new(7);
    requests.configure([(Service::Jobs, filters())].into(), now);
    requests.settled([TopicFilter::new("$aws/things/t/jobs/#").unwrap()].iter(), now);
    assert_eq!(availability(&requests), Availability::Ready);
}

#[test]
fn a_service_whose_filters_have_no_suback_on_three_connections_is_left_out() {
    let now = Instant::now();
    let mut requests = Requests::new(7);
    let filters = filters();
    requests.configure([(Service::Jobs, filters.clone())].into(), now);
    let missing = |requests: &mut Requests, n: usize| {
        requests.connection_lost(now);
        requests.filter_unanswered(&filters[n], "no SUBACK", now)
    };
    assert_eq!((missing(&mut requests, 0), missing(&mut requests, 1)), (None, None));
    // A network that loses packets.
    requests.settled(filters.iter(), now);
    assert_eq!((missing(&mut requests, 0), missing(&mut requests, 0)), (None, None));
    assert_eq!(missing(&mut requests, 3), Some(Service::Jobs));
    assert!(matches!(availability(&requests), Availability::Refused { why, .. } if why == "no SUBACK"));
    assert_eq!(requests.filters().count(), 0);
    assert_eq!(requests.filter_unanswered(&TopicFilter::new("other/#").unwrap(), "no SUBACK", now), None);
    // Tried again, it has as many attempts.
    requests.reload(Asker::Executions, now);
    assert_eq!((missing(&mut requests, 0), missing(&mut requests, 0)), (None, None));
    assert_eq!(missing(&mut requests, 0), Some(Service::Jobs));
}

#[test]
fn answers_of_others_are_ignored() {
    let now = Instant::now();
    let mut requests = ready(now);
    requests.ask(request(START_NEXT)).unwrap();
    // Nothing was sent yet, so nothing can be answered.
    let known = token(&requests.sendable().next().unwrap().2.payload.clone());
    assert!(!answer(&mut requests, "accepted", &json!({"clientToken": known}), now));
    let sent = send(&mut requests, now);
    let mut former = ready(now);
    former.ask(request(START_NEXT)).unwrap();
    let mut other = Requests::new(8);
    other.configure([(Service::Jobs, filters())].into(), now);
    other.settled(filters().iter(), now);
    other.ask(request(START_NEXT)).unwrap();
    let former = token(&send(&mut other, now)[0]);
    for foreign in [json!({"clientToken": former}), json!({}), json!({"clientToken": 5}), json!([]), json!(null)] {
        assert!(!answer(&mut requests, "accepted", &foreign, now), "{foreign}");
    }
    let own = Bytes::from(json!({"clientToken": token(&sent[0])}).to_string());
    for topic in ["$aws/things/t/jobs/get/accepted", "$aws/things/u/jobs/start-next/accepted", START_NEXT] {
        assert!(!requests.received(&Topic::received(topic), &own, now), "{topic}");
    }
    let garbage = Bytes::from_static(b"\xff\xfe{");
    assert!(!requests.received(&Topic::received(&format!("{START_NEXT}/accepted")), &garbage, now));
    assert_eq!((requests.outstanding(), requests.next_event(Asker::Executions)), (1, None));
}

#[test]
fn what_takes_too_long_or_is_throttled_is_asked_again_with_another_token() {
    let start = Instant::now();
    let mut requests = ready(start);
    let id = requests.ask(request(START_NEXT)).unwrap();
    let first = token(&send(&mut requests, start)[0]);
    assert_eq!(requests.timeout(), Some(start + Duration::from_secs(15)));
    let now = start + Duration::from_secs(15);
    requests.handle_timeout(now);
    let Some(Event::Delayed(delayed, None, wait)) = requests.next_event(Asker::Executions) else {
        panic!("no Delayed")
    };
    assert!(delayed == id && wait >= Duration::from_millis(500) && wait <= Duration::from_secs(5), "{wait:?}");
    assert!(!answer(&mut requests, "accepted", &json!({"clientToken": first}), now), "too late");
    assert_eq!((requests.sendable().count(), requests.timeout()), (0, Some(now + wait)));
    let now = now + wait;
    requests.handle_timeout(now);
    let second = token(&send(&mut requests, now)[0]);
    assert_ne!(first, second);
    let throttled = json!({"code": "RequestThrottled", "message": "slowly", "clientToken": second});
    assert!(answer(&mut requests, "rejected", &throttled, now));
    let event = requests.next_event(Asker::Executions);
    assert!(
        matches!(&event, Some(Event::Delayed(_, Some(rejection), wait))
            if rejection.code == "RequestThrottled" && *wait <= Duration::from_secs(10)),
        "{event:?}"
    );
    assert_eq!(counters(&requests), Counters { sent: 2, answered: 0, timed_out: 1, put_off: 1 });
}

#[test]
fn other_refusals_are_final() {
    let now = Instant::now();
    let mut requests = ready(now);
    let id = requests.ask(request(START_NEXT)).unwrap();
    let token = token(&send(&mut requests, now)[0]);
    let rejected = json!({"code": "InvalidRequest", "message": "no such thing", "clientToken": token});
    assert!(answer(&mut requests, "rejected", &rejected, now));
    let event = requests.next_event(Asker::Executions);
    assert!(
        matches!(&event, Some(Event::Answered(answered, Answer::Rejected(rejection)))
            if *answered == id && rejection.code == "InvalidRequest" && rejection.message == "no such thing"),
        "{event:?}"
    );
}

#[test]
fn rejections_are_read_in_the_forms_of_all_services() {
    for (payload, code, message, is_temporary) in [
        (r#"{"code":"RequestThrottled","message":"m"}"#, "RequestThrottled", "m", true),
        (r#"{"code":"InternalError","message":"m"}"#, "InternalError", "m", true),
        (r#"{"code":"VersionMismatch","message":"m"}"#, "VersionMismatch", "m", false),
        (r#"{"code":429,"message":"m","timestamp":1}"#, "429", "m", true),
        (r#"{"code":500,"message":"m"}"#, "500", "m", true),
        (r#"{"code":404,"message":"No shadow"}"#, "404", "No shadow", false),
        (r#"{"statusCode":503,"errorCode":"ServiceUnavailable","errorMessage":"m"}"#, "ServiceUnavailable", "m", true),
        (r#"{"statusCode":403,"errorCode":"AccessDenied","errorMessage":"m"}"#, "AccessDenied", "m", false),
        (r#"{"error":"ThrottlingException","errorMessage":"m","executionId":"e"}"#, "ThrottlingException", "m", true),
        (r#"{"error":"DataConflict","errorMessage":"m"}"#, "DataConflict", "m", true),
        (r#"{"code":-500,"message":7}"#, "", "", false),
        ("[1]", "", "", false),
        ("", "", "", false),
    ] {
        let rejection = Rejection::read(&Bytes::from_static(payload.as_bytes()));
        assert_eq!(
            (&*rejection.code, &*rejection.message, rejection.is_temporary()),
            (code, message, is_temporary),
            "{payload}"
        );
    }
}

#[test]
fn a_reconnect_sends_again_what_has_no_answer_as_it_was() {
    let now = Instant::now();
    let mut requests = ready(now);
    let id = requests.ask(request(START_NEXT)).unwrap();
    let first = send(&mut requests, now);
    requests.connection_lost(now);
    assert_eq!((requests.sendable().count(), requests.timeout()), (0, None), "nothing times out meanwhile");
    requests.settled(filters().iter(), now + Duration::from_secs(3600));
    assert_eq!(send(&mut requests, now), first);
    assert!(answer(&mut requests, "accepted", &json!({"clientToken": token(&first[0])}), now));
    assert_eq!(requests.next_event(Asker::Executions), Some(Event::Ready(Service::Jobs)));
    assert!(matches!(requests.next_event(Asker::Executions), Some(Event::Answered(answered, _)) if answered == id));
}

#[test]
fn a_refused_service_is_switched_off_and_tried_again_once_a_day_and_at_a_reload() {
    let start = Instant::now();
    let day = Duration::from_secs(24 * 3600);
    for is_topic in [false, true] {
        let mut requests = ready(start);
        requests.take_filters_changed();
        requests.ask(request(START_NEXT)).unwrap();
        send(&mut requests, start);
        match is_topic {
            false => assert_eq!(requests.filter_refused(&filters()[2], "0x87", start), Some(Service::Jobs)),
            true => {
                assert!(requests.topic_refused(|topic| topic.as_str() == "a", "0x87", start).is_empty());
                assert_eq!(
                    requests.topic_refused(|topic| topic.as_str() == START_NEXT, "0x87", start),
                    [Service::Jobs]
                );
            }
        }
        assert_eq!(requests.next_event(Asker::Executions), Some(Event::Refused(Service::Jobs, "0x87".to_owned())));
        assert!(requests.take_filters_changed() && requests.filters().count() == 0);
        requests.settled(filters().iter(), start);
        assert_eq!(requests.sendable().count(), 0, "whatever else is subscribed to");
        assert_eq!(requests.timeout(), Some(start + day));
        match is_topic {
            false => requests.handle_timeout(start + day),
            true => requests.reload(Asker::Executions, start),
        }
        assert!(requests.take_filters_changed() && requests.filters().count() == 4);
        assert_eq!((availability(&requests), requests.sendable().count()), (Availability::Waiting, 0));
        requests.settled(filters().iter(), start + day);
        assert_eq!(send(&mut requests, start + day).len(), 1, "it was kept");
    }
}

#[test]
fn a_publish_that_is_refused_ends_the_request_unless_the_service_is() {
    let now = Instant::now();
    let mut requests = ready(now);
    let id = requests.ask(request(START_NEXT)).unwrap();
    send(&mut requests, now);
    requests.returned(id);
    assert_eq!(send(&mut requests, now).len(), 1);
    requests.not_taken(id, "too large");
    assert_eq!(
        requests.next_event(Asker::Executions),
        Some(Event::Answered(id, Answer::NotTaken("too large".to_owned())))
    );
    let id = requests.ask(request(START_NEXT)).unwrap();
    send(&mut requests, now);
    requests.topic_refused(|_| true, "0x87", now);
    requests.not_taken(id, "0x87");
    assert_eq!(requests.outstanding(), 1);
}

#[test]
fn without_a_token_one_request_to_a_topic_is_on_its_way_at_a_time() {
    let now = Instant::now();
    let mut requests = ready(now);
    let first = requests.ask(request(START_NEXT).without_token()).unwrap();
    let second = requests.ask(request(START_NEXT).without_token().answered_on("yes", "no")).unwrap();
    assert_eq!(send(&mut requests, now), [Bytes::from_static(b"{}")]);
    assert!(answer(&mut requests, "accepted", &json!({}), now));
    assert_eq!(send(&mut requests, now).len(), 1);
    assert!(requests.received(&Topic::received("no"), &Bytes::from_static(b"{\"code\":\"X\"}"), now));
    let answered: Vec<RequestId> = std::iter::from_fn(|| requests.next_event(Asker::Executions))
        .filter_map(|event| if let Event::Answered(id, _) = event { Some(id) } else { None })
        .collect();
    assert_eq!(answered, [first, second]);
}

#[test]
fn what_isnt_configured_any_more_is_dropped() {
    let now = Instant::now();
    let mut requests = ready(now);
    requests.ask(request(START_NEXT)).unwrap();
    requests.configure([(Service::Jobs, filters())].into(), now);
    assert_eq!((requests.outstanding(), availability(&requests)), (1, Availability::Ready), "nothing has changed");
    requests.configure([(Service::Jobs, Service::Jobs.filters(names("u")).unwrap())].into(), now);
    assert_eq!((requests.outstanding(), availability(&requests)), (0, Availability::Waiting), "another thing");
    requests.ask(request(START_NEXT)).unwrap();
    requests.configure([].into(), now);
    assert_eq!((requests.outstanding(), requests.filters().count()), (0, 0));
    let mut full = ready(now);
    let ids: Vec<_> = (0..=MAX_OUTSTANDING).map(|_| full.ask(request(START_NEXT))).collect();
    assert!(ids[MAX_OUTSTANDING - 1].is_some() && ids[MAX_OUTSTANDING].is_none());
    full.withdraw(ids[0].unwrap());
    assert!(full.ask(request(START_NEXT)).is_some());
}

#[test]
fn a_request_has_a_token_and_the_bounds_of_iot_core() {
    let now = Instant::now();
    let mut requests = ready(now);
    let body = json!({"status": "FAILED"}).as_object().unwrap().clone();
    requests.ask(Request::new(Service::Jobs, START_NEXT, body).unwrap()).unwrap();
    let (_, _, message) = requests.sendable().next().unwrap();
    let text = String::from_utf8(message.payload.to_vec()).unwrap();
    assert!(text.starts_with(r#"{"status":"FAILED","clientToken":""#) && token(&message.payload).len() <= 64, "{text}");
    let wrong = Request::new(Service::Jobs, "a/+/b", Map::new());
    assert!(matches!(wrong, Err(RequestError::Topic(_))));
    let large = json!({"x": "y".repeat(128 * 1024)}).as_object().unwrap().clone();
    assert!(matches!(Request::new(Service::Jobs, "a", large), Err(RequestError::TooLarge(_))));
    for service in [Service::Jobs, Service::Commands, Service::Rotator] {
        assert!(
            service.filters(names("a/+b")).is_err() && service.filters(names("gw:1_x-2")).is_ok(),
            "{}",
            service.name()
        );
    }
}

#[test]
fn waits_double_up_to_ten_minutes_and_are_never_short() {
    let longest: Vec<u64> = (0..9).map(|failures| retry::wait(failures, 1.0).as_secs()).collect();
    assert_eq!(longest, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
    assert_eq!(retry::wait(u32::MAX, 1.0).as_secs(), 600);
    assert_eq!(retry::wait(7, 0.0), Duration::from_millis(500));
}
