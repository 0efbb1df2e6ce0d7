//! What is seen of documents, on terminals of all sizes.

use std::time::Duration;

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use ratatui::style::Color;
use serde_json::{Value, json};

use super::fuzzing::drawn;
use super::look::{Glyphs, Look};
use super::model::{Model, Moment};
use crate::status::document::Document;

const LOOK: Look = Look { glyphs: Glyphs::Unicode, has_colours: false };

/// So many seconds after the first look.
fn at(seconds: i64) -> Moment {
    let start: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
    let boot = Duration::from_secs(1000 + u64::try_from(seconds).unwrap());
    Moment { wall: start + SignedDuration::from_secs(seconds), boot }
}

fn read(document: &Value) -> Document {
    serde_json::from_value(document.clone()).unwrap()
}

/// The lines on a terminal, without the blanks at their ends.
fn screen(model: &Model, now: Moment, look: Look, size: (u16, u16)) -> Vec<String> {
    let buffer = drawn(model, now, look, size);
    let row = |y| (0..size.0).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..size.1).map(row).collect()
}

/// A gateway with some of everything.
fn house() -> Value {
    json!({
        "version": "0.3.0", "started": "2026-01-28T08:00:00Z", "memory": {"resident": 5_452_595, "peak": 6_291_456},
        "link": {
            "state": "connected", "since": "2026-01-31T11:56:58Z", "disconnected_since": null, "session_present": true,
            "next_attempt": null, "endpoint": "x.example", "port": 8883, "client_id": "thing-1", "protocol": "5",
            "last_error": {"code": "keep_alive_lost", "message": "the server has gone", "advice": "Wait.", "at": "2026-01-31T11:40:00Z"},
            "filters_refused": [{"filter": "a/#", "since": "2026-01-31T11:57:00Z", "reason": "refused", "missing": "iot:Subscribe"}],
            "history": [
                {"since": "2026-01-30T12:00:00Z", "state": "connected", "seconds": 85_200.0, "connected_seconds": 85_200.0,
                 "longest_gap_seconds": 0.0, "cause": null},
                {"since": "2026-01-31T11:40:00Z", "state": "disconnected", "seconds": 1018.0, "connected_seconds": 0.0,
                 "longest_gap_seconds": 1018.0, "cause": "keep_alive_lost"},
                {"since": "2026-01-31T11:56:58Z", "state": "connected", "seconds": 182.0, "connected_seconds": 182.0,
                 "longest_gap_seconds": 0.0, "cause": null},
            ],
        },
        "outbox": {
            "waiting": 12, "in_flight": 3, "bytes": 2048, "oldest": "2026-01-31T11:48:00Z", "stored": 15,
            "dropped": {"full": 2}, "quarantined": 1, "accepted": 340, "delivered": 320, "sent": 3,
            "drain": {"messages": 600, "delivered": 150, "seconds_left": 75},
            "quarantine": [{"topic": "secret", "since": "2026-01-31T11:59:00Z", "messages": 1, "reason": "the server closes"}],
            "held": {"cause": "throttled", "since": "2026-01-31T11:59:50Z", "reason": "too many", "advice": "Send less."},
        },
        "store": {"path": "/var/lib/gatewire/gatewire.db", "error": "disk full", "moved_aside": ["/x"]},
        "inbox": {"received": 40, "unmatched": 1, "unacknowledged": 2},
        "counters": {"attempts": 17, "connections": 3, "published": 325, "resent": 2, "received": 40},
        "publish": [
            {"name": "hello", "topic": "test/topic", "count": 17, "last_published": "2026-01-31T11:59:30Z",
             "next_run": "2026-01-31T12:00:30Z"},
            {"name": "temperature", "topic": "t", "count": 3, "failed": 1, "failing": true,
             "last_error": {"message": "no such file", "at": "2026-01-31T11:59:58Z"}},
        ],
        "forward": [{"name": "messages", "readers": 0, "waiting": 4, "oldest": "2026-01-31T11:00:00Z", "written": 36,
                     "dropped": {"keep_full": 5}, "disconnected_slow": 1}],
        "ingest": [{"name": "publish", "clients": 2, "accepted": 300, "refused": {"bad_line": 2}}],
        "bridge": [{"name": "house", "broker": "127.0.0.1:1883", "state": "waiting", "since": "2026-01-31T11:59:00Z",
                    "last_error": {"code": "refused", "message": "nobody listens", "advice": "Start it.", "at": "2026-01-31T11:59:59Z"},
                    "up": [{"from": "dev/#", "delivered": 7, "waiting": 1, "dropped": {"too_large": 1, "unchanged": 9}}],
                    "down": [{"from": "set/#", "delivered": 5}]}],
        "services": {"jobs": {"state": "ready", "since": "2026-01-31T11:57:00Z", "execution": "upgrade-7", "waiting": 1}},
        "executions": [
            {"at": "2026-01-31T11:00:00Z", "kind": "job", "id": "a", "execution": 1, "action": "x", "status": "FAILED", "reason": "it exited with 3"},
            {"at": "2026-01-31T11:58:00Z", "kind": "job", "id": "upgrade-7", "execution": 2, "action": "x", "status": "IN_PROGRESS"},
        ],
        "certificate": {"not_before": "2025-01-01T00:00:00Z", "not_after": "2026-02-10T12:00:00Z"},
        "identity": {"state": "ready", "last_error": {"code": "c", "message": "m", "advice": "a", "at": "2026-01-31T11:00:00Z"}},
    })
}

