//! What a person and a monitoring system read of a document.

use serde_json::json;

use super::*;

const NOW: &str = "2026-01-31T12:00:00Z";

fn page(document: Value) -> String {
    table::table(&serde_json::from_value(document).unwrap(), NOW.parse().unwrap(), Style::Plain).to_string()
}

/// One line of a page.
fn line(page: &str, start: &str) -> String {
    let found = page.lines().find(|line| line.trim_start().starts_with(start));
    found.unwrap_or_else(|| panic!("no {start:?} in\n{page}")).to_owned()
}

fn outage() -> Value {
    json!({
        "version": "0.1.0", "started": "2026-01-28T08:00:00Z", "memory": {"resident": 5_452_595, "peak": 6_291_456},
        "link": {
            "state": "waiting", "since": "2026-01-31T11:59:40Z", "disconnected_since": "2026-01-31T11:47:57Z",
            "session_present": null, "next_attempt": "2026-01-31T12:00:40Z",
            "last_error": {
                "code": "dns_no_server", "message": "looking up x.example in DNS: no name server gave an answer for now",
                "advice": "See whether the network is up (`ip route`, `resolvectl status`); gatewire tries again by itself, for ever.",
                "at": "2026-01-31T11:59:40Z",
            },
            "endpoint": "x.example", "port": 8883, "client_id": "thing-1", "protocol": "5", "filters_refused": [],
        },
        "outbox": {
            "waiting": 12, "urgent": 2, "in_flight": 3, "bytes": 2048, "oldest": "2026-01-31T11:48:00Z", "stored": 15,
            "dropped": {"full": 2, "expired": 0, "not_connected": 1}, "quarantined": 1,
            "quarantine": [{"topic": "secret", "retain": false, "since": "2026-01-31T11:59:00Z", "messages": 1,
                            "reason": "the server closes the connection", "missing": "iot:Publish on topic/secret"}],
            "accepted": 340, "delivered": 320, "sent": 3,
            "drain": {"messages": 600, "delivered": 150, "seconds_left": 75},
        },
        "store": {"path": "/var/lib/gatewire/gatewire.db", "error": null, "since": null, "moved_aside": [], "restored": 0},
        "inbox": {"received": 40, "unmatched": 1, "too_large": 0, "unacknowledged": 2},
        "counters": {"attempts": 17, "connections": 3, "published": 325, "resent": 2, "received": 40, "copies": 0},
        "publish": [
            {"name": "hello", "topic": "test/topic", "count": 17, "skipped": 1, "refused": 0,
             "last_run": "2026-01-31T11:59:30Z", "last_published": "2026-01-31T11:59:30Z", "next_run": "2026-01-31T12:00:30Z",
             "failing": false, "last_error": null},
            {"name": "temperature", "topic": "t", "count": 3, "last_run": "2026-01-31T11:59:58Z", "last_published": null,
             "next_run": null, "failing": true, "last_error": {"message": "no such file", "at": "2026-01-31T11:59:58Z"}},
        ],
        "forward": [{
            "name": "messages", "socket": "/run/gatewire/messages.sock", "format": "json", "readers": 0, "observers": 1, "waiting": 4,
            "unacknowledged": 1, "stored": 3,
            "waiting_bytes": 700, "oldest": "2026-01-31T11:00:00Z", "written": 36,
            "dropped": {"keep_full": 5}, "disconnected_slow": 1,
        }],
        "ingest": [{"name": "publish", "socket": "/run/gatewire/publish.sock", "clients": 2, "accepted": 300,
                    "refused": {"bad_line": 2, "too_large": 1}}],
        "certificate": {"not_before": "2025-01-01T00:00:00Z", "not_after": "2027-01-31T13:00:00Z"},
        "clock": {"synchronised": false},
        "executions": [
            {"at": "2026-01-31T11:00:00Z", "kind": "job", "id": "a", "execution": 1, "action": "x", "status": "FAILED", "reason": null},
            {"at": "2026-01-31T11:30:00Z", "kind": "job", "id": "a", "execution": 2, "action": "x", "status": "FAILED", "reason": null},
            {"at": "2026-01-31T11:40:00Z", "kind": "command", "id": "b", "action": "x", "status": "SUCCEEDED", "reason": null},
        ],
    })
}

