//! The way of a download: ask, write, wait, ask again.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep, timeout_at};

use super::digest::Sha256;
use super::fault::{Bytes, DownloadError, DownloadFault};
use super::http::{self, Answer};
use super::part::{PIECE, Part};
use super::place::Place;
use super::resume::{Ask, Known, Next, next};
use super::retry::Patience;
use crate::actions::{Download, Url, Wanted};
use crate::blocking;
use crate::config;
use crate::net::credentials::{WebTrust, load_for_web};
use crate::net::{self, Connect as _, Endpoint, Network, Options, Purpose};

/// So often a server may send on to another place.
const MAX_REDIRECTS: u32 = 5;

/// After so long without data, TCP asks whether the server is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// What is downloaded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order<'a> {
    /// By which the file is known in another life: the job id and the number of the execution, or that of a command. Any text.
    pub(crate) execution: &'a str,
    /// Of the execution, from 0.
    pub(crate) step: usize,
    pub(crate) wanted: &'a Wanted,
    /// Of the action.
    pub(crate) download: &'a Download,
}

/// How.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings<'a> {
    /// [`DIRECTORY`](super::DIRECTORY) in the state directory; it is made if there is none.
    pub(crate) directory: &'a Path,
    pub(crate) proxy: Option<&'a config::Proxy>,
    pub(crate) connect_timeout: Duration,
    /// When it must be done: the time-out of the action, all attempts together.
    pub(crate) deadline: Instant,
    pub(crate) patience: Patience,
}

/// How far it has come.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Progress<'a> {
    /// Told at each tenth; of a file whose size isn't known, at each tenth of what it may have.
    Received { bytes: u64, total: Option<u64> },
    /// It is tried again after `wait`.
    Waiting { fault: &'a DownloadFault, wait: Duration },
}

/// `40% of 12 MiB`
impl fmt::Display for Progress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Progress::Received { bytes, total: Some(total) } => {
                write!(f, "{}% of {}", percent(bytes, total), Bytes(total))
            }
            Progress::Received { bytes, total: None } => write!(f, "{}", Bytes(bytes)),
            Progress::Waiting { fault, wait } => write!(f, "trying again in {} s: {fault}", wait.as_secs_f64().ceil()),
        }
    }
}

fn percent(part: u64, whole: u64) -> u64 {
    if whole == 0 { 100 } else { (u128::from(part) * 100 / u128::from(whole)).try_into().unwrap_or(100) }
}

/// Downloads a file and gives its path once it is whole, on the disk, and has the SHA-256 that is wanted. The file is there until
/// [`clean`](super::clean) removes it.
///
/// May be dropped at any point, and called again with the same `order`, by another process too: it goes on where it was. Only one
/// at a time may run for an execution and step.
///
/// # Errors
/// Why it isn't there; what was downloaded of it is removed.
pub(crate) async fn fetch<N: Network>(
    network: &N,
    order: Order<'_>,
    settings: Settings<'_>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<PathBuf, DownloadError> {
    let from = order.wanted.url.to_string();
    let url = order.wanted.url.clone().allowed(&order.download.hosts);
    let url = url.map_err(|fault| DownloadError { from: from.clone(), fault: DownloadFault::Url(fault) })?;
    let place = Place::new(settings.directory, order.execution, order.step);
    let mut run = Run {
        network,
        place,
        url,
        wanted: Sha256(order.wanted.sha256),
        download: order.download,
        settings,
        progress,
        trust: None,
        part: None,
        reached: Reached::default(),
        last: None,
    };
    let outcome = timeout_at(settings.deadline, run.until_whole()).await;
    let outcome = outcome.unwrap_or_else(|_| Err(run.timed_out()));
    let Err(fault) = outcome else { return Ok(run.place.file()) };
    let place = run.place.clone();
    // Closed before it is removed. What can't be removed now is removed with the execution.
    drop(run);
    let _ = aside(move || place.remove()).await;
    Err(DownloadError { from, fault })
}

/// How much there is, for who asks while a thread has the file.
#[derive(Debug, Clone, Copy, Default)]
struct Reached {
    bytes: u64,
    total: Option<u64>,
    /// The last tenth that was told.
    tenth: u64,
}