/// It sends 3 messages a second and 2 more each time, and receives one, for so many seconds.
fn watched(document: &Value, seconds: i64) -> Model {
    let (mut model, mut document, mut sent) = (Model::new(at(0)), document.clone(), 325);
    for second in 0..seconds {
        sent += 3 + 2 * second;
        document["counters"]["published"] = json!(sent);
        document["counters"]["received"] = json!(40 + second);
        model.learn(Ok(read(&document)), at(second));
    }
    model
}

#[test]
fn a_terminal_of_80_by_24_shows_what_an_operator_asks() {
    let lines = screen(&watched(&house(), 9), at(8), LOOK, (80, 24));
    println!("{}", lines.join("\n"));
    for expected in [
        "gatewire 0.3.0, up for 3d 4h; memory 5.2 MiB               12:00:08 UTC, q quits",
        "link         connected for 3m 10s; the session was resumed",
        "out 12/s     ",
        "in  1.0/s    ",
        "outbox       12 messages wait, the oldest for 12m 8s; 3 in flight, 15 stored,",
        "inbox        4 messages wait for readers, the oldest for 1h",
        "hello        38s ago    in 22s ",
        "BRIDGE ",
        "upgrade-7 (2)  job ",
        "TROUBLE  (2 of 19)",
        "now          not subscribed to a/# for 3m 8s: refused; the policy lacks",
    ] {
        assert!(lines.iter().any(|line| line.starts_with(expected)), "no {expected:?}");
    }
    let hour = lines.iter().find(|line| line.starts_with("last hour")).unwrap();
    assert_eq!(hour.trim_start_matches("last hour").trim_start(), "█".repeat(44) + "▄" + &"▁".repeat(18) + "▄███");
    let curve = |start| lines.iter().find(|line| line.starts_with(start)).unwrap();
    assert!(curve("out ").ends_with(" ▃▃▄▅▆▇██"), "{}", curve("out "));
    assert!(curve("in ").ends_with(" ████████"), "{}", curve("in "));
}

#[test]
fn a_small_terminal_shows_the_link_what_waits_and_what_is_wrong() {
    let lines = screen(&watched(&house(), 9), at(8), LOOK, (40, 10));
    println!("{}", lines.join("\n"));
    let begins = |start: &str| lines.iter().any(|line| line.starts_with(start));
    for start in ["gatewire 0.3.0", "link ", "last hour", "out ", "in ", "outbox ", "TROUBLE", "now "] {
        assert!(begins(start), "no {start:?}");
    }
    assert!(lines.iter().all(|line| !line.is_empty()), "no row is wasted");
    assert!(screen(&watched(&house(), 1), at(0), LOOK, (12, 2))[1].starts_with("link "));
}

