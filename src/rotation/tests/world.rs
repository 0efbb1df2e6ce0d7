//! Everything around the machine: the disk, the link, and AWS with its rotator.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::Map;

use crate::identity::Which;
use crate::rotation::{
    Answered, Cause, Effect, Failed, Machine, NoAnswer, Note, Now, Question, RotationEnd, Stage, Step,
    UnfinishedRotation,
};
use crate::services::jobs::Identity as Job;

pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// What AWS does with a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Answers,
    /// It is done, and the answer is lost.
    Forgets,
    Ignores,
    Refuses,
    /// An answer that nobody can use.
    Garbage,
    /// What it says of an earlier question of this kind: nothing, if there was none.
    Stale,
}

/// An identity: the number of its certificate.
type Certificate = u32;

/// What the disk holds of the new one.
#[derive(Debug, Clone)]
struct Made {
    cause: Cause,
    stage: Stage,
    certificate: Option<Certificate>,
}

#[derive(Debug, Clone, Default)]
struct Disk {
    current: Certificate,
    made_for: Option<Job>,
    next: Option<Made>,
    note: Note,
}

/// AWS.
#[derive(Debug)]
pub(super) struct Aws {
    pub(super) lets_in: BTreeSet<Certificate>,
    last: Certificate,
    /// Commits that are done late.
    late: Vec<Certificate>,
}

/// A job, as AWS and the journal of executions have it.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) job: Job,
    pub(super) result: Option<RotationEnd>,
    /// AWS has cancelled it.
    pub(super) is_cancelled: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct World {
    pub(super) machine: Machine,
    pub(super) at: Instant,
    pub(super) wall: Timestamp,
    disk: Disk,
    /// The disk takes nothing.
    pub(super) disk_is_full: bool,
    pub(super) aws: Aws,
    /// The identity that the link is to connect with, with what its files held when they were read.
    pub(super) using: (Which, Certificate),
    pub(super) connected: Option<Certificate>,
    asked: Option<Question>,
    /// The disk works on this.
    pub(super) pending: Option<Effect>,
    pub(super) job: Option<Wanted>,
    /// This life knows of it.
    job_is_known: bool,
    jobs: i64,
    /// When certificates were asked for by renewals, by the clock that nobody sets.
    pub(super) renewals: Vec<Instant>,
    pub(super) overs: Vec<RotationEnd>,
}

impl World {
    pub(super) fn new() -> World {
        let (at, wall) = (Instant::now(), "2027-01-01T00:00:00Z".parse::<Timestamp>().unwrap());
        let disk = Disk { current: 1, ..Disk::default() };
        let aws = Aws { lets_in: [1].into(), last: 1, late: Vec::new() };
        World {
            machine: Machine::new(None, Note::default(), None, Now { at, wall }),
            at,
            wall,
            disk,
            disk_is_full: false,
            aws,
            using: (Which::Current, 1),
            connected: None,
            asked: None,
            pending: None,
            job: None,
            job_is_known: false,
            jobs: 0,
            renewals: Vec::new(),
            overs: Vec::new(),
        }
    }

    pub(super) fn now(&self) -> Now {
        Now { at: self.at, wall: self.wall }
    }

    /// The certificates that AWS lets in.
    pub(super) fn lets_in(&self) -> &BTreeSet<u32> {
        &self.aws.lets_in
    }

    pub(super) fn current(&self) -> u32 {
        self.disk.current
    }

    pub(super) fn next(&self) -> Option<u32> {
        self.disk.next.as_ref().and_then(|next| next.certificate)
    }

    /// Why the last one failed, as it is noted.
    pub(super) fn failed(&self) -> Option<&Failed> {
        self.disk.note.failed.as_ref()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connected.is_some()
    }

    pub(super) fn step(&self) -> Option<Step> {
        self.machine.step()
    }

    pub(super) fn asked(&self) -> Option<&Question> {
        self.asked.as_ref()
    }

