//! Which reader has which job, what it is owed, and what it has said. Pure: no I/O, and the time is told.
//!
//! One job is offered at a time. Once there is a reader for it, it is noted on the disk that one may have it, and then it is at the reader that has been connected longest; when that goes, or sends nothing more, it is
//! at the next, and without any it waits. What a reader says counts only of the job that it has.

use std::time::{Duration, Instant};

use super::line::{self, Reject, What};
use super::{Offer, Said};
use crate::services::jobs::{Details, Identity};
use crate::socket::Line;

/// A client that takes nothing for so long, though something waits for it, is disconnected (docs/sockets.md: as a reader of a forward).
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// So is one for which more waits than this, in bytes.
pub(super) const MAX_UNWRITTEN: usize = 1024 * 1024;

/// With more than this unwritten, in bytes, nothing more is read from a client.
pub(super) const MAX_ANSWERS: usize = 16 * 1024;

/// Progress is told at most once in so long: of more, the newest. Each is an update that AWS counts.
pub(super) const PACE: Duration = Duration::from_secs(1);

/// A client of the socket; never used again in a life of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClientId(u64);

#[derive(Debug)]
struct Client {
    id: ClientId,
    /// It may be given a job: it isn't an observer, and may still send something.
    is_reader: bool,
    /// What it hasn't been written.
    unwritten: Vec<u8>,
    /// Since when it has taken nothing of that.
    waits_since: Option<Instant>,
}

/// A job that has no result.
#[derive(Debug)]
struct Offered {
    offer: Offer,
    reader: Option<ClientId>,
    /// It was said that there is a reader for it.
    is_wanted: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// In the order in which they have connected.
    clients: Vec<Client>,
    last_id: u64,
    offered: Option<Offered>,
    /// What isn't told yet.
    progress: Option<Details>,
    ended: Option<Said>,
    /// When progress of this job was told last.
    told_at: Option<Instant>,
}

impl Desk {
    /// A job is to be done; another that was offered before is cancelled. The same stays where it is.
    pub(super) fn offer(&mut self, offer: Offer, now: Instant) {
        if self.offered_now() == Some(&offer.identity) {
            // Whoever offers it again may not have heard that it is wanted.
            if let Some(offered) = &mut self.offered {
                offered.is_wanted = false;
            }
            return;
        }
        if let Some(before) = self.offered.as_ref().map(|offered| offered.offer.identity.clone()) {
            self.cancel(&before, now);
        }
        (self.progress, self.told_at, self.ended) = (None, None, None);
        self.offered = Some(Offered { offer, reader: None, is_wanted: false });
        self.assign(now);
    }

    /// The execution that is offered, or whose result isn't told yet.
    pub(super) fn offered_now(&self) -> Option<&Identity> {
        let offered = self.offered.as_ref().map(|offered| &offered.offer.identity);
        offered.or_else(|| self.ended.as_ref().map(Said::identity))
    }

    /// It is on the disk that a reader may have it. Returns whether one may have got it.
    pub(super) fn noted(&mut self, identity: &Identity, now: Instant) -> bool {
        let Some(offered) = self.offered.as_mut().filter(|offered| offered.offer.identity == *identity) else {
            return false;
        };
        offered.offer.is_noted = true;
        self.assign(now);
        true
    }

    /// Nobody wants a job any more: its reader is told, and nothing is told of it. `false`: it isn't offered, or has its result.
    pub(super) fn cancel(&mut self, identity: &Identity, now: Instant) -> bool {
        if self.ended.as_ref().is_some_and(|said| said.identity() == identity) {
            self.ended = None;
        }
        let Some(offered) = self.offered.take_if(|offered| offered.offer.identity == *identity) else { return false };
        self.progress = None;
        if let Some(id) = offered.reader {
            self.write(id, &line::cancelled(&identity.job), now);
        }
        true
    }

    /// A client has connected. An observer is given nothing.
    pub(super) fn connected(&mut self, is_observer: bool, now: Instant) -> ClientId {
        self.last_id += 1;
        let id = ClientId(self.last_id);
        self.clients.push(Client { id, is_reader: !is_observer, unwritten: Vec::new(), waits_since: None });
        self.assign(now);
        id
    }

    /// It sends nothing more, so that no result can come of it: it is no reader any more. Returns whether another may have got its job.
    pub(super) fn sends_no_more(&mut self, id: ClientId, now: Instant) -> bool {
        if let Some(client) = self.client(id) {
            client.is_reader = false;
        }
        self.leave(id, now)
    }

    /// It has gone. Returns whether another may have got its job.
    pub(super) fn gone(&mut self, id: ClientId, now: Instant) -> bool {
        self.clients.retain(|client| client.id != id);
        self.leave(id, now)
    }

    /// A job that was at this client is at the next.
    fn leave(&mut self, id: ClientId, now: Instant) -> bool {
        let Some(offered) = self.offered.as_mut().filter(|offered| offered.reader == Some(id)) else { return false };
        offered.reader = None;
        self.assign(now);
        true
    }

