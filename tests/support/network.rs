//! A network of two machines, each a network namespace, with a cable between them.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A device and a server. Both go with it.
pub struct Network {
    device: String,
    server: String,
}

impl Network {
    pub const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 231, 0, 1));

    /// The device has 10.231.0.2/24. `None`, and a word about it, where nobody may make namespaces.
    pub fn make() -> Option<Network> {
        let name = format!("gw{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let network = Network { device: format!("{name}d"), server: format!("{name}s") };
        let made = Command::new("ip").args(["netns", "add", &network.device]).output();
        if !made.as_ref().is_ok_and(|output| output.status.success()) {
            eprintln!("not tested: a network namespace can't be made here: {made:?}");
            return None;
        }
        ip(&["netns", "add", &network.server]);
        let (device, server) = (network.device.as_str(), network.server.as_str());
        ip(&["-n", device, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", server]);
        ip(&["-n", server, "addr", "add", &format!("{}/24", Network::SERVER), "dev", "eth0"]);
        ip(&["-n", server, "link", "set", "eth0", "up"]);
        network.device(&["link", "set", "lo", "up"]);
        network.device(&["link", "set", "eth0", "up"]);
        network.add("10.231.0.2/24");
        Some(network)
    }

    /// On a connection from now on the server lets hardly more than a packet be under way: the queue of a slow card never overflows,
    /// and what is in it has soon been sent.
    pub fn bound_window(&self) {
        let command = "echo 4096 4096 4096 > /proc/sys/net/ipv4/tcp_rmem";
        let words = [on(&self.server), ["sh", "-c", command].map(str::to_owned).to_vec()].concat();
        let output = Command::new(&words[0]).args(&words[1..]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// The device gets an address, with the length of its network.
    pub fn add(&self, address: &str) {
        self.device(&["addr", "add", address, "dev", "eth0"]);
    }

    /// An address that the device has is given to it once more, as DHCP does.
    pub fn renew(&self, address: &str) {
        self.device(&["addr", "change", address, "dev", "eth0", "valid_lft", "1000", "preferred_lft", "1000"]);
    }

    /// The device loses an address.
    pub fn remove(&self, address: &str) {
        self.device(&["addr", "del", address, "dev", "eth0"]);
    }

    /// Nothing that either sends arrives any more, and nobody is told: both send to a card that isn't there.
    pub fn silence(&self) {
        let nowhere = ["lladdr", "02:00:00:00:00:01", "dev", "eth0", "nud", "permanent"];
        ip(&[&["-n", &self.server, "neigh", "replace", "10.231.0.2"][..], &nowhere].concat());
        ip(&[&["-n", &self.device, "neigh", "replace", "10.231.0.1"][..], &nowhere].concat());
    }

    /// The end of [`Network::silence`].
    pub fn speak(&self) {
        ip(&["-n", &self.server, "neigh", "del", "10.231.0.2", "dev", "eth0"]);
        ip(&["-n", &self.device, "neigh", "del", "10.231.0.1", "dev", "eth0"]);
    }

    /// The device sends no more than so much, such as `200kbit`.
    pub fn slow(&self, rate: &str) {
        // Packets as on a wire: what the kernel hands over in one piece to such a card would be dropped.
        self.device(&["link", "set", "eth0", "gso_max_segs", "1"]);
        let words = format!("-n {} qdisc replace dev eth0 root tbf rate {rate} burst 4kb latency 1s", self.device);
        let output = Command::new("tc").args(words.split(' ')).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    fn device(&self, arguments: &[&str]) {
        ip(&[&["-n", &self.device], arguments].concat());
    }

    /// What has to stand in front of a command for it to run on the device.
    pub fn on_device(&self) -> Vec<String> {
        on(&self.device)
    }

    pub fn on_server(&self) -> Vec<String> {
        on(&self.server)
    }
}

fn on(name: &str) -> Vec<String> {
    ["nsenter", &format!("--net=/run/netns/{name}"), "--"].map(str::to_owned).to_vec()
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in [&self.device, &self.server] {
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}
