//! One TCP connection and its socket options.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::stat::fstat;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Silence before the kernel probes the other end. MQTT's own keep alive is mostly quicker; this is for a process that is
/// stopped or hangs, and for a long keep alive behind a NAT that forgets after some minutes.
const PROBE_AFTER: Duration = Duration::from_secs(150);
const PROBE_INTERVAL: Duration = Duration::from_secs(15);
const PROBES: u32 = 4;

/// How much the kernel takes that it can't send yet, in bytes. What it has taken looks as if it were under way: on a slow uplink
/// that would be long for answers to be waited for, and DISCONNECT would come behind it.
const MAX_UNSENT: u32 = 8 * 1024;

/// The longest that sent data may stay unacknowledged: beyond it a modem's pause isn't one.
const MAX_USER_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect(address).await
}

/// Sets the options of a connection. That data stays unacknowledged by TCP for a keep alive ends it, sooner than MQTT would
/// notice at one and a half.
pub(super) fn tune(stream: &TcpStream, keep_alive: Duration) {
    let socket = SockRef::from(stream);
    let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_INTERVAL).with_retries(PROBES);
    let results = [
        // Packets are put together before they are written: waiting for more would only delay them.
        ("TCP_NODELAY", socket.set_tcp_nodelay(true)),
        ("SO_KEEPALIVE", socket.set_tcp_keepalive(&probes)),
        ("TCP_NOTSENT_LOWAT", socket.set_tcp_notsent_lowat(MAX_UNSENT)),
        ("TCP_USER_TIMEOUT", socket.set_tcp_user_timeout(Some(keep_alive.min(MAX_USER_TIMEOUT)))),
    ];
    for (option, result) in results {
        if let Err(error) = result {
            // The connection works without; it only notices a dead network later.
            log::warn!("setting {option} on the connection failed: {error}");
        }
    }
}

/// Has the kernel forget what it hasn't sent, once the connection is dropped: it would be in the next one's way.
pub(super) fn abandon(stream: &TcpStream) {
    if let Err(error) = SockRef::from(stream).set_linger(Some(Duration::ZERO)) {
        log::debug!("setting SO_LINGER on the connection failed: {error}");
    }
}

/// How many of the bytes written to it the other end's TCP hasn't acknowledged. `None`: the kernel doesn't tell.
pub(super) fn unacknowledged(stream: &TcpStream) -> Option<usize> {
    let table = match stream.local_addr().ok()? {
        SocketAddr::V4(_) => "/proc/self/net/tcp",
        SocketAddr::V6(_) => "/proc/self/net/tcp6",
    };
    let inode = fstat(stream).ok()?.st_ino.to_string();
    let mut lines = BufReader::new(File::open(table).ok()?).lines().map_while(Result::ok);
    lines.find_map(|line| queued(&line, &inode))
}

/// What waits to be sent or acknowledged, if `line` of the kernel's table is of the socket `inode`: its fields are number, two
/// addresses, state, `tx_queue:rx_queue`, timer, retransmissions, user, timeout and inode.
fn queued(line: &str, inode: &str) -> Option<usize> {
    let fields: Vec<&str> = line.split_ascii_whitespace().take(10).collect();
    let (queues, of) = (fields.get(4)?, fields.get(9)?);
    let (to_send, _) = queues.split_once(':').filter(|_| *of == inode)?;
    usize::from_str_radix(to_send, 16).ok()
}

pub(super) fn acknowledge_at_once(stream: &TcpStream) {
    if let Err(error) = SockRef::from(stream).set_tcp_quickack(true) {
        log::debug!("setting TCP_QUICKACK on the connection failed: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::net::Ipv6Addr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn the_kernel_tells_what_has_not_arrived() {
        for address in ["127.0.0.1:0".parse().unwrap(), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))] {
            let Ok(listener) = TcpListener::bind(address).await else {
                eprintln!("not tested: {address} can't be used here");
                continue;
            };
            let mut stream = connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut peer, _) = listener.accept().await.unwrap();
            assert_eq!(unacknowledged(&stream), Some(0));
            stream.writable().await.unwrap();
            let written: usize = std::iter::from_fn(|| stream.try_write(&[b'x'; 64 * 1024]).ok()).sum();
            let missing = unacknowledged(&stream).unwrap();
            assert!(missing > 0 && missing <= written, "{missing} of {written}");
            stream.shutdown().await.unwrap();
            let read = peer.read_to_end(&mut Vec::new()).await.unwrap();
            assert_eq!(read, written);
            while unacknowledged(&stream) != Some(0) {
                tokio::task::yield_now().await;
            }
        }
    }

    #[test]
    fn a_line_of_the_table_is_read() {
        let line = "   3: 0100007F:22B3 0100007F:9C40 01 00011C14:0000002A 01:0000001F 00000000     0        0 4711 2 0 20 4 0 10 -1";
        assert_eq!(queued(line, "4711"), Some(0x11C14));
        assert_eq!(queued(line, "471"), None);
        assert_eq!(queued("  sl  local_address rem_address   st tx_queue", "4711"), None);
    }

    #[tokio::test]
    async fn the_socket_notices_a_dead_network() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = connect(listener.local_addr().unwrap()).await.unwrap();
        tune(&stream, Duration::from_secs(30));
        let socket = socket2::SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(30)));
        tune(&stream, Duration::from_secs(1200));
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(60)));
    }
}