    /// Gives the job that no reader has to the one that has been connected longest.
    fn assign(&mut self, now: Instant) {
        let is_free = |offered: &&mut Offered| offered.offer.is_noted && offered.reader.is_none();
        let Some(offered) = self.offered.as_mut().filter(is_free) else { return };
        let Some(id) = self.clients.iter().find(|client| client.is_reader).map(|client| client.id) else { return };
        offered.reader = Some(id);
        let line = line::offered(&offered.offer);
        self.write(id, &line, now);
    }

    /// A client has sent a line.
    pub(super) fn heard(&mut self, id: ClientId, line: &Line<'_>, now: Instant) {
        let (job, said) = line::parse(line);
        if let Err(reject) = said.and_then(|word| self.heed(id, word)) {
            self.write(id, &line::rejected(job.as_deref(), &reject), now);
        }
    }

    /// What a client has sent of a line is more than one without a job may send.
    pub(super) fn heard_too_much(&mut self, id: ClientId, now: Instant) {
        self.write(id, &line::rejected(None, &Reject::TooLongWithoutJob), now);
    }

    fn heed(&mut self, id: ClientId, word: line::Word) -> Result<(), Reject> {
        let is_its = |offered: &&mut Offered| offered.reader == Some(id) && offered.offer.identity.job == word.job;
        let Some(offered) = self.offered.as_mut().filter(is_its) else { return Err(Reject::NotYours) };
        let identity = offered.offer.identity.clone();
        if word.execution.is_some_and(|number| number != identity.number) {
            return Err(Reject::AnotherExecution(identity.number));
        }
        match word.what {
            What::Progress(details) => self.progress = Some(details),
            What::Result(outcome) => {
                (self.offered, self.progress) = (None, None);
                self.ended = Some(Said::Ended(identity, outcome));
            }
        }
        Ok(())
    }

    /// The next of what is said of jobs, if there is something to tell now.
    pub(super) fn next_said(&mut self, now: Instant) -> Option<Said> {
        if let Some(ended) = self.ended.take() {
            return Some(ended);
        }
        let has_reader = self.readers() > 0;
        let offered = self.offered.as_mut()?;
        let identity = offered.offer.identity.clone();
        if has_reader && !offered.offer.is_noted && !std::mem::replace(&mut offered.is_wanted, true) {
            return Some(Said::Wanted(identity));
        }
        self.progress_at().filter(|at| at.is_none_or(|at| at <= now))?;
        let details = self.progress.take()?;
        self.told_at = Some(now);
        Some(Said::Progress(identity, details))
    }

    /// When there is something to tell, if nothing is said until then.
    pub(super) fn said_at(&self) -> Option<Instant> {
        self.progress_at().flatten()
    }

    /// Whether there is progress to tell, and when.
    fn progress_at(&self) -> Option<Option<Instant>> {
        self.progress.as_ref().map(|_| self.told_at.map(|at| at + PACE))
    }

    /// What a client is to be written.
    pub(super) fn unwritten(&self, id: ClientId) -> &[u8] {
        self.clients.iter().find(|client| client.id == id).map_or(&[], |client| &client.unwritten)
    }

    /// So much of it is written.
    pub(super) fn wrote(&mut self, id: ClientId, count: usize, now: Instant) {
        let Some(client) = self.client(id) else { return };
        client.unwritten.drain(..count.min(client.unwritten.len()));
        client.waits_since = (!client.unwritten.is_empty()).then_some(now);
        if client.unwritten.is_empty() {
            client.unwritten = Vec::new();
        }
    }

    /// When a client has been waited for long enough; at once if too much waits for it.
    pub(super) fn patience_ends(&self, id: ClientId) -> Option<Instant> {
        let client = self.clients.iter().find(|client| client.id == id)?;
        let since = client.waits_since?;
        Some(if client.unwritten.len() > MAX_UNWRITTEN { since } else { since + PATIENCE })
    }

    /// Whether more may be read from a client.
    pub(super) fn may_speak(&self, id: ClientId) -> bool {
        self.unwritten(id).len() < MAX_ANSWERS
    }

    /// Whether a client has the job.
    pub(super) fn has_job(&self, id: ClientId) -> bool {
        self.offered.as_ref().is_some_and(|offered| offered.reader == Some(id))
    }

    /// Clients that may be given a job.
    pub(super) fn readers(&self) -> usize {
        self.clients.iter().filter(|client| client.is_reader).count()
    }

    fn client(&mut self, id: ClientId) -> Option<&mut Client> {
        self.clients.iter_mut().find(|client| client.id == id)
    }

    fn write(&mut self, id: ClientId, line: &[u8], now: Instant) {
        if let Some(client) = self.client(id) {
            client.unwritten.extend_from_slice(line);
            client.waits_since.get_or_insert(now);
        }
    }
}
