//! What a plan is performed with, for one execution.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tokio::sync::{oneshot, watch};

use super::programs::Fetching;
use super::{Executions, notes};
use crate::actions::performing::{ACTION, Host, Performed, Performing, Told};
use crate::actions::position::{Life, Position};
use crate::actions::{ExecutionId, How, Invocation, Plan, ProgramEnd, Wanted};
use crate::services::jobs::Identity;
use crate::socket::Seldom;
use crate::store::Write;
use crate::time;

/// An execution whose plan is performed.
pub(super) struct Running {
    executions: Rc<Executions>,
    execution: ExecutionId,
    /// `None`: of a command.
    job: Option<Identity>,
    cancelled: watch::Sender<bool>,
    /// How far it is, if that is news.
    told: RefCell<Option<Told>>,
}

impl Running {
    pub(super) fn new(executions: &Rc<Executions>, execution: ExecutionId, job: Option<Identity>) -> Running {
        Running {
            executions: Rc::clone(executions),
            execution,
            job,
            cancelled: watch::Sender::new(false),
            told: RefCell::default(),
        }
    }

    /// Nobody wants it any more.
    pub(super) fn cancel(&self) {
        self.cancelled.send_replace(true);
        if let Some(job) = &self.job {
            self.executions.rotations.unwanted(job.clone());
        }
    }

    pub(super) fn take_told(&self) -> Option<Told> {
        self.told.take()
    }

    /// Performs `plan`, from where it was `noted` to be.
    pub(super) async fn perform(self: Rc<Running>, plan: Plan, noted: Option<Position>) -> Performed {
        let performing = Performing { plan: &plan, execution: &self.execution, host: &*self };
        let performed = performing.perform(noted.as_ref()).await;
        self.executions.programs.clean(&self.executions.settings().downloads, None).await;
        performed
    }
}

impl Host for Running {
    fn life(&self) -> Life {
        Life { boot: self.executions.programs.boot_id(), process: self.executions.process }
    }

    async fn note(&self, position: &Position) -> bool {
        self.executions.positions.borrow_mut().note(position.clone());
        let text = self.executions.positions.borrow().text();
        let write = Write::of_notes(vec![(notes::POSITIONS.into(), text)]);
        self.executions.store.write(write).await.is_ok()
    }

    fn tell(&self, told: Told) {
        self.told.replace(Some(told));
        self.executions.services.has_news();
    }

    async fn run(&self, invocation: &Invocation, download: Option<&Path>) -> ProgramEnd {
        // The configuration may have been read again since the plan was made.
        let action = invocation.action();
        if self.executions.settings().actions.named(&action.name) != Some(action) {
            let why = "the configuration has been changed since the job began, and doesn't allow it as it was";
            return ProgramEnd::silently(How::NotStarted(why.to_owned()));
        }
        let cancelled = Box::pin(self.cancelled());
        self.executions.programs.run(invocation, download, &self.execution, cancelled).await
    }

    async fn fetch(&self, step: usize, invocation: &Invocation, wanted: &Wanted) -> Result<PathBuf, String> {
        let action = invocation.action();
        let Some(download) = &action.download else { return Err("the action downloads nothing".to_owned()) };
        let settings = self.executions.settings();
        let file = Fetching {
            execution: &self.execution,
            step,
            wanted,
            download,
            directory: &settings.downloads,
            proxy: settings.proxy.as_ref(),
            connect_timeout: settings.connect_timeout,
            timeout: action.timeout,
        };
        let said = Seldom::default();
        let progress = |how_far: String| {
            if how_far.starts_with("trying again") && said.is_due(time::now()) {
                log::warn!("action {}: {how_far}", action.name);
            }
            self.tell(vec![(ACTION, action.name.clone()), ("progress", how_far)]);
        };
        self.executions.programs.fetch(file, &progress).await
    }

    async fn reload(&self) -> Result<(), String> {
        let (tell, answer) = oneshot::channel();
        self.executions.reloads.borrow_mut().push(tell);
        self.executions.wants_reload.notify();
        answer.await.unwrap_or_else(|_| Err("gatewire stops".to_owned()))
    }

    fn diagnose(&self) -> Told {
        let document = self.executions.document.borrow().as_ref().map(|document| document()).unwrap_or_default();
        let parts: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&document).unwrap_or_default();
        let part = |name: &'static str| parts.get(name).map(|part| (name, part.to_string()));
        // What an operator asks first; each is cut at what AWS takes.
        ["version", "link", "outbox", "inbox", "counters", "certificate", "memory"]
            .into_iter()
            .filter_map(part)
            .collect()
    }

    async fn rotate(&self) -> Result<(), String> {
        // No command has come so far.
        let Some(job) = self.job.clone() else { return Err("only a job can have that done".to_owned()) };
        self.executions.rotations.wanted(job).await
    }

    async fn connected(&self) {
        let mut connected = self.executions.connected.subscribe();
        // The sender is there as long as this is.
        let _ = connected.wait_for(|connected| *connected).await;
    }

    async fn cancelled(&self) {
        let mut cancelled = self.cancelled.subscribe();
        let _ = cancelled.wait_for(|cancelled| *cancelled).await;
    }
}
