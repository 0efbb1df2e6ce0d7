//! tinyproxy between the daemon and the broker.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};

use tempfile::TempDir;

use super::{eventually, program};

pub struct Tinyproxy {
    child: Child,
    pub port: u16,
    directory: TempDir,
}

impl Tinyproxy {
    /// On a free port of `address`, with more lines of configuration.
    pub fn start(address: &str, options: &str) -> Tinyproxy {
        for _ in 0..10 {
            let port = TcpListener::bind((address, 0)).unwrap().local_addr().unwrap().port();
            let directory = TempDir::new().unwrap();
            let path = directory.path();
            let log = path.join("log");
            let config = format!(
                "Port {port}\nListen {address}\nTimeout 600\nLogLevel Connect\nLogFile \"{}\"\n{options}\n",
                log.display()
            );
            fs::write(path.join("conf"), config).unwrap();
            if let Some(child) = run(path, address, port) {
                return Tinyproxy { child, port, directory };
            }
        }
        panic!("tinyproxy doesn't start");
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

fn run(directory: &Path, address: &str, port: u16) -> Option<Child> {
    let mut child = program("tinyproxy")
        .args(["-d", "-c"])
        .arg(directory.join("conf"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("tinyproxy to listen or end (`make test` installs it)", || {
        if child.try_wait().unwrap().is_some() {
            return Some(false);
        }
        TcpStream::connect((address, port)).is_ok().then_some(true)
    })
    .then_some(child)
}

impl Drop for Tinyproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
