//! The metrics at a TCP port; at a Unix socket they are served as everything is that has one.

use std::rc::Rc;

use super::Served;
use crate::config::{Config, Metrics};
use crate::metrics::{Exposition, serve_tcp};
use crate::status::prometheus;

/// The metrics of what the status socket answers.
pub(super) fn exposition(document: &Rc<dyn Fn() -> Vec<u8>>) -> Exposition {
    let document = Rc::clone(document);
    Rc::new(move || prometheus::of_json(&document()))
}

impl Served {
    /// An address that stays the same is kept, with who is connected there.
    pub(super) async fn apply_metrics(&self, config: &Config, document: &Rc<dyn Fn() -> Vec<u8>>) {
        let wanted = config.metrics.as_ref().and_then(Metrics::address);
        let present = self.metrics.borrow().as_ref().map(|(address, _)| *address);
        if wanted == present {
            return;
        }
        self.end_metrics().await;
        if let Some(address) = wanted {
            let serve = serve_tcp(address, exposition(document));
            let task = self.supervisor.spawn("what serves the metrics", serve);
            *self.metrics.borrow_mut() = Some((address, task));
        }
    }

    /// Its port is free then.
    pub(super) async fn end_metrics(&self) {
        let ended = self.metrics.take();
        if let Some((_, task)) = ended {
            task.abort();
            // It was aborted, or had ended before.
            let _ = task.await;
        }
    }
}
