//! AWS IoT Jobs and Commands, as a client of IoT Core sees them: with their state machines ([`aws`]), as good or bad as their
//! [`Manners`] say, and with their timers.
//!
//! Pure: requests and times go in, what is to be said comes out, and every choice comes from one seed. What has become of each execution
//! is taken down ([`Records`]).

mod aws;
pub(crate) mod identities;
pub(crate) mod manners;
pub(crate) mod records;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use serde_json::Value;

use super::ConnectionId;
use super::message::Downlink;
use crate::message::Properties;
use crate::simulation::server::behaviour::{FilterAnswer, Refuses};
use aws::service::{Kind, Message, Service};
use identities::{Identities, is_of_identities};
use manners::Manners;
use records::{Identity, Records, Sent};

/// The client.
const THING: &str = "gateway";

/// What a service says to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) message: Downlink,
    /// An answer comes on the connection of its request, or not at all.
    pub(super) to: Option<ConnectionId>,
    /// The command that it sends.
    pub(super) command: Option<String>,
}

/// When AWS calls an execution timed out.
#[derive(Debug, Clone, Copy, Default)]
struct Timers {
    in_progress: Option<Instant>,
    step: Option<Instant>,
}

/// A job, as somebody creates it.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) document: Value,
    /// How often AWS tries it again.
    pub(crate) retries: u32,
    /// How long it may be in progress.
    pub(crate) minutes: Option<u32>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Services {
    aws: Service,
    pub(crate) manners: Manners,
    random: Rng,
    /// What is said when, in order.
    due: BTreeMap<(Instant, u64), Said>,
    last_due: u64,
    said: VecDeque<Said>,
    timers: BTreeMap<Identity, Timers>,
    minutes: BTreeMap<String, u32>,
    records: Records,
    pub(crate) identities: Identities,
    /// Requests that the rotator's backend hears of late.
    late: BTreeMap<(Instant, u64), (ConnectionId, Downlink)>,
}

impl Services {
    pub(super) fn new(seed: u64) -> Services {
        Services {
            aws: Service::default(),
            manners: Manners::default(),
            random: Rng::with_seed(seed ^ 0x00a5),
            due: BTreeMap::new(),
            last_due: 0,
            said: VecDeque::new(),
            timers: BTreeMap::new(),
            minutes: BTreeMap::new(),
            records: Records::default(),
            identities: Identities::default(),
            late: BTreeMap::new(),
        }
    }

    pub(crate) fn records(&self) -> &Records {
        &self.records
    }

    /// What the client asked for in a form that AWS doesn't take.
    pub(crate) fn violations(&self) -> &[String] {
        self.aws.violations()
    }

    /// The jobs with an execution that isn't over.
    pub(crate) fn open_jobs(&self) -> Vec<String> {
        let open = self.aws.jobs.all().iter().filter(|execution| !execution.status.is_terminal());
        open.map(|execution| execution.job.clone()).collect()
    }

    /// How a filter is refused.
    pub(super) fn refuses_filter(&self, filter: &str) -> Option<FilterAnswer> {
        self.manners.lacks.filter(|lack| filter.starts_with(lack.prefix)).and_then(|lack| lack.filter)
    }

    /// How a publication is refused.
    pub(super) fn refuses(&self, topic: &str) -> Option<Refuses> {
        self.manners.lacks.filter(|lack| topic.starts_with(lack.prefix)).and_then(|lack| lack.publish)
    }

    // What somebody does at AWS.

    pub(crate) fn create(&mut self, id: &str, job: &Job, now: Instant) {
        self.minutes.extend(job.minutes.map(|minutes| (id.to_owned(), minutes)));
        self.aws.jobs.create(THING, id, job.document.clone(), job.retries);
        self.changed(false, now);
    }

    pub(crate) fn cancel(&mut self, job: &str, now: Instant) {
        self.aws.jobs.cancel(job, true);
        self.changed(false, now);
    }

