//! This machine's addresses, as the kernel tells of them (rtnetlink(7)): a connection whose own address is taken away has
//! ended, although TCP wouldn't notice for long, and a new address may be the way out that was missing.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::task::{Context, Poll, ready};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::libc::{RTM_NEWADDR, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, recv, socket,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The kernel's own bound on a notification (`NLMSG_GOODSIZE`).
const MAX_DATAGRAM: usize = 8 * 1024;

/// Bytes of a message's header (`struct nlmsghdr`): length, type, flags, sequence, sender.
const HEADER: usize = 16;

/// In what follows the header (`struct ifaddrmsg`): flags and scope.
const FLAGS_AT: usize = HEADER + 2;
const SCOPE_AT: usize = HEADER + 3;

/// `IFA_F_TENTATIVE`: IPv6 still looks whether somebody else has it. The kernel tells again when it can be used.
const TENTATIVE: u8 = 0x40;

/// `RT_SCOPE_LINK`: from here on an address reaches no further than the link.
const LINK_SCOPE: u8 = 253;

/// Hears of every address that comes or goes.
#[derive(Debug)]
pub(crate) struct Addresses {
    socket: Option<AsyncFd<OwnedFd>>,
    /// Those that were there already: the kernel tells of one that is renewed (DHCP, router advertisements) as of a new one.
    known: RefCell<BTreeSet<IpAddr>>,
}

/// What the kernel said.
#[derive(Debug, PartialEq, Eq)]
enum News {
    /// There is an address more from which others may be reached, or there may be.
    Came,
    /// Something else about addresses.
    Changed,
}

impl Addresses {
    /// From now on. Where the kernel doesn't let us listen, nothing is ever heard: lost networks are noticed later then.
    pub(crate) fn watch() -> Addresses {
        let watched = open().and_then(register);
        let socket = watched.map_err(|error| log::warn!("changes of addresses can't be watched: {error}")).ok();
        Addresses { socket, known: RefCell::new(present()) }
    }

    /// Waits until `local` isn't an address of this machine any more. May be dropped at any point.
    pub(crate) async fn lost(&self, local: SocketAddr) {
        loop {
            self.news().await;
            if is_gone(local) {
                return;
            }
        }
    }

    /// Waits until there is a new address from which others may be reached. May be dropped at any point.
    pub(crate) async fn came(&self) {
        while !(self.news().await == News::Came && self.has_new()) {}
    }

    /// Whether there is an address that wasn't there before; from now on it was.
    fn has_new(&self) -> bool {
        let present = present();
        let is_new = !present.is_subset(&self.known.borrow());
        *self.known.borrow_mut() = present;
        is_new
    }

    /// Forgets what has gone: when it comes back it is new. What has come isn't known yet: it may not be of use before the kernel
    /// tells of it once more.
    fn forget_lost(&self) {
        let present = present();
        self.known.borrow_mut().retain(|address| present.contains(address));
    }

    async fn news(&self) -> News {
        let Some(socket) = &self.socket else { return std::future::pending().await };
        match poll_fn(|cx| poll_news(socket, cx)).await {
            Ok(news) => {
                self.forget_lost();
                news
            }
            Err(error) => {
                log::warn!("changes of addresses can't be read: {error}");
                std::future::pending().await
            }
        }
    }
}

/// The addresses of this machine.
fn present() -> BTreeSet<IpAddr> {
    let address = |address: SockaddrStorage| {
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::from(address.ip())))
    };
    match getifaddrs() {
        Ok(interfaces) => interfaces.filter_map(|interface| address(interface.address?)).collect(),
        Err(error) => {
            log::debug!("the addresses of this machine can't be listed: {error}");
            BTreeSet::new()
        }
    }
}

