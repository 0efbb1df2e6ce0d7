//! AWS IoT Device Management commands: each has an execution id, is done once or not at all, and its result is told. Pure: requests go
//! to [`Requests`], what else is to be done is an [`Effect`], and time is told.
//!
//! | phase of an execution | what AWS says | what is on the disk | it ends with |
//! |---|---|---|---|
//! | found | CREATED | nothing | whether there is an action for it |
//! | waiting | CREATED | that it has come | it is its turn, or its time has passed |
//! | beginning | CREATED | it is being written that it is begun | that is on the disk: now the action begins |
//! | running | CREATED, after 2 s IN_PROGRESS | it is begun | the action ends |
//! | resumed | as before | it is begun, by an earlier life of the daemon | whoever does the action says what it has come to |
//! | result | as before | its result | AWS accepts the result, or doesn't want one, or 12 h have passed |
//! | (over) | its result | that it is over | a newer one takes its place |
//!
//! So an action isn't begun twice, however often its request comes: what is on the disk isn't begun again, and IoT Core isn't told that
//! a request has arrived before that is on the disk. And no result is lost: it is on the disk before it is told, until it is accepted.
//!
//! **Time.** A command is to begin before its own time has passed (the message expiry interval that its request came with), and before
//! it is older than [`max_age`](Commands::set_max_age). The expiry interval says what is left, not what has passed, so a request that
//! comes within 10 s of a CONNACK with a session counts as old as the link was down, or, after a start, as long as no daemon wrote the
//! journal: it does so when it is connected for the first time, with each command, and when it is stopped. Once begun, an action has
//! its own time-out, and its result is told though the command's time has passed: for AWS a TIMED_OUT of its own isn't the end.
//!
//! **Answers.** They have no token, so that the answer to IN_PROGRESS could be taken for that to a result which follows it. The result
//! waits for it, as AWS wants it anyway (`DataConflict`). If that answer is overdue, or a copy of IN_PROGRESS was sent on another
//! connection, an answer more is waited for, by telling the result once more; `TerminalStateReached` says that AWS has it.
//!
//! Source: "AWS IoT Device Management commands" and "AWS IoT Commands Troubleshooting" in the AWS IoT developer guide.

mod answers;
mod effect;
mod execution;
mod incoming;
mod journal;
mod open;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::{Request, RequestId, Requests, Service};
pub(crate) use effect::{Effect, Fate, RecordId, Unanswered};
pub(crate) use execution::{Execution, Outcome, Reason};
use execution::{MAX_TIME, WAITED_TOO_LONG};
pub(crate) use journal::{Entry, Journal, Stage};
use open::{Open, Phase, Told};

/// An action that takes longer is told of.
const ANNOUNCE_AFTER: Duration = Duration::from_secs(2);

/// What comes so soon after a CONNACK may have waited at IoT Core.
const BACKLOG: Duration = Duration::from_secs(10);

/// Commands of one thing.
///
/// # What goes in
///
/// | | |
/// |---|---|
/// | [`connected`](Commands::connected) | CONNACK; [`stopping`](Commands::stopping): the daemon is about to end; [`ready`](Commands::ready): Commands can be asked, on a new connection |
/// | [`received`](Commands::received) | a message that may be a request |
/// | [`answered`](Commands::answered), [`delayed`](Commands::delayed) | the end of a request of ours; it is tried again later |
/// | [`accept`](Commands::accept), [`reject`](Commands::reject), [`recorded`](Commands::recorded), [`ended`](Commands::ended) | what [`Effect`]s ask for |
/// | [`turn`](Commands::turn) | no other action is under way any more |
/// | [`handle_timeout`](Commands::handle_timeout) | the instant of [`timeout`](Commands::timeout) is there |
///
/// # What comes out
///
/// After whatever went in: [`next_effect`](Commands::next_effect), until there is no more; and requests.
#[derive(Debug)]
pub(crate) struct Commands {
    thing: String,
    max_age: Duration,
    journal: Journal,
    /// By execution id: those that aren't over.
    open: BTreeMap<String, Open>,
    backlog: Option<Backlog>,
    /// When this life of the daemon began, and what the time was.
    began: (Instant, i64),
    /// How long the server wasn't heard before that life, until it is connected for the first time.
    unseen: Option<Duration>,
    last_record: u64,
    effects: VecDeque<Effect>,
}

