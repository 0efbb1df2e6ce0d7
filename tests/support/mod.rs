//! What the tests of the binary share: certificates, the daemon, brokers, clients of its sockets.
#![allow(dead_code, reason = "each test file uses its own part of it")]
#![allow(unreachable_pub, reason = "shared by the test files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

pub mod aedes;
pub mod cloud;
pub mod daemon;
pub mod device;
pub mod documented;
pub mod judge;
pub mod local_broker;
pub mod mosquitto;
pub mod network;
pub mod preload;
pub mod prometheus;
pub mod relay;
pub mod scripted;
pub mod scripted5;
pub mod socket;
pub mod softhsm;
pub mod strict;
pub mod tinyproxy;
pub mod tmux;
pub mod tpm;

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

/// How long anything may take that should happen at once; a machine under load takes its time.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A directory with certificates from `certs/make-dev-certs`.
pub struct Certificates {
    directory: TempDir,
}

impl Certificates {
    /// New ones: their CA is nobody else's.
    pub fn make(client_id: &str, kind: &str) -> Certificates {
        let directory = TempDir::new().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("certs/make-dev-certs");
        let made = Command::new(script).args(["-k", kind]).arg(directory.path()).arg(client_id).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        Certificates { directory }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Has the CA sign a certificate into `name` for one of the keys, with extensions as in an openssl configuration. It
    /// ends after so many days; it has ended if they are negative.
    pub fn issue(&self, name: &str, key: &str, extensions: &str, days: i32) -> PathBuf {
        let (request, file) = (self.path(&format!("{name}.csr")), self.path(&format!("{name}.ext")));
        std::fs::write(&file, extensions).unwrap();
        let openssl = |command: &mut Command| assert!(command.output().unwrap().status.success(), "{command:?}");
        openssl(
            Command::new("openssl")
                .args(["req", "-new", "-subj", "/CN=issued", "-key"])
                .arg(self.path(key))
                .arg("-out")
                .arg(&request),
        );
        openssl(
            Command::new("openssl")
                .args(["x509", "-req", "-set_serial", "1", "-days", &days.to_string(), "-CA"])
                .arg(self.path("AmazonRootCA1.pem"))
                .arg("-CAkey")
                .arg(self.path("ca.key"))
                .arg("-extfile")
                .arg(&file)
                .arg("-in")
                .arg(&request)
                .arg("-out")
                .arg(self.path(name)),
        );
        self.path(name)
    }
}

/// A program that the kernel kills with the test, even with one that is itself killed.
pub fn program(path: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(path);
    command
}

/// A port on which nobody listens, nor will: it stays bound until the tests end, so that no other test's server gets it.
pub fn closed_port() -> u16 {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    std::mem::forget(socket);
    port
}

/// A port for a program that can't be told to take any: nobody else gets it until the tests end.
pub fn free_port() -> u16 {
    free_port_at(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// Likewise, at an address of this machine. It stays bound and nobody listens, so that the system gives it to no other who asks for any
/// port, while a server that sets SO_REUSEADDR, as they all do, may have it, and have it again.
pub fn free_port_at(address: IpAddr) -> u16 {
    let address = SocketAddr::from((address, 0));
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    std::mem::forget(socket);
    port
}

/// The certificates of the client `thing-1`, made once a test binary.
pub static CERTIFICATES: LazyLock<Certificates> = LazyLock::new(|| Certificates::make("thing-1", "ec"));

/// Calls `look` until it finds something. For what gives no other sign than that it can be found.
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look)
}

/// Likewise, for what may take its time: a disk is tried again only every 30 s, a large backlog goes out.
pub fn patiently<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(6 * PATIENCE, what, look)
}

/// Fails unless something takes less than `limit` where nothing holds it up: a machine under load may stand still in any go, though hardly
/// in each of three.
pub fn takes_less_than(limit: Duration, mut go: impl FnMut() -> Duration) {
    let mut took = Vec::new();
    while took.len() < 3 {
        match go() {
            time if time < limit => return,
            time => took.push(time),
        }
    }
    panic!("{took:?}, and not less than {limit:?}");
}

/// Looks until a hundred looks in a row have seen the same.
pub fn settled<T: PartialEq>(what: &str, mut look: impl FnMut() -> T) {
    let (mut before, mut same) = (look(), 0);
    patiently(&format!("{what} stay as they are"), || {
        let now = look();
        same = if now == before { same + 1 } else { 0 };
        before = now;
        (same == 100).then_some(())
    });
}

fn within<T>(time: Duration, what: &str, look: impl FnMut() -> Option<T>) -> T {
    found_within(time, look).unwrap_or_else(|| panic!("in vain: {what}"))
}

/// What `look` finds, if it does so in time. The one place that sleeps between two looks.
pub fn found_within<T>(time: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + time;
    loop {
        let is_last = Instant::now() >= deadline;
        match look() {
            None if !is_last => std::thread::sleep(Duration::from_millis(5)),
            found => return found,
        }
    }
}
