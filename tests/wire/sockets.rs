//! The sockets: how many clients they serve, and their files.

use super::*;

#[test]
fn two_hundred_clients_are_served_and_too_many_are_told_so() {
    let broker = Mosquitto::start();
    let gatewire = Setup::new(broker.port, INGEST).unspilled().connect();
    let mut clients: Vec<Client> = (0..256).map(|_| gatewire.client("publish.sock")).collect();
    for client in &mut clients {
        assert_eq!(client.ask(r#"{"topic":"up/x","payload":1}"#)["result"], "delivered");
    }
    let mut refused = gatewire.client("publish.sock");
    assert_eq!(refused.json()["error"], "too_many_clients");
    assert_eq!(refused.line(), None);
    clients.pop();
    eventually("a seat to become free", || (gatewire.status()["ingest"][0]["clients"] == 255).then_some(()));
    assert_eq!(gatewire.client("publish.sock").ask(r#"{"topic":"up/x","payload":1}"#)["result"], "delivered");
}

#[test]
fn a_program_that_holds_all_places_of_a_socket_keeps_no_other_out() {
    let broker = Mosquitto::start();
    let setup = Setup::new(broker.port, &format!("{FORWARD}{INGEST}")).unspilled();
    let gatewire = setup.connect();
    // This process holds every place of every socket; what others try is another process.
    let line = r#"{"topic":"up/x","payload":1}"#;
    let mut ingest: Vec<Client> = (0..256).map(|_| gatewire.client("publish.sock")).collect();
    ingest.iter_mut().for_each(|client| assert_eq!(client.ask(line)["result"], "delivered"));
    let (code, out, err) = setup.output_of(&["publish", "up/y", "payload"]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "delivered\n", ""));
    // The one that was idle longest has made room, and knows why.
    let said = ingest[0].json();
    assert_eq!(said["error"], "too_many_clients");
    assert!(said["detail"].as_str().unwrap().contains("idle longest"), "{said}");
    assert_eq!(ingest[0].line(), None);
    assert!(ingest[1..].iter_mut().all(|client| client.ask(line)["result"] == "delivered"), "the others stay");
    let logged = gatewire.wait_for("256 clients are connected");
    assert!(logged.contains(&format!("256 of the process {}", std::process::id())), "{logged}");
    assert!(logged.contains("got the place") && logged.contains("ps -fp"), "{logged}");

    let mut readers: Vec<Client> = (0..256).map(|_| gatewire.client("messages.sock")).collect();
    let readers_are = |n: u64| (gatewire.status()["forward"][0]["readers"] == n).then_some(());
    eventually("all readers", || readers_are(256));
    broker.wait_for("Sending SUBACK to thing-1");
    let mut tail = setup.spawn(&["tail", "--forward", "messages"]);
    eventually("tail", || (gatewire.status()["forward"][0]["observers"] == 1).then_some(()));
    broker.publish("test/a", b"hello");
    let mut shown = String::new();
    BufReader::new(tail.stdout.take().unwrap()).read_line(&mut shown).unwrap();
    assert!(shown.contains("hello"), "{shown}");
    assert_eq!(readers[0].json()["error"], "too_many_clients");
    assert!(readers[1..].iter_mut().all(|reader| reader.payload() == "hello"));
    tail.kill().unwrap();
    tail.wait().unwrap();

    // The status socket lets nobody stay for long: its places have to be taken at once.
    let held: Vec<Client> = (0..256).map(|_| gatewire.client("status.sock")).collect();
    let (code, out, err) = setup.output_of(&["status", "--json"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    drop(held);
}

#[test]
fn sockets_have_their_mode_and_group_and_go_with_the_daemon() {
    let broker = Mosquitto::start();
    // Only root may give a socket to a group that it isn't in.
    let group = match Uid::effective().is_root() {
        true => Group::from_name("daemon").unwrap().unwrap(),
        false => Group::from_gid(Gid::effective()).unwrap().unwrap(),
    };
    let rest = format!("{FORWARD}mode = \"0600\"\ngroup = \"{}\"\n{INGEST}", group.name);
    let gatewire = Setup::new(broker.port, &rest).connect();
    let socket = fs::metadata(gatewire.path("messages.sock")).unwrap();
    assert_eq!((socket.permissions().mode() & 0o777, socket.gid()), (0o600, group.gid.as_raw()));
    let socket = fs::metadata(gatewire.path("publish.sock")).unwrap();
    assert_eq!((socket.permissions().mode() & 0o777, socket.gid()), (0o660, Gid::effective().as_raw()));
    let directory = gatewire.directory().to_owned();
    gatewire.signal("TERM");
    eventually("the sockets to go", || {
        (!directory.join("messages.sock").exists() && !directory.join("status.sock").exists()).then_some(())
    });
    assert_eq!(gatewire.wait().0, 0);
}

#[test]
fn a_stale_socket_is_replaced_and_one_in_use_is_not() {
    let broker = Mosquitto::start();
    let setup = Setup::new(broker.port, FORWARD);
    let path = setup.directory.path().join("messages.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let gatewire = setup.connect();
    drop(gatewire.client("messages.sock"));

    let setup = Setup::new(broker.port, FORWARD);
    let path = setup.directory.path().join("messages.sock");
    let other = UnixListener::bind(&path).unwrap();
    let refused = setup.start();
    refused.wait_for("is served by another process");
    assert_eq!(refused.wait().0, 78);
    drop(other);

    let setup = Setup::new(broker.port, FORWARD);
    fs::write(setup.directory.path().join("messages.sock"), "precious").unwrap();
    let refused = setup.start();
    refused.wait_for("a file that isn't a socket is there");
    let path = refused.path("messages.sock");
    assert_eq!(fs::read_to_string(path).unwrap(), "precious");
    assert_eq!(refused.wait().0, 78);
}
