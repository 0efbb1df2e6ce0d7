//! Sockets whose files or directories are removed, moved or replaced.

use super::*;

#[test]
fn a_socket_that_is_removed_or_replaced_is_made_again() {
    let setup = Setup::new(closed_port(), SOCKETS);
    let gatewire = setup.start();
    gatewire.wait_for("keeps a link");
    let path = gatewire.path("publish.sock");
    fs::remove_file(&path).unwrap();
    gatewire.wait_for(&format!("the socket {} was removed", path.display()));
    assert_eq!(gatewire.client("publish.sock").ask(LINE)["result"], "stored");
    let directory = gatewire.directory().to_owned();
    for socket in ["publish.sock", "messages.sock", "status.sock"] {
        fs::rename(directory.join(socket), directory.join("elsewhere")).unwrap();
    }
    assert_eq!(gatewire.client("publish.sock").ask(LINE)["result"], "stored");
    let _reader = gatewire.client("messages.sock");
    gatewire.status();
    // With something in the way it is tried again.
    fs::write(directory.join("letter"), "precious").unwrap();
    fs::rename(directory.join("letter"), &path).unwrap();
    let line = gatewire.wait_for("nobody can connect there");
    assert!(line.contains("a file that isn't a socket is there"), "{line}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(&path).unwrap();
    assert_eq!(gatewire.client("publish.sock").ask(LINE)["result"], "stored");
    assert_eq!(gatewire.stop().0, 0);
}

#[test]
fn sockets_whose_directory_is_moved_or_replaced_are_made_again() {
    let setup = Setup::new(closed_port(), SOCKETS);
    let directory = setup.directory.path().to_owned();
    let at = |name: &str| directory.join(name);
    fs::create_dir_all(at("state/run")).unwrap();
    std::os::unix::fs::symlink("state", at("link")).unwrap();
    let publish = format!("{}/publish.sock", directory.display());
    let setup = setup.edit(&publish, &format!("{}/link/run/publish.sock", directory.display()));
    let gatewire = setup.start();
    gatewire.wait_for("keeps a link");
    let serves = |what: &str| {
        assert_eq!(gatewire.client("link/run/publish.sock").ask(LINE)["result"], "stored", "{what}");
    };
    let anew = |what: &str, change: &dyn Fn()| {
        serves("before");
        change();
        serves(what);
    };
    anew("its directory", &|| {
        fs::rename(at("state/run"), at("state/old")).unwrap();
        fs::create_dir(at("state/run")).unwrap();
    });
    gatewire.wait_for("has been recreated");
    anew("the one above", &|| {
        // As a copy has it: with a socket that nobody serves.
        fs::create_dir_all(at("copy/run")).unwrap();
        drop(UnixListener::bind(at("copy/run/publish.sock")).unwrap());
        fs::rename(at("state"), at("old")).unwrap();
        fs::rename(at("copy"), at("state")).unwrap();
    });
    anew("a link on the way", &|| {
        fs::create_dir_all(at("other/run")).unwrap();
        std::os::unix::fs::symlink("other", at("new")).unwrap();
        fs::rename(at("new"), at("link")).unwrap();
    });
    assert_eq!(gatewire.stop().0, 0);
}

#[test]
fn a_socket_that_is_moved_or_linked_onto_the_path_of_another_is_made_again_at_both() {
    let setup = Setup::new(closed_port(), SOCKETS);
    let gatewire = setup.start();
    gatewire.wait_for("keeps a link");
    let directory = Arc::clone(&setup.directory);
    let path = |name: &str| directory.path().join(name);
    // Each answers everything, if only that it doesn't understand it, so that who is at another's place is found out.
    let serves_all = || {
        for (socket, line, answer) in [
            ("publish.sock", LINE, "\"stored\""),
            // Only a forward knows this word.
            ("messages.sock", r#"{"ack":1}"#, "observe"),
            ("status.sock", "{}", "client_id"),
        ] {
            eventually(socket, || {
                let mut client = gatewire.client(socket);
                client.write_some(format!("{line}\n").as_bytes());
                client.line()?.contains(answer).then_some(())
            });
        }
    };
    fs::rename(path("messages.sock"), path("publish.sock")).unwrap();
    for socket in ["messages.sock", "publish.sock"] {
        gatewire.wait_for(&format!(
            "the socket {} was removed or replaced, and has been recreated",
            path(socket).display()
        ));
    }
    serves_all();
    // Each at the other's place.
    fs::rename(path("publish.sock"), path("kept")).unwrap();
    fs::rename(path("status.sock"), path("publish.sock")).unwrap();
    fs::rename(path("kept"), path("status.sock")).unwrap();
    serves_all();
    fs::hard_link(path("messages.sock"), path("linked")).unwrap();
    fs::rename(path("linked"), path("publish.sock")).unwrap();
    serves_all();
    for untrue in ["another process", "another gatewire", "nobody can connect"] {
        assert_eq!(gatewire.count(untrue), 0, "{untrue}");
    }
    assert_eq!(gatewire.stop().0, 0);
    for socket in ["messages.sock", "publish.sock", "status.sock"] {
        assert!(!path(socket).exists(), "{socket}");
    }
}
