//! A client of one of the daemon's sockets.

use std::io::{Error, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::Value;

use super::{PATIENCE, eventually};

pub struct Client {
    stream: UnixStream,
    /// What has come and wasn't taken.
    come: Vec<u8>,
}

impl Client {
    /// Connects, once the socket is there.
    pub fn connect(path: &Path) -> Client {
        let stream = eventually(&format!("connecting to {}", path.display()), || UnixStream::connect(path).ok());
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { stream, come: Vec::new() }
    }

    /// Connects to a forward as an observer.
    pub fn observe(path: &Path) -> Client {
        let mut client = Client::connect(path);
        client.send(r#"{"observe":true}"#);
        client
    }

    pub fn send(&mut self, line: &str) {
        self.write(format!("{line}\n").as_bytes());
    }

    /// Writes all of it, and takes what comes while there is no room: who only writes would wait for a daemon that waits for a reader of
    /// its answers.
    pub fn write(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = &rest[self.write_now(rest)..];
            if !rest.is_empty() {
                let wanted = PollFlags::POLLIN | PollFlags::POLLOUT;
                let mut polled = [PollFd::new(self.stream.as_fd(), wanted)];
                let patience = PollTimeout::try_from(PATIENCE).unwrap();
                assert!(poll(&mut polled, patience).unwrap() > 0, "the socket takes nothing");
                if polled[0].revents().is_some_and(|events| events.contains(PollFlags::POLLIN)) {
                    assert!(self.read_some().unwrap() > 0, "the end while there is something to write");
                }
            }
        }
    }

    /// How much of it the socket takes at once.
    fn write_now(&mut self, bytes: &[u8]) -> usize {
        self.stream.set_nonblocking(true).unwrap();
        let written = self.stream.write(bytes);
        self.stream.set_nonblocking(false).unwrap();
        match written {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            written => written.unwrap(),
        }
    }

    /// Writes as much as the socket takes at once.
    pub fn write_some(&mut self, bytes: &[u8]) {
        self.stream.set_nonblocking(true).unwrap();
        let mut rest = bytes;
        while let Ok(n) = self.stream.write(rest)
            && n > 0
        {
            rest = &rest[n..];
        }
        self.stream.set_nonblocking(false).unwrap();
    }

    /// Reads whatever comes from now on, as a program has to that is to be answered, and forgets it.
    pub fn read_on(&self) {
        let mut answers = self.stream.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            let is_silence = |error: &Error| error.kind() == ErrorKind::WouldBlock;
            while answers.read(&mut bytes).map_or_else(|error| is_silence(&error), |n| n > 0) {}
        });
    }

    /// Waits for long for what comes: a daemon that others keep busy takes its time on a machine under load.
    pub fn be_patient(&mut self) {
        self.stream.set_read_timeout(Some(6 * PATIENCE)).unwrap();
    }

    pub fn shutdown_write(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    fn read_some(&mut self) -> std::io::Result<usize> {
        let mut bytes = [0; 64 * 1024];
        let n = self.stream.read(&mut bytes)?;
        self.come.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    /// The next line without its newline; `None` at the end.
    pub fn line(&mut self) -> Option<String> {
        let mut looked = 0;
        loop {
            if let Some(end) = self.come[looked..].iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.come.drain(..=looked + end).collect();
                return Some(String::from_utf8_lossy(&line[..line.len() - 1]).into_owned());
            }
            looked = self.come.len();
            match self.read_some() {
                Ok(0) if self.come.is_empty() => return None,
                Ok(0) => return Some(String::from_utf8_lossy(&std::mem::take(&mut self.come)).into_owned()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no line: {error}"),
            }
        }
    }

    /// The next line, which must be there and be JSON.
    pub fn json(&mut self) -> Value {
        let line = self.line().expect("the end instead of a line");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// The `payload` of the next line.
    pub fn payload(&mut self) -> String {
        let json = self.json();
        json["payload"].as_str().unwrap_or_else(|| panic!("no payload: {json}")).to_owned()
    }

    /// Sends a line and takes the answer.
    pub fn ask(&mut self, line: &str) -> Value {
        self.send(line);
        self.json()
    }

    pub fn read_to_end(mut self) -> String {
        let mut bytes = std::mem::take(&mut self.come);
        self.stream.read_to_end(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// Whether nothing comes for a while that is long for this machine.
    pub fn is_silent(&mut self) -> bool {
        if !self.come.is_empty() {
            return false;
        }
        self.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let silent = match self.read_some() {
            Ok(n) => n == 0,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        };
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        silent
    }
}
