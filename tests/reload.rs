//! SIGHUP: what changes, what stays, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use rumqttc::mqttbytes::v4::{Packet, UnsubAck};
use serde_json::json;
use support::daemon::{Gatewire, Setup};
use support::eventually;
use support::scripted::{Broker, Peer};
use support::{CERTIFICATES, Certificates};

const FORWARD: &str = "[[forward]]\nname = \"f\"\nfilters = [\"a\", \"b\"]\nsocket = \"DIR/f.sock\"\n";
const INGEST: &str = "[[ingest]]\nname = \"publish\"\nsocket = \"DIR/publish.sock\"\ntopics = [\"#\"]\n";

fn start(broker: &Broker, rest: &str) -> (Setup, Gatewire, Peer) {
    let setup = Setup::new(broker.port, rest).speaking("3.1.1").unspilled();
    let gatewire = setup.start();
    let peer = broker.connected(false);
    (setup, gatewire, peer)
}

fn subscribed(peer: &mut Peer) -> Vec<String> {
    let subscribe = peer.subscribe();
    peer.grant(&subscribe);
    subscribe.filters.into_iter().map(|filter| filter.path).collect()
}

fn reload(gatewire: &Gatewire) {
    let before = gatewire.count("the configuration is read again");
    gatewire.signal("HUP");
    gatewire.wait_for_nth("the configuration is read again", before + 1);
}

#[test]
fn reloads_without_end_that_change_nothing_have_few_lines_and_a_change_is_told() {
    let broker = Broker::start();
    let (setup, gatewire, _peer) = start(&broker, FORWARD);
    (0..6).for_each(|_| reload(&gatewire));
    // The kernel may make one of several.
    (0..10).for_each(|_| gatewire.signal("HUP"));
    let _setup = setup
        .edit("[[forward]]", "[[publish]]\nname = \"p\"\ntopic = \"p\"\nevery = \"1h\"\npayload = \"x\"\n[[forward]]");
    gatewire.signal("HUP");
    gatewire.wait_for("is read again: 1 publish, 1 forward");
    assert_eq!(gatewire.count("is read again: 0 publish, 1 forward"), 6);
}

#[test]
fn what_a_reload_would_refuse_is_told_before_it() {
    let broker = Broker::start();
    let (setup, gatewire, _peer) = start(&broker, FORWARD);
    let ask = |setup: &Setup| setup.output_of(&["check", "--reloadable"]);
    assert_eq!(ask(&setup), (0, String::new(), String::new()));
    // systemd shows the credentials to the daemon alone: what is there can't have changed since its start.
    let hidden = "/nowhere/gatewire.service";
    let setup = setup.env("CREDENTIALS_DIRECTORY", hidden);
    let key = CERTIFICATES.path("private.pem.key").display().to_string();
    let setup = setup.edit(&key, "$CREDENTIALS_DIRECTORY/key");
    assert_eq!(ask(&setup), (0, String::new(), String::new()));
    let setup = setup.edit("$CREDENTIALS_DIRECTORY/key", "/nowhere/key");
    let (code, _, said) = ask(&setup);
    assert!(code == 78 && said.contains("tls.key_file /nowhere/key: "), "{said}");
    let setup = setup.edit("/nowhere/key", &key).edit("gatewire.db", "other.db");
    let (code, _, said) = ask(&setup);
    assert!(code == 78 && said.contains("`outbox.path` can't change while gatewire runs"), "{said}");
    let setup = setup.edit("other.db", "gatewire.db").edit("name = \"f\"", "nme = \"f\"");
    let (code, _, said) = ask(&setup);
    assert!(code == 78 && said.contains("did you mean `name`?") && said.contains("keeps the configuration"), "{said}");
    assert_eq!(gatewire.count("reload_refused"), 0, "the daemon isn't asked");
}

