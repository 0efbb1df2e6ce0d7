//! `[metrics]`.

use super::*;

fn read(text: &str) -> (Option<Metrics>, Vec<String>) {
    let (config, warnings) = load(&format!("{CONNECTION}[metrics]\n{text}"), &[]).unwrap();
    (config.metrics, warnings)
}

#[test]
fn without_the_section_nobody_listens() {
    assert_eq!(load(CONNECTION, &[]).unwrap().0.metrics, None);
}

#[test]
fn it_is_an_address_or_a_socket() {
    let (metrics, warnings) = read("listen = \"[::1]:9641\"\n");
    assert_eq!((metrics.unwrap().address(), warnings), (Some("[::1]:9641".parse().unwrap()), Vec::new()));
    let (metrics, warnings) = read("listen = \"unix:/run/gatewire/metrics.sock\"\nmode = \"0600\"\n");
    let socket = metrics.as_ref().unwrap().socket().unwrap();
    assert_eq!((socket.path.to_str(), socket.mode), (Some("/run/gatewire/metrics.sock"), 0o600));
    assert_eq!((metrics.as_ref().unwrap().address(), warnings), (None, Vec::new()));
}

#[test]
fn what_others_can_read_and_ports_of_root_are_warned_of() {
    for (listen, said) in [
        ("0.0.0.0:9641", "everybody who can reach 0.0.0.0:9641 can read the metrics"),
        ("[::]:9641", "\"127.0.0.1:9641\" is for this machine alone"),
        ("127.0.0.1:80", "may not use ports below 1024"),
    ] {
        let warnings = read(&format!("listen = \"{listen}\"\n")).1;
        assert!(warnings.len() == 1 && warnings[0].contains(said), "{listen}: {warnings:?}");
    }
}

#[test]
fn what_is_wrong_is_told_with_what_to_write() {
    for (text, said) in [
        ("", "`metrics.listen`: is missing; it is written like `listen = \"127.0.0.1:9641\"`"),
        ("listen = 9641", "`metrics.listen`: must be a string"),
        ("listen = \"::1:9641\"", "must be an IP address and a port: write \"[::1]:9641\""),
        ("listen = \"::1\"", "must be an IP address and a port: write \"[::1]:9641\""),
        ("listen = \"224.0.0.1:9641\"", "224.0.0.1 is no address that a machine has"),
        ("listen = \"255.255.255.255:9641\"", "255.255.255.255 is no address that a machine has"),
        (
            "listen = \"localhost:9641\"",
            "`metrics.listen`: \"localhost:9641\" must be an IP address and a port: write \"127.0.0.1:9641\"",
        ),
        ("listen = \"unix:metrics.sock\"", "must be an absolute path"),
        ("listen = \"unix:/run/gatewire/status.sock\"", "is gatewire's own socket, `status.socket`"),
        ("listen = \"127.0.0.1:9641\"\nmode = \"0660\"", "`metrics.mode`: is for a Unix socket"),
        ("listen = \"127.0.0.1:9641\"\ngroup = \"gatewire\"", "`metrics.group`: is for a Unix socket"),
        ("listen = \"127.0.0.1:9641\"\nport = 1", "`metrics.port`: unknown key"),
    ] {
        let found = load(&format!("{CONNECTION}[metrics]\n{text}\n"), &[]).unwrap_err();
        assert!(found.iter().any(|error| error.contains(said)), "{text}\n{found:#?}");
    }
}