#[test]
fn what_is_due_is_now_and_what_has_just_begun_has_no_length_yet() {
    let mut document = outage();
    let now = json!("2026-01-31T12:00:00Z");
    let link = document["link"].as_object_mut().unwrap();
    link.extend([("disconnected_since".to_owned(), now.clone()), ("next_attempt".to_owned(), now)]);
    let found = page(document);
    let line = "link         not connected for less than 1s, since 2026-01-31 12:00:00 UTC; next attempt now\n";
    assert!(found.contains(line), "{found}");
}

#[test]
fn the_page_answers_what_an_operator_asks() {
    assert_eq!(
        page(outage()),
        "\
gatewire 0.1.0, up for 3d 4h, since 2026-01-28 08:00:00 UTC; memory 5.2 MiB, at most 6.0 MiB

link         not connected for 12m 3s, since 2026-01-31 11:47:57 UTC; next attempt in 40s
             x.example:8883 as thing-1, MQTT 5
last error   20s ago: looking up x.example in DNS: no name server gave an answer for now
             (dns_no_server)
             See whether the network is up (`ip route`, `resolvectl status`); gatewire tries again
             by itself, for ever.
traffic      325 out, 2 of them re-sent, 40 in; 3 connections in 17 attempts, 2 reconnects
outbox       12 messages wait for IoT Core, 2 of them urgent, 3 in flight: 2.0 KiB, 15 on the disk,
             the oldest for 12m, since 2026-01-31 11:48:00 UTC
             the backlog goes out: 150 of 600 are delivered, about 1m 15s left
             340 accepted, 320 delivered, 3 sent with QoS 0
             dropped: 2 full, 1 not connected
             1 message set aside, because IoT Core refuses it
             secret: 1 for 1m, since 2026-01-31 11:59:00 UTC: the server closes the connection; the
             policy lacks iot:Publish on topic/secret
inbox        4 messages wait for readers, the oldest for 1h, since 2026-01-31 11:00:00 UTC; 2 not
             acknowledged to IoT Core yet
             1 message matched no forward
store        /var/lib/gatewire/gatewire.db
certificate  expires in 365d 1h, at 2027-01-31 13:00:00 UTC

PUBLISH      PUBLISHED  LAST RUN  NEXT RUN  RUNS  UNCHANGED  LOST  TOPIC
hello        30s ago    30s ago   in 30s    17    0          1     test/topic
temperature  never      2s ago    none      3     0          0     t
  2s ago: no such file

FORWARD   READERS  OBSERVERS  WAITING  STORED  UNACKED  SIZE   OLDEST  WRITTEN  SOCKET
messages  0        1          4        3       1        700 B  1h ago  36       /run/gatewire/messages.sock
  dropped: 5 keep full; 1 reader disconnected for not reading

INGEST   CLIENTS  ACCEPTED  REFUSED  SOCKET
publish  2        300       3        /run/gatewire/publish.sock
  refused: 2 bad line, 1 too large
"
    );
}

#[test]
fn the_last_day_of_the_link_is_one_line() {
    let with = |history: Value| {
        let mut document = outage();
        document["link"]["history"] = history;
        line(&page(document), "connected ").trim_start().to_owned()
    };
    let span = |[seconds, connected, gap]: [f64; 3], cause: Value| {
        let state = match (connected > 0.0, gap > 0.0) {
            (true, true) => "both",
            (true, false) => "connected",
            (false, _) => "disconnected",
        };
        json!({"since": "2026-01-31T09:00:00Z", "state": state, "seconds": seconds, "connected_seconds": connected,
               "longest_gap_seconds": gap, "cause": cause})
    };
    assert_eq!(
        with(json!([
            span([43_000.0, 42_551.0, 209.0], json!("dns_failed")),
            span([240.0, 0.0, 240.0], json!("keep_alive_lost")),
            span([43_160.0, 43_160.0, 0.0], json!(null)),
        ])),
        "connected 99.2 % of the last 24 h, longest gap 4m (keep_alive_lost), 3h ago"
    );
    assert_eq!(
        with(json!([span([0.25, 0.0, 0.25], json!(null)), span([99.75, 99.75, 0.0], json!(null))])),
        "connected 99.7 % of the 1m 40s since gatewire started, longest gap 250 ms, 3h ago"
    );
    assert_eq!(with(json!([span([86_400.0, 86_400.0, 0.0], json!(null))])), "connected 100 % of the last 24 h");
}