#[test]
fn a_socket_of_another_daemon_is_told_of_before_a_reload_and_our_own_are_not() {
    let (broker, other_broker) = (Broker::start(), Broker::start());
    let (setup, gatewire, _peer) = start(&broker, &format!("{FORWARD}{INGEST}"));
    let (other, _running, _other_peer) = start(&other_broker, &format!("{FORWARD}{INGEST}"));
    let said = |setup: &Setup, command: &[&str]| {
        let (code, _, said) = setup.output_of(command);
        (code, said)
    };
    let commands: [&[&str]; 2] = [&["check"], &["check", "--reloadable"]];
    commands.iter().for_each(|command| assert_eq!(said(&setup, command).0, 0));
    let path = |setup: &Setup, name: &str| setup.directory.path().join(name).display().to_string();
    // The last is its status socket: the daemon is then known by its store alone.
    let mut setup = setup;
    for name in ["publish.sock", "f.sock", "status.sock"] {
        let (own, others) = (path(&setup, name), path(&other, name));
        setup = setup.edit(&own, &others);
        for command in commands {
            let (code, said) = said(&setup, command);
            assert!(code == 78 && said.contains(&format!("{others} is served by another process")), "{said}");
        }
        let refused = gatewire.count("the old one stays in force");
        gatewire.signal("HUP");
        gatewire.wait_for_nth("the old one stays in force", refused + 1);
        setup = setup.edit(&others, &own);
    }
    commands.iter().for_each(|command| assert_eq!(said(&setup, command).0, 0));
}

#[test]
fn filters_change_on_the_same_connection_and_readers_stay() {
    let broker = Broker::start();
    let (setup, gatewire, mut peer) = start(&broker, FORWARD);
    assert_eq!(subscribed(&mut peer), ["a", "b"]);
    let mut reader = gatewire.client("f.sock");
    let setup = setup.edit("\"a\", \"b\"", "\"b\", \"c\"");
    reload(&gatewire);
    let Some(Packet::Unsubscribe(unsubscribe)) = peer.next() else { panic!() };
    assert_eq!(unsubscribe.topics, ["a"]);
    peer.send(&Packet::UnsubAck(UnsubAck { pkid: unsubscribe.pkid }));
    assert_eq!(subscribed(&mut peer), ["c"]);
    peer.message("c", "for the same reader", 1);
    assert_eq!(reader.payload(), "for the same reader");
    assert!(matches!(peer.next(), Some(Packet::PubAck(_))));
    // What hasn't changed isn't asked for again.
    reload(&gatewire);
    assert!(peer.is_silent(Duration::from_millis(300)));
    drop(setup);
}

