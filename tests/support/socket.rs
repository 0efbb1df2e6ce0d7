//! A client of one of the daemon's sockets.

use std::io::{BufRead as _, BufReader, Error, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::{PATIENCE, eventually};

pub struct Client {
    reader: BufReader<UnixStream>,
}

impl Client {
    /// Connects, once the socket is there.
    pub fn connect(path: &Path) -> Client {
        let stream = eventually(&format!("connecting to {}", path.display()), || UnixStream::connect(path).ok());
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client { reader: BufReader::new(stream) }
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

    pub fn write(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).unwrap();
    }

    /// Writes as much as the socket takes at once.
    pub fn write_some(&mut self, bytes: &[u8]) {
        let stream = self.reader.get_mut();
        stream.set_nonblocking(true).unwrap();
        let mut rest = bytes;
        while let Ok(n) = stream.write(rest)
            && n > 0
        {
            rest = &rest[n..];
        }
        stream.set_nonblocking(false).unwrap();
    }

    /// Reads whatever comes from now on, as a program has to that is to be answered, and forgets it.
    pub fn read_on(&self) {
        let mut answers = self.reader.get_ref().try_clone().unwrap();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            let is_silence = |error: &Error| error.kind() == ErrorKind::WouldBlock;
            while answers.read(&mut bytes).map_or_else(|error| is_silence(&error), |n| n > 0) {}
        });
    }

    pub fn shutdown_write(&mut self) {
        self.reader.get_mut().shutdown(Shutdown::Write).unwrap();
    }

    /// The next line without its newline; `None` at the end.
    pub fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        match self.reader.read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => Some(String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line)).into_owned()),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("no line: {error}"),
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
        let mut text = String::new();
        self.reader.read_to_string(&mut text).unwrap();
        text
    }

    /// Whether nothing comes for a while that is long for this machine.
    pub fn is_silent(&mut self) -> bool {
        self.reader.get_ref().set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let silent = match self.reader.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        };
        self.reader.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
        silent
    }
}
