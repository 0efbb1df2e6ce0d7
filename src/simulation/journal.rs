//! What the daemon logs in a run: counted, and taken for what it says of defects.

use std::cell::RefCell;
use std::rc::Rc;

use log::kv::Key;
use log::{LevelFilter, Log, Metadata, Record};

use super::judge::Judge;

thread_local! {
    static JUDGE: RefCell<Option<Rc<Judge>>> = const { RefCell::new(None) };
}

struct Journal;

/// Lines of this thread are heard from now on.
pub(super) fn begin(judge: &Rc<Judge>) {
    JUDGE.set(Some(Rc::clone(judge)));
    // It fails if it is there already.
    if log::set_logger(&Journal).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

pub(super) fn end() {
    JUDGE.set(None);
}

impl Log for Journal {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        // What is logged while the judge notes something is its own.
        let judge = JUDGE.with(|judge| judge.try_borrow().ok().and_then(|judge| judge.clone()));
        let Some(judge) = judge else { return };
        let event = record.key_values().get(Key::from_str("GATEWIRE_EVENT"));
        let event = event.map_or_else(|| "-".to_owned(), |event| event.to_string());
        if event == "panic" || event == "failed" {
            judge.violated(format!("logged: {}", record.args()));
        }
        judge.logged(&event, &record.args().to_string());
    }

    fn flush(&self) {}
}
