//! One TCP connection and its socket options.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Silence before the kernel probes the other end. MQTT's own keep alive is mostly quicker; this is for a process that is
/// stopped or hangs, and for a long keep alive behind a NAT that forgets after some minutes.
pub(crate) const PROBE_AFTER: Duration = Duration::from_secs(150);
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
/// notice at one and a half. After a silence of `probe_after` the kernel probes the other end.
pub(super) fn tune(stream: &TcpStream, keep_alive: Duration, probe_after: Duration) {
    let socket = SockRef::from(stream);
    let probes = TcpKeepalive::new().with_time(probe_after).with_interval(PROBE_INTERVAL).with_retries(PROBES);
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

pub(super) fn acknowledge_at_once(stream: &TcpStream) {
    if let Err(error) = SockRef::from(stream).set_tcp_quickack(true) {
        log::debug!("setting TCP_QUICKACK on the connection failed: {error}");
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_socket_notices_a_dead_network() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = connect(listener.local_addr().unwrap()).await.unwrap();
        tune(&stream, Duration::from_secs(30), PROBE_AFTER);
        let socket = socket2::SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(30)));
        tune(&stream, Duration::from_secs(1200), PROBE_AFTER);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(60)));
    }
}