    pub(crate) fn delete(&mut self, job: &str, now: Instant) {
        self.aws.jobs.delete(job);
        self.changed(false, now);
    }

    /// A command with this time; IoT Core may say it twice.
    pub(crate) fn send(&mut self, id: &str, payload: &Value, (time, twice): (Duration, bool), now: Instant) {
        self.aws.commands.send(THING, id);
        let sent =
            Sent { at: now, ends_at: now + time, places: Vec::new(), facts: Vec::new(), is_over: false, reason: None };
        self.records.commands.insert(id.to_owned(), sent);
        let topic = format!("$aws/commands/things/{THING}/executions/{id}/request/json");
        let expires_in = u32::try_from(time.as_secs()).ok();
        let message = Message { topic, payload: payload.to_string(), expires_in };
        for _ in 0..=u8::from(twice) {
            self.later(&message, None, Some(id), now);
        }
        self.changed(false, now);
    }

    // What the client does.

    /// A request, perhaps.
    pub(super) fn hear(&mut self, from: ConnectionId, message: &Downlink, now: Instant) {
        let topic = &*message.topic;
        let Some(kind) = kind(topic) else { return };
        if matches!(kind, Kind::RotatorCreate | Kind::RotatorCommit) {
            self.last_due += 1;
            let at = now + self.manners.lag.pick(&mut self.random);
            self.late.insert((at, self.last_due), (from, message.clone()));
            return;
        }
        self.hear_now(from, kind, message, now);
    }

    fn hear_now(&mut self, from: ConnectionId, kind: Kind, message: &Downlink, now: Instant) {
        let topic = &*message.topic;
        if let Some(mood) = self.manners.mood(kind, &mut self.random) {
            self.aws.treat(kind, mood);
        }
        let before = self.version_of(topic);
        let said = match is_of_identities(kind) {
            true => self.hear_of_identities(from, (kind, topic), &message.payload, now),
            false => self.aws.hears(topic, &message.payload, message.retain),
        };
        if before != self.version_of(topic) {
            self.set_step_timer(topic, &message.payload, now);
        }
        for message in said {
            // The rotator publishes its answers as anybody does.
            let is_of_service = !matches!(kind, Kind::RotatorCreate | Kind::RotatorCommit);
            let to = (is_of_service && is_answer(&message.topic)).then_some(from);
            self.later(&message, to, None, now);
        }
        self.changed(true, now);
    }

    /// A command was published, as this message.
    pub(super) fn offered(&mut self, command: &str, place: usize) {
        if let Some(sent) = self.records.commands.get_mut(command) {
            sent.places.push(place);
        }
    }

    fn version_of(&self, topic: &str) -> Option<(i64, i64)> {
        let job = job_of(topic)?;
        self.aws.jobs.of_job(job).map(|execution| (execution.number, execution.version))
    }

    fn set_step_timer(&mut self, topic: &str, payload: &Bytes, now: Instant) {
        let Some(execution) = job_of(topic).and_then(|job| self.aws.jobs.of_job(job)) else { return };
        let body: Value = serde_json::from_slice(payload).unwrap_or_default();
        if body.get("stepTimeoutInMinutes").is_some() {
            let minutes = execution.step_minutes.and_then(|minutes| u32::try_from(minutes).ok());
            let identity = (execution.job.clone(), execution.number);
            self.timers.entry(identity).or_default().step = minutes.map(|minutes| now + minutes * MINUTE);
        }
    }

    /// Something may have changed: it is taken down, timers begin and end, and the client is told.
    fn changed(&mut self, by_client: bool, now: Instant) {
        for (identity, status) in self.records.note((&self.aws.jobs, &self.aws.commands), by_client, now) {
            match &*status {
                "QUEUED" => {}
                "IN_PROGRESS" => {
                    let minutes = self.minutes.get(&identity.0).copied();
                    self.timers.entry(identity).or_default().in_progress =
                        minutes.map(|minutes| now + minutes * MINUTE);
                }
                _ => drop(self.timers.remove(&identity)),
            }
        }
        for message in self.aws.news() {
            self.later(&message, None, None, now);
        }
    }

