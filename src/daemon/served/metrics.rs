//! The metrics at a TCP port; at a Unix socket they are served as everything is that has one.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::task::JoinHandle;

use super::Served;
use crate::config::{Config, Metrics};
use crate::metrics::{Exposition, Kept, serve_tcp};
use crate::status::{MetricsStatus, prometheus};
use crate::time;

/// What serves them at a TCP port.
#[derive(Debug)]
pub(super) struct ServedMetrics {
    address: SocketAddr,
    task: JoinHandle<()>,
    /// Why it can't listen there, as long as it can't.
    fault: Rc<RefCell<Option<String>>>,
}

/// The metrics of what the status socket answers, or has answered a moment ago.
pub(super) fn exposition(document: &Rc<dyn Fn() -> Vec<u8>>) -> Exposition {
    let (document, kept) = (Rc::clone(document), RefCell::new(Kept::default()));
    Rc::new(move || {
        let began = time::now();
        if let Some(text) = kept.borrow().get(began) {
            return text.to_owned();
        }
        let text = prometheus::of_json(&document());
        kept.borrow_mut().put(text.clone(), began, time::now());
        text
    })
}

impl Served {
    /// An address that stays the same is kept, with who is connected there.
    pub(super) async fn apply_metrics(&self, config: &Config, document: &Rc<dyn Fn() -> Vec<u8>>) {
        let wanted = config.metrics.as_ref().and_then(Metrics::address);
        let present = self.metrics.borrow().as_ref().map(|served| served.address);
        if wanted == present {
            return;
        }
        self.end_metrics().await;
        if let Some(address) = wanted {
            let fault = Rc::default();
            let serve = serve_tcp(address, exposition(document), Rc::clone(&fault));
            let task = self.supervisor.spawn("what serves the metrics", serve);
            *self.metrics.borrow_mut() = Some(ServedMetrics { address, task, fault });
        }
    }

    /// For the status document.
    pub(in crate::daemon) fn metrics_status(&self) -> Option<MetricsStatus> {
        let served = self.metrics.borrow();
        let ServedMetrics { address, fault, .. } = served.as_ref()?;
        Some(MetricsStatus { listen: address.to_string(), error: fault.borrow().clone() })
    }

    /// Its port is free then.
    pub(super) async fn end_metrics(&self) {
        let ended = self.metrics.take();
        if let Some(ended) = ended {
            ended.task.abort();
            // It was aborted, or had ended before.
            let _ = ended.task.await;
        }
    }
}
