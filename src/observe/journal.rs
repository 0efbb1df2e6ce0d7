//! Where log records go: the journal when systemd started us, standard error otherwise.

use std::io::Write as _;

use jiff::{Timestamp, Unit};
use log::{LevelFilter, Log, Metadata, Record};
use systemd_journal_logger::{JournalLog, connected_to_journal};

/// Starts logging. Records carry structured fields for the journal (`GATEWIRE_EVENT` and others); standard error gets the
/// message alone.
pub(crate) fn init(level: LevelFilter) {
    let journal = connected_to_journal().then(JournalLog::new).and_then(Result::ok);
    let installed = match journal {
        Some(journal) => journal.with_syslog_identifier("gatewire".to_owned()).install(),
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
