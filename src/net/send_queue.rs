//! How much of what was written to a TCP connection the other end hasn't acknowledged.
//!
//! The ioctl for it (`SIOCOUTQ`) can't be called without unsafe code. The kernel answers the same over netlink (sock_diag(7)),
//! for the one connection. Where it can't (a kernel without `INET_DIAG`), its table of all connections is read.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd as _;

use nix::libc::NLM_F_REQUEST;
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket};
use nix::sys::stat::fstat;
use tokio::net::TcpStream;

/// Bytes of a message's header (`struct nlmsghdr`): length, type, flags, sequence, sender.
const HEADER: usize = 16;

/// Bytes of the request that follows it (`struct inet_diag_req_v2`).
const REQUEST: usize = 56;

/// Where the answer (`struct inet_diag_msg`) has what is queued for sending, and how long it is without attributes.
const QUEUED_AT: usize = HEADER + 60;
const ANSWER: usize = HEADER + 72;

/// `SOCK_DIAG_BY_FAMILY`, of the request and of the answer; any other answer is an error.
const BY_FAMILY: u16 = 20;

const TCP: u8 = nix::libc::IPPROTO_TCP as u8;

/// Bytes that were written and that the other end's TCP hasn't acknowledged. `None`: the kernel doesn't tell.
pub(super) fn unacknowledged(stream: &TcpStream) -> Option<usize> {
    let (local, peer) = (stream.local_addr().ok()?, stream.peer_addr().ok()?);
    asked(local, peer).or_else(|| looked_up(stream, local))
}

/// What the kernel answers for the connection between these two.
fn asked(local: SocketAddr, peer: SocketAddr) -> Option<usize> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let kernel = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkSockDiag).ok()?;
    sendto(kernel.as_raw_fd(), &request(local, peer), &NetlinkAddr::new(0, 0), MsgFlags::empty()).ok()?;
    // The kernel has answered by the time that the request is sent.
    let mut answer = [0; 1024];
    let length = recv(kernel.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT).ok()?;
    queued(answer.get(..length)?)
}

fn request(local: SocketAddr, peer: SocketAddr) -> Vec<u8> {
    let family = if local.is_ipv4() { nix::libc::AF_INET } else { nix::libc::AF_INET6 };
    let mut request = Vec::with_capacity(HEADER + REQUEST);
    request.extend(((HEADER + REQUEST) as u32).to_ne_bytes());
    request.extend(BY_FAMILY.to_ne_bytes());
    request.extend((NLM_F_REQUEST as u16).to_ne_bytes());
    // Sequence and sender: of the only one.
    request.extend([0; 8]);
    // No attributes, in whatever state it is.
    request.extend([family as u8, TCP, 0, 0]);
    request.extend(u32::MAX.to_ne_bytes());
    request.extend(local.port().to_be_bytes());
    request.extend(peer.port().to_be_bytes());
    request.extend(address(local));
    request.extend(address(peer));
    // The interface that an address of a link belongs to.
    let interface = match local {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(local) => local.scope_id(),
    };
    request.extend(interface.to_ne_bytes());
    // `INET_DIAG_NOCOOKIE`: the addresses say which.
    request.extend([0xff; 8]);
    request
}

/// In 16 bytes.
fn address(address: SocketAddr) -> [u8; 16] {
    let mut bytes = [0; 16];
    match address.ip() {
        IpAddr::V4(address) => bytes[..4].copy_from_slice(&address.octets()),
        IpAddr::V6(address) => bytes = address.octets(),
    }
    bytes
}

/// What is queued for sending, if that is what the kernel has answered.
fn queued(answer: &[u8]) -> Option<usize> {
    let kind = u16::from_ne_bytes(*answer.get(4..)?.first_chunk()?);
    let is_complete = answer.len() >= ANSWER && kind == BY_FAMILY;
    let queued = u32::from_ne_bytes(*answer.get(QUEUED_AT..)?.first_chunk()?);
    usize::try_from(queued).ok().filter(|_| is_complete)
}

/// The same out of the table of all connections.
fn looked_up(stream: &TcpStream, local: SocketAddr) -> Option<usize> {
    let table = if local.is_ipv4() { "/proc/self/net/tcp" } else { "/proc/self/net/tcp6" };
    let inode = fstat(stream).ok()?.st_ino.to_string();
    let mut lines = BufReader::new(File::open(table).ok()?).lines().map_while(Result::ok);
    lines.find_map(|line| listed(&line, &inode))
}

/// What waits to be sent or acknowledged, if `line` of the kernel's table is of the socket `inode`: its fields are number, two
/// addresses, state, `tx_queue:rx_queue`, timer, retransmissions, user, timeout and inode.
fn listed(line: &str, inode: &str) -> Option<usize> {
    let fields: Vec<&str> = line.split_ascii_whitespace().take(10).collect();
    let (queues, of) = (fields.get(4)?, fields.get(9)?);
    let (to_send, _) = queues.split_once(':').filter(|_| *of == inode)?;
    usize::from_str_radix(to_send, 16).ok()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_kernel_tells_what_has_not_arrived() {
        for address in ["127.0.0.1:0".parse().unwrap(), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))] {
            let Ok(listener) = TcpListener::bind(address).await else {
                eprintln!("not tested: {address} can't be used here");
                continue;
            };
            let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut peer, other) = listener.accept().await.unwrap();
            let local = stream.local_addr().unwrap();
            assert_eq!((unacknowledged(&stream), looked_up(&stream, local)), (Some(0), Some(0)));
            if asked(local, peer.local_addr().unwrap()).is_none() {
                eprintln!("not tested: this kernel doesn't answer for one connection");
            }
            stream.writable().await.unwrap();
            let written: usize = std::iter::from_fn(|| stream.try_write(&[b'x'; 64 * 1024]).ok()).sum();
            for missing in [unacknowledged(&stream), looked_up(&stream, local)] {
                assert!(missing.is_some_and(|missing| missing > 0 && missing <= written), "{missing:?} of {written}");
            }
            stream.shutdown().await.unwrap();
            let read = peer.read_to_end(&mut Vec::new()).await.unwrap();
            assert_eq!(read, written);
            while unacknowledged(&stream) != Some(0) {
                tokio::task::yield_now().await;
            }
            // One that there isn't.
            assert_eq!(asked(other, SocketAddr::new(other.ip(), 1)), None);
        }
    }

    #[test]
    fn a_line_of_the_table_is_read() {
        let line = "   3: 0100007F:22B3 0100007F:9C40 01 00011C14:0000002A 01:0000001F 00000000     0        0 4711 2 0 20 4 0 10 -1";
        assert_eq!(listed(line, "4711"), Some(0x11C14));
        assert_eq!(listed(line, "471"), None);
        assert_eq!(listed("  sl  local_address rem_address   st tx_queue", "4711"), None);
    }

    #[test]
    fn only_a_whole_answer_counts() {
        let mut answer = vec![0; ANSWER];
        answer[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        answer[QUEUED_AT..][..4].copy_from_slice(&4711u32.to_ne_bytes());
        assert_eq!(queued(&answer), Some(4711));
        (0..ANSWER).for_each(|length| assert_eq!(queued(&answer[..length]), None));
        // `NLMSG_ERROR`
        answer[4..6].copy_from_slice(&2u16.to_ne_bytes());
        assert_eq!(queued(&answer), None);
    }
}
