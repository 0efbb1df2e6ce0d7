//! The end, in order: nothing is accepted any more, the link delivers what only it can save, the disk gets the rest, the clients get
//! their answers, and whatever is lost is said. No step waits for longer than it can gain something.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_stream::{Stream, StreamExt as _};

use super::{Parts, SIGHUP};
use crate::count::{count, count_that};
use crate::forward::Forward;
use crate::net::Network;
use crate::store::{Kept, QueueId, Store};

/// After the link has stopped: for the disk to take what is left, and to close the database. A card may need seconds for a sync.
const STORE_TIME: Duration = Duration::from_secs(5);

/// After that, if no time is left: for the store to say what the next start finds.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// After that: for the last answers to reach the clients.
const LAST_ANSWERS: Duration = Duration::from_millis(200);

/// See the module. The schedule has ended.
pub(super) async fn stop(
    signals: &mut (impl Stream<Item = i32> + Unpin),
    parts: &Rc<Parts<impl Network>>,
    link: JoinHandle<()>,
) {
    let (served, outbox, store) = (&parts.served, &parts.served.outbox, &parts.served.store);
    store.stop().await;
    // Nothing comes in between: what waits in batches is accepted, and then nothing more.
    parts.schedule.flush(|message| outbox.submit(message));
    served.ingests().iter().for_each(|ingest| ingest.flush());
    outbox.close();
    served.stop_forwards();
    served.executions.stop_with_the_link();
    served.stop.request();
    await_link(signals, link).await;
    // What the disk doesn't take in time is lost, and said so.
    let until = Instant::now() + STORE_TIME;
    let _ = timeout_at(until, store.while_it_works(outbox.store_the_rest())).await;
    // What they were waiting for is known by now, but for what waits in rules: once that is stored, the brokers are told so, too.
    let _ = timeout_at(until, store.while_it_works(served.bridges.store())).await;
    let _ = timeout_at(until, store.while_it_works(served.executions_stored())).await;
    let (meter, network) = (&parts.link.meter, &*parts.link.network);
    let _ = timeout_at(until, store.while_it_works(meter.save(store, network))).await;
    served.bridges.disconnect().await;
    let left = Left { path: &parts.path, kept: last_look(store, until).await };
    left.say_what_waits(outbox.stored(), outbox.abandon(), store.trouble());
    let settled = async {
        for ingest in served.ingests() {
            ingest.settled().await;
        }
    };
    // Who doesn't read has had its chance.
    let _ = timeout(LAST_ANSWERS, settled).await;
    // What the readers leave unread waits from now on.
    served.close().await;
    let _ = timeout_at(until, store.while_it_works(served.stored())).await;
    let left = Left { kept: last_look(store, until).await, ..left };
    served.forwards().iter().for_each(|forward| left.say_what_is_unread(forward));
    outbox.say_last_drops();
    served.forwards().iter().for_each(|forward| forward.say_last_drops());
    // Left open, it is just as complete; the next start takes a little longer.
    let _ = timeout_at(until, store.close()).await;
    log::logger().flush();
    log::info!(GATEWIRE_EVENT = "stopped"; "stopped");
}

async fn last_look(store: &Store, until: Instant) -> Option<Kept> {
    let until = until.max(Instant::now() + LAST_LOOK);
    timeout_at(until, store.kept()).await.ok().flatten()
}

/// The link delivers what it can and says goodbye. A second signal cuts that short.
async fn await_link(signals: &mut (impl Stream<Item = i32> + Unpin), mut link: JoinHandle<()>) {
    if link.is_finished() {
        return;
    }
    loop {
        tokio::select! {
            biased;
            _ = &mut link => return,
            signal = signals.next() => if signal != Some(SIGHUP) {
                log::warn!("a second signal: stopping at once");
                return;
            }
        }
    }
}

/// What the next start finds.
struct Left<'a> {
    /// Of the database.
    path: &'a Path,
    /// `None`: the disk doesn't say.
    kept: Option<Kept>,
}

