//! Where log records go: the journal when systemd started us, standard error otherwise.

use std::io::Write as _;

use jiff::{Timestamp, Unit};
use log::kv::{self, Key, Source, Value, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};
use systemd_journal_logger::{JournalLog, connected_to_journal};

use super::message_id;

/// Starts logging. Records carry structured fields for the journal (`GATEWIRE_EVENT` and others, and `MESSAGE_ID` where its
/// catalogue explains them); standard error gets the message alone.
pub(crate) fn init(level: LevelFilter) {
    let journal = connected_to_journal().then(JournalLog::new).and_then(Result::ok);
    let installed = match journal {
        Some(journal) => {
            log::set_boxed_logger(Box::new(Journal(journal.with_syslog_identifier("gatewire".to_owned()))))
        }
        None => log::set_logger(&StandardError),
    };
    // It fails only if a logger is there already.
    if installed.is_ok() {
        log::set_max_level(level);
    }
    std::panic::set_hook(Box::new(|panic| {
        log::error!(GATEWIRE_EVENT = "panic"; "internal error, please report it: {panic}");
    }));
}

/// The journal, with a `MESSAGE_ID` where there is one.
struct Journal(JournalLog);

impl Log for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        match message_id::of(record) {
            Some(message_id) => {
                let fields = WithMessageId { fields: record.key_values(), message_id };
                self.0.log(&record.to_builder().key_values(&fields).build());
            }
            None => self.0.log(record),
        }
    }

    fn flush(&self) {}
}

/// The fields of a record and one more.
struct WithMessageId<'a> {
    fields: &'a dyn Source,
    message_id: &'static str,
}

impl Source for WithMessageId<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), kv::Error> {
        self.fields.visit(visitor)?;
        visitor.visit_pair(Key::from_str("MESSAGE_ID"), Value::from(self.message_id))
    }
}

/// A line a record: time, level, message.
struct StandardError;

impl Log for StandardError {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = record.level().as_str().to_ascii_lowercase();
        // When standard error is gone there is nobody left to tell.
        let _ = writeln!(std::io::stderr().lock(), "{:.3} {level}: {}", now(), record.args());
    }

    fn flush(&self) {}
}

/// The clock to the millisecond: what people read in logs and status.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(Unit::Millisecond).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_the_catalogue_explains_gets_its_message_id_beside_its_own_fields() {
        let fields = [("GATEWIRE_EVENT", "link_down"), ("GATEWIRE_ERROR", "dns_timeout")];
        let record = Record::builder().key_values(&fields).build();
        let message_id = message_id::of(&record).unwrap();
        let with = WithMessageId { fields: record.key_values(), message_id };
        let record = record.to_builder().key_values(&with).build();
        let field = |name| record.key_values().get(Key::from_str(name)).map(|value| value.to_string());
        assert_eq!(field("MESSAGE_ID").as_deref(), Some(message_id));
        assert_eq!(field("GATEWIRE_ERROR").as_deref(), Some("dns_timeout"));
        assert_eq!(message_id::of(&Record::builder().build()), None);
    }
}
