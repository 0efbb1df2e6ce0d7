//! mosquitto in the place of IoT Core: mutual TLS, the identity from the certificate.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{CERTIFICATES, PATIENCE, eventually, free_port, program};

pub struct Mosquitto {
    child: Child,
    pub port: u16,
    directory: TempDir,
}

impl Mosquitto {
    /// On a free port, which stays its own while it is killed.
    pub fn start() -> Mosquitto {
        Mosquitto::with_options("")
    }

    pub fn with_options(options: &str) -> Mosquitto {
        let (port, directory) = (free_port(), TempDir::new().unwrap());
        configure(directory.path(), &format!("{port} 127.0.0.1"), "server.crt", options);
        let child = run(directory.path(), port);
        Mosquitto { child, port, directory }
    }

    /// In a network of its own, at an address there, for which `certificate` is.
    pub fn inside(words: &[String], address: IpAddr, certificate: &str) -> Mosquitto {
        let (port, directory) = (8883, TempDir::new().unwrap());
        configure(directory.path(), &format!("{port} {address}"), certificate, "");
        let mosquitto = Mosquitto { child: spawn(directory.path(), words), port, directory };
        mosquitto.wait_for("running");
        mosquitto
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM: it writes down what it has.
    pub fn stop(&mut self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on its port after [`Mosquitto::kill`] or [`Mosquitto::stop`].
    pub fn restart(&mut self) {
        self.child = run(self.directory.path(), self.port);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// The topics of all that a client has published, in the order of arrival.
    pub fn received(&self, client_id: &str) -> Vec<String> {
        received(&self.log(), client_id)
    }

    pub fn wait_for(&self, text: &str) {
        eventually(&format!("{text:?} in mosquitto's log"), || self.log().contains(text).then_some(()));
    }

    fn client(&self, name: &str, id: &str) -> Command {
        let mut command = program(name);
        command.args(["-h", "localhost", "-p", &self.port.to_string(), "-i", id, "-q", "1"]);
        command.arg("--cafile").arg(CERTIFICATES.path("AmazonRootCA1.pem"));
        command.arg("--cert").arg(CERTIFICATES.path("certificate.pem.crt"));
        command.arg("--key").arg(CERTIFICATES.path("private.pem.key"));
        command
    }

    /// Publishes one message.
    pub fn publish(&self, topic: &str, payload: &[u8]) {
        self.publish_with(topic, payload, &[]);
    }

    pub fn publish_with(&self, topic: &str, payload: &[u8], options: &[&str]) {
        let mut command = self.client("mosquitto_pub", "test-publisher");
        command.args(["-t", topic, "-s"]).args(options);
        publish(command, payload);
    }

    /// A publisher that takes a message a line.
    pub fn publisher(&self, topic: &str) -> Publisher {
        let mut command = self.client("mosquitto_pub", "test-lines");
        command.args(["-t", topic, "-l"]);
        Publisher::of(command)
    }

    /// A subscriber, ready: its payloads, a line each.
    pub fn subscribe(&self, filter: &str) -> Subscriber {
        self.subscribe_with(filter, &[], "%t %p")
    }

    /// Likewise, with other options and another form of the lines.
    pub fn subscribe_with(&self, filter: &str, options: &[&str], format: &str) -> Subscriber {
        let id = format!("test-subscriber-{}", fastrand::u32(..));
        let mut command = self.client("mosquitto_sub", &id);
        command.args(["-c", "-t", filter, "-F", format]).args(options);
        let subscriber = Subscriber::of(command);
        self.wait_for(&format!("Sending SUBACK to {id}"));
        subscriber
    }
}

fn configure(directory: &Path, listener: &str, certificate: &str, options: &str) {
    let config = format!(
        "user root\nlistener {listener}\ncafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\n\
         use_identity_as_username true\nmax_queued_messages 1000000\nmax_inflight_messages 100\n\
         connection_messages true\nset_tcp_nodelay true\nlog_type all\nautosave_on_changes true\nautosave_interval 1\n{options}\n",
        CERTIFICATES.path("AmazonRootCA1.pem").display(),
        CERTIFICATES.path(certificate).display(),
        CERTIFICATES.path("server.key").display(),
    );
    let config = config.replace("DIR", &directory.display().to_string());
    fs::write(directory.join("mosquitto.conf"), config).unwrap();
}

/// mosquitto, behind a program that becomes it.
fn spawn(directory: &Path, inside: &[String]) -> Child {
    let log = File::options().create(true).append(true).open(directory.join("log")).unwrap();
    let path = if Path::new("/usr/sbin/mosquitto").exists() { "/usr/sbin/mosquitto" } else { "mosquitto" };
    let words: Vec<&str> = inside.iter().map(String::as_str).chain([path]).collect();
    program(words[0])
        .args(&words[1..])
        .arg("-c")
        .arg(directory.join("mosquitto.conf"))
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// The topics of all that a client has published, as a broker's log has them, in the order of arrival.
pub(super) fn received(log: &str, client_id: &str) -> Vec<String> {
    let publish = format!("Received PUBLISH from {client_id} (");
    let topic = |line: &str| Some(line.split_once(&publish)?.1.split('\'').nth(1)?.to_owned());
    log.lines().filter_map(topic).collect()
}

/// `command` publishes its input.
pub(super) fn publish(mut command: Command, payload: &[u8]) {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(payload).unwrap();
    assert!(child.wait().unwrap().success());
}

/// In a test that fails: the end of a broker's log.
pub(super) fn show_end(whose: &str, log: &str) {
    if std::thread::panicking() {
        let last: Vec<&str> = log.lines().rev().take(20).collect();
        eprintln!("--- the end of the log of {whose}, last line first\n{}\n---", last.join("\n"));
    }
}

/// A mosquitto with the configuration that lies in `directory`, once it listens.
pub(super) fn run(directory: &Path, port: u16) -> Child {
    let mut child = spawn(directory, &[]);
    eventually("mosquitto to listen (`make test` installs it)", || {
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none(), "{ended:?}: {}", fs::read_to_string(directory.join("log")).unwrap());
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
    child
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        show_end("mosquitto", &self.log());
    }
}

pub struct Publisher {
    child: Child,
    input: ChildStdin,
}

impl Publisher {
    /// `command` publishes a message a line of its input.
    pub(super) fn of(mut command: Command) -> Publisher {
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        Publisher { input: child.stdin.take().unwrap(), child }
    }

    pub fn send(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// Waits until all is published.
    pub fn finish(mut self) {
        drop(self.input);
        assert!(self.child.wait().unwrap().success());
    }
}

pub struct Subscriber {
    child: Child,
    lines: Receiver<String>,
}

impl Subscriber {
    /// `command` prints a line for each message.
    pub(super) fn of(mut command: Command) -> Subscriber {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let output = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Subscriber { child, lines }
    }

    /// The next message, `TOPIC PAYLOAD`.
    pub fn next(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("no message at the broker")
    }

    /// A message, if one is there already.
    pub fn try_next(&self) -> Option<String> {
        self.lines.try_recv().ok()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
