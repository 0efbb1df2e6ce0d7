//! mosquitto as the broker beside the gateway: plain TCP, as devices reach it.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{PATIENCE, eventually, program};

/// A mosquitto that keeps what it has, as Debian's does, but at once.
pub struct LocalBroker {
    child: Child,
    pub port: u16,
    directory: TempDir,
}

impl LocalBroker {
    pub fn start() -> LocalBroker {
        LocalBroker::with_options("allow_anonymous true\n")
    }

    /// With these lines in its configuration, in which `DIR` is its directory.
    pub fn with_options(options: &str) -> LocalBroker {
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let directory = TempDir::new().unwrap();
            let options = options.replace("DIR", &directory.path().display().to_string());
            let text = format!(
                "user root\nlistener {port} 127.0.0.1\npersistence true\npersistence_location {}/\n\
                 autosave_on_changes true\nautosave_interval 1\nmax_queued_messages 100000\nconnection_messages true\n\
                 set_tcp_nodelay true\nlog_type all\n{options}\n",
                directory.path().display()
            );
            fs::write(directory.path().join("mosquitto.conf"), text).unwrap();
            if let Some(child) = run(directory.path(), port) {
                return LocalBroker { child, port, directory };
            }
        }
        panic!("mosquitto doesn't start");
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// SIGTERM: it writes down what it has.
    pub fn stop(&mut self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap();
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on its port.
    pub fn restart(&mut self) {
        let (path, port) = (self.directory.path(), self.port);
        self.child = eventually("mosquitto to start again", || run(path, port));
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// The topics of all that a client has published, in the order of arrival.
    pub fn received(&self, client_id: &str) -> Vec<String> {
        let publish = format!("Received PUBLISH from {client_id} (");
        let topic = |line: &str| Some(line.split_once(&publish)?.1.split('\'').nth(1)?.to_owned());
        self.log().lines().filter_map(topic).collect()
    }

    pub fn wait_for(&self, text: &str) {
        eventually(&format!("{text:?} in the local broker's log"), || self.log().contains(text).then_some(()));
    }

    fn client(&self, name: &str, id: &str) -> Command {
        let mut command = program(name);
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-i", id]);
        command
    }

    /// A device publishes a message with QoS 1, and completes when the broker has it.
    pub fn publish(&self, topic: &str, payload: &[u8]) {
        self.publish_with(topic, payload, &["-q", "1"]);
    }

    pub fn publish_with(&self, topic: &str, payload: &[u8], options: &[&str]) {
        let mut command = self.client("mosquitto_pub", "device");
        command.args(["-t", topic, "-s"]).args(options).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(payload).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// A device that publishes a message a line.
    pub fn device(&self, id: &str, topic: &str, options: &[&str]) -> Device {
        let mut command = self.client("mosquitto_pub", id);
        command.args(["-t", topic, "-l"]).args(options).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        Device { input: child.stdin.take().unwrap(), child }
    }

    /// A device that is subscribed, `TOPIC PAYLOAD` a line.
    pub fn subscribe(&self, filter: &str) -> Listener {
        self.subscribe_with(filter, &["-q", "1"], "%t %p")
    }

    pub fn subscribe_with(&self, filter: &str, options: &[&str], format: &str) -> Listener {
        let id = format!("listener-{}", fastrand::u32(..));
        let mut command = self.client("mosquitto_sub", &id);
        command.args(["-t", filter, "-F", format]).args(options).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        let output = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        self.wait_for(&format!("Sending SUBACK to {id}"));
        Listener { child, lines }
    }
}

fn run(directory: &Path, port: u16) -> Option<Child> {
    let log = File::options().create(true).append(true).open(directory.join("log")).unwrap();
    let path = if Path::new("/usr/sbin/mosquitto").exists() { "/usr/sbin/mosquitto" } else { "mosquitto" };
    let mut child = program(path)
        .arg("-c")
        .arg(directory.join("mosquitto.conf"))
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    eventually("mosquitto to listen or end (`make test` installs it)", || {
        if child.try_wait().unwrap().is_some() {
            return Some(false);
        }
        TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(true)
    })
    .then_some(child)
}

impl Drop for LocalBroker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let last: Vec<&str> = log.lines().rev().take(20).collect();
            eprintln!("--- the end of the local broker's log, last line first\n{}\n---", last.join("\n"));
        }
    }
}

pub struct Device {
    child: Child,
    input: ChildStdin,
}

impl Device {
    pub fn send(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// Waits until all is published.
    pub fn finish(mut self) {
        drop(self.input);
        assert!(self.child.wait().unwrap().success());
    }
}

pub struct Listener {
    child: Child,
    lines: Receiver<String>,
}

impl Listener {
    pub fn next(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("no message at the local broker")
    }

    pub fn try_next(&self) -> Option<String> {
        self.lines.try_recv().ok()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
