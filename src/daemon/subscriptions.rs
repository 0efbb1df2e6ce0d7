//! What the link subscribes to: the filters of the configuration, and those that readers have asked for.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::Parts;
use super::served::Served;
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

/// Has the link subscribe to what readers ask for, for ever.
pub(super) async fn follow<N: Network>(parts: Rc<Parts<N>>) {
    let served = &parts.served;
    loop {
        let expires = served.forwards().iter().filter_map(|forward| forward.expires()).min();
        let expired = async {
            match expires {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = served.requests.changed() => tokio::time::sleep(GATHERS).await,
            () = expired => {}
        }
        let now = time::now();
        served.forwards().iter().for_each(|forward| forward.expire(now));
        if let Some(config) = served.in_force() {
            parts.link.subscribe_to(served.filters(&config));
        }
    }
}