    /// Effects, up to one that waits for the disk.
    fn pump(&mut self) {
        while let Some(effect) = self.machine.next_effect() {
            match effect {
                Effect::Ask(question) => {
                    if question == Question::CreateFromCsr {
                        self.renewals.push(self.at);
                    }
                    self.asked = Some(question);
                }
                Effect::Withdraw => self.asked = None,
                Effect::Use(which) | Effect::UseAtNextAttempt(which) => self.use_one(which),
                Effect::Over(ended) => self.over(ended),
                Effect::Note(note) if !self.disk_is_full => self.disk.note = note,
                Effect::Note(_) => {}
                stores => {
                    assert!(self.pending.is_none(), "{stores:?} while {:?} waits", self.pending);
                    self.pending = Some(stores);
                }
            }
        }
    }

    fn use_one(&mut self, which: Which) {
        let of_next = || self.next().expect("what is tried is on the disk");
        let certificate = if which == Which::Current { self.disk.current } else { of_next() };
        if certificate != self.using.1 {
            self.connected = None;
        }
        self.using = (which, certificate);
    }

    fn over(&mut self, ended: RotationEnd) {
        if let Some(wanted) = self.job.as_mut().filter(|wanted| ended.cause == Cause::Job(wanted.job.clone())) {
            wanted.result.get_or_insert_with(|| ended.clone());
        }
        self.overs.push(ended);
    }

    /// The disk does what it was asked for.
    pub(super) fn write(&mut self) {
        self.pump();
        let Some(effect) = self.pending.take() else { return };
        let needs_room = effect != Effect::Discard;
        let result = match self.disk_is_full && needs_room {
            true => Err("the disk is full".to_owned()),
            false => {
                self.perform(effect);
                Ok(())
            }
        };
        let now = self.now();
        self.machine.stored(result, now);
        self.pump();
    }

    fn perform(&mut self, effect: Effect) {
        let next = &mut self.disk.next;
        match effect {
            Effect::Prepare(cause) => *next = Some(Made { cause, stage: Stage::Unfinished, certificate: None }),
            Effect::StoreCertificate { pem, stage } => {
                let next = next.as_mut().expect("it was begun");
                (next.certificate, next.stage) = (Some(pem.parse().unwrap()), stage);
            }
            Effect::Store(stage) | Effect::StoreConfiguration { stage, .. } => {
                next.as_mut().expect("it was begun").stage = stage;
            }
            Effect::PutInForce(cause) => {
                let made = next.take().expect("it is there");
                self.disk.current = made.certificate.expect("it has connected");
                self.disk.made_for = if let Cause::Job(job) = cause { Some(job) } else { None };
            }
            Effect::Discard => *next = None,
            Effect::Record(note) => self.disk.note = note,
            other => unreachable!("{other:?} isn't the disk's"),
        }
    }

    /// It is ended at once and started again. What the disk was asked for is done, or not.
    pub(super) fn kill(&mut self, is_done: bool) {
        self.pump();
        if let Some(effect) = self.pending.take().filter(|_| is_done && !self.disk_is_full) {
            self.perform(effect);
        }
        let found = self
            .disk
            .next
            .as_ref()
            .map(|made| UnfinishedRotation { cause: made.cause.clone(), stage: made.stage.clone() });
        (self.asked, self.connected, self.using) = (None, None, (Which::Current, self.disk.current));
        self.job_is_known = false;
        self.machine = Machine::new(found, self.disk.note.clone(), self.disk.made_for.clone(), self.now());
        self.pump();
    }

    /// An attempt to connect, with what the link has.
    pub(super) fn connect(&mut self) {
        self.pump();
        let (which, certificate) = self.using;
        if self.connected.is_some() {
            return;
        }
        let now = self.now();
        match self.aws.lets_in.contains(&certificate) {
            true => {
                self.connected = Some(certificate);
                self.machine.connected(which, now);
                self.pump();
                self.tell_of_the_job(self.connected.is_some());
            }
            false => self.machine.refused(which, "not authorized", now),
        }
        self.pump();
    }

    pub(super) fn cut(&mut self) {
        self.connected = None;
        self.machine.lost();
        self.pump();
    }

