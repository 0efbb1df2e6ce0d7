//! AWS's Jobs, Commands and fleet provisioning, and the certificate rotator of its labs, for the tests: [`Service`] is what they do,
//! without I/O, and [`Cloud`] lets a daemon talk to it, by mosquitto or by the scripted server. [`fleet::Fleet`] has TLS before it that
//! knows the certificates which it gives.
//!
//! Whoever drops a [`Cloud`] is told of each request that AWS would have refused for its form.

mod caller;
pub mod certificates;
mod checks;
mod client;
pub mod commands;
pub mod fleet;
pub mod front;
pub mod jobs;
mod packets;
pub mod provisioning;
pub mod rotation;
pub mod service;

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use serde_json::Value;

use super::device::{Device, Said};
use super::mosquitto::Mosquitto;
use super::{PATIENCE, found_within};
use client::Connection;
use front::Desk;
use jobs::{Execution, Status};
use service::{Kind, Message, Mood, Service};

/// The thing that the certificates of the tests are for.
pub const THING: &str = "thing-1";

/// How long anything may take: what was lost with a connection is asked for again after 15 s.
const ASKED_AGAIN: Duration = PATIENCE.saturating_mul(2);

/// Lines of mosquitto's configuration: where the cloud connects.
const LISTENER: &str = "listener 0 DIR/cloud.sock\nallow_anonymous true\nrequire_certificate false\n\
    use_identity_as_username false\n";

/// See the module.
pub struct Cloud {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    path: Option<PathBuf>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    service: Service,
    desk: Desk,
    /// What it says next.
    outgoing: Vec<Message>,
    stream: Option<UnixStream>,
    last_id: u16,
    is_over: bool,
}

impl Cloud {
    /// A mosquitto with a cloud behind it.
    pub fn start() -> (Mosquitto, Cloud) {
        Cloud::with_options("")
    }

    /// Likewise, with more lines in mosquitto's configuration.
    pub fn with_options(options: &str) -> (Mosquitto, Cloud) {
        let mosquitto = Mosquitto::with_options(&format!("{options}{LISTENER}"));
        let path = mosquitto.path("cloud.sock");
        let shared = Arc::new(Shared::default());
        let (of_thread, socket) = (Arc::clone(&shared), path.clone());
        let thread = std::thread::spawn(move || {
            while !of_thread.state.lock().unwrap().is_over {
                of_thread.serve(&socket);
            }
        });
        let cloud = Cloud { shared, thread: Some(thread), path: Some(path) };
        cloud.until("the cloud is subscribed", |state| state.stream.is_some().then_some(()));
        (mosquitto, cloud)
    }