impl Left<'_> {
    /// Of so many messages of a queue that should be stored, how many are.
    fn found(&self, queue: QueueId, stored: u64) -> u64 {
        match &self.kept {
            Some(Kept::InPlace(queues)) => {
                let totals = queues.iter().find(|(known, ..)| *known == queue);
                totals.map_or(0, |(.., totals)| totals.messages).min(stored)
            }
            Some(Kept::Lost(_)) => 0,
            Some(Kept::Beside(..) | Kept::Unread(_)) | None => stored,
        }
    }

    /// Where they are, and what is to be done, if that isn't the database or nothing.
    fn remark(&self) -> String {
        match &self.kept {
            Some(Kept::Beside(file, failure)) => format!(
                ". They are in {}: {failure}. The next start puts that file in the place of the database; if it can't, move away \
                what is at {}, and start gatewire again",
                file.display(),
                self.path.display()
            ),
            Some(Kept::Unread(failure)) => format!(", if the database can be read then: {failure}"),
            Some(Kept::Lost(failure)) => format!(": {failure}"),
            Some(Kept::InPlace(_)) | None => String::new(),
        }
    }

    /// So many messages for IoT Core should be stored, and so many couldn't be.
    fn say_what_waits(&self, stored: [(QueueId, u64); 2], lost: usize, why: Option<String>) {
        let found: u64 = stored.iter().map(|(queue, stored)| self.found(*queue, *stored)).sum();
        let stored: u64 = stored.iter().map(|(_, stored)| stored).sum();
        if found > 0 {
            log::info!(
                GATEWIRE_EVENT = "stored", GATEWIRE_COUNT = found;
                "{} for IoT Core on the disk, to be sent after the next start{}",
                count_that(found, "message", "waits", "wait"), self.remark()
            );
        }
        if stored > found {
            let gone = stored - found;
            log::error!(
                GATEWIRE_EVENT = "lost", GATEWIRE_COUNT = gone;
                "{} for IoT Core that had been stored {} lost, because the database was overwritten, removed or damaged{}",
                count(gone, "message"), is_or_are(gone), self.remark()
            );
        }
        if lost > 0 {
            log::error!(
                GATEWIRE_EVENT = "lost", GATEWIRE_COUNT = lost;
                "{} that IoT Core hadn't acknowledged {} lost: {}. A message that the disk took without confirming it may still be \
                sent. Clients that waited got the answer `shutting_down`",
                count(lost, "message"), is_or_are(lost as u64),
                why.unwrap_or_else(|| "the disk couldn't be written in time".to_owned())
            );
        }
    }

    fn say_what_is_unread(&self, forward: &Rc<Forward>) {
        let (name, (waiting, stored)) = (forward.name(), forward.waiting());
        let found = self.found(forward.queue_id(), stored);
        if found > 0 {
            log::info!(
                GATEWIRE_EVENT = "stored", GATEWIRE_FORWARD = name, GATEWIRE_COUNT = found;
                "forward {name}: {} for a reader on the disk{}", count_that(found, "message", "waits", "wait"), self.remark()
            );
        }
        if stored > found {
            let gone = stored - found;
            log::error!(
                GATEWIRE_EVENT = "lost", GATEWIRE_FORWARD = name, GATEWIRE_COUNT = gone;
                "forward {name}: {} that had been stored for a reader {} lost, because the database was overwritten, removed or damaged{}",
                count(gone, "message"), is_or_are(gone), self.remark()
            );
        }
        if waiting > stored {
            let lost = waiting - stored;
            log::error!(
                GATEWIRE_EVENT = "lost", GATEWIRE_FORWARD = name, GATEWIRE_COUNT = lost;
                "forward {name}: {} that no reader has taken couldn't be stored. IoT Core sends QoS 1 messages again; QoS 0 \
                 messages are lost",
                count(lost, "message")
            );
        }
    }
}

fn is_or_are(n: u64) -> &'static str {
    if n == 1 { "is" } else { "are" }
}
