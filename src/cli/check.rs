//! `gatewire check`: every problem of configuration and credentials at once.

use std::path::Path;
use std::time::SystemTime;

use super::Exit;
use crate::config::{self, Config, Environment};
use crate::link::credentials;

/// Problems and warnings go to standard error, what was found to standard output.
pub(super) fn run(path: &Path) -> Exit {
    let loaded = match config::read(path, &Environment::of_process()) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("{error}");
            return Exit::Config;
        }
    };
    for warning in &loaded.warnings {
        eprintln!("{warning}");
    }
    match credentials::load(&loaded.config.tls, SystemTime::now()) {
        Ok(credentials) => {
            for warning in credentials.warnings() {
                eprintln!("warning: {warning}");
            }
        }
        Err(problems) => {
            eprintln!("{problems}");
            return Exit::Config;
        }
    }
    summarise(&loaded.config);
    Exit::Done
}

fn summarise(config: &Config) {
    let connection = &config.connection;
    println!("configuration and credentials can be used");
    println!("  link     {}:{} as {}", connection.endpoint, connection.port, connection.client_id);
    for publish in &config.publish {
        let every = humantime::format_duration(publish.every);
        println!("  publish  {}: on {} every {every}", publish.name, publish.topic);
    }
    for forward in &config.forward {
        let filters: Vec<&str> = forward.filters.iter().map(|filter| filter.as_str()).collect();
        println!("  forward  {}: {} to {}", forward.name, filters.join(", "), forward.socket.path.display());
    }
    for ingest in &config.ingest {
        let topics: Vec<&str> = ingest.topics.iter().map(|topic| topic.as_str()).collect();
        println!("  ingest   {}: {} to {}", ingest.name, ingest.socket.path.display(), topics.join(", "));
    }
}
