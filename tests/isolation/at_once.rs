//! Scenarios that mostly wait, as a gateway does: they run at once, whatever number of threads the tests are given. Each has a daemon
//! and a server of its own.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

/// Those that have begun and whose test hasn't.
pub struct AtOnce(Mutex<BTreeMap<&'static str, JoinHandle<()>>>);

impl AtOnce {
    /// Begins those that the command line of the tests asks for.
    pub fn start(scenarios: &[(&'static str, fn())]) -> AtOnce {
        let filters: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
        let is_asked = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
        let begin = |(name, scenario): &(&'static str, fn())| {
            let scenario = *scenario;
            (*name, std::thread::Builder::new().name((*name).to_owned()).spawn(scenario).unwrap())
        };
        AtOnce(Mutex::new(scenarios.iter().filter(|(name, _)| is_asked(name)).map(begin).collect()))
    }

    /// Waits for one to end, and fails as it does. One that hasn't begun does so now.
    pub fn run(&self, name: &str, scenario: fn()) {
        let begun = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        match begun {
            Some(thread) => thread.join().unwrap_or_else(|failure| fail(name, failure.as_ref())),
            None => scenario(),
        }
    }
}

/// What a thread of its own prints belongs to the test that has begun it: the reason is repeated.
fn fail(name: &str, failure: &(dyn Any + Send)) {
    let text = failure.downcast_ref::<&str>().copied();
    let reason = text.or_else(|| failure.downcast_ref::<String>().map(String::as_str)).unwrap_or("it panicked");
    panic!("{reason}\nMore is printed by: cargo test --test isolation -- --exact {name}");
}

/// A test for each scenario.
#[macro_export]
macro_rules! at_once {
    ($($module:ident::$scenario:ident),* $(,)?) => {
        static AT_ONCE: std::sync::LazyLock<at_once::AtOnce> =
            std::sync::LazyLock::new(|| at_once::AtOnce::start(&[$((stringify!($scenario), $module::$scenario)),*]));
        $(
            #[test]
            fn $scenario() {
                AT_ONCE.run(stringify!($scenario), $module::$scenario);
            }
        )*
    };
}