    /// Jobs is asked on a new connection, and says what is.
    pub(super) fn tell_of_the_job(&mut self, is_connected: bool) {
        let Some(wanted) = self.job.clone().filter(|_| is_connected) else { return };
        if wanted.result.is_some() {
            return;
        }
        let now = self.now();
        match wanted.is_cancelled {
            true => self.machine.unwanted(&wanted.job, now),
            false => {
                // Once after a restart, and then on each new connection.
                match std::mem::replace(&mut self.job_is_known, true) {
                    true => self.machine.still_wanted(&wanted.job),
                    false => self.machine.wanted(wanted.job.clone(), now),
                }
            }
        }
        self.pump();
    }

    pub(super) fn begin_job(&mut self) {
        if self.connected.is_none() || self.job.as_ref().is_some_and(|job| job.result.is_none() && !job.is_cancelled) {
            return;
        }
        self.jobs += 1;
        let job = Job { job: format!("job-{}", self.jobs), number: 1 };
        self.job = Some(Wanted { job: job.clone(), result: None, is_cancelled: false });
        let now = self.now();
        self.job_is_known = true;
        self.machine.wanted(job, now);
        self.pump();
    }

    pub(super) fn cancel_job(&mut self) {
        let Some(wanted) = self.job.as_mut().filter(|wanted| wanted.result.is_none()) else { return };
        wanted.is_cancelled = true;
        self.tell_of_the_job(self.connected.is_some());
    }

    pub(super) fn renew(&mut self) {
        let now = self.now();
        self.machine.is_due(now);
        self.pump();
    }

    /// AWS looks at what was asked.
    pub(super) fn answer(&mut self, mood: Mood) {
        self.pump();
        let (Some(question), Some(connected)) = (self.asked.clone(), self.connected) else { return };
        let is_done = matches!(mood, Mood::Answers | Mood::Forgets);
        let answered = is_done.then(|| self.done(&question, connected)).flatten();
        let answer = match mood {
            Mood::Answers => answered.map(Ok),
            Mood::Forgets | Mood::Ignores => None,
            Mood::Refuses => Some(Err(NoAnswer { text: "no".to_owned(), is_final: true })),
            Mood::Garbage => Some(Err(NoAnswer { text: "it is no JSON".to_owned(), is_final: false })),
            // The key doesn't fit.
            Mood::Stale => Some(Err(NoAnswer { text: "it is for another key".to_owned(), is_final: false })),
        };
        let Some(answer) = answer else { return };
        self.asked = None;
        let now = self.now();
        self.machine.answered(answer, now);
        self.pump();
    }

    fn done(&mut self, question: &Question, connected: Certificate) -> Option<Answered> {
        Some(match question {
            Question::Create(_) | Question::CreateFromCsr => {
                self.aws.last += 1;
                let is_renewal = *question == Question::CreateFromCsr;
                if !is_renewal {
                    self.aws.lets_in.insert(self.aws.last);
                }
                let token = is_renewal.then(|| self.aws.last.to_string());
                Answered::Certificate { pem: self.aws.last.to_string(), token }
            }
            Question::Register { token } => {
                self.aws.lets_in.insert(token.parse().unwrap());
                Answered::Registered { configuration: Map::new() }
            }
            Question::Commit(_) => {
                assert_eq!(Some(connected), self.next(), "a commit comes from the new certificate");
                self.aws.late.push(connected);
                self.finish_commits();
                Answered::Committed
            }
        })
    }

    /// The certificates but the one that was committed are let in no more.
    fn finish_commits(&mut self) {
        if let Some(committed) = self.aws.late.pop() {
            self.aws.lets_in.retain(|certificate| *certificate == committed);
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.at + time;
        // Each instant at which there is something to do is looked at.
        while let Some(at) = self.machine.timeout().filter(|at| *at <= end) {
            self.settle(time);
            self.step_to(at.max(self.at));
        }
        self.settle(time);
        self.step_to(end);
    }

    /// A disk takes its time, but not that much.
    fn settle(&mut self, time: Duration) {
        while time > MINUTE && self.pending.is_some() {
            self.write();
        }
    }

    fn step_to(&mut self, at: Instant) {
        let passed = at - self.at;
        self.at = at;
        self.wall = self.wall.checked_add(SignedDuration::try_from(passed).unwrap()).unwrap();
        let now = self.now();
        self.machine.handle_timeout(now);
        self.pump();
    }
}
