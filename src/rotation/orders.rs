//! What jobs want, on its way to the task that does it.

use std::cell::RefCell;
use std::collections::VecDeque;

use tokio::sync::oneshot;

use crate::notify::LocalNotify;
use crate::services::jobs::Identity as Job;

/// Told what has become of a rotation: why the new certificate isn't in force, if so.
type Tell = oneshot::Sender<Result<(), String>>;

/// Something that a job wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    Wanted(Job),
    Unwanted(Job),
    StillWanted(Job),
}

/// See the module. There is one job at a time.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    orders: RefCell<VecDeque<Order>>,
    /// Who waits for a result.
    waiting: RefCell<Option<(Job, Tell)>>,
    came: LocalNotify,
}

impl Orders {
    /// The job wants another certificate: completes when that is in force, or why it isn't. What was begun for it before goes on.
    pub(crate) async fn wanted(&self, job: Job) -> Result<(), String> {
        let (tell, answer) = oneshot::channel();
        *self.waiting.borrow_mut() = Some((job.clone(), tell));
        self.put(Order::Wanted(job));
        answer.await.unwrap_or_else(|_| Err("gatewire stops".to_owned()))
    }

    /// It doesn't want it any more.
    pub(crate) fn unwanted(&self, job: Job) {
        self.put(Order::Unwanted(job));
    }

    /// AWS has just said that it is IN_PROGRESS.
    pub(crate) fn still_wanted(&self, job: Job) {
        self.put(Order::StillWanted(job));
    }

    fn put(&self, order: Order) {
        self.orders.borrow_mut().push_back(order);
        self.came.notify();
    }

    /// Another task takes them from now on: the job that waits for its result is the first.
    pub(super) fn begin_again(&self) {
        let waiting = self.waiting.borrow().as_ref().map(|(job, _)| job.clone());
        let mut orders = self.orders.borrow_mut();
        if let Some(job) = waiting {
            orders.retain(|order| *order != Order::Wanted(job.clone()));
            orders.push_front(Order::Wanted(job));
        }
        self.came.notify();
    }

    /// No task takes them any more: the job that waits is told why, and returned.
    pub(super) fn end(&self, why: &str) -> Option<Job> {
        self.orders.borrow_mut().clear();
        let (job, tell) = self.waiting.take()?;
        // It may have been cancelled meanwhile.
        let _ = tell.send(Err(why.to_owned()));
        Some(job)
    }

    pub(super) async fn came(&self) {
        self.came.notified().await;
    }

    pub(super) fn next(&self) -> Option<Order> {
        self.orders.borrow_mut().pop_front()
    }

    /// What has become of the rotation of this job.
    pub(super) fn over(&self, job: &Job, result: Result<(), String>) {
        let waiting = self.waiting.borrow_mut().take_if(|(waiting, _)| waiting == job);
        if let Some((_, tell)) = waiting {
            // It may have been cancelled meanwhile.
            let _ = tell.send(result);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_that_waits_is_told_why_nobody_rotates_any_more() {
        let orders = Orders::default();
        let job = Job { job: "rotate".to_owned(), number: 1 };
        let (result, ended) = tokio::join!(orders.wanted(job.clone()), async { orders.end("it is gone") });
        assert_eq!((result, ended), (Err("it is gone".to_owned()), Some(job)));
        assert_eq!((orders.next(), orders.end("again")), (None, None));
    }
}
