//! Where the values of a schedule come from: a file, a command, or this machine itself.
//!
//! Each reading is bounded in size and in time, and nothing of it holds up the runtime: what may block is done on a thread of
//! its own, of which a source has one at most.

mod aside;
mod command;
mod file;
mod metrics;

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::blocking::NoThread;
use crate::config::{self, Metric};
use crate::template::SourceValue;
use aside::Aside;
use command::CommandError;
use file::FileError;
use metrics::{Baseline, Machine};

pub(crate) use metrics::MetricError;

/// A source of values. It is read by one at a time.
#[derive(Debug)]
pub(crate) struct Source(SourceKind);

#[derive(Debug)]
enum SourceKind {
    File { path: PathBuf, aside: Aside<Result<Vec<u8>, FileError>> },
    Command { argv: Vec<String>, timeout: Duration },
    Metrics { metrics: Vec<Metric>, baseline: Baseline, aside: Aside<metrics::Reading> },
}

/// What was read, and what of it couldn't be.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) value: SourceValue,
    /// A metric that this machine doesn't have.
    pub(crate) lacks: Option<SourceError>,
}

/// Why there is no value.
#[derive(Debug, PartialEq, Error)]
pub(crate) enum SourceError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Metric(#[from] MetricError),
    #[error("it can't be read: {0}")]
    NoThread(#[from] NoThread),
}

impl Source {
    pub(crate) fn new(config: &config::Source) -> Source {
        Source(match config.clone() {
            config::Source::File(path) => SourceKind::File { path, aside: Aside::default() },
            config::Source::Command { argv, timeout } => SourceKind::Command { argv, timeout },
            config::Source::Metrics(metrics) => {
                SourceKind::Metrics { metrics, baseline: Baseline::default(), aside: Aside::default() }
            }
        })
    }

    /// What is wrong with a value of which there is nothing.
    pub(crate) fn nothing(&self) -> Option<SourceError> {
        match &self.0 {
            SourceKind::File { path, .. } => Some(FileError::Empty(path.clone()).into()),
            SourceKind::Command { argv, .. } => Some(CommandError::Nothing(command::shown(argv)).into()),
            SourceKind::Metrics { .. } => None,
        }
    }

    /// Reads the value as it is now. Dropping this future ends a command that is running, with its children.
    pub(crate) async fn read(&self) -> Result<Reading, SourceError> {
        match &self.0 {
            SourceKind::File { path, aside } => {
                let file = path.clone();
                let read = aside.run(move || file::read(&file)).await?;
                let bytes = read.unwrap_or_else(|| Err(FileError::Slow(path.clone())))?;
                Ok(Reading { value: SourceValue::text(bytes), lacks: None })
            }
            SourceKind::Command { argv, timeout } => {
                let bytes = command::run(argv, *timeout).await?;
                Ok(Reading { value: SourceValue::text(bytes), lacks: None })
            }
            SourceKind::Metrics { metrics, baseline, aside } => {
                let (metrics, before) = (metrics.clone(), baseline.get());
                let read = aside.run(move || Machine::default().read(&metrics, before)).await?;
                let reading = read.ok_or(MetricError::Slow)?;
                baseline.set(reading.cpu);
                Ok(Reading { value: SourceValue::json(&reading.value), lacks: reading.lacks.map(SourceError::from) })
            }
        }
    }
}