/// What comes until then counts as so old.
#[derive(Debug, Clone, Copy)]
struct Backlog {
    until: Instant,
    age: Duration,
}

impl Commands {
    /// With what an earlier life of the daemon has left: what it may have begun is [resumed](Effect::Resume), what only waited counts
    /// as interrupted, and results are told. What it has left running must have been ended before. `wall` is the time in seconds since
    /// 1970.
    pub(crate) fn new(thing: &str, max_age: Duration, journal: Journal, now: Instant, wall: i64) -> Commands {
        let mut commands = Commands {
            thing: thing.to_owned(),
            max_age,
            journal: Journal::default(),
            open: BTreeMap::new(),
            backlog: None,
            began: (now, wall),
            // Set back, the clock says nothing; nor does a journal that was never written.
            unseen: Some(match journal.seen {
                0 => Duration::ZERO,
                seen => Duration::from_secs(wall.saturating_sub(seen).max(0).unsigned_abs()),
            }),
            last_record: 0,
            effects: VecDeque::new(),
        };
        for entry in journal.entries() {
            commands.restore(entry, now, wall);
        }
        commands.journal = journal;
        commands
    }

    fn restore(&mut self, entry: &Entry, now: Instant, wall: i64) {
        // Set back, the clock says nothing.
        let age = Duration::from_secs(wall.saturating_sub(entry.came).max(0).unsigned_abs());
        let left = |time: Duration| now + time.saturating_sub(age);
        let id = entry.execution.clone();
        let phase = match &entry.stage {
            Stage::Over => return,
            Stage::Came => Phase::Result(Outcome::interrupted("gatewire ended before it was begun"), None),
            Stage::Ended(outcome) => Phase::Result(outcome.clone(), None),
            Stage::Begun { payload } => {
                let execution = Execution { id: id.clone(), payload: payload.clone() };
                let is_in_time = age < entry.time().min(self.max_age);
                self.effects.push_back(Effect::Resume { execution, is_in_time });
                Phase::Resumed
            }
        };
        let (ends_at, forget_at) = (left(entry.time()), left(MAX_TIME));
        let again_at = matches!(phase, Phase::Result(..)).then_some(now);
        let is_told = matches!(entry.stage, Stage::Ended(_));
        self.open.insert(id, Open { again_at, is_told, ..Open::new(phase, now, ends_at, forget_at) });
    }

    /// Commands that are older aren't begun. It counts for those that come from now on.
    pub(crate) fn set_max_age(&mut self, max_age: Duration) {
        self.max_age = max_age;
    }

    /// CONNACK. `was_down`: for how long nothing of the server's can have come in this life of the daemon, if it has kept the session
    /// meanwhile. Before its first connection nothing came for as long as none was [seen](Journal), either.
    pub(crate) fn connected(&mut self, was_down: Option<Duration>, now: Instant) {
        let unseen = self.unseen.take();
        let age = |was_down: Duration| was_down.saturating_add(unseen.unwrap_or_default());
        self.backlog = was_down.map(|was_down| Backlog { until: now + BACKLOG, age: age(was_down) });
        if unseen.is_some() {
            self.see(now);
            self.record();
        }
    }

    /// The daemon is about to end, and the server was last heard then: that is noted, so that the next life knows how long nothing of
    /// the server's can have come. One that has heard nothing leaves what an earlier life has noted.
    pub(crate) fn stopping(&mut self, heard_at: Instant) {
        self.see(heard_at);
        self.record();
    }

    pub(super) fn see(&mut self, now: Instant) {
        let (began, wall) = self.began;
        let passed = now.saturating_duration_since(began).as_secs();
        self.journal.seen = wall.saturating_add_unsigned(passed);
    }

    /// Commands can be asked, on a new connection: what is being told is told on that once more.
    pub(crate) fn ready(&mut self, requests: &mut Requests, now: Instant) {
        let ids: Vec<String> = self.open.keys().cloned().collect();
        for id in ids {
            let Some(open) = self.open.get_mut(&id) else { continue };
            // Once it was sent, each connection may make a copy.
            match open.telling.filter(|(request, _)| !requests.is_unsent(*request)) {
                Some((_, Told::InProgress)) => open.stray += 1,
                Some((_, Told::Result)) => open.is_told = true,
                None => {}
            }
            self.leave_progress(&id, requests);
            self.tell(&id, requests, now);
        }
    }

