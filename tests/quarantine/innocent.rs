//! A server that closes connections, and not because of a message.

use super::*;

/// A server that closes two hundred times in the middle of messages, for reasons of its own.
fn nothing_is_set_aside(protocol: &'static str) {
    const CLOSES: usize = 200;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let server = Strict::start(protocol, &[]);
    server.close_at_random(fastrand::Rng::with_seed(seed), CLOSES);
    let gatewire = setup(&server, protocol, "")
        .edit("min = \"100ms\", max = \"300ms\"", "min = \"100ms\", max = \"100ms\"")
        .connect();
    let mut client = gatewire.client("publish.sock");
    let mut sent = 0;
    let arrived = |topic| server.arrived(&format!("open/{topic}"));
    while server.closes() < CLOSES {
        for n in sent..sent + 5 {
            client.send(&format!("{{\"topic\":\"open/{}\",\"payload\":{n}}}", n % 3));
        }
        sent += 5;
        for _ in 0..5 {
            let answer = client.json();
            assert!(answer["error"].is_null(), "{answer}, seed {seed}");
        }
        eventually("all", || ((0..3).map(|topic| arrived(topic).len()).sum::<usize>() == sent).then_some(()));
    }
    for topic in 0..3 {
        let expected: Vec<String> = (0..sent).filter(|n| n % 3 == topic).map(|n| n.to_string()).collect();
        assert_eq!(arrived(topic), expected, "seed {seed}");
    }
    let status = gatewire.status();
    assert_eq!(
        (&status["outbox"]["quarantined"], &status["outbox"]["quarantine"]),
        (&json!(0), &json!([])),
        "seed {seed}"
    );
    assert_eq!(gatewire.count("set aside"), 0);
}

#[test]
fn a_server_that_closes_for_other_reasons_has_nothing_set_aside() {
    nothing_is_set_aside("5");
}

#[test]
fn a_server_that_closes_for_other_reasons_has_nothing_set_aside_in_mqtt_3_1_1() {
    nothing_is_set_aside("3.1.1");
}
