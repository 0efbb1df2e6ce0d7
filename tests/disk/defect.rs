//! A defect in the part that writes the database.

use crate::preload::Fault;
use crate::support::daemon::Setup;
use crate::support::scripted::Broker;
use crate::{INGEST, line, verdict};

const FORWARD: &str = "[[forward]]\nname = \"messages\"\nfilters = [\"test/#\"]\nsocket = \"DIR/messages.sock\"\n";

#[test]
fn when_the_thread_of_the_database_dies_the_daemon_ends_with_70_and_every_client_is_answered_or_let_go() {
    let broker = Broker::start();
    let setup = Setup::new(broker.port, &format!("{INGEST}{FORWARD}"))
        .speaking("3.1.1")
        .edit("[outbox]\n", "[outbox]\nspill_after = \"100ms\"\n")
        .keep_log("log");
    let (fault, setup) = Fault::on(setup);
    let gatewire = setup.start();
    let _peer = broker.connected(false);
    let reader = gatewire.client("messages.sock");
    let mut client = gatewire.client("up.sock");
    fault.begin("panic");
    // It isn't acknowledged, so that it has to be stored.
    client.send(&line(0, 100));
    assert_eq!(verdict(&client.json()), "shutting_down");
    assert_eq!(reader.read_to_end(), "");
    let path = gatewire.path("log");
    let code = gatewire.wait().0;
    let log = std::fs::read_to_string(path).unwrap();
    assert_eq!(code, 70, "{log}");
    let last = log.lines().last().unwrap();
    assert!(last.contains("failed: the thread that writes the database") && last.contains("exit code 70"), "{log}");
    assert!(!log.contains("has ended. What is stored stays"), "nothing is tried again without it: {log}");
    // And the next start goes on with what there is.
    fault.end();
    let gatewire = setup.start();
    broker.connected(false);
    assert_eq!(gatewire.stop().0, 0);
}