    /// There is an action for the execution that was [found](Effect::Found). With `is_its_turn` nothing else is under way, nor begins
    /// until it has [ended](Commands::ended) or [passes its turn](Effect::PassTurn); otherwise it waits for its [turn](Commands::turn).
    pub(crate) fn accept(&mut self, id: &str, is_its_turn: bool) {
        let Some(Phase::Found(payload)) = self.open.get(id).map(|open| open.phase.clone()) else { return };
        if is_its_turn {
            return self.begin(id, payload);
        }
        let record = self.record();
        if let Some(open) = self.open.get_mut(id) {
            (open.phase, open.awaited) = (Phase::Waiting(payload), Some(record));
        }
    }

    /// There is none, or its payload has a fault: the reason says which.
    pub(crate) fn reject(&mut self, id: &str, reason: Reason) {
        if self.open.get(id).is_some_and(|open| matches!(open.phase, Phase::Found(_))) {
            self.end(id, Outcome::rejected(reason));
        }
    }

    /// It is the turn of an execution that waits. Returns whether it takes it: it doesn't if its time has passed.
    pub(crate) fn turn(&mut self, id: &str, now: Instant) -> bool {
        let Some(open) = self.open.get(id) else { return false };
        let Phase::Waiting(payload) = &open.phase else { return false };
        let payload = payload.clone();
        let is_in_time = now < open.begin_by;
        match is_in_time {
            true => self.begin(id, payload),
            false => self.begins_too_late(id),
        }
        is_in_time
    }

    fn begin(&mut self, id: &str, payload: String) {
        self.journal.set_stage(id, Stage::Begun { payload: payload.clone() });
        let record = self.record();
        if let Some(open) = self.open.get_mut(id) {
            open.phase = Phase::Beginning(payload, record);
            open.awaited = open.awaited.or(Some(record));
        }
    }

    fn begins_too_late(&mut self, id: &str) {
        let Some(open) = self.open.get(id) else { return };
        let outcome = match open.begin_by == open.ends_at {
            true => Outcome::timed_out(Reason::new(
                WAITED_TOO_LONG,
                "another action ran, or the disk hung, until its time had passed",
            )),
            false => Outcome::too_old(),
        };
        self.end(id, outcome);
    }

    /// A journal is on the disk, and with it all before it. Or, with `is_done` false, it can't be written now, and it, or the newest
    /// there is then, is tried again and again: meanwhile nothing begins, but results are told all the same. IoT Core has a PUBACK of
    /// what isn't on the disk once its result is accepted, or doesn't seem to be for now: others wait behind that PUBACK.
    pub(crate) fn recorded(&mut self, id: RecordId, is_done: bool, requests: &mut Requests, now: Instant) {
        self.see(now);
        let ids: Vec<String> = self.open.keys().cloned().collect();
        for execution in ids {
            let Some(open) = self.open.get_mut(&execution) else { continue };
            if is_done && open.awaited.is_some_and(|awaited| awaited <= id) {
                self.effects.extend(open.release());
            }
            match &mut open.phase {
                // Its PUBACK would hold up all others until it is its turn.
                Phase::Waiting(_) if !is_done && open.awaited.is_some_and(|awaited| awaited <= id) => {
                    self.end_unrecorded(&execution, "it can't be noted on the disk that it has come", requests, now);
                }
                // The disk has taken its time.
                Phase::Beginning(_, record) if *record <= id && is_done && open.begin_by < now => {
                    self.begins_too_late(&execution);
                    self.effects.push_back(Effect::PassTurn(execution));
                }
                Phase::Beginning(payload, record) if *record <= id && is_done => {
                    let begun = Execution { id: execution, payload: std::mem::take(payload) };
                    open.phase = Phase::Running { announce_at: Some(now + ANNOUNCE_AFTER) };
                    self.effects.push_back(Effect::Begin(begun));
                }
                Phase::Beginning(_, record) if *record <= id => {
                    self.end_unrecorded(&execution, "it can't be noted on the disk that it is begun", requests, now);
                    self.effects.push_back(Effect::PassTurn(execution));
                }
                Phase::Result(_, awaited) if awaited.is_some_and(|awaited| awaited <= id) => {
                    *awaited = None;
                    self.tell(&execution, requests, now);
                }
                _ => {}
            }
        }
    }