#[test]
fn a_large_terminal_shows_all_of_it_and_higher_curves() {
    let lines = screen(&watched(&house(), 9), at(8), LOOK, (200, 60));
    println!("{}", lines.join("\n"));
    for expected in [
        "thing-1 at x.example:8883, MQTT 5",
        "connected 98.8 % of the last 24 h, longest gap 16m 58s (keep_alive_lost), 20m 8s ago",
        "the backlog goes out: 150 of 600 are delivered, about 1m 15s left",
        "1 set aside",
        "peak 19/s",
        "BRIDGE  STATE          UP  DOWN  WAITING  BROKER",
        "house   not connected  7   5     1        127.0.0.1:1883",
        "jobs         ready for 3m 8s; upgrade-7 is under way; 1 more waits",
        "upgrade-7 (2)  job   2m 8s ago  IN_PROGRESS  x",
        "outbox: IoT Core takes no more messages for now for 18s: too many. Messages wait. Send less.",
        "set aside: secret: 1 for 1m 8s: the server closes",
        "store: /var/lib/gatewire/gatewire.db: disk full",
        "certificate: expires in 9d 23h",
        "publish temperature: no such file",
        "bridge house: nobody listens (refused). Start it.",
        "20m 8s ago   link: the server has gone (keep_alive_lost)",
        "20m 8s ago   link: no connection for 16m 58s (keep_alive_lost)",
        "1h ago       job a: FAILED, it exited with 3",
        "earlier      outbox: 2 messages were dropped, full",
        "earlier      forward messages: 1 reader was disconnected for not reading",
        "earlier      bridge house, up dev/#: 1 message was dropped, too large",
    ] {
        assert!(lines.iter().any(|line| line.contains(expected)), "no {expected:?}");
    }
    assert!(!lines.iter().any(|line| line.contains("unchanged") || line.contains(" of 2)")));
}

#[test]
fn without_colours_and_in_ascii_the_words_and_signs_are_the_same() {
    let model = watched(&house(), 3);
    let ascii = Look { glyphs: Glyphs::Ascii, has_colours: false };
    let lines = screen(&model, at(2), ascii, (60, 40));
    assert!(lines.iter().all(|line| line.is_ascii()), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("# connected, + partly, . not")), "{lines:#?}");
    let plain = drawn(&model, at(2), LOOK, (80, 24));
    assert!(plain.content().iter().all(|cell| cell.fg == Color::Reset && cell.modifier.is_empty()));
    let coloured = drawn(&model, at(2), Look { has_colours: true, ..LOOK }, (80, 24));
    assert!(coloured.content().iter().any(|cell| cell.fg == Color::Red));
    assert!(plain.content().iter().zip(coloured.content()).all(|(one, other)| one.symbol() == other.symbol()));
}

#[test]
fn without_a_daemon_it_says_so_and_what_happened_since_once_it_is_back() {
    let mut model = Model::new(at(0));
    let said = |model: &Model, now| screen(model, now, LOOK, (80, 24)).join("\n");
    assert!(said(&model, at(0)).contains("gatewire is asked"));
    let reason = "gatewire isn't running: `systemctl status gatewire` shows its state";
    model.learn(Err(reason.to_owned()), at(1));
    assert!(said(&model, at(1)).contains(reason) && said(&model, at(1)).contains("It is asked again each second."));
    model.learn(Ok(read(&house())), at(2));
    assert!(said(&model, at(2)).contains("gatewire 0.3.0, up"));
    model.learn(Err(reason.to_owned()), at(3));
    assert!(said(&model, at(5)).contains("2s ago       gatewire stopped answering"));
    let of = |version: &str, started: &str| read(&json!({"version": version, "started": started}));
    model.learn(Ok(of("0.3.0", "2026-01-31T12:00:04Z")), at(6));
    assert!(said(&model, at(6)).contains("just now     gatewire 0.3.0 answers"));
    model.learn(Ok(of("0.3.0", "2026-01-31T12:00:07Z")), at(8));
    model.learn(Ok(of("9.0.0", "2026-01-31T12:00:09Z")), at(10));
    let all = said(&model, at(10));
    assert!(all.contains("2s ago       gatewire was started again"), "{all}");
    assert!(all.contains("just now     gatewire 9.0.0 has taken the place of 0.3.0"), "{all}");
}

#[test]
fn an_answer_that_is_late_is_said_to_be() {
    let model = watched(&house(), 1);
    let title = |now| screen(&model, now, LOOK, (80, 24))[0].clone();
    assert!(title(at(2)).ends_with("12:00:02 UTC, q quits"));
    assert!(title(at(4)).ends_with("no answer for 4s, q quits"), "{}", title(at(4)));
}

