//! Where log records go: the journal when systemd started us, standard error otherwise.
//!
//! Whatever a record holds, one line comes of it, harmless for who looks at it, and one that repeats comes less and less often.

mod message_id;
mod throttle;

use std::io::Write as _;
use std::sync::{Mutex, OnceLock};

use jiff::{Timestamp, Unit};
use log::kv::{self, Key, Source, Value, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};
use systemd_journal_logger::{JournalLog, connected_to_journal};
use tokio::sync::Notify;

use crate::printable::printable;
use crate::time;
use throttle::{Decision, LeftOut, LogLine, Throttle};

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Starts logging. Records carry structured fields for the journal (`GATEWIRE_EVENT` and others, and `MESSAGE_ID` where its
/// catalogue explains them); standard error gets the message alone.
pub(crate) fn init(level: LevelFilter) {
    let logger = LOGGER.get_or_init(|| {
        let journal = connected_to_journal().then(JournalLog::new).and_then(Result::ok);
        Logger::new(journal.map(|journal| journal.with_syslog_identifier("gatewire".to_owned())))
    });
    // It fails only if a logger is there already.
    if log::set_logger(logger).is_ok() {
        log::set_max_level(level);
    }
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.to_string().replace('\n', " ");
        log::error!(GATEWIRE_EVENT = "panic"; "internal error, please report it: {text}");
    }));
}

/// Tells for ever what was left out because it repeated too often, once it has ended. It wakes up only if there is something.
pub(crate) async fn tell_left_out() {
    let Some(logger) = LOGGER.get() else { return std::future::pending().await };
    loop {
        let next = logger.limit.lock().ok().and_then(|limit| limit.next());
        match next {
            None => logger.left_out.notified().await,
            Some(at) => tokio::time::sleep_until(at.into()).await,
        }
        let due = logger.limit.lock().map(|mut limit| limit.due(time::now())).unwrap_or_default();
        due.iter().for_each(tell);
    }
}

/// What every record goes through.
struct Logger {
    /// `None`: standard error.
    journal: Option<JournalLog>,
    limit: Mutex<Throttle>,
    /// Something was left out.
    left_out: Notify,
}

impl Logger {
    fn new(journal: Option<JournalLog>) -> Logger {
        Logger { journal, limit: Mutex::default(), left_out: Notify::const_new() }
    }

    /// Whether a record is to be written, and what is to be told before.
    fn verdict(&self, record: &Record<'_>, text: &str, fields: &Fields) -> Decision {
        let place;
        let event = match fields.get(EVENT) {
            Some(event) => event,
            None => {
                place = format!("{}:{}", record.module_path().unwrap_or_default(), record.line().unwrap_or_default());
                &place
            }
        };
        let line = LogLine { event, subject: &fields.subject(), level: record.level(), text };
        // It can't be taken twice: only a panic in it would log in it.
        match self.limit.try_lock() {
            Ok(mut limit) => limit.admit(line, time::now()),
            Err(_) => Decision::Write(Vec::new()),
        }
    }

    /// Writes `text` and `fields` in place of those of `record`.
    fn write(&self, record: &Record<'_>, text: &str, mut fields: Fields) {
        match &self.journal {
            Some(journal) => {
                if let Some(message_id) = message_id::of(record) {
                    fields.0.push(("MESSAGE_ID".to_owned(), message_id.to_owned()));
                }
                journal.log(&record.to_builder().args(format_args!("{text}")).key_values(&fields).build());
            }
            None => {
                let level = record.level().as_str().to_ascii_lowercase();
                // In one piece: standard error has no buffer, and others may write there, too.
                let line = format!("{:.3} {level}: {text}\n", now());
                // When standard error is gone there is nobody left to tell.
                let _ = std::io::stderr().write_all(line.as_bytes());
            }
        }
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = record.args().to_string();
        let (text, fields) = (printable(&text), Fields::of(record));
        match self.verdict(record, &text, &fields) {
            Decision::Write(left_out) => {
                left_out.iter().for_each(tell);
                self.write(record, &text, fields);
            }
            Decision::LeaveOut => self.left_out.notify_one(),
        }
    }

    /// At the end: what was left out is told.
    fn flush(&self) {
        let rest = self.limit.lock().map(|mut limit| limit.rest()).unwrap_or_default();
        rest.iter().for_each(tell);
    }
}

/// A line that the limit doesn't count.
fn tell(LeftOut { count, level, last, .. }: &LeftOut) {
    let (lines, were) = if *count == 1 { ("line", "was") } else { ("lines", "were") };
    log::log!(
        *level, GATEWIRE_EVENT = "lines_left_out", GATEWIRE_COUNT = *count;
        "{count} more {lines} like this {were} left out, the last: {last}"
    );
}

const EVENT: &str = "GATEWIRE_EVENT";

/// The structured fields of a record, harmless as its text.
struct Fields(Vec<(String, String)>);

impl Fields {
    fn of(record: &Record<'_>) -> Fields {
        let mut fields = Fields(Vec::new());
        // Ours never fail.
        let _ = record.key_values().visit(&mut fields);
        fields
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// What the record is about.
    fn subject(&self) -> String {
        let about =
            self.0.iter().filter(|(name, _)| ![EVENT, "GATEWIRE_COUNT", "GATEWIRE_ERROR"].contains(&name.as_str()));
        about.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join("\n")
    }
}

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        self.0.push((key.to_string(), printable(&value.to_string()).into_owned()));
        Ok(())
    }
}

impl Source for Fields {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), kv::Error> {
        self.0.iter().try_for_each(|(name, value)| visitor.visit_pair(Key::from_str(name), Value::from(value.as_str())))
    }
}

/// The clock to the millisecond: what people read in logs and status.
pub(crate) fn now() -> Timestamp {
    let now = time::wall();
    now.round(Unit::Millisecond).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use log::Level;

    use super::*;

    #[test]
    fn fields_are_harmless_and_a_record_is_about_what_they_name() {
        let fields = [("GATEWIRE_EVENT", "quarantined"), ("GATEWIRE_TOPIC", "a\nb\u{9b}"), ("GATEWIRE_COUNT", "3")];
        let fields = Fields::of(&Record::builder().key_values(&fields).build());
        assert_eq!(fields.get("GATEWIRE_TOPIC"), Some("a\\nb\\u009b"));
        assert_eq!((fields.get(EVENT), fields.subject().as_str()), (Some("quarantined"), "a\\nb\\u009b"));
        let record = Record::builder().key_values(&fields).level(Level::Info).build();
        assert_eq!(record.key_values().get(Key::from_str("GATEWIRE_COUNT")).unwrap().to_string(), "3");
    }
}