#[test]
fn an_identity_that_is_yet_to_come_says_where_it_is_and_why() {
    let mut document = outage();
    let link = document["link"].as_object_mut().unwrap();
    link.retain(|key, _| !["client_id", "last_error", "next_attempt"].contains(&key.as_str()));
    document["identity"] = json!({
        "state": "provisioning", "step": "register-thing", "thing": null, "configuration": {}, "not_after": null,
        "next_attempt": "2026-01-31T12:01:00Z",
        "last_error": {"code": "AccessDeniedException", "message": "the hook said no", "advice": "Ask it.", "at": "2026-01-31T11:59:00Z"},
    });
    document.as_object_mut().unwrap().remove("certificate");
    let found = page(document.clone());
    assert!(line(&found, "link").ends_with("since 2026-01-31 11:47:57 UTC; it waits for an identity"), "{found}");
    assert_eq!(line(&found, "x.example"), "             x.example:8883, MQTT 5");
    assert_eq!(
        line(&found, "identity"),
        "identity     none yet; it is asked for, at register-thing; next attempt in 1m"
    );
    assert_eq!(line(&found, "1m ago"), "             1m ago: the hook said no (AccessDeniedException)");
    assert_eq!(line(&found, "Ask it"), "             Ask it.");
    assert!(!found.contains("certificate "), "{found}");
    let metrics = prometheus::exposition(&serde_json::from_value(document.clone()).unwrap());
    for sample in [
        "gatewire_identity_state{state=\"provisioning\"} 1\n",
        "gatewire_identity_state{state=\"ready\"} 0\n",
        "gatewire_identity_last_error_timestamp_seconds{code=\"AccessDeniedException\"} ",
    ] {
        assert!(metrics.contains(sample), "{metrics}");
    }

    document["identity"] =
        json!({"state": "ready", "thing": "gw-7", "configuration": {"room": 7}, "not_after": "2027-01-31T13:00:00Z"});
    let found = page(document);
    assert_eq!(line(&found, "identity"), "identity     the thing gw-7");
    assert_eq!(line(&found, "configuration"), "             configuration {\"room\":7}");
    assert!(!page(outage()).contains("identity"), "who doesn't provision isn't told of it");
}

#[test]
fn the_meter_says_what_was_carried_what_will_be_and_what_of_the_budget_is_left() {
    let mut document = outage();
    assert!(!page(document.clone()).contains("meter"), "who doesn't count isn't told of it");
    document["meter"] = json!({
        "hour": {"sent": 8100, "received": 4200, "forecast": null},
        "day": {"sent": 240_300, "received": 121_000, "forecast": 591_400},
        "month": {"sent": 4_100_000, "received": 2_200_000, "forecast": 12_600_000},
        "causes": {"keep_alive": {"sent": 600_000, "received": 600_000}, "publish hello": {"sent": 3_500_000, "received": 1_600_000}},
        "budget": {"month": 5_000_000, "used_percent": 126, "warn_at": 80, "then": "urgent-only", "state": "past"},
    });
    let found = page(document.clone());
    assert_eq!(line(&found, "meter"), "meter        this hour: 8.1 kB sent, 4.2 kB received");
    assert_eq!(line(&found, "this month"), "             this month: 4.1 MB sent, 2.2 MB received, 12.6 MB by its end");
    assert_eq!(line(&found, "of the month"), "             of the month: publish hello 5.1 MB, keep alive 1.2 MB");
    assert!(found.contains("126 % of the month's budget of 5.0 MB are used; only what is urgent is sent"), "{found}");
    let metrics = prometheus::exposition(&serde_json::from_value(document).unwrap());
    for sample in [
        "gatewire_meter_bytes{period=\"day\",direction=\"received\"} 121000\n",
        "gatewire_meter_forecast_bytes{period=\"month\"} 12600000\n",
        "gatewire_meter_month_bytes_total{cause=\"keep_alive\",direction=\"sent\"} 600000\n",
        "gatewire_meter_budget_used_ratio 1.26\n",
        "gatewire_meter_budget_state{state=\"past\"} 1\n",
    ] {
        assert!(metrics.contains(sample), "{metrics}");
    }
}

