//! `gatewire check`: every problem of configuration and credentials at once.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;

use super::Exit;
use super::inputs::{self, Inputs};
use crate::config::Config;
use crate::link::transport::Endpoint;

/// Problems and warnings go to standard error, what was found to standard output.
pub(super) fn run(path: &Path) -> Exit {
    let (warnings, errors, summary, exit) = match inputs::read(path) {
        Ok(Inputs { config, credentials, mut warnings }) => {
            warnings.extend(credentials.warnings().iter().map(|warning| format!("warning: {warning}")));
            (warnings, Vec::new(), summary(&config), Exit::Done)
        }
        Err(problems) => (problems.warnings, problems.errors, String::new(), Exit::Config),
    };
    let report: String = warnings.into_iter().chain(errors).map(|line| line + "\n").collect();
    // Whoever closed them doesn't want to read; the exit code tells all the same.
    let _ = io::stderr().write_all(report.as_bytes());
    let _ = io::stdout().write_all(summary.as_bytes());
    exit
}

fn summary(config: &Config) -> String {
    let connection = &config.connection;
    let mut summary = "configuration and credentials can be used\n".to_owned();
    let mut line = |kind: &str, text: String| {
        // Writing to memory can't fail.
        let _ = writeln!(summary, "  {kind:<8} {text}");
    };
    let proxy = connection.proxy.as_ref().map(Endpoint::from);
    let through = proxy.map_or_else(String::new, |proxy| format!(" through the proxy {proxy}"));
    line("link", format!("{}:{}{through} as {}", connection.endpoint, connection.port, connection.client_id));
    for publish in &config.publish {
        let every = humantime::format_duration(publish.every);
        line("publish", format!("{}: on {} every {every}", publish.name, publish.topic));
    }
    for forward in &config.forward {
        let filters: Vec<&str> = forward.filters.iter().map(|filter| filter.as_str()).collect();
        line("forward", format!("{}: {} to {}", forward.name, filters.join(", "), forward.socket.path.display()));
    }
    for ingest in &config.ingest {
        let topics: Vec<&str> = ingest.topics.iter().map(|topic| topic.as_str()).collect();
        line("ingest", format!("{}: {} to {}", ingest.name, ingest.socket.path.display(), topics.join(", ")));
    }
    summary
}