#[test]
fn what_is_wrong_with_the_configuration_is_shown() {
    let mut model = Model::new(at(0));
    let said = |model: &Model| screen(model, at(9), LOOK, (80, 24)).join("\n");
    let fault = "/etc/gatewire/gatewire.toml:7: `x`: unknown key";
    model.notes = vec![fault.to_owned()];
    for answer in [Err("gatewire isn't running".to_owned()), Ok(read(&json!({"version": "0.3.0"})))] {
        model.learn(answer, at(0));
        assert!(said(&model).contains(&format!("now          {fault}")), "{}", said(&model));
    }
    let refused =
        json!({"version": "0.3.0", "reload_refused": {"at": "2026-01-31T12:00:02Z", "errors": [fault, "y: z"]}});
    model.learn(Ok(read(&refused)), at(0));
    let lines = said(&model);
    assert!(lines.contains("now          the reload 7s ago was refused") && lines.contains("y: z"), "{lines}");
    assert_eq!(lines.matches(fault).count(), 1, "{lines}");
    model.notes.clear();
    model.learn(Ok(read(&json!({"version": "0.3.0"}))), at(0));
    assert!(!said(&model).contains("now "), "what is mended isn't wrong any more");
}

/// A path without blanks, of characters that are two columns wide, and what follows it.
#[test]
fn text_is_wrapped_by_columns_and_nothing_of_it_is_lost() {
    let mut document = house();
    document["link"]["filters_refused"] = json!([]);
    let message = format!("/work/{} isn't there: a file", "家庭温度".repeat(20));
    document["publish"][0] =
        json!({"name": "p", "failing": true, "last_error": {"message": message, "at": "2026-01-31T12:00:00Z"}});
    let model = watched(&document, 1);
    for width in [40, 61, 80, 119, 120, 121] {
        let buffer = drawn(&model, at(1), LOOK, (width, 100));
        let mut text = String::new();
        for y in 0..100 {
            let mut x = 0;
            while x < width {
                let symbol = buffer[(x, y)].symbol();
                text.push_str(symbol);
                x += u16::try_from(ratatui::text::Span::raw(symbol).width().max(1)).unwrap();
            }
        }
        let text: String = text.split_whitespace().collect();
        let wanted: String = message.split_whitespace().collect();
        assert!(text.contains(&wanted), "{width}: {text}");
    }
}

/// Something that no daemon of this version says.
fn odd(random: &mut Rng) -> Value {
    match random.u8(..14) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(u64::MAX),
        4 => json!(1e308),
        5 => json!(-1e-300),
        6 => json!(""),
        7 => json!("x\n\u{1b}[2J\u{9b}31m\u{202e}\u{feff}\t"),
        8 => json!("wort ".repeat(random.usize(..500))),
        9 => json!("日本語🦀e\u{301}".repeat(random.usize(..60))),
        10 => json!([]),
        11 => json!({}),
        12 => json!("-009999-01-02T01:59:59Z"),
        _ => json!("9999-12-30T22:00:00Z"),
    }
}

fn changed(value: &Value, random: &mut Rng) -> Value {
    if random.u8(..30) == 0 {
        return odd(random);
    }
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(|item| changed(item, random)).collect();
            if let Some(last) = items.last().filter(|_| random.u8(..8) == 0).cloned() {
                items.resize(random.usize(..40), last);
            }
            items.into()
        }
        Value::Object(members) => {
            let kept = members.iter().filter(|_| random.u8(..20) > 0).collect::<Vec<_>>();
            kept.into_iter().map(|(key, value)| (key.clone(), changed(value, random))).collect()
        }
        Value::Number(_) if random.u8(..4) == 0 => json!(random.u32(..)),
        other => other.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Documents of any daemon, at any times, on any terminal.
    #[test]
    fn no_document_time_or_size_is_too_much(seed in any::<u64>()) {
        let mut random = Rng::with_seed(seed);
        let mut model = Model::new(at(0));
        let house = house();
        for _ in 0..random.u8(1..6) {
            let magnitude = random.u8(..64);
            let now = Moment {
                wall: Timestamp::from_second(random.i64(-1 << 37..1 << 37)).unwrap_or(Timestamp::MAX),
                boot: Duration::from_millis(random.u64(..) >> magnitude),
            };
            let document = serde_json::from_value(changed(&house, &mut random));
            model.learn(document.map_err(|error| error.to_string()), now);
            let look = Look {
                glyphs: if random.bool() { Glyphs::Unicode } else { Glyphs::Ascii },
                has_colours: random.bool(),
            };
            let later = Moment { wall: Timestamp::from_second(random.i64(-1 << 37..1 << 37)).unwrap_or(Timestamp::MIN), ..now };
            for now in [now, later] {
                drawn(&model, now, look, (random.u16(..220), random.u16(..70)));
                drawn(&model, now, look, (random.u16(..20), random.u16(..6)));
            }
        }
    }
}
