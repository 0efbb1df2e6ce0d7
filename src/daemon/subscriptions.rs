//! What the link subscribes to: the filters of the configuration, and those that readers have asked for.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::Parts;
use super::served::Served;
use crate::client::{ConnectionState, SessionMemory};
use crate::config::Config;
use crate::message::{Qos, TopicFilter};
use crate::net::Network;
use crate::time;

/// Readers that come and go at once make one change of it.
const GATHERS: Duration = Duration::from_millis(100);

impl Served {
    /// What is to be subscribed to with this configuration, each filter with the highest QoS that anybody asks for.
    pub(super) fn filters(&self, config: &Config) -> BTreeMap<TopicFilter, Qos> {
        let mut filters = config.filters();
        for (filter, qos) in self.forwards().iter().flat_map(|forward| forward.requested()) {
            let highest = filters.entry(filter).or_insert(qos);
            *highest = qos.max(*highest);
        }
        filters
    }
}

/// What readers had asked for before the daemon was restarted, and the server's session still holds by what is noted of it, counts as
/// if they had just left: what the server has kept for it meanwhile waits for them. Not what the configuration has, too: whether a
/// reader had asked for that isn't noted.
pub(super) async fn resume<N: Network>(parts: &Parts<N>, config: &Config) {
    if !config.connection.is_named || config.forward.iter().all(|forward| forward.allow.is_none()) {
        return;
    }
    let (served, own) = (&parts.served, config.filters());
    let Some(memory) = SessionMemory::of_link(&config.connection, &served.store) else { return };
    let noted: Vec<TopicFilter> =
        memory.recall().await.filters.into_keys().filter(|filter| !own.contains_key(filter)).collect();
    served.requests.resume(&config.forward, &noted, time::now());
    parts.link.subscribe_to(served.filters(config));
}

/// Has the link subscribe to what readers ask for, for ever.
pub(super) async fn follow<N: Network>(parts: Rc<Parts<N>>) {
    let Served { requests, link, .. } = &parts.served;
    let mut link = link.changes();
    link.mark_changed();
    loop {
        if link.has_changed().unwrap_or_default() {
            let is_up = *link.borrow_and_update() == ConnectionState::Connected;
            requests.link_changed(is_up, time::now());
        }
        requests.expire(time::now());
        if let Some(config) = parts.served.in_force() {
            parts.link.subscribe_to(parts.served.filters(&config));
        }
        let expires = requests.expires();
        let expired = async {
            match expires {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            // For `has_changed`.
            Ok(()) = link.changed() => link.mark_changed(),
            () = requests.changed() => tokio::time::sleep(GATHERS).await,
            () = expired => {}
        }
    }
}
