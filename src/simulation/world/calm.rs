//! What comes after everything that happens: everything comes to its end, and then little happens.

use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use super::{FORWARDS, World};
use crate::simulation::bridge;
use crate::simulation::clients::{self, Habit, Publishes, Reads};
use crate::simulation::network::Weather;
use crate::simulation::plan::{HOUR, Plan};
use crate::simulation::process::Process;
use crate::store::simulated;
use crate::time;

/// When faults have stopped, everything is done within so long: the longest wait of the backoff is five minutes, and what was
/// refused while everything was may take several trials.
const CALM: Duration = Duration::from_secs(3 * 3600);

/// How long a message takes when everything is in order: much less than this.
pub(super) const PROMPT: Duration = Duration::from_secs(5);

impl World {
    /// Whatever was wrong is right again: everything drains.
    pub(super) async fn calm(self: &Rc<World>, plan: &Plan) {
        self.judge.note("calm".to_owned());
        self.changes.iter().for_each(|count| count.set(count.get() + 1));
        self.network.set_weather(Weather::default());
        self.network.forgets_after(None);
        self.mend_the_cloud();
        self.disk_behaves(&simulated::Behaviour::default());
        self.calm_identity();
        if self.bridge.is_some() {
            self.calm_locally();
        }
        if self.has_orders {
            self.calm_orders();
        }
        self.clocks.synchronise(true);
        self.local.outstanding.is_over.set(true);
        if plan.kinds.wild {
            // What a CONNACK has said holds for as long as the connection.
            self.network.cut();
        }
        for (forward, _) in FORWARDS {
            let acknowledges = forward == "acknowledged";
            let (pause, lines, stays) = (Duration::ZERO, u32::MAX, 10 * CALM);
            let reads = Reads {
                forward: leak(forward),
                acknowledges,
                observes: None,
                pause,
                forgets: 0,
                lines,
                stays,
                times: 1,
            };
            drop(spawn_local(clients::read(self.local.clone(), reads)));
        }
        let begun = time::now();
        while let Some(open) = self.open()
            && !self.judge.has_enough()
        {
            if time::now() >= begun + CALM {
                self.judge.violated(format!(
                    "after {} h of calm there is still {open}; seed {}",
                    CALM.as_secs() / 3600,
                    plan.seed
                ));
                return;
            }
            sleep(Duration::from_secs(5)).await;
        }
        self.judge.note(format!("drained after {:?}", time::now() - begun));
    }

    /// What isn't done yet.
    pub(super) fn open(&self) -> Option<String> {
        let outstanding = &self.local.outstanding;
        let mut open = String::new();
        let counts = [
            ("answers that are owed", outstanding.answers.get()),
            ("programs that publish", outstanding.publishers.get()),
            ("messages in the outbox on the disk", self.disk.messages_of("outbox")),
            ("messages for readers on the disk", FORWARDS.iter().map(|(name, _)| self.disk.messages_of(name)).sum()),
            (
                "messages of the cloud",
                self.network.with_cloud(|cloud| cloud.offered().iter().filter(|it| it.is_open()).count()),
            ),
            (
                "filters that aren't subscribed to",
                self.network.with_cloud(|cloud| usize::from(!cloud.subscriptions().contains_key("down/#"))),
            ),
            ("messages of the local broker", self.brokers.with_server(|broker| broker.open())),
            ("messages of the bridge on the disk", bridge::queues().map(|queue| self.disk.messages_of(&queue)).sum()),
            ("filters at the local broker that aren't subscribed to", usize::from(!self.is_bridged())),
            ("jobs that aren't over", self.open_jobs()),
            ("programs that run", self.programs.running()),
            ("identity that isn't there", usize::from(!self.is_identified_at_aws())),
            ("no daemon", usize::from(self.process.borrow().is_none())),
        ];
        for (what, count) in counts.iter().filter(|(_, count)| *count > 0) {
            let _ = write!(open, "{count} {what}, ");
        }
        (!open.is_empty()).then_some(open)
    }

