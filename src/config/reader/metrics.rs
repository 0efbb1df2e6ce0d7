//! `[metrics]`: its keys, defaults and bounds.

use super::Reader;
use super::claims::Use;
use super::paths::path_of;
use crate::config::document::Node;
use crate::config::doubt;
use crate::config::metrics::{EXAMPLE, UNIX, address, is_for_others};
use crate::config::section::Section;
use crate::config::values::{mode, string};
use crate::config::{Listen, Metrics, SocketFile};

/// Ports below this are for root, unless the machine says otherwise.
const FIRST_FOR_ALL: u16 = 1024;

impl<'a> Reader<'a> {
    /// `None` without it, or if anything is wrong with it, which is reported.
    pub(in crate::config) fn metrics(&self) -> Option<Metrics> {
        self.root.get("metrics")?;
        let section = Section::of(self.root, "metrics", self.report);
        let listen = section.require("listen", EXAMPLE, |node| self.listen(node));
        let rights = (section.get("mode", mode), section.get("group", |node| self.group(node)));
        let listen = listen.map(|listen| self.with_rights(&section, listen, rights));
        section.finish();
        Some(Metrics { listen: listen? })
    }

    fn listen(&self, node: &Node) -> Result<Listen, String> {
        let text = string(node)?;
        let Some(path) = text.strip_prefix(UNIX) else { return address(text).map(Listen::Tcp) };
        let path = self.short_enough(path_of(path, self.environment)?)?;
        Ok(Listen::Unix(SocketFile { path, mode: 0o660, group: None }))
    }

    fn with_rights(
        &self,
        section: &Section<'a>,
        listen: Listen,
        (mode, group): (Option<u32>, Option<String>),
    ) -> Listen {
        match listen {
            Listen::Tcp(address) => {
                for (key, is_given) in [("mode", mode.is_some()), ("group", group.is_some())] {
                    if is_given {
                        section.error(key, "is for a Unix socket; who can reach a TCP port may use it. Leave it out");
                    }
                }
                if is_for_others(address) {
                    section.warning(
                        "listen",
                        &format!(
                            "everybody who can reach {address} can read the metrics: topics, file names, the endpoint and the client \
                             id among them. \"127.0.0.1:{}\" is for this machine alone; else let a firewall decide who may",
                            address.port()
                        ),
                    );
                }
                if address.port() < FIRST_FOR_ALL {
                    section.warning(
                        "listen",
                        &format!(
                            "the service may not use ports below {FIRST_FOR_ALL}, unless net.ipv4.ip_unprivileged_port_start says \
                             otherwise; choose another, such as {EXAMPLE}"
                        ),
                    );
                }
                Listen::Tcp(address)
            }
            Listen::Unix(socket) => {
                let socket = SocketFile { mode: mode.unwrap_or(socket.mode), group, ..socket };
                // They hold no messages.
                if let Some(doubt) = doubt::mode(socket.mode, true) {
                    section.warning("mode", &doubt);
                }
                self.note(section, "listen", &socket.path);
                self.claim(section, "listen", &socket.path, Use::Socket);
                Listen::Unix(socket)
            }
        }
    }
}