#[test]
fn many_filters_that_are_refused_for_one_reason_leave_room_for_the_rest() {
    let mut document = outage();
    let refused = |filter: &str, reason: &str| json!({"filter": filter, "since": "2026-01-31T11:59:41Z", "reason": reason, "missing": null});
    let mut filters: Vec<Value> =
        (0..40).map(|n| refused(&format!("bad/{n}"), "not asked for before 12:05:00 UTC")).collect();
    filters.push(refused("other", "0x8F"));
    document["link"]["filters_refused"] = filters.into();
    let page = page(document);
    let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(page.matches("not subscribed to").count(), 4, "{page}");
    let more =
        "not subscribed to 38 more filters: not asked for before 12:05:00 UTC. `gatewire status --json` names them";
    assert!(page.contains(more) && page.contains("not subscribed to other"), "{page}");
}

#[test]
fn a_link_that_is_up_says_since_when_and_keeps_its_last_error_short() {
    let mut document = outage();
    document["link"]["state"] = json!("connected");
    document["link"]["disconnected_since"] = Value::Null;
    document["link"]["session_present"] = json!(true);
    let missing = "iot:Subscribe on topicfilter/a/#";
    document["link"]["filters_refused"] =
        json!([{"filter": "a/#", "since": "2026-01-31T11:59:41Z", "reason": "refused", "missing": missing}]);
    document["outbox"] = json!({});
    let page = page(document);
    let link = "link         connected for 20s, since 2026-01-31 11:59:40 UTC; the session was resumed";
    assert_eq!(line(&page, "link"), link);
    assert!(
        page.contains("not subscribed to a/# for 19s, since")
            && page.contains(missing)
            && page.contains("(dns_no_server)\n"),
        "{page}"
    );
    assert!(!page.contains("See whether"), "advice for what is over: {page}");
    assert_eq!(line(&page, "outbox"), "outbox       nothing waits for IoT Core");
}

#[test]
fn an_outbox_that_is_held_isnt_said_to_have_nothing_that_waits() {
    let mut document = outage();
    document["outbox"] =
        json!({"held": {"cause": "subscribing", "since": "2026-01-31T11:59:58Z", "reason": "r", "advice": "a"}});
    let metrics = prometheus::exposition(&serde_json::from_value(document.clone()).unwrap());
    assert!(
        metrics.contains("gatewire_outbox_held{cause=\"subscribing\"} 1\n")
            && metrics.contains("gatewire_outbox_held{cause=\"budget\"} 0\n"),
        "{metrics}"
    );
    let page = page(document);
    assert!(
        page.contains("messages wait for the answer to a SUBSCRIBE") && !page.contains("nothing waits for IoT"),
        "{page}"
    );
    assert_eq!(line(&page, "outbox"), "outbox       empty; what programs send now waits with them");
}

#[test]
fn the_certificate_says_when_it_ends_and_when_that_is_urgent() {
    let certificate = |not_before: &str, not_after: &str| {
        let document = json!({"certificate": {"not_before": not_before, "not_after": not_after}});
        let document: Document = serde_json::from_value(document).unwrap();
        let page = table::table(&document, NOW.parse().unwrap(), Style::Colour).to_string();
        page.lines().find(|line| line.contains("certificate")).unwrap().split_once("\u{1b}[0m").unwrap().1.to_owned()
    };
    let start = "2025-01-01T00:00:00Z";
    assert!(certificate(start, "2026-03-05T00:00:00Z").starts_with("expires in 32d"));
    assert!(certificate(start, "2026-02-05T00:00:00Z").starts_with("\u{1b}[33mexpires in 4d 12h"));
    assert!(certificate(start, "2026-01-31T11:00:00Z").starts_with("\u{1b}[1;31mexpired 1h ago"));
    assert!(certificate("2026-02-01T00:00:00Z", "2027-01-01T00:00:00Z").contains("timedatectl"));
}

#[test]
fn a_schedule_says_when_it_last_succeeded_and_what_goes_wrong_now() {
    let row = |publish: Value| {
        let page = page(json!({"publish": [publish]}));
        let rows: Vec<&str> = page.lines().skip_while(|line| !line.starts_with("PUBLISH")).skip(1).collect();
        let cells: Vec<String> = rows[0].split("  ").filter(|cell| !cell.is_empty()).map(str::to_owned).collect();
        (cells[1].trim().to_owned(), rows.get(1).map(|line| line.trim().to_owned()))
    };
    let (run, before) = ("2026-01-31T11:59:00Z", "2026-01-31T11:00:00Z");
    let publish = |published, failed, failing| json!({"name": "p", "last_published": published, "failing": failing, "last_error": {"message": "full", "at": failed}});
    assert_eq!(row(publish(before, run, true)), ("1h ago".to_owned(), Some("1m ago: full".to_owned())));
    // What is over isn't told from the times: a value that hasn't moved isn't published.
    let over = ("1h ago".to_owned(), Some("works again; last error 1m ago: full".to_owned()));
    assert_eq!(row(publish(before, run, false)), over);
}