    /// Single messages, behind which no other comes: each goes at once.
    pub(super) async fn probe(self: &Rc<World>) {
        for _ in 0..360 {
            sleep(Duration::from_secs(10)).await;
            if self.open().is_none() {
                break;
            }
        }
        for n in 0..5 {
            self.one_by_one(n).await;
            self.publish(1, 10);
            sleep(PROMPT).await;
            if let Some(open) = self.open() {
                self.judge.violated(format!("{PROMPT:?} after a single message there is still {open}"));
            }
            sleep(Duration::from_secs(20 + 7 * n)).await;
        }
    }

    /// A program publishes a single message, and is answered.
    pub(super) async fn one_by_one(&self, seed: u64) {
        let what = Publishes {
            lines: 1,
            at_once: 1,
            pause: Duration::ZERO,
            topic: "up/one/by/one/a/b".to_owned(),
            qos: 1,
            size: 10,
            habit: Habit::Good,
        };
        self.local.outstanding.is_over.set(false);
        let published = timeout(PROMPT, clients::publish(self.local.clone(), what, seed)).await;
        self.local.outstanding.is_over.set(true);
        if published.is_err() {
            self.judge.violated(format!("with nothing to do a line had no answer within {PROMPT:?}"));
        }
    }

    /// A server that can't be reached for long: it is tried again and again, neither too often nor too seldom, and nobody is told of
    /// each time.
    pub(super) async fn darkness(&self) {
        self.judge.note("darkness".to_owned());
        self.network.set_weather(Weather { connects_fail: Some(true), ..Weather::default() });
        self.network.cut();
        sleep(HOUR).await;
        let (attempts, lines) = (self.network.attempts().0, self.judge.lines());
        sleep(HOUR).await;
        let (attempts, lines) = (self.network.attempts().0 - attempts, self.judge.lines() - lines);
        if !(20..=200).contains(&attempts) {
            self.judge.violated(format!("{attempts} attempts to connect in an hour without a network"));
        }
        if lines > 4 {
            self.judge.violated(format!("{lines} lines in the log in an hour without a network, which isn't new"));
        }
        self.network.set_weather(Weather::default());
        // The longest wait of the backoff, and some more.
        sleep(Duration::from_secs(400)).await;
        if let Some(open) = self.open() {
            self.judge.violated(format!("with a network again there is still {open}"));
        }
    }

    /// An hour in which nothing happens costs next to nothing.
    pub(super) async fn rest(&self) {
        sleep(Duration::from_secs(600)).await;
        let counts = || {
            let turns = self.process.borrow().as_ref().map_or(0, Process::turns);
            let (attempts, _) = self.network.attempts();
            [turns, attempts, self.disk.jobs()]
        };
        let before = counts();
        sleep(HOUR).await;
        let after = counts();
        // A keep alive a minute, each with a few turns; a publication each ten minutes, which is acknowledged at once.
        let bounds = [(1500, "turns"), (0, "attempts to connect"), (4, "jobs of the disk")];
        for ((bound, what), (after, before)) in bounds.into_iter().zip(after.into_iter().zip(before)) {
            let count = after.saturating_sub(before);
            if count > bound {
                self.judge.violated(format!("{count} {what} in an hour without anything to do"));
            }
        }
    }

    /// It stops when it is told to.
    pub(super) async fn end(&self, keeping: tokio::task::JoinHandle<()>) {
        self.is_over.set(true);
        self.with_process(|process| process.signal(nix::libc::SIGTERM));
        if timeout(Duration::from_secs(60), keeping).await.is_err() {
            self.judge.violated("a minute after SIGTERM the daemon is still there".to_owned());
        }
    }
}

fn leak(name: &str) -> &'static str {
    FORWARDS.iter().find(|(known, _)| *known == name).map_or("", |(known, _)| known)
}
