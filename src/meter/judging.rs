//! Where the month stands: what is said of its budget, and that past it what isn't urgent waits.

use jiff::Timestamp;

use super::Meter;
use super::hold::Held;
use super::level::Level;
use crate::config::Budget;
use crate::cost;
use crate::count::count;
use crate::journal;
use crate::net::Network;
use crate::outbox::HeldStatus;
use crate::store::Store;
use crate::time::{self, Rfc3339};

/// What to do where the budget is used up.
const LARGER: &str = "A larger budget in [meter] and a reload send it at once.";

/// Holds back what isn't urgent, for as long as there is a reason. How many messages that are.
pub(crate) type Hold<'a> = &'a dyn Fn(Option<HeldStatus>) -> u64;

/// What is to be said, with the numbers.
struct News {
    level: Level,
    /// It wasn't said in this month.
    is_new: bool,
    /// It is the first time in this process that something is held back, or it wasn't a moment ago.
    holds_anew: bool,
    budget: Budget,
    used: u64,
    forecast: Option<u64>,
    held: Option<Held>,
    /// Of what is held back some may be dropped before: how.
    loss: Option<String>,
    /// So many messages wait.
    waiting: u64,
}

impl Meter {
    /// Says what is new, notes that it was said, and holds back what has to wait.
    pub(super) async fn judge(&self, store: &Store, network: &impl Network, hold: Hold<'_>) {
        if let Some(news) = self.judged(hold) {
            news.say();
            self.save(store, network).await;
        }
    }

    /// Likewise, but for what is said. That something is held back is news once for each process.
    fn judged(&self, hold: Hold<'_>) -> Option<News> {
        let mut running = self.running.borrow_mut();
        let budget = running.as_ref().and_then(|running| running.budget);
        let (mut news, mut held) = (None, None);
        if let Some(running) = &mut *running
            && let Some(budget) = budget
        {
            let wall = time::wall();
            running.account.turn_to(wall);
            let (level, is_new) = running.account.judge(Some(budget));
            running.level = level;
            held = Held::of(&running.account.month, running.budget, running.delay, wall);
            let month = running.account.month.now();
            let (used, forecast) = (month.total(), month.forecast(wall));
            let loss = held.and_then(|held| held.loss(running.max_age, wall));
            let holds_anew = held.is_some() && self.held.get().is_none();
            news = Some(News { level, is_new, holds_anew, budget, used, forecast, held, loss, waiting: 0 });
        }
        drop(running);
        let before = self.held.replace(held);
        let waiting = if before == held { 0 } else { hold(news.as_ref().and_then(News::held_back)) };
        if let (Some(before), None) = (before, held) {
            let why = before.lifted(budget);
            log::info!(
                GATEWIRE_EVENT = "budget_lifted"; "{why}: what waited because it isn't urgent is sent now"
            );
        }
        news.filter(|news| news.is_new || news.holds_anew).map(|news| News { waiting, ..news })
    }

    /// Until when something is held back.
    pub(super) fn waits_until(&self) -> Option<Timestamp> {
        self.held.get()?.until
    }
}

impl News {
    fn held_back(&self) -> Option<HeldStatus> {
        let Held { until, .. } = self.held?;
        Some(HeldStatus {
            cause: "budget",
            since: journal::now().into(),
            reason: self.reason(),
            advice: self.advice(),
            next_attempt: until.map(Rfc3339),
        })
    }

    fn say(&self) {
        if self.is_new && self.level == Level::Near {
            log::warn!(
                GATEWIRE_EVENT = "budget_near";
                "the network has carried {} of the month's budget of {}{}. What they were for: `gatewire status`",
                cost::bytes(self.used), cost::bytes(self.budget.month),
                self.forecast.map_or_else(String::new, |bytes| format!("; it will be {} by its end if it goes on so", cost::bytes(bytes)))
            );
        }
        if self.is_new && self.level == Level::Past || self.holds_anew {
            log::warn!(
                GATEWIRE_EVENT = "budget_past";
                "{}. {}. What it was used for: `gatewire status`", self.reason(), self.consequence()
            );
        }
    }

    fn reason(&self) -> String {
        let of = cost::bytes(self.budget.month);
        match self.level {
            Level::Past => format!("the month's budget of {of} is used up"),
            // What it held back hasn't gone out yet.
            Level::Within | Level::Near => format!("last month's budget of {of} was used up"),
        }
    }

    fn advice(&self) -> String {
        self.loss.as_ref().map_or_else(|| LARGER.to_owned(), |loss| format!("{loss}. {LARGER}"))
    }

    fn consequence(&self) -> String {
        let Some(Held { until, .. }) = self.held else { return "All goes on as before".to_owned() };
        let until = until.map_or_else(|| "for the next month".to_owned(), |at| format!("until {at:.0}"));
        let waiting = match self.waiting {
            0 => String::new(),
            n => format!(" ({} so far)", count(n, "message")),
        };
        format!("Only what is urgent is published from now on; the rest waits {until}{waiting}. {}", self.advice())
            .trim_end_matches('.')
            .to_owned()
    }
}