    fn later(&mut self, message: &Message, to: Option<ConnectionId>, command: Option<&str>, now: Instant) {
        self.last_due += 1;
        let at = now + self.manners.delay.pick(&mut self.random);
        let message = Downlink {
            topic: message.topic.clone(),
            payload: Bytes::from(message.payload.clone()),
            qos: 1,
            properties: Properties { expires_in: message.expires_in, ..Properties::default() },
            ..Downlink::default()
        };
        self.due.insert((at, self.last_due), Said { message, to, command: command.map(str::to_owned) });
    }

    // Time.

    pub(super) fn timeout(&self) -> Option<Instant> {
        let jobs = self.timers.values().flat_map(|timers| [timers.in_progress, timers.step]).flatten();
        let commands = self.records.commands.values().filter(|sent| sent.is_waited_for()).map(|sent| sent.ends_at);
        let of_rotator = self.late.keys().next().map(|(at, _)| *at);
        jobs.chain(commands).chain(self.due.keys().next().map(|(at, _)| *at)).chain(of_rotator).min()
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some(entry) = self.late.first_entry().filter(|entry| entry.key().0 <= now) {
            let (from, message) = entry.remove();
            if let Some(kind) = kind(&message.topic) {
                self.hear_now(from, kind, &message, now);
            }
        }
        while let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= now) {
            self.said.push_back(entry.remove());
        }
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let due = self.timers.iter().filter(|(_, timers)| is_due(timers.in_progress) || is_due(timers.step));
        for identity in due.map(|(identity, _)| identity.clone()).collect::<Vec<_>>() {
            self.timers.remove(&identity);
            if self.aws.jobs.of_job(&identity.0).is_some_and(|execution| execution.number == identity.1) {
                self.aws.jobs.time_out(&identity.0);
            }
        }
        let late = self.records.commands.iter().filter(|(_, sent)| sent.is_waited_for() && sent.ends_at <= now);
        for id in late.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.aws.commands.time_out(&id);
        }
        self.changed(false, now);
    }

    /// What is said now, in order.
    pub(super) fn next_said(&mut self) -> Option<Said> {
        self.said.pop_front()
    }
}

impl Sent {
    /// For AWS it hasn't timed out yet, and isn't over.
    fn is_waited_for(&self) -> bool {
        !self.is_over && self.facts.last().is_none_or(|last| last.status != "TIMED_OUT")
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// Which request a topic is for.
fn kind(topic: &str) -> Option<Kind> {
    match topic.split('/').collect::<Vec<_>>()[..] {
        ["$aws", "things", _, "jobs", "start-next"] => Some(Kind::StartNext),
        ["$aws", "things", _, "jobs", _, "update"] => Some(Kind::Update),
        ["$aws", "things", _, "jobs", .., "get"] => Some(Kind::Get),
        ["$aws", "commands", "things", _, "executions", _, "response", "json"] => Some(Kind::Response),
        ["$aws", "certificates", "create-from-csr", "json"] => Some(Kind::CreateCertificate),
        ["$aws", "provisioning-templates", _, "provision", "json"] => Some(Kind::RegisterThing),
        ["awslabs", "things", _, "certificate", "create"] => Some(Kind::RotatorCreate),
        ["awslabs", "things", _, "certificate", "commit"] => Some(Kind::RotatorCommit),
        _ => None,
    }
}

/// The job that an update is of.
fn job_of(topic: &str) -> Option<&str> {
    match topic.split('/').collect::<Vec<_>>()[..] {
        ["$aws", "things", _, "jobs", job, "update"] => Some(job),
        _ => None,
    }
}

fn is_answer(topic: &str) -> bool {
    let topic = topic.strip_suffix("/json").unwrap_or(topic);
    topic.ends_with("/accepted") || topic.ends_with("/rejected")
}
