//! Sessions that were there before the check, or that it begins.

use super::*;

#[test]
fn a_session_of_somebody_else_is_pointed_out() {
    let said = Play::start("5").said_of_a_session_of_somebody_else();
    holds(&said, &["note     the session of `thing-1` isn't from gatewire on this machine"]);
}

/// Until the daemon has heard that its filters are granted.
fn wait_until_granted(broker: &Mosquitto, gatewire: &Gatewire) {
    // Before the first SUBSCRIBE is answered it is said that messages wait for that, and for no longer.
    broker.wait_for("Sending SUBACK to thing-1");
    eventually("the SUBACK to be heard", || gatewire.status()["outbox"]["held"].is_null().then_some(()));
}

#[test]
fn a_session_that_the_server_keeps_stays_with_its_messages() {
    for protocol in BOTH {
        let broker = Mosquitto::start();
        let setup = setup(broker.port, protocol);
        let gatewire = setup.connect();
        wait_until_granted(&broker, &gatewire);
        assert_eq!(gatewire.stop().0, 0);
        for payload in ["1", "2", "3"] {
            broker.publish("a/x", payload.as_bytes());
        }
        for _ in 0..2 {
            let (code, said) = check(&setup);
            assert_eq!(code, 0, "{said}");
            holds(&said, &["its session was kept, and stays", "SUBSCRIBE: `a/#`", "SUBSCRIBE: `b`"]);
            assert!(!said.contains("session: the one"), "{said}");
        }
        let gatewire = setup.start();
        gatewire.wait_for("its session was kept");
        let mut reader = gatewire.client("f.sock");
        assert_eq!([(); 3].map(|()| reader.payload()), ["1", "2", "3"]);
    }
}

#[test]
fn a_kept_session_holds_no_filter_afterwards_that_it_did_not_hold_before() {
    for protocol in BOTH {
        let broker = Mosquitto::start();
        let setup = setup(broker.port, protocol);
        let gatewire = setup.connect();
        // What isn't granted when the daemon stops isn't noted.
        wait_until_granted(&broker, &gatewire);
        assert_eq!(gatewire.stop().0, 0);
        let setup = setup.edit("\"b\"", "\"b\", \"new/f\"");
        let (code, said) = check(&setup);
        assert_eq!(code, 0, "{said}");
        holds(&said, &["its session was kept, and stays", "SUBSCRIBE: `new/f`"]);
        // Its log may come later than its answer.
        broker.wait_for("Sending UNSUBACK to thing-1");
        let log = broker.log();
        let log = &log[log.find("Received UNSUBSCRIBE from thing-1").unwrap()..];
        assert!(log.contains("new/f") && !log.contains("\ta/#") && !log.contains("\tb"), "{log}");
    }
}

#[test]
fn an_interrupted_check_ends_its_session_all_the_same() {
    let broker = Broker::start();
    let setup = setup(broker.port, "3.1.1");
    let child = setup.spawn(&["check", "--connect"]);
    let pid = child.id();
    let play = Play { running: std::thread::spawn(move || said(child)), broker, five: false };
    let mut peer = play.connected(false);
    play.subscribe(&mut peer, "a/#");
    assert!(std::process::Command::new("kill").args(["-INT", &pid.to_string()]).status().unwrap().success());
    farewell(&mut peer);
    play.end_of_session();
    let (code, said) = play.said();
    assert_eq!(code, 1, "{said}");
    holds(&said, &["failed   interrupted", "ok       session: "]);
}

fn said(child: Child) -> (i32, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_session_that_cannot_be_ended_is_said() {
    let play = Play::start("3.1.1");
    let peer = play.connected(false);
    peer.close();
    for _ in 0..3 {
        play.accept(true).close();
    }
    let (code, said) = play.said();
    assert_eq!(code, 1, "{said}");
    holds(&said, &["failed   ", "failed   ending the session that this check began: ", "start it after that"]);
}
