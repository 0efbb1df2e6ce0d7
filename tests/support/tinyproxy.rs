//! tinyproxy between the daemon and the broker.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};

use tempfile::TempDir;

use super::{eventually, free_port_at, program};

pub struct Tinyproxy {
    child: Child,
    pub port: u16,
    directory: TempDir,
}

impl Tinyproxy {
    /// On a free port of `address`, with more lines of configuration.
    pub fn start(address: &str, options: &str) -> Tinyproxy {
        let (port, directory) = (free_port_at(address.parse().unwrap()), TempDir::new().unwrap());
        let log = directory.path().join("log");
        let config = format!(
            "Port {port}\nListen {address}\nTimeout 600\nLogLevel Connect\nLogFile \"{}\"\n{options}\n",
            log.display()
        );
        fs::write(directory.path().join("conf"), config).unwrap();
        let child = run(directory.path(), address, port);
        Tinyproxy { child, port, directory }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

fn run(directory: &Path, address: &str, port: u16) -> Child {
    let mut child = program("tinyproxy")
        .args(["-d", "-c"])
        .arg(directory.join("conf"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("tinyproxy to listen (`make test` installs it)", || {
        assert_eq!(child.try_wait().unwrap(), None, "tinyproxy has ended");
        TcpStream::connect((address, port)).ok()
    });
    child
}

impl Drop for Tinyproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
