//! Keys in tokens: SoftHSM, a TPM of swtpm, and a module that crashes, hangs and lies.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use support::daemon::{Gatewire, Setup};
use support::mosquitto::Mosquitto;
use support::softhsm::{PIN, SOFTHSM, Token};
use support::tpm::Tpm;
use support::{CERTIFICATES, PATIENCE, found_within, free_port, patiently, program};

const INGEST: &str = "[[ingest]]\nname = \"i\"\nsocket = \"DIR/publish.sock\"\ntopics = [\"t\"]\n";

fn setup(port: u16) -> Setup {
    Setup::new(port, INGEST)
}

/// A server of this version of TLS that wants a client certificate of our CA.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(version: &str) -> Server {
        let port = free_port();
        let mut command = program("openssl");
        command.args(["s_server", version, "-Verify", "1", "-verify_return_error", "-accept", &port.to_string()]);
        command.arg("-cert").arg(CERTIFICATES.path("server.crt")).arg("-key").arg(CERTIFICATES.path("server.key"));
        command.arg("-CAfile").arg(CERTIFICATES.path("AmazonRootCA1.pem"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().starts_with("ACCEPT")));
        // What it says of connections is of no interest, and mustn't fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Server { child, port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_key_in_a_token_signs_for_both_versions_of_tls() {
    let token = Token::new();
    for (version, name) in [("-tls1_2", "TLSv1_2"), ("-tls1_3", "TLSv1_3")] {
        let server = Server::start(version);
        for object in ["ec", "rsa"] {
            let setup = token.give(Setup::with_connection(server.port, "", ""), object, Path::new(SOFTHSM));
            let (code, stdout, stderr) = setup.output_of(&["check", "--connect", "--tls-only"]);
            assert_eq!(code, 0, "{name} {object}: {stdout}{stderr}");
            assert!(stdout.contains(name) && stdout.contains(&format!("object \"{object}\"")), "{stdout}");
        }
    }
}

