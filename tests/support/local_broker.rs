//! mosquitto as the broker beside the gateway: plain TCP, as devices reach it.

use std::fs;
use std::process::{Child, Command};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::mosquitto::{Publisher, Subscriber, publish, received, run, show_end};
use super::{eventually, free_port, program};

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
        let (port, directory) = (free_port(), TempDir::new().unwrap());
        let options = options.replace("DIR", &directory.path().display().to_string());
        let text = format!(
            "user root\nlistener {port} 127.0.0.1\npersistence true\npersistence_location {}/\n\
             autosave_on_changes true\nautosave_interval 1\nmax_queued_messages 100000\nconnection_messages true\n\
             set_tcp_nodelay true\nlog_type all\n{options}\n",
            directory.path().display()
        );
        fs::write(directory.path().join("mosquitto.conf"), text).unwrap();
        let child = run(directory.path(), port);
        LocalBroker { child, port, directory }
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
        self.child = run(self.directory.path(), self.port);
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// The topics of all that a client has published, in the order of arrival.
    pub fn received(&self, client_id: &str) -> Vec<String> {
        received(&self.log(), client_id)
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
        command.args(["-t", topic, "-s"]).args(options);
        publish(command, payload);
    }

    /// A device that publishes a message a line.
    pub fn device(&self, id: &str, topic: &str, options: &[&str]) -> Publisher {
        let mut command = self.client("mosquitto_pub", id);
        command.args(["-t", topic, "-l"]).args(options);
        Publisher::of(command)
    }

    /// A device that is subscribed, `TOPIC PAYLOAD` a line.
    pub fn subscribe(&self, filter: &str) -> Subscriber {
        self.subscribe_with(filter, &["-q", "1"], "%t %p")
    }

    pub fn subscribe_with(&self, filter: &str, options: &[&str], format: &str) -> Subscriber {
        let id = format!("listener-{}", fastrand::u32(..));
        let mut command = self.client("mosquitto_sub", &id);
        command.args(["-t", filter, "-F", format]).args(options);
        let subscriber = Subscriber::of(command);
        self.wait_for(&format!("Sending SUBACK to {id}"));
        subscriber
    }
}

impl Drop for LocalBroker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        show_end("the local broker", &self.log());
    }
}