struct Run<'a, N: Network> {
    network: &'a N,
    place: Place,
    url: Url,
    wanted: Sha256,
    download: &'a Download,
    settings: Settings<'a>,
    progress: &'a mut dyn FnMut(Progress<'_>),
    trust: Option<WebTrust>,
    /// `None`: it isn't open yet, or a thread has it.
    part: Option<Part>,
    reached: Reached,
    /// The last failure after which it was tried again.
    last: Option<DownloadFault>,
}

impl<N: Network> Run<'_, N> {
    async fn until_whole(&mut self) -> Result<(), DownloadFault> {
        let (mut failures, mut may_begin_anew) = (0, true);
        loop {
            let before = self.reached.bytes;
            let fault = match self.attempt().await {
                Ok(is_encoded) => match self.judge(is_encoded, &mut may_begin_anew).await? {
                    true => return Ok(()),
                    false => continue,
                },
                Err(fault) => fault,
            };
            failures = if self.reached.bytes > before { 1 } else { failures + 1 };
            if !fault.is_temporary(failures) {
                return Err(fault);
            }
            let wait = self.settings.patience.wait(failures, fault.retry_after(), fastrand::f64());
            (self.progress)(Progress::Waiting { fault: &fault, wait });
            let is_too_long = Instant::now() + wait >= self.settings.deadline;
            self.last = Some(fault);
            if is_too_long {
                return Err(self.timed_out());
            }
            sleep(wait).await;
        }
    }

    fn timed_out(&mut self) -> DownloadFault {
        let Reached { bytes, total, .. } = self.reached;
        DownloadFault::TimedOut { received: bytes, total, last: self.last.take().map(Box::new) }
    }

    /// Whether what is there, all of it, is what the document wants. If it isn't, it may be worth another try from the beginning.
    async fn judge(&mut self, is_encoded: bool, may_begin_anew: &mut bool) -> Result<bool, DownloadFault> {
        let wanted = self.wanted;
        if self.part().await?.sum() == wanted {
            return self.with_part(|part| part.finish()).await.map(|()| true);
        }
        let part = self.part().await?;
        if part.is_pieced() && std::mem::take(may_begin_anew) {
            self.with_part(|part| part.begin_anew(Known::default())).await?;
            return Ok(false);
        }
        Err(DownloadFault::Mismatch { wanted, found: part.sum(), is_encoded })
    }

    /// Asks once, following where the server sends on to, and writes what comes. Whether the server says that it is compressed.
    async fn attempt(&mut self) -> Result<bool, DownloadFault> {
        let max = self.download.max_size;
        let part = self.part().await?;
        let mut ask = part.held().ask(max);
        if ask == Ask::Nothing || part.is_wanted() {
            return Ok(false);
        }
        let (mut url, mut redirects) = (self.url.clone(), 0);
        loop {
            let mut answer = self.ask(&url, ask).await?;
            match next(&answer.head, ask, self.part().await?.held(), max) {
                Next::Append(known) => {
                    self.with_part(move |part| part.go_on(known)).await?;
                    return self.receive(&mut answer).await.map(|()| answer.head.is_encoded);
                }
                Next::Anew(known) => {
                    self.with_part(move |part| part.begin_anew(known)).await?;
                    return self.receive(&mut answer).await.map(|()| answer.head.is_encoded);
                }
                Next::Complete => return Ok(false),
                Next::AskForAll => ask = Ask::Whole,
                Next::Elsewhere(_) if redirects == MAX_REDIRECTS => {
                    return Err(DownloadFault::TooManyRedirects(MAX_REDIRECTS));
                }
                Next::Elsewhere(location) => {
                    redirects += 1;
                    url = elsewhere(&url, &location, self.download)?;
                }
                Next::Failed(DownloadFault::Status { status, retry_after, .. }) => {
                    return Err(DownloadFault::Status { status, retry_after, code: answer.code().await });
                }
                Next::Failed(fault) => return Err(fault),
            }
        }
    }

    async fn ask(&mut self, url: &Url, ask: Ask) -> Result<Answer<N::Stream>, DownloadFault> {
        let WebTrust { tls, verifier } = self.trust().await?;
        let mut connector = self.network.connector(Options {
            purpose: Purpose::Download,
            endpoint: Endpoint { host: Arc::clone(url.host()), port: url.port() },
            proxy: self.settings.proxy.cloned(),
            connect_timeout: self.settings.connect_timeout,
            keep_alive: KEEP_ALIVE,
            probe_after: net::PROBE_AFTER,
            tls,
            verifier,
            token: None,
        });
        let connection =
            connector.connect(&mut |_| {}).await.map_err(|error| DownloadFault::Connect(Box::new(error)))?;
        let silence = self.settings.patience.silence;
        http::ask(connection.stream, url, ask, self.part().await?.held().known, silence).await
    }

    /// Whom to trust; read for the first attempt, and gone with the download.
    async fn trust(&mut self) -> Result<WebTrust, DownloadFault> {
        if let Some(trust) = &self.trust {
            return Ok(trust.clone());
        }
        let ca_file = self.download.ca_file.clone();
        let trust = aside(move || load_for_web(ca_file.as_deref()))
            .await?
            .map_err(|problem| DownloadFault::Trust(Box::new(problem)))?;
        Ok(self.trust.insert(trust).clone())
    }

    /// Writes what comes, in pieces.
    async fn receive<S>(&mut self, answer: &mut Answer<S>) -> Result<(), DownloadFault>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut piece = Vec::with_capacity(PIECE);
        loop {
            let came = answer.next().await;
            if let Ok(Some(bytes)) = &came {
                piece.extend_from_slice(bytes);
                let length = self.reached.bytes.saturating_add(piece.len() as u64);
                if length > self.download.max_size {
                    return Err(DownloadFault::TooLarge { size: None, max: self.download.max_size });
                }
                if let Some(total) = self.reached.total.filter(|total| length > *total) {
                    self.with_part(|part| part.begin_anew(Known::default())).await?;
                    return Err(DownloadFault::TooLong(total));
                }
                if piece.len() < PIECE {
                    continue;
                }
            }
            if !piece.is_empty() {
                let bytes = std::mem::replace(&mut piece, Vec::with_capacity(PIECE));
                self.with_part(move |part| part.append(&bytes)).await?;
            }
            match came {
                Ok(Some(_)) => {}
                Ok(None) => break,
                // It may have been all, behind which a server has closed the connection without a word.
                Err(_) if self.part().await?.is_wanted() => return Ok(()),
                Err(fault) => return Err(fault),
            }
        }
        match self.reached.total.filter(|total| self.reached.bytes < *total) {
            Some(_) => Err(DownloadFault::Lost("the other end ended its answer early".to_owned())),
            None => Ok(()),
        }
    }

    /// The part that is on the disk, read if it isn't known yet.
    async fn part(&mut self) -> Result<&Part, DownloadFault> {
        let part = self.take_part().await?;
        Ok(self.part.insert(part))
    }

    async fn take_part(&mut self) -> Result<Part, DownloadFault> {
        if let Some(part) = self.part.take() {
            return Ok(part);
        }
        let (place, wanted, max) = (self.place.clone(), self.wanted, self.download.max_size);
        let part = aside(move || Part::open(&place, wanted, max)).await??;
        self.reached_by(&part);
        Ok(part)
    }

    /// Does with the part what may block.
    async fn with_part(
        &mut self,
        work: impl FnOnce(&mut Part) -> Result<(), DownloadFault> + Send + 'static,
    ) -> Result<(), DownloadFault> {
        let mut part = self.take_part().await?;
        let done = aside(move || {
            let outcome = work(&mut part);
            (part, outcome)
        });
        let (part, outcome) = done.await?;
        self.reached_by(&part);
        self.part = Some(part);
        outcome
    }

    /// Tells of a tenth that is new.
    fn reached_by(&mut self, part: &Part) {
        let held = part.held();
        (self.reached.bytes, self.reached.total) = (held.length, held.known.total);
        let Reached { bytes, total, tenth } = self.reached;
        let now = percent(bytes, total.unwrap_or(self.download.max_size)).min(100) / 10;
        if now != tenth && bytes > 0 {
            self.reached.tenth = now;
            (self.progress)(Progress::Received { bytes, total });
        }
    }
}

/// Where a server sends on to, if that is allowed.
fn elsewhere(from: &Url, location: &str, download: &Download) -> Result<Url, DownloadFault> {
    let to = from.join(location).map_err(|fault| DownloadFault::Redirect { to: None, fault })?;
    let shown = to.to_string();
    to.allowed(&download.hosts).map_err(|fault| DownloadFault::Redirect { to: Some(shown), fault })
}

/// Does what may block on a thread of its own.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, DownloadFault> {
    let task = blocking::begin("download", work).map_err(|error| DownloadFault::NoThread(error.to_string()))?;
    task.await.map_err(|error| DownloadFault::NoThread(format!("the thread failed ({error})")))
}

#[cfg(test)]
mod tests;