#[test]
fn a_document_of_another_version_is_read_as_far_as_it_is_known() {
    let page = page(json!({"version": "9.0.0", "link": {"state": "dreaming", "mood": 7}, "weather": []}));
    assert!(page.starts_with("gatewire 9.0.0\n") && page.contains("doesn't know"), "{page}");
}

#[test]
fn what_the_server_says_cannot_command_the_terminal() {
    let message = "refused: \u{1b}[2J\u{9b}31m";
    let page = page(json!({"link": {"state": "waiting", "last_error": {"code": "x", "message": message}}}));
    assert!(line(&page, "last error").contains("\\u001b[2J\\u009b31m"), "{page}");
    assert!(page.chars().all(|c| c == '\n' || !c.is_control()), "{page:?}");
}

#[test]
fn metrics_have_a_head_a_unit_and_escaped_labels() {
    let mut document = outage();
    document["link"]["client_id"] = json!("a\"b\\c\nd");
    let text = prometheus::exposition(&serde_json::from_value(document).unwrap());
    for expected in [
        "# HELP gatewire_link_up Whether there is a connection to IoT Core.\n# TYPE gatewire_link_up gauge\ngatewire_link_up 0\n",
        "gatewire_link_info{endpoint=\"x.example\",client_id=\"a\\\"b\\\\c\\nd\",protocol=\"5\"} 1\n",
        "gatewire_outbox_urgent_messages 2\n",
        "gatewire_outbox_dropped_total{cause=\"full\"} 2\n",
        "gatewire_outbox_oldest_timestamp_seconds 1769860080\n",
        "gatewire_outbox_drain_left_messages 450\n",
        "gatewire_outbox_drain_left_seconds 75\n",
        "gatewire_forward_stored_messages{forward=\"messages\"} 3\n",
        "gatewire_forward_unacknowledged_messages{forward=\"messages\"} 1\n",
        "gatewire_forward_dropped_total{forward=\"messages\",cause=\"keep_full\"} 5\n",
        "gatewire_publish_last_published_timestamp_seconds{publish=\"hello\"} 1769860770\n",
        "gatewire_publish_failing{publish=\"temperature\"} 1\n",
        "gatewire_clock_synchronised 0\n",
        "gatewire_executions{kind=\"job\",status=\"FAILED\"} 2\n",
        "gatewire_execution_last_timestamp_seconds{kind=\"job\",status=\"FAILED\"} 1769859000\n",
        "gatewire_executions{kind=\"command\",status=\"SUCCEEDED\"} 1\n",
    ] {
        assert!(text.contains(expected), "{expected} isn't in\n{text}");
    }
}

#[test]
fn what_never_stops_talking_is_given_up() {
    let (ours, mut other) = UnixStream::pair().unwrap();
    let mut talk = move || other.write_all(b"{\"n\":1}\n").is_ok();
    // Something is there, however late its thread is.
    assert!(talk());
    let talks = std::thread::spawn(move || while talk() {});
    let mut text = Vec::new();
    // Some of it is read, and an end is found, by the time or by the length.
    let outcome = read_to_end(&ours, &mut text, Duration::from_millis(50));
    assert!(outcome.is_ok() == (text.len() >= MAX_DOCUMENT) && !text.is_empty(), "{outcome:?} {}", text.len());
    drop(ours);
    talks.join().unwrap();
}

#[test]
fn an_urgent_rule_of_a_bridge_is_marked() {
    let mut document = outage();
    document["bridge"] = json!([{"name": "house", "broker": "localhost:1883", "state": "connected",
        "up": [{"from": "alarm/#", "urgent": true}, {"from": "dev/#", "urgent": false}], "down": [{"from": "set/#"}]}]);
    let page = page(document);
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("house ")).collect();
    assert!(
        rows[0].ends_with("  alarm/# (urgent)") && rows[1].ends_with("  dev/#") && rows[2].ends_with("  set/#"),
        "{page}"
    );
}