#[test]
fn sockets_come_and_go_and_what_waits_stays() {
    let broker = Broker::start();
    let (setup, gatewire, mut peer) = start(&broker, &format!("{FORWARD}{INGEST}"));
    assert_eq!(subscribed(&mut peer), ["a", "b"]);
    peer.message("a", "waits", 1);
    assert!(matches!(peer.next(), Some(Packet::PubAck(_))), "it is stored");
    let mut kept = gatewire.client("publish.sock");
    // Another name is another forward; the first one's messages wait until it is there again.
    let setup = setup.edit("name = \"f\"", "name = \"g\"").edit("/f.sock", "/g.sock");
    let setup = setup.edit("topics = [\"#\"]", "topics = [\"allowed\"]");
    reload(&gatewire);
    eventually("the socket to go", || (!gatewire.path("f.sock").exists()).then_some(()));
    assert_eq!(gatewire.status()["forward"][0]["name"], "g");
    gatewire.wait_for("1 message waits for readers of the forward f, which isn't in the configuration any more");
    assert_eq!(kept.ask(r#"{"topic":"other","payload":1}"#)["error"], "topic_not_allowed");
    kept.send(r#"{"topic":"allowed","payload":1}"#);
    let publish = peer.publish();
    peer.puback(publish.pkid);
    assert_eq!(kept.json(), json!({"result": "delivered"}));
    peer.message("b", "for the new", 2);
    assert_eq!(gatewire.client("g.sock").payload(), "for the new");
    let setup = setup.edit("name = \"g\"", "name = \"f\"").edit("/g.sock", "/f.sock");
    eventually("the old one to have gone", || {
        gatewire.signal("HUP");
        gatewire.path("f.sock").exists().then_some(())
    });
    assert_eq!(gatewire.client("f.sock").payload(), "waits");
    drop(setup);
}

#[test]
fn a_configuration_that_cannot_be_used_is_refused_and_the_old_one_stays() {
    let broker = Broker::start();
    let (setup, gatewire, mut peer) = start(&broker, FORWARD);
    assert_eq!(subscribed(&mut peer), ["a", "b"]);
    for (from, to, said) in [
        ("name = \"f\"\n", "name = \"f\"\nfilter = [\"x\"]\n", "`forward.filter`: unknown key"),
        ("/f.sock\"", "/missing/f.sock\"", "/missing"),
        ("/gatewire.db\"", "/other.db\"", "`outbox.path` can't change while gatewire runs"),
    ] {
        let changed = setup.again().edit(from, to);
        let before = gatewire.count("the old one stays in force");
        gatewire.signal("HUP");
        gatewire.wait_for_nth("the old one stays in force", before + 1);
        gatewire.wait_for(said);
        changed.edit(to, from);
    }
    assert!(peer.is_silent(Duration::from_millis(200)));
    peer.message("a", "still served", 1);
    assert_eq!(gatewire.client("f.sock").payload(), "still served");
}

#[test]
fn schedules_begin_end_and_go_on() {
    let tick = |name: &str| {
        format!(
            "[[publish]]\nname = \"{name}\"\ntopic = \"{name}\"\nevery = \"1h\"\npayload = \"{{{{count}}}}\"\nqos = 0\n"
        )
    };
    let broker = Broker::start();
    let (setup, gatewire, mut peer) = start(&broker, &tick("one"));
    assert_eq!(peer.publish().topic, "one");
    let setup = setup.edit("name = \"one\"", &format!("{}[[publish]]\nname = \"one\"", &tick("two")[12..]));
    reload(&gatewire);
    assert_eq!(peer.publish().topic, "two");
    assert!(peer.is_silent(Duration::from_millis(300)), "the first goes on where it was");
    let counts = |gatewire: &Gatewire| {
        let status = gatewire.status();
        let publish = status["publish"].as_array().unwrap();
        publish
            .iter()
            .map(|p| (p["name"].as_str().unwrap().to_owned(), p["count"].as_u64().unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(counts(&gatewire), [("two".to_owned(), 1), ("one".to_owned(), 1)]);
    let _setup = setup.edit(&tick("two"), "");
    reload(&gatewire);
    assert_eq!(counts(&gatewire), [("one".to_owned(), 1)]);
}

#[test]
fn another_client_id_needs_another_connection_and_nothing_in_flight_is_lost() {
    let broker = Broker::start();
    let (setup, gatewire, mut peer) = start(&broker, INGEST);
    let mut client = gatewire.client("publish.sock");
    client.send(r#"{"topic":"t","payload":"in flight"}"#);
    assert_eq!(peer.publish().topic, "t");
    let setup = setup.edit("client_id = \"thing-1\"", "client_id = \"thing-2\"");
    reload(&gatewire);
    assert_eq!(peer.next(), Some(Packet::Disconnect));
    peer.close();
    let mut peer = broker.accept();
    assert_eq!(peer.connect().client_id, "thing-2");
    // A session of that client id from long ago.
    peer.connack(true);
    let publish = peer.publish();
    assert_eq!((publish.topic.as_str(), publish.dup), ("t", false), "it knows nothing of the other's");
    peer.puback(publish.pkid);
    assert!(client.json()["result"].is_string());
    eventually("the status", || (gatewire.status()["link"]["client_id"] == "thing-2").then_some(()));
    drop(setup);
}

#[test]
fn other_limits_and_waits_need_no_other_connection() {
    let broker = Broker::start();
    let (setup, gatewire, mut peer) = start(&broker, INGEST);
    let _setup = setup.edit("burst = 100000", "burst = 1000").edit("max = \"300ms\"", "max = \"200ms\"");
    reload(&gatewire);
    assert!(peer.is_silent(Duration::from_millis(300)));
    let mut client = gatewire.client("publish.sock");
    client.send(r#"{"topic":"t","payload":1}"#);
    assert_eq!(peer.publish().topic, "t");
}

#[test]
fn new_credentials_are_taken_up_at_sighup_and_at_the_next_connect_and_broken_ones_refused() {
    let broker = Broker::start();
    let directory = tempfile::tempdir().unwrap();
    let names = ["certificate.pem.crt", "private.pem.key"];
    let install = |name: &str, from: &std::path::Path| {
        std::fs::copy(from, directory.path().join(name)).unwrap();
    };
    let first = names.map(|name| CERTIFICATES.path(name));
    let other = Certificates::make("thing-1", "rsa");
    let key = other.path(names[1]);
    let second = [CERTIFICATES.issue("second.crt", key.to_str().unwrap(), "basicConstraints = CA:FALSE", 100), key];
    let install_pair = |pair: &[std::path::PathBuf; 2]| (0..2).for_each(|i| install(names[i], &pair[i]));
    install_pair(&first);
    let setup = names.iter().fold(Setup::new(broker.port, "").speaking("3.1.1"), |setup, name| {
        setup.credential(name, &directory.path().join(name))
    });
    let gatewire = setup.start();
    let mut peer = broker.connected(false);
    let validity = gatewire.status()["certificate"].clone();

    // The same once more.
    install_pair(&first);
    reload(&gatewire);
    assert!(peer.is_silent(Duration::from_millis(200)), "nothing has changed but the times of the files");

    // Half of another pair.
    install(names[0], &second[0]);
    gatewire.signal("HUP");
    gatewire.wait_for("the old one stays in force");
    peer.close();
    let mut peer = broker.connected(true);
    gatewire.wait_for("gatewire keeps the ones that it read before");
    assert_eq!(gatewire.status()["certificate"], validity);

    // All of it.
    install_pair(&second);
    reload(&gatewire);
    assert_eq!(peer.next(), Some(Packet::Disconnect), "a certificate is shown at the beginning of a connection");
    peer.close();
    drop(broker.connected(true));
    // At the next connect, without SIGHUP.
    install_pair(&first);
    broker.connected(true).close();
    gatewire.wait_for("the credential files have changed: from now on");
    drop(broker.connected(true));
}

/// Mode and group.
fn access(path: &std::path::Path) -> (u32, u32) {
    use std::os::unix::fs::MetadataExt as _;
    let found = std::fs::metadata(path).unwrap();
    (found.mode() & 0o777, found.gid())
}

#[test]
fn a_refused_configuration_leaves_the_access_to_sockets_as_it_is() {
    let broker = Broker::start();
    let (setup, gatewire, _peer) = start(&broker, INGEST);
    let before = access(&gatewire.path("publish.sock"));
    let other = "[[ingest]]\nname = \"other\"\nsocket = \"/nowhere/at/all.sock\"\ntopics = [\"#\"]\n[[ingest]]\n";
    let setup = setup.edit("publish.sock\"", "publish.sock\"\nmode = \"0666\"").edit("[[ingest]]\n", other);
    gatewire.signal("HUP");
    gatewire.wait_for("the old one stays in force");
    assert_eq!(access(&gatewire.path("publish.sock")), before);
    let _setup = setup.edit(other, "[[ingest]]\n");
    reload(&gatewire);
    assert_eq!(access(&gatewire.path("publish.sock")).0, 0o666);
}

#[test]
fn a_socket_whose_file_was_removed_is_made_anew() {
    let broker = Broker::start();
    let (_setup, gatewire, mut peer) = start(&broker, INGEST);
    std::fs::remove_file(gatewire.path("publish.sock")).unwrap();
    reload(&gatewire);
    let mut client = gatewire.client("publish.sock");
    client.send(r#"{"topic":"t","payload":1}"#);
    let id = peer.publish().pkid;
    peer.puback(id);
    assert_eq!(client.json(), json!({"result": "delivered"}));
}

#[test]
fn what_waits_in_a_batch_goes_out_when_its_ingest_goes() {
    let broker = Broker::start();
    let batch = "batch = { max = 50, within = \"1h\" }\n";
    for without in ["", INGEST] {
        let (setup, gatewire, mut peer) = start(&broker, &format!("{INGEST}{batch}"));
        let mut client = gatewire.client("publish.sock");
        client.send(r#"{"topic":"t","payload":1}"#);
        eventually("the line", || (gatewire.status()["ingest"][0]["accepted"] == 1).then_some(()));
        let directory = setup.directory.path().display().to_string();
        let text = |rest: &str| rest.replace("DIR", &directory);
        let _setup = setup.edit(&text(&format!("{INGEST}{batch}")), &text(without));
        reload(&gatewire);
        assert_eq!(support::scripted::text(&peer.publish()), "[1]");
    }
}