    /// One that only talks by [`Cloud::talk`].
    pub fn alone() -> Cloud {
        Cloud { shared: Arc::default(), thread: None, path: None }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    fn until<T>(&self, what: &str, mut find: impl FnMut(&State) -> Option<T>) -> T {
        let deadline = Instant::now() + ASKED_AGAIN;
        let mut state = self.state();
        loop {
            if let Some(found) = find(&state) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let seen = format!("{:#?}\n{:#?}", state.service, state.desk);
                drop(state);
                panic!("in vain: {what}\n{seen}");
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Has the service do something, and says what follows.
    pub fn with<T>(&self, act: impl FnOnce(&mut Service) -> T) -> T {
        let mut state = self.state();
        let result = act(&mut state.service);
        let news = state.service.news();
        state.outgoing.extend(news);
        state.flush();
        self.shared.changed.notify_all();
        result
    }

    /// Waits until the service is so that `find` finds something.
    pub fn wait<T>(&self, what: &str, mut find: impl FnMut(&Service) -> Option<T>) -> T {
        self.until(what, |state| find(&state.service))
    }

    pub fn create_job(&self, job: &str, document: Value) {
        self.create_job_with_retries(job, document, 0);
    }

    /// One that AWS tries again so often.
    pub fn create_job_with_retries(&self, job: &str, document: Value, retries: u32) {
        self.with(|service| service.jobs.create(THING, job, document, retries));
    }

    /// Waits until the newest execution of a job is so.
    pub fn wait_for(&self, job: &str, status: Status) -> Execution {
        self.wait(&format!("{job} is {status:?}"), |service| {
            service.jobs.of_job(job).filter(|execution| execution.status == status).cloned()
        })
    }

    /// The newest execution of a job.
    pub fn execution(&self, job: &str) -> Execution {
        self.wait(&format!("there is a job {job}"), |service| service.jobs.of_job(job).cloned())
    }

    /// Cancels what is queued; by force, also what is in progress. Whether that was possible.
    pub fn cancel(&self, job: &str, force: bool) -> bool {
        self.with(|service| service.jobs.cancel(job, force))
    }

    /// The in-progress timer runs out.
    pub fn time_out(&self, job: &str) {
        assert!(self.with(|service| service.jobs.time_out(job)), "{job} isn't in progress");
    }

    pub fn delete(&self, job: &str) {
        self.with(|service| service.jobs.delete(job));
    }

    /// The next requests of this kind are treated so, as many as there are moods.
    pub fn treat(&self, kind: Kind, moods: &[Mood]) {
        self.with(|service| moods.iter().for_each(|mood| service.treat(kind, *mood)));
    }

    /// What was held back is said.
    pub fn release(&self) {
        self.say_what(Service::release);
    }

    /// All answers up to now once more.
    pub fn repeat(&self) {
        self.say_what(|service| service.answers().to_vec());
    }

    /// Says anything.
    pub fn say(&self, topic: &str, payload: &str) {
        self.say_what(|_| vec![Message { topic: topic.to_owned(), payload: payload.to_owned(), expires_in: None }]);
    }

    fn say_what(&self, what: impl FnOnce(&mut Service) -> Vec<Message>) {
        let mut state = self.state();
        let messages = what(&mut state.service);
        state.outgoing.extend(messages);
        state.flush();
        self.shared.changed.notify_all();
    }

    /// Sends a command, with a time in seconds where its message has one.
    pub fn send_command(&self, execution: &str, payload: &Value, expires_in: Option<u32>) {
        let topic = format!("$aws/commands/things/{THING}/executions/{execution}/request/json");
        self.with(|service| service.commands.send(THING, execution));
        self.say_what(|_| vec![Message { topic, payload: payload.to_string(), expires_in }]);
    }

    /// What was said of a command and taken.
    pub fn responses(&self, execution: &str) -> Vec<Value> {
        self.state().service.commands.get(execution).map(|command| command.responses.clone()).unwrap_or_default()
    }

    /// Waits until a command is so, and returns what was said last.
    pub fn wait_for_command(&self, execution: &str, status: &str) -> Value {
        self.wait(&format!("{execution} is {status}"), |service| {
            let command = service.commands.get(execution).filter(|command| command.status == status)?;
            command.responses.last().cloned()
        })
    }

    /// The requests of this kind up to now, the oldest first.
    pub fn requests(&self, kind: Kind) -> Vec<Value> {
        self.state().service.requests(kind).cloned().collect()
    }

    /// The requests that AWS would have refused for their form, which the test has wanted.
    pub fn take_violations(&self) -> Vec<String> {
        self.state().service.take_violations()
    }

    /// Ends the daemon's connection: another client has its name for a moment. Its session stays.
    pub fn cut_link(&self) {
        let path = self.path.as_ref().expect("a mosquitto");
        let mut connection = Connection::open(path, THING).unwrap();
        // CONNACK: the other connection is closed.
        connection.read().unwrap();
    }

    /// Is the server of a daemon that is connected to the scripted one, until the service is so that `find` finds something.
    pub fn talk<T>(&self, device: &mut Device, what: &str, mut find: impl FnMut(&Service) -> Option<T>) -> T {
        let deadline = Instant::now() + ASKED_AGAIN;
        loop {
            self.deliver(device);
            if let Some(found) = find(&self.state().service) {
                return found;
            }
            assert!(Instant::now() < deadline, "in vain: {what}\n{:#?}", self.state().service);
            match device.next_within(Duration::from_millis(20)) {
                Err(()) => {}
                Ok(Some(said)) => self.hear(device, said),
                Ok(None) => panic!("the daemon has closed, in vain: {what}"),
            }
        }
    }

    /// Says to it what there is to be said.
    pub fn deliver(&self, device: &mut Device) {
        let mut state = self.state();
        for message in std::mem::take(&mut state.outgoing) {
            state.last_id = state.last_id.checked_add(1).unwrap_or(1);
            device.message(&message.topic, &message.payload, state.last_id);
        }
    }

    /// Hears what it says, and acknowledges it.
    pub fn hear(&self, device: &mut Device, said: Said) {
        match said {
            Said::Subscribe { id, filters } => device.suback(id, filters.len()),
            Said::Publish(publish) => {
                let mut state = self.state();
                let answers = state.service.hears(&publish.topic, publish.payload.as_bytes(), publish.retain);
                state.outgoing.extend(answers);
                if publish.qos > 0 {
                    device.puback(publish.id);
                }
            }
            Said::PingReq => device.pingresp(),
            Said::PubAck(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

impl Shared {
    /// One connection.
    fn serve(&self, path: &std::path::Path) {
        let is_over = || self.state.lock().unwrap().is_over;
        let open = || if is_over() { Some(None) } else { Connection::open(path, "aws").ok().map(Some) };
        let Some(Some(mut connection)) = found_within(6 * PATIENCE, open) else { return };
        let Ok(()) = connection.subscribe() else { return };
        while let Ok(packet) = connection.read() {
            let mut state = self.state.lock().unwrap();
            match packet {
                Packet::SubAck(_) => {
                    state.stream = connection.writer().ok();
                    state.flush();
                }
                Packet::Publish(publish) => {
                    let topic = String::from_utf8(publish.topic.to_vec()).unwrap();
                    let answers = state.service.hears(&topic, &publish.payload, publish.retain);
                    state.outgoing.extend(answers);
                    state.flush();
                    if publish.qos == QoS::AtLeastOnce
                        && let Ok(mut stream) = connection.writer()
                    {
                        let _ = client::acknowledge(&mut stream, publish.pkid);
                    }
                }
                _ => {}
            }
            drop(state);
            self.changed.notify_all();
        }
        self.state.lock().unwrap().stream = None;
    }
}

impl State {
    /// Says what there is to be said, as far as there is a connection.
    fn flush(&mut self) {
        let State { outgoing, stream: Some(stream), last_id, .. } = self else { return };
        while let Some(message) = outgoing.first() {
            *last_id = last_id.checked_add(1).unwrap_or(1);
            if client::publish(stream, message, *last_id).is_err() {
                return;
            }
            outgoing.remove(0);
        }
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        let mut state = self.state();
        state.is_over = true;
        if let Some(stream) = &state.stream {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let (service, violations) = (format!("{:#?}", state.service), state.service.take_violations());
        drop(state);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        match std::thread::panicking() {
            true => eprintln!("--- the cloud\n{service}\n---"),
            false => assert!(violations.is_empty(), "AWS would have refused: {violations:#?}"),
        }
    }
}