    /// The action has ended, and nothing of it runs any more.
    pub(crate) fn ended(&mut self, id: &str, outcome: Outcome, requests: &mut Requests, now: Instant) {
        self.see(now);
        let Some(open) = self.open.get_mut(id) else { return };
        match open.phase {
            Phase::Resumed if outcome.is_interrupted() && open.ends_at <= now => {
                self.over(id, Fate::Late(outcome), requests)
            }
            Phase::Running { .. } | Phase::Resumed => {
                self.end(id, outcome);
                self.leave_progress(id, requests);
            }
            _ => {}
        }
    }

    /// This is to be told of it, once it is on the disk.
    fn end(&mut self, id: &str, outcome: Outcome) {
        self.journal.set_stage(id, Stage::Ended(outcome.clone()));
        let record = self.record();
        if let Some(open) = self.open.get_mut(id) {
            if matches!(open.phase, Phase::Found(_)) {
                open.awaited = Some(record);
            }
            open.phase = Phase::Result(outcome, Some(record));
        }
    }

    /// The disk doesn't take it, nor would it take this result: that is told at once.
    fn end_unrecorded(&mut self, id: &str, why: &str, requests: &mut Requests, now: Instant) {
        let outcome = Outcome::not_recorded(why);
        self.end(id, outcome.clone());
        if let Some(open) = self.open.get_mut(id) {
            open.phase = Phase::Result(outcome, None);
        }
        self.tell(id, requests, now);
    }

    fn over(&mut self, id: &str, fate: Fate, requests: &mut Requests) {
        let Some(mut open) = self.open.remove(id) else { return };
        open.telling.into_iter().for_each(|(request, _)| requests.withdraw(request));
        self.effects.extend(open.release());
        self.journal.set_stage(id, Stage::Over);
        self.record();
        self.effects.push_back(Effect::Over(id.to_owned(), fate));
    }

    pub(crate) fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When there is something to do without anything happening.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.open.values().filter_map(Open::timeout).min()
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, requests: &mut Requests, now: Instant) {
        let due = self.open.iter().filter(|(_, open)| open.timeout().is_some_and(|at| at <= now));
        let due: Vec<String> = due.map(|(id, _)| id.clone()).collect();
        for id in due {
            let Some(open) = self.open.get_mut(&id) else { continue };
            match &open.phase {
                Phase::Waiting(_) => self.begins_too_late(&id),
                Phase::Running { .. } => {
                    open.phase = Phase::Running { announce_at: None };
                    let request = self.ask(&id, execution::status("IN_PROGRESS"), requests);
                    if let Some(open) = self.open.get_mut(&id) {
                        open.telling = request.map(|request| (request, Told::InProgress));
                    }
                }
                Phase::Result(outcome, _) if open.told_until(outcome) <= now => {
                    let fate = Fate::Late(outcome.clone());
                    self.over(&id, fate, requests);
                }
                Phase::Result(..) => {
                    open.again_at = None;
                    self.tell(&id, requests, now);
                }
                Phase::Found(_) | Phase::Beginning(..) | Phase::Resumed => {}
            }
        }
    }

    /// Those that aren't over.
    pub(crate) fn open(&self) -> impl Iterator<Item = &str> {
        self.open.keys().map(|id| &**id)
    }

    fn record(&mut self) -> RecordId {
        self.last_record += 1;
        let id = RecordId(self.last_record);
        self.effects.push_back(Effect::Record(id, self.journal.clone()));
        id
    }

    fn ask(&self, id: &str, body: Map<String, Value>, requests: &mut Requests) -> Option<RequestId> {
        let base = format!("$aws/commands/things/{}/executions/{id}/response", self.thing);
        let request = Request::new(Service::Commands, &format!("{base}/json"), body).ok()?;
        let answers = request.answered_on(&format!("{base}/accepted/json"), &format!("{base}/rejected/json"));
        requests.ask(answers.without_token())
    }
}