#[test]
fn the_daemon_connects_and_publishes_with_a_key_in_a_token() {
    for object in ["ec", "rsa"] {
        let (mosquitto, token) = (Mosquitto::start(), Token::new());
        let subscriber = mosquitto.subscribe("t");
        let gatewire = token.give(setup(mosquitto.port), object, Path::new(SOFTHSM)).connect();
        let mut client = gatewire.client("publish.sock");
        client.send(r#"{"topic":"t","payload":"hello"}"#);
        assert_eq!(subscriber.next(), "t hello");
        assert_eq!(gatewire.stop().0, 0);
        // The PIN has gone nowhere.
        assert!(!mosquitto.log().contains(PIN));
    }
}

#[test]
fn a_key_that_was_made_in_a_tpm_signs_for_both_versions_of_tls() {
    let (mosquitto, tpm) = (Mosquitto::start(), Tpm::new());
    for (version, name) in [("-tls1_2", "TLSv1_2"), ("-tls1_3", "TLSv1_3")] {
        let server = Server::start(version);
        for object in ["ec", "rsa"] {
            let setup = tpm.give(Setup::with_connection(server.port, "", ""), object);
            let (code, stdout, stderr) = setup.output_of(&["check", "--connect", "--tls-only"]);
            assert_eq!(code, 0, "{name} {object}: {stdout}{stderr}");
            assert!(stdout.contains(name) && stdout.contains(&format!("object \"{object}\"")), "{stdout}");
        }
    }
    for object in ["ec", "rsa"] {
        let gatewire = tpm.give(setup(mosquitto.port), object).connect();
        assert_eq!(gatewire.stop().0, 0);
    }
}

/// The line of the log about a failure, and that the daemon goes on.
fn fails(gatewire: &Gatewire, code: &str, words: &str) {
    let mut said = String::new();
    let is_said = found_within(PATIENCE, || {
        said = gatewire.wait_for_failure(code);
        said.contains(words).then_some(())
    });
    assert!(is_said.is_some(), "{code}: {said}");
    assert!(!gatewire.log().iter().any(|line| line.contains(PIN)), "{:#?}", gatewire.log());
}

#[test]
fn a_module_that_fails_costs_an_attempt_and_says_which_step() {
    let (mosquitto, token) = (Mosquitto::start(), Token::new());
    let module = token.faulty_module();
    token.fault("crash sign");
    let gatewire = token.give(setup(mosquitto.port), "ec", &module).start();
    fails(&gatewire, "token_crashed", "crashed while signing (signal SIGSEGV); it wrote: module: about to crash");
    for (fault, code, words) in [
        ("crash initialize", "token_crashed", "crashed while initializing it (signal SIGSEGV)"),
        ("exit", "token_crashed", "crashed while initializing it (exit code 0)"),
        ("lie", "token_signature", "made a signature that is wrong"),
        // What it writes to standard output is no answer, and the PIN in what it writes isn't shown.
        ("noise", "token_failed", "on standard output of find; module: find; on standard output of sign; module: sign"),
        ("gone", "token_missing", "the token has gone while signing"),
        ("locked", "token_pin_locked", "the token is locked"),
    ] {
        token.fault(fault);
        fails(&gatewire, code, words);
    }
    token.fault("");
    gatewire.wait_for("connected to");
    // What is up stays up.
    token.fault("crash sign");
    let mut client = gatewire.client("publish.sock");
    client.send(r#"{"id":"1","topic":"t","payload":"x"}"#);
    assert_eq!(client.json()["id"], "1");
    assert_eq!(gatewire.stop().0, 0);
}

#[test]
fn a_module_that_hangs_is_killed_and_holds_up_nothing_else() {
    let (mosquitto, token) = (Mosquitto::start(), Token::new());
    let module = token.faulty_module();
    token.fault("hang login");
    let gatewire = token.give(setup(mosquitto.port), "ec", &module).start();
    patiently("a login", || (token.logins() > 0).then_some(()));
    // The token is asked, and the sockets answer.
    let (start, mut asked) = (Instant::now(), 0);
    while asked < 20 && token.logins() == 1 && start.elapsed() < PATIENCE {
        let (before, status) = (Instant::now(), gatewire.status());
        // It may have been killed just now.
        let is_over = !status["link"]["last_error"].is_null();
        assert!(status["link"]["state"] == "connecting" || is_over, "{status}");
        assert!(before.elapsed() < Duration::from_secs(5));
        asked += 1;
    }
    gatewire.wait_patiently("hung while logging in to the token and was killed after 10 s");
    token.fault("");
    gatewire.wait_patiently("connected to");
    assert_eq!(gatewire.stop().0, 0);
}

#[test]
fn a_token_that_takes_seconds_connects_and_an_impatient_configuration_says_so() {
    let (mosquitto, token) = (Mosquitto::start(), Token::new());
    let module = token.faulty_module();
    token.fault("slow");
    let impatient = setup(mosquitto.port).edit("[connection]\n", "[connection]\nconnect_timeout = \"2s\"\n");
    let gatewire = token.give(impatient, "ec", &module).start();
    fails(&gatewire, "token_timeout", "hadn't signed when the time for TLS was over");
    assert_eq!(gatewire.stop().0, 0);
    let gatewire = token.give(setup(mosquitto.port), "ec", &module).start();
    gatewire.wait_for("connected to");
    assert_eq!(gatewire.stop().0, 0);
}

#[test]
fn a_token_that_is_pulled_out_is_missed_at_the_next_connection_and_found_again() {
    let (mut mosquitto, token) = (Mosquitto::start(), Token::new());
    let gatewire = token.give(setup(mosquitto.port), "rsa", Path::new(SOFTHSM)).connect();
    token.pull_out();
    let mut client = gatewire.client("publish.sock");
    client.send(r#"{"id":"1","topic":"t","payload":"x"}"#);
    assert_eq!(client.json()["id"], "1");
    mosquitto.kill();
    mosquitto.restart();
    fails(&gatewire, "token_missing", "no token fits the URI (\\\"gw\\\"): there is no token at all");
    token.plug_in();
    gatewire.wait_for_nth("connected to", 2);
}

#[test]
fn a_refused_pin_is_tried_once_whoever_restarts_the_daemon() {
    let (mosquitto, token) = (Mosquitto::start(), Token::new());
    let module = token.faulty_module();
    token.fault("refuse");
    let setup = token.give(setup(mosquitto.port), "ec", &module);
    for _ in 0..3 {
        let gatewire = setup.start();
        fails(&gatewire, "token_pin_refused", "refused the PIN in");
        gatewire.wait_for("it isn't tried again");
        assert_eq!(gatewire.stop().0, 0);
    }
    let (code, _, stderr) = setup.output("check");
    assert!(code == 1 && stderr.contains("it isn't tried again"), "{code} {stderr}");
    assert_eq!(token.logins(), 1);
    // Another PIN is another try; again only one.
    let gatewire = setup.start();
    token.write_pin("99999999");
    patiently("another login", || (token.logins() == 2).then_some(()));
    fails(&gatewire, "token_pin_refused", "it isn't tried again");
    // SIGHUP is one, too.
    gatewire.signal("HUP");
    patiently("another login", || (token.logins() == 3).then_some(()));
    fails(&gatewire, "token_pin_refused", "it isn't tried again");
    token.fault("");
    token.write_pin(PIN);
    gatewire.wait_for("connected to");
    assert_eq!(gatewire.stop().0, 0);
    assert!(!token.path("state/refused-pin.json").exists());
}

#[test]
fn a_login_without_an_end_counts_as_a_try_whoever_restarts_the_daemon() {
    let (mosquitto, token) = (Mosquitto::start(), Token::new());
    let module = token.faulty_module();
    token.fault("crash login");
    let setup = token.give(setup(mosquitto.port), "ec", &module);
    for _ in 0..3 {
        let gatewire = setup.start();
        fails(&gatewire, "token_pin_untried", "had no end (the module hung or crashed, or gatewire was killed)");
        assert_eq!(gatewire.stop().0, 0);
    }
    assert_eq!(token.logins(), 2);
    let (code, _, stderr) = setup.output("check");
    assert!(code == 1 && stderr.contains("`systemctl reload gatewire` makes gatewire try it again"), "{code} {stderr}");
    let gatewire = setup.start();
    fails(&gatewire, "token_pin_untried", "had no end");
    token.fault("");
    gatewire.signal("HUP");
    gatewire.wait_for("connected to");
    assert_eq!(gatewire.stop().0, 0);
    // A PIN that was right is no other after a power cut in its login.
    token.fault("crash login");
    // Once, and not again before it is killed.
    let once = setup.edit("{ min = \"100ms\", max = \"300ms\",", "{ first = \"0s\", min = \"10m\", max = \"10m\",");
    let gatewire = once.start();
    fails(&gatewire, "token_crashed", "crashed while logging in");
    gatewire.kill();
    token.fault("");
    let gatewire = once.start();
    gatewire.wait_for("connected to");
    assert_eq!(gatewire.stop().0, 0);
}

#[test]
fn a_pin_isnt_tried_if_that_cant_be_noted_first() {
    let (mosquitto, token) = (Mosquitto::start(), Token::new());
    let module = token.faulty_module();
    let setup = token.give(setup(mosquitto.port), "ec", &module);
    fs::rename(token.path("state"), token.path("aside")).unwrap();
    let gatewire = setup.start();
    fails(&gatewire, "token_pin_untried", "isn't tried, as that can't be noted in");
    assert_eq!(token.logins(), 0);
    fs::rename(token.path("aside"), token.path("state")).unwrap();
    gatewire.wait_for("connected to");
    assert_eq!(gatewire.stop().0, 0);
}

#[test]
fn what_is_missing_is_named_and_tried_again() {
    let (mosquitto, token) = (Mosquitto::start(), Token::new());
    let module = token.faulty_module();
    let aside = token.path("aside.so");
    fs::rename(&module, &aside).unwrap();
    let gatewire = token.give(setup(mosquitto.port), "ec", &module).start();
    fails(&gatewire, "token_module", "there is no module");
    fs::write(&module, "text").unwrap();
    fails(&gatewire, "token_module", "can't be loaded");
    fs::remove_file(&module).unwrap();
    nix::unistd::mkfifo(&module, nix::sys::stat::Mode::S_IRWXU).unwrap();
    fails(&gatewire, "token_module", "can't be read: it is a FIFO");
    fs::remove_file(&module).unwrap();
    fs::remove_file(token.path("pin")).unwrap();
    fs::rename(&aside, &module).unwrap();
    fails(&gatewire, "token_pin_file", "there is no file");
    token.write_pin("");
    fails(&gatewire, "token_pin_file", "it is empty");
    assert_eq!(token.logins(), 0);
    token.write_pin(PIN);
    gatewire.wait_for("connected to");
}

#[test]
fn another_key_than_the_certificates_is_told_by_check_and_by_the_daemon() {
    let (mosquitto, token) = (Mosquitto::start(), Token::new());
    let other = support::Certificates::make("other", "ec");
    token.import("other", "03", &other.path("private.pem.key"));
    let (module, words) = (Path::new(SOFTHSM), "it isn't the one of the certificate that gatewire connects with");
    for object in ["other", "rsa"] {
        let setup = token.give(setup(mosquitto.port), "ec", module).edit("object=ec", &format!("object={object}"));
        let (code, _, stderr) = setup.output("check");
        assert!(code == 1 && stderr.contains(words), "{code} {stderr}");
        fails(&setup.start(), "token_other_key", words);
    }
    let setup = token.give(setup(mosquitto.port), "ec", module).edit("object=ec", "object=none");
    fails(&setup.start(), "token_key_missing", "there is object \\\"ec\\\", id 01 and object \\\"other\\\", id 03");
    let setup = setup.edit("object=none", "type=private");
    fails(&setup.start(), "token_key_missing", "several private keys");
}
