//! What the configuration costs in a month ([`crate::cost`]).

use crate::config::{Config, Publish, Source};
use crate::cost::{Cost, Reads};
use crate::journal;
use crate::limits::MAX_PAYLOAD;
use crate::regular;
use crate::template::SourceValue;

/// See the module.
pub(super) fn of(config: &Config) -> Cost {
    let with_what_it_reads = |publish| {
        let reads = reads(&publish);
        (publish, reads)
    };
    let publish: Vec<(Publish, Reads)> = config.publications().into_iter().map(with_what_it_reads).collect();
    Cost::new(config, &publish, journal::now())
}

/// A file is looked into; a command isn't run, as it may do anything.
fn reads(publish: &Publish) -> Reads {
    match &publish.source {
        None => Reads::Nothing,
        Some(Source::File(path)) => match regular::read(path, MAX_PAYLOAD as u64 + 2) {
            Ok(bytes) => Reads::Value(SourceValue::text(bytes)),
            Err(_) => Reads::Unknown("its file can't be read"),
        },
        Some(Source::Command { .. }) => Reads::Unknown("its command isn't run to see what it prints"),
        Some(Source::Metrics(_)) => Reads::Unknown("its metrics have other values each time"),
    }
}
