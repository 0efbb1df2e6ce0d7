//! What the configuration costs in a month ([`crate::cost`]).

use crate::config::{Config, Publish, Source};
use crate::cost::{Cost, Reads};
use crate::journal;
use crate::limits::MAX_PAYLOAD;
use crate::regular;
use crate::template::Value;

/// For people, a line each.
pub(super) fn lines(config: &Config) -> Vec<String> {
    let with_what_it_reads = |publish| {
        let reads = reads(&publish);
        (publish, reads)
    };
    let publish: Vec<(Publish, Reads)> = config.publications().into_iter().map(with_what_it_reads).collect();
    Cost::new(config, &publish, journal::now()).lines()
}

/// A file is looked into; a command isn't run, as it may do anything.
fn reads(publish: &Publish) -> Reads {
    match &publish.source {
        None => Reads::Nothing,
        Some(Source::File(path)) => match regular::read(path, MAX_PAYLOAD as u64 + 2) {
            Ok(bytes) => Reads::Value(Value::text(bytes)),
            Err(_) => Reads::Unknown("its file can't be read"),
        },
        Some(Source::Command { .. }) => Reads::Unknown("they depend on what its command prints"),
        Some(Source::Metrics(_)) => Reads::Unknown("they depend on what its metrics are"),
    }
}