/// Waits for the next notification, in one task at a time. It is polled with every message: `async_io` would enter itself in a list
/// of who waits each time, and leave it.
fn poll_news(socket: &AsyncFd<OwnedFd>, cx: &mut Context<'_>) -> Poll<io::Result<News>> {
    loop {
        let mut ready = ready!(socket.poll_read_ready(cx))?;
        if let Ok(news) = ready.try_io(|socket| read(socket.get_ref())) {
            return Poll::Ready(news);
        }
    }
}

/// The next notification.
fn read(socket: &OwnedFd) -> io::Result<News> {
    let mut datagram = [0; MAX_DATAGRAM];
    match recv(socket.as_raw_fd(), &mut datagram, MsgFlags::MSG_DONTWAIT) {
        Ok(length) if !brings_address(&datagram[..length]) => Ok(News::Changed),
        // Or so many that some were lost.
        Ok(_) | Err(Errno::ENOBUFS) => Ok(News::Came),
        Err(error) => Err(error.into()),
    }
}

#[expect(deprecated, reason = "its successor is `unsafe` for what `OwnedFd` assures: that it stays open, and the same")]
fn register(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(socket, Interest::READABLE)
}

fn open() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    let groups = (RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR) as u32;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(socket)
}

/// Whether the kernel doesn't let a socket have that address. It is asked rather than read out of its messages: an address
/// that went and came back meanwhile is still ours.
fn is_gone(mut local: SocketAddr) -> bool {
    local.set_port(0);
    UdpSocket::bind(local).is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
}

/// Whether one of the messages in a datagram is of a new address that can be used beyond its link.
fn brings_address(datagram: &[u8]) -> bool {
    let mut rest = datagram;
    while let Some((length, kind)) = header(rest) {
        let fields = rest.get(FLAGS_AT).zip(rest.get(SCOPE_AT));
        if kind == RTM_NEWADDR && fields.is_some_and(|(flags, scope)| flags & TENTATIVE == 0 && *scope < LINK_SCOPE) {
            return true;
        }
        // The next one begins at a multiple of 4.
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    false
}

/// Length and type of the message at the start.
fn header(messages: &[u8]) -> Option<(usize, u16)> {
    let length = u32::from_ne_bytes(*messages.first_chunk()?);
    let kind = u16::from_ne_bytes(*messages.get(4..)?.first_chunk()?);
    Some((usize::try_from(length).ok()?.max(HEADER), kind))
}

#[cfg(test)]
mod tests {
    use nix::libc::RTM_DELADDR;
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u16, flags: u8, scope: u8) -> Vec<u8> {
        let mut message = [0; 20];
        // An attribute of an odd length follows in the kernel's; here the padding is all.
        message[..4].copy_from_slice(&18u32.to_ne_bytes());
        message[4..6].copy_from_slice(&kind.to_ne_bytes());
        message[HEADER..].copy_from_slice(&[2, 24, flags, scope]);
        message.to_vec()
    }

    #[test]
    fn only_a_new_address_that_reaches_beyond_its_link_is_one_that_came() {
        assert!(brings_address(&message(RTM_NEWADDR, 0x80, 0)));
        assert!(!brings_address(&message(RTM_DELADDR, 0x80, 0)));
        assert!(!brings_address(&message(RTM_NEWADDR, TENTATIVE, 0)));
        assert!(!brings_address(&message(RTM_NEWADDR, 0, LINK_SCOPE)));
        let together = [message(RTM_DELADDR, 0, 0), message(RTM_NEWADDR, 0, 254), message(RTM_NEWADDR, 0, 0)].concat();
        assert!(brings_address(&together));
        assert!(!brings_address(&together[..40]));
    }

    #[test]
    fn an_address_is_gone_if_this_machine_does_not_have_it() {
        assert!(!is_gone(SocketAddr::from(([127, 0, 0, 1], 8883))));
        // For documentation (RFC 5737).
        assert!(is_gone(SocketAddr::from(([192, 0, 2, 1], 8883))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_hang(datagram in proptest::collection::vec(any::<u8>(), 0..100)) {
            brings_address(&datagram);
        }
    }
}
