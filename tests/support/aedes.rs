//! aedes, a broker of Node.js that knows MQTT 3.1.1 alone, as the broker beside the gateway.

use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use super::mosquitto::{Subscriber, publish};
use super::program;

pub struct Aedes {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    pub port: u16,
}

impl Aedes {
    pub fn start() -> Aedes {
        Aedes::denying(&[])
    }

    /// One that closes the connection of a client that publishes on a topic that begins so.
    pub fn denying(topics: &[&str]) -> Aedes {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = program("node");
        command.arg(root.join("tests/support/aedes.js")).arg(root.join("target/aedes/node_modules/aedes"));
        command.args(topics);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next().expect("aedes doesn't start; `make test` installs it").unwrap();
        let port = line.strip_prefix("port ").expect(&line).parse().unwrap();
        Aedes { child, lines, port }
    }

    /// Waits for the next line that begins so.
    pub fn wait_for(&mut self, start: &str) -> String {
        let found = self.lines.by_ref().map(Result::unwrap).find(|line| line.starts_with(start));
        found.expect("aedes has ended")
    }

    fn client(&self, name: &str, id: &str) -> Command {
        let mut command = program(name);
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-i", id, "-q", "1"]);
        command
    }

    /// A device publishes a message with QoS 1, and completes when the broker has it.
    pub fn publish(&self, topic: &str, payload: &[u8], options: &[&str]) {
        let mut command = self.client("mosquitto_pub", "device");
        command.args(["-t", topic, "-s"]).args(options);
        publish(command, payload);
    }

    /// A device that is subscribed, `TOPIC PAYLOAD` a line.
    pub fn subscribe(&mut self, filter: &str) -> Subscriber {
        let mut command = self.client("mosquitto_sub", "listener");
        command.args(["-t", filter, "-F", "%t %p"]);
        let subscriber = Subscriber::of(command);
        self.wait_for("subscribed listener");
        subscriber
    }
}

impl Drop for Aedes {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
