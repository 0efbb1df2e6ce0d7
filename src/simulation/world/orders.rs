//! What somebody at AWS wants done.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::sleep;

use super::World;
use super::calm::PROMPT;
use crate::simulation::cloud::services::manners::Manners;
use crate::simulation::cloud::services::{Job, Services};
use crate::simulation::judge::Disturbance;
use crate::simulation::plan::orders::{Asked, Expected, Order};
use crate::simulation::plan::{MINUTE, What};
use crate::simulation::programs::Wish;
use crate::time;

/// What is undone after its time: Jobs and Commands.
const SERVICES: usize = 5;

/// How long what was cancelled may go on: until it was told to end and has.
const ENDS_WITHIN: Duration = Duration::from_secs(12);

impl World {
    pub(super) fn is_ordered(self: &Rc<World>, order: &Order) {
        match order {
            Order::Jobs { asked, retries, minutes } => {
                for asked in asked {
                    self.create_job(asked, *retries, *minutes);
                }
            }
            Order::Cancel => self.with_an_open_job(Services::cancel),
            Order::Delete => self.with_an_open_job(Services::delete),
            Order::Commands { asked, time, twice } => {
                for asked in asked {
                    self.send_command(asked, *time, *twice);
                }
            }
            Order::Manners(manners, lasts) => {
                self.have_manners(Manners::clone(manners));
                self.undo(SERVICES, *lasts, |world| world.have_manners(Manners::default()));
            }
        }
    }

    fn operate(&self, what: impl FnOnce(&mut Services)) {
        self.network.with_cloud(|cloud| cloud.operate(what, time::now()));
    }

    pub(super) fn have_manners(&self, manners: Manners) {
        self.operate(|services| services.manners = manners);
    }

    fn create_job(&self, asked: &Asked, retries: u32, minutes: Option<u32>) -> String {
        let id = format!("job-{}", self.judge.number());
        self.judge.actions.asks(&id, asked);
        self.judge.note(format!("{id}: {}", asked.document));
        let job = Job { document: asked.document.clone(), retries, minutes };
        self.operate(|services| services.create(&id, &job, time::now()));
        id
    }

    fn send_command(&self, asked: &Asked, time: Duration, twice: bool) -> String {
        let id = format!("command-{}", self.judge.number());
        self.judge.actions.asks(&id, asked);
        self.judge.note(format!("{id}: {}", asked.document));
        self.operate(|services| services.send(&id, &asked.document, (time, twice), time::now()));
        id
    }

    fn with_an_open_job(&self, what: impl FnOnce(&mut Services, &str, std::time::Instant)) {
        let open = self.network.with_cloud(|cloud| cloud.services().open_jobs());
        let job = (!open.is_empty()).then(|| &open[self.rng.borrow_mut().usize(..open.len())]);
        if let Some(job) = job {
            self.judge.note(format!("it is {job}"));
            self.operate(|services| what(services, job, time::now()));
        }
    }

    /// What programs want of the machine happens.
    pub(super) async fn grant_wishes(self: Rc<World>) {
        loop {
            match self.programs.wish().await {
                Wish::Reboot => self.happens(&What::PowerCut { off: Duration::from_secs(30), in_1970: false }),
                Wish::RestartDaemon => self.happens(&What::Stop(Duration::from_secs(1))),
            }
        }
    }

    /// What the judge has to know of what happens.
    pub(super) fn is_disturbed_by(&self, what: &What) {
        let (by, lasts) = match what {
            What::Disk(_, lasts) => (Disturbance::Disk, *lasts),
            What::Reload(_) => (Disturbance::Reload, Duration::ZERO),
            What::SetClock(_) | What::Suspend(_) => (Disturbance::Clock, Duration::ZERO),
            // Until the clock is set.
            What::PowerCut { off, in_1970: true } => (Disturbance::Clock, *off + 11 * MINUTE),
            _ => return,
        };
        self.judge.actions.disturbed(by, lasts);
    }

    /// The configuration of this number counts from now on.
    pub(super) fn actions_change(&self, number: usize) {
        self.judge.actions.configured(number);
    }

    /// The configuration allows everything, and so does the policy: what was refused is asked for again.
    pub(super) fn calm_orders(&self) {
        self.have_manners(Manners::default());
        self.configure(0);
        self.judge.actions.disturbed(Disturbance::Reload, Duration::ZERO);
        self.with_process(|process| process.signal(nix::libc::SIGHUP));
    }

    /// Jobs that aren't over.
    pub(super) fn open_jobs(&self) -> usize {
        self.network.with_cloud(|cloud| cloud.services().open_jobs().len())
    }

    /// Single jobs and commands: each is done at once, and one that is cancelled is ended.
    pub(super) async fn probe_the_actions(self: &Rc<World>) {
        self.judge.note("the actions".to_owned());
        sleep(MINUTE).await;
        let short = Asked::one("work", "exit-0-500-0", Expected::Success);
        for _ in 0..3 {
            let (job, command) = (self.create_job(&short, 0, None), self.send_command(&short, MINUTE, true));
            sleep(PROMPT).await;
            self.has_come_to(&job, "SUCCEEDED");
            self.has_come_to(&command, "SUCCEEDED");
            sleep(MINUTE).await;
        }
        let long = self.create_job(&Asked::one("work", "exit-0-100000-0", Expected::Success), 0, None);
        sleep(PROMPT).await;
        if self.programs.running() != 1 {
            self.judge.violated(format!("{PROMPT:?} after {long} was created nothing runs"));
        }
        self.operate(|services| services.cancel(&long, time::now()));
        sleep(ENDS_WITHIN).await;
        if self.programs.running() > 0 {
            self.judge.violated(format!("{ENDS_WITHIN:?} after {long} was cancelled its program still runs"));
        }
        let next = self.create_job(&short, 0, None);
        sleep(PROMPT).await;
        self.has_come_to(&next, "SUCCEEDED");
    }

    pub(super) fn has_come_to(&self, id: &str, expected: &str) {
        let status = self.network.with_cloud(|cloud| {
            let records = cloud.services().records();
            let job = records.jobs.get(&(id.to_owned(), 1));
            let facts = job.or_else(|| records.commands.get(id).map(|sent| &sent.facts));
            facts.and_then(|facts| facts.last().map(|fact| fact.status.clone()))
        });
        if status.as_deref() != Some(expected) {
            self.judge.violated(format!("{PROMPT:?} after {id} was asked for it is {status:?}"));
        }
    }
}
