//! Messages that the log has in and behind a frame that is wrong. SQLite ends it there and says nothing. Whether that frame is torn, with
//! what wasn't synced yet, or has been damaged since can't always be told (`damage` in [`crate::store::salvage`] tells where it
//! can). What is behind it, with a right checksum, is worth having either way.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Database, Done};
use crate::count::count;
use crate::store::row::Columns;
use crate::store::salvage;
use crate::store::{QueueId, Totals};

/// They are in memory until they are written: the next transaction overwrites them in the log.
pub(super) struct Hidden(BTreeMap<i64, Message>);

struct Message {
    at: i64,
    boot: i64,
    since_boot: i64,
    size: i64,
    flags: i64,
    checksum: i64,
    topic: Vec<u8>,
    payload: Vec<u8>,
    properties: Vec<u8>,
}

impl Hidden {
    /// Those of the log of the database at `path`, which nobody has opened yet.
    pub(super) fn look(path: &Path) -> Hidden {
        let mut found = BTreeMap::new();
        salvage::hidden(path, |columns| {
            let Columns { key, at, boot, since_boot, size, flags, checksum, topic, payload, properties } = *columns;
            let (topic, payload, properties) = (topic.to_vec(), payload.to_vec(), properties.to_vec());
            found.insert(key, Message { at, boot, since_boot, size, flags, checksum, topic, payload, properties });
        });
        Hidden(found)
    }
}

impl Database {
    /// Adds those that come after all that the database has of their queue: others it has, or they have gone.
    pub(super) fn recover(&mut self, hidden: Hidden) -> Done<()> {
        if hidden.0.is_empty() {
            return Ok(());
        }
        let mut known = self.queues()?;
        let is_missing = |queue: &QueueId| !known.iter().any(|(known, ..)| known == queue);
        let mut missing: Vec<_> = QueueId::built_in().into_iter().filter(|(queue, _)| is_missing(queue)).collect();
        // The outbox has it from the first message that was urgent on.
        if !known.iter().any(|(_, name, _)| name == QueueId::URGENT)
            && let Some(queue) = QueueId::for_name(QueueId::URGENT, |queue| !is_missing(&queue))
        {
            missing.push((queue, QueueId::URGENT.to_owned()));
        }
        self.add_queues(missing.clone());
        known.extend(missing.into_iter().map(|(queue, name)| (queue, name, Totals::default())));
        let last: BTreeMap<QueueId, Option<u64>> =
            known.iter().map(|(queue, _, totals)| (*queue, totals.last)).collect();
        let is_new = |key: i64| {
            let queue = QueueId::of_key(key);
            let last = queue.and_then(|queue| last.get(&queue));
            last.is_some_and(|last| last.is_none_or(|last| last < QueueId::seq_of_key(key)))
        };
        let new: Vec<(i64, Message)> = hidden.0.into_iter().filter(|(key, _)| is_new(*key)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let queues: Vec<(QueueId, String)> = known.into_iter().map(|(queue, name, _)| (queue, name)).collect();
        self.in_transaction(|database| {
            for (key, message) in &new {
                let Message { at, boot, since_boot, size, flags, checksum, topic, payload, properties } = message;
                database.insert_columns(&Columns {
                    key: *key,
                    at: *at,
                    boot: *boot,
                    since_boot: *since_boot,
                    size: *size,
                    flags: *flags,
                    checksum: *checksum,
                    topic,
                    payload,
                    properties,
                })?;
            }
            database.recount(&queues)
        })?;
        // What is left of them in the log would be found again.
        self.sql(|connection| connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())))?;
        self.forget_the_log();
        log::error!(
            GATEWIRE_EVENT = "store_damaged";
            "a part of the log of {} was damaged, or wasn't completely written when the power went or gatewire was killed. {} in or \
             behind it could be read and {} kept. If this happens again without a loss of power, replace the card",
            self.path.display(), count(new.len(), "message"), if new.len() == 1 { "is" } else { "are" }
        );
        Ok(())
    }
}
