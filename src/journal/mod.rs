//! Where log records go: the journal when systemd started us, standard error otherwise.
//!
//! Whatever a record holds, one line comes of it, harmless for who looks at it, and one that repeats comes less and less often.
//! Nobody waits for who reads it.

mod message_id;
mod outlet;
mod throttle;

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use jiff::{Timestamp, Unit};
use log::kv::{self, Key, Source, Value, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use systemd_journal_logger::{JournalLog, connected_to_journal};
use tokio::sync::Notify;

use crate::printable::printable;
use crate::time;
use outlet::{Outlet, Sink};
use throttle::{Decision, LeftOut, LogLine, Throttle};

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// How long the end of the daemon waits for who reads its last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Bytes that a pipe with any room takes at once (`PIPE_BUF`, pipe(7)).
const AT_ONCE: usize = 4096;

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

/// At the end of the process, and before what may end it: waits a little for what isn't written yet.
pub(crate) fn finish() {
    if let Some(logger) = LOGGER.get() {
        logger.outlet.wait(LAST_LINES);
    }
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
    outlet: Outlet<Destination>,
    to_journal: bool,
    limit: Mutex<Throttle>,
    /// Something was left out.
    left_out: Notify,
}

impl Logger {
    fn new(journal: Option<JournalLog>) -> Logger {
        let to_journal = journal.is_some();
        let outlet = Outlet::new(Destination { journal });
        Logger { outlet, to_journal, limit: Mutex::default(), left_out: Notify::const_new() }
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

    /// Has `text` and `fields` written in place of those of `record`.
    fn write(&self, record: &Record<'_>, text: &str, fields: Fields) {
        if self.to_journal {
            let size = text.len() + fields.0.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
            return self.outlet.push(Unwritten::Record(JournalRecord::of(record, text, fields)), size);
        }
        let level = record.level().as_str().to_ascii_lowercase();
        let line = format!("{:.3} {level}: {text}\n", now()).into_bytes();
        let written = if self.outlet.is_idle() { write_what_fits(&line) } else { 0 };
        let rest = &line[written..];
        if !rest.is_empty() {
            self.outlet.push(Unwritten::Bytes(rest.to_owned()), rest.len());
        }
    }
}

/// Writes to standard error for as long as that doesn't block. Returns how many of the bytes need no other attempt: when standard
/// error is gone there is nobody left to tell.
fn write_what_fits(bytes: &[u8]) -> usize {
    let mut written = 0;
    // In one piece, if it isn't very long: standard error has no buffer, and others may write there, too.
    for piece in bytes.chunks(AT_ONCE) {
        let error = io::stderr();
        let mut watched = [PollFd::new(error.as_fd(), PollFlags::POLLOUT)];
        if poll(&mut watched, PollTimeout::ZERO).is_ok_and(|ready| ready == 0) {
            break;
        }
        match error.lock().write(piece) {
            Ok(n) if n == piece.len() => written += n,
            Ok(n) => return written + n,
            Err(failed) if failed.kind() == io::ErrorKind::WouldBlock => break,
            Err(_) => return bytes.len(),
        }
    }
    written
}

/// Writes to standard error however long that takes.
fn write_all(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let error = io::stderr();
        match error.lock().write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            // Somebody who has it, too, made it so.
            Err(failed) if failed.kind() == io::ErrorKind::WouldBlock => {
                let _ = poll(&mut [PollFd::new(error.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE);
            }
            Err(failed) if failed.kind() == io::ErrorKind::Interrupted => {}
            // When standard error is gone there is nobody left to tell.
            Err(_) => return,
        }
    }
}

/// What waits for whom it is written to.
enum Unwritten {
    /// For standard error.
    Bytes(Vec<u8>),
    Record(JournalRecord),
}

/// A record that waits for the journal.
struct JournalRecord {
    level: Level,
    target: String,
    module: Option<String>,
    file: Option<String>,
    line: Option<u32>,
    text: String,
    fields: Fields,
}

impl JournalRecord {
    fn of(record: &Record<'_>, text: &str, mut fields: Fields) -> JournalRecord {
        if let Some(message_id) = message_id::of(record) {
            fields.0.push(("MESSAGE_ID".to_owned(), message_id.to_owned()));
        }
        JournalRecord {
            level: record.level(),
            target: record.target().to_owned(),
            module: record.module_path().map(str::to_owned),
            file: record.file().map(str::to_owned),
            line: record.line(),
            text: text.to_owned(),
            fields,
        }
    }

    fn write(&self, journal: &JournalLog) {
        let mut record = Record::builder();
        record.level(self.level).target(&self.target).key_values(&self.fields);
        record.module_path(self.module.as_deref()).file(self.file.as_deref()).line(self.line);
        journal.log(&record.args(format_args!("{}", self.text)).build());
    }
}

/// Where lines go.
struct Destination {
    /// `None`: standard error.
    journal: Option<JournalLog>,
}

impl Sink for Destination {
    type Line = Unwritten;

    fn write(&self, line: &Unwritten) {
        match (line, &self.journal) {
            (Unwritten::Bytes(bytes), _) => write_all(bytes),
            (Unwritten::Record(record), Some(journal)) => record.write(journal),
            (Unwritten::Record(_), None) => {}
        }
    }

    fn write_lost(&self, count: u64) {
        let (lines, were) = if count == 1 { ("line", "was") } else { ("lines", "were") };
        log::warn!(
            GATEWIRE_EVENT = "lines_lost", GATEWIRE_COUNT = count;
            "{count} {lines} of the log {were} lost here: what reads the log took nothing for too long"
        );
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
