//! Which filters are asked for, and what is said of each.

use super::*;

#[test]
fn filters_are_asked_for_one_at_a_time_and_messages_are_left_for_the_daemon() {
    for protocol in BOTH {
        let play = Play::start(protocol);
        let mut peer = play.connected(true);
        let id = play.subscribe(&mut peer, "a/#");
        let message: &[u8] = if play.five { &[0x32, 6, 0, 1, b't', 0, 9, 0] } else { &[0x32, 5, 0, 1, b't', 0, 9] };
        peer.raw(message);
        play.suback(&mut peer, id, 1);
        let id = play.subscribe(&mut peer, "b");
        play.suback(&mut peer, id, 0);
        farewell(&mut peer);
        let (code, said) = play.said();
        assert_eq!(code, 0, "{said}");
        holds(&said, &["`a/#` granted with QoS 1\n", "`b` granted with QoS 0, not 1: messages for it may be lost"]);
    }
}

#[test]
fn a_refused_filter_is_named_with_the_statement_it_needs_and_the_others_are_asked_for() {
    for protocol in BOTH {
        let play = Play::start(protocol);
        let mut peer = play.connected(false);
        let id = play.subscribe(&mut peer, "a/#");
        play.suback(&mut peer, id, if play.five { 0x87 } else { 0x80 });
        let id = play.subscribe(&mut peer, "b");
        play.suback(&mut peer, id, 1);
        farewell(&mut peer);
        play.end_of_session();
        let (code, said) = play.said();
        assert_eq!(code, 1, "{said}");
        holds(
            &said,
            &[
                "failed   the server refused to subscribe us to `a/#`",
                "iot:Subscribe on topicfilter/a/#",
                "ok       SUBSCRIBE: `b`",
                "ok       session: ",
            ],
        );
    }
}

#[test]
fn what_readers_may_ask_for_is_tried_and_given_back_and_what_the_policy_lacks_is_named() {
    for protocol in BOTH {
        // The first is covered by a filter that is asked for anyway.
        let play = Play::with(protocol, "", "allow = [\"a/x/#\", \"gw/+/in/#\", \"gw/1/out\"]\n");
        let mut peer = play.connected(false);
        for filter in ["a/#", "b"] {
            let id = play.subscribe(&mut peer, filter);
            play.suback(&mut peer, id, 1);
        }
        let id = play.subscribe(&mut peer, "gw/+/in/#");
        play.suback(&mut peer, id, if play.five { 0x87 } else { 0x80 });
        let id = play.subscribe(&mut peer, "gw/1/out");
        play.suback(&mut peer, id, 1);
        play.unsubscribe(&mut peer, "gw/1/out");
        farewell(&mut peer);
        play.end_of_session();
        let (code, said) = play.said();
        assert_eq!(code, 1, "{said}");
        holds(
            &said,
            &[
                "failed   the server refused to subscribe us to `gw/+/in/#`",
                ", within which readers of forward f may ask for filters (`allow`)\n",
                "The policy lacks iot:Subscribe on topicfilter/gw/*/in/* and iot:Receive on topic/gw/*/in/*",
                "ok       SUBSCRIBE: `gw/1/out` granted with QoS 1, for readers of forward f\n",
            ],
        );
    }
}

#[test]
fn where_the_server_hangs_up_on_what_readers_may_ask_for_the_policy_is_named() {
    // Nothing is given back in a session that may be somebody else's.
    let said = Play::with("3.1.1", "", "allow = [\"gw/1/#\"]\n").said_of_a_session_of_somebody_else();
    holds(&said, &["note     `gw/1/#`, which forward f lets its readers ask for, isn't tried"]);
    let play = Play::with("3.1.1", "", "allow = [\"gw/1/#\"]\n");
    let mut peer = play.connected(false);
    for filter in ["a/#", "b"] {
        let id = play.subscribe(&mut peer, filter);
        play.suback(&mut peer, id, 1);
    }
    play.subscribe(&mut peer, "gw/1/#");
    peer.close();
    play.end_of_session();
    let (code, said) = play.said();
    assert_eq!(code, 1, "{said}");
    holds(
        &said,
        &["note     readers of forward f may ask for what is within `gw/1/#`", "topicfilter/gw/1/*", "failed "],
    );
}

#[test]
fn a_subscribe_without_an_answer_promises_nothing_that_a_check_does_not_do() {
    for protocol in BOTH {
        let play = Play::with(protocol, IMPATIENT, "");
        let mut peer = play.connected(true);
        play.subscribe(&mut peer, "a/#");
        farewell(&mut peer);
        let (code, said) = play.said();
        assert_eq!(code, 1, "{said}");
        holds(
            &said,
            &[
                "failed ",
                "the SUBSCRIBE to `a/#` within 1000 ms",
                "Run the check again; if this repeats, raise connection.ack_timeout",
            ],
        );
        assert!(!said.contains("sent again"), "{said}");
    }
}

#[test]
fn a_filter_on_which_the_server_hangs_up_is_the_only_suspect() {
    for protocol in BOTH {
        let play = Play::start(protocol);
        let mut peer = play.connected(false);
        let id = play.subscribe(&mut peer, "a/#");
        play.suback(&mut peer, id, 1);
        play.subscribe(&mut peer, "b");
        peer.close();
        play.end_of_session();
        let (code, said) = play.said();
        assert_eq!(code, 1, "{said}");
        holds(&said, &["ok       SUBSCRIBE: `a/#`", "failed ", "sent last: SUBSCRIBE to `b`\n", "topicfilter/b;"]);
    }
}
