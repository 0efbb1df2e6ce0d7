//! The picture in the README.

use super::*;

/// What the picture in the README is made of, by packaging/watch-picture: GATEWIRE_WATCH_PICTURE=FILE takes a minute, in which the curves
/// get as long as the terminal is wide.
#[test]
fn the_picture_of_the_readme_is_what_it_looks_like() {
    let file = std::env::var_os("GATEWIRE_WATCH_PICTURE");
    let seconds = if file.is_some() { 68 } else { 3 };
    let terminal = Terminal::start((84, 41));
    let socket = terminal.path("status.sock");
    let daemon = Daemon::start(&socket);
    let began = Timestamp::now();
    daemon.answers(house(began, 0));
    let setup = Setup::new(closed_port(), "");
    terminal.run("", &setup.command(), &["status", "--watch", "--socket", socket.to_str().unwrap()]);
    terminal.wait_for_text("link         connected for ");
    for second in 1..seconds {
        let before = daemon.asked.load(Ordering::SeqCst);
        daemon.answers(house(began, second));
        eventually("the next question", || (daemon.asked.load(Ordering::SeqCst) > before).then_some(()));
    }
    let screen = terminal.wait_for("all of it", |screen| rate(screen, "out").is_some_and(|rate| rate > 0.0));
    for text in ["zigbee", "TROUBLE", "no connection for 4m (keep_alive_lost)", "fetch-model-12"] {
        assert!(screen.contains(text), "no {text:?} in\n{screen}");
    }
    if let Some(file) = file {
        fs::write(file, terminal.coloured()).unwrap();
    }
}

/// A gateway in service, so many seconds after the first look.
fn house(began: Timestamp, second: u64) -> Value {
    let now = Timestamp::now();
    let ago = |seconds: i64| (now - SignedDuration::from_secs(seconds)).to_string();
    let wave = |at: u64| 9.0 + 6.0 * (at as f64 / 7.0).sin() + if at % 23 < 4 { 8.0 } else { 0.0 };
    let sum = |share: f64| (0..second).map(|at| (wave(at) * share) as u64).sum::<u64>();
    let span = |begin: i64, end: i64, state: &str, cause: Value| {
        let (length, is_up) = ((begin - end) as f64, state == "connected");
        json!({"since": ago(begin), "state": state, "seconds": length, "connected_seconds": if is_up { length } else { 0.0 },
               "longest_gap_seconds": if is_up { 0.0 } else { length }, "cause": cause})
    };
    json!({
        "version": env!("CARGO_PKG_VERSION"), "started": (began - SignedDuration::from_hours(220)).to_string(), "memory": {"resident": 5_452_595, "peak": 6_291_456},
        "clock": {"synchronised": true},
        "link": {
            "state": "connected", "since": ago(1320), "session_present": true, "endpoint": "a1b2c3.iot.eu-west-1.amazonaws.com",
            "port": 8883, "client_id": "gw-attic", "protocol": "5",
            "last_error": {"code": "keep_alive_lost", "message": "the server hasn't answered for 30 s", "advice": "", "at": ago(1560)},
            "history": [
                span(86_400, 2400, "connected", Value::Null), span(2400, 2370, "disconnected", json!("closed_by_server")),
                span(2370, 1560, "connected", Value::Null), span(1560, 1320, "disconnected", json!("keep_alive_lost")),
                span(1320, 0, "connected", Value::Null),
            ],
        },
        "outbox": {"waiting": 3, "in_flight": 2, "bytes": 1830, "oldest": ago(1), "stored": 0, "accepted": 9000, "delivered": 8997},
        "counters": {"attempts": 4, "connections": 3, "published": 4000 + sum(1.0), "received": 900 + sum(0.3)},
        "publish": [
            {"name": "temperature", "topic": "gw/attic/temperature", "count": 8211, "last_published": ago(4), "next_run": ago(-26)},
            {"name": "uptime", "topic": "gw/attic/uptime", "count": 137, "last_published": ago(1210), "next_run": ago(-590)},
            {"name": "humidity", "topic": "gw/attic/humidity", "count": 31, "failed": 2, "failing": true, "last_published": ago(640),
             "next_run": ago(-20), "last_error": {"message": "/run/humidity: no such file", "at": ago(40)}},
        ],
        "forward": [{"name": "commands", "readers": 1, "waiting": 0, "written": 912}],
        "ingest": [{"name": "publish", "clients": 2, "accepted": 4200}],
        "bridge": [{"name": "zigbee", "broker": "127.0.0.1:1883", "state": "connected", "since": ago(200_000),
                    "up": [{"from": "zigbee2mqtt/+", "delivered": 70_121 + sum(0.5)}], "down": [{"from": "set/#", "delivered": 388}]}],
        "services": {"jobs": {"state": "ready", "since": ago(1318)}},
        "executions": [{"at": ago(7300), "kind": "job", "id": "fetch-model-12", "execution": 1, "action": "fetch-model", "status": "SUCCEEDED"}],
        "certificate": {"not_before": ago(20_000_000), "not_after": ago(-20_000_000)},
    })
}
