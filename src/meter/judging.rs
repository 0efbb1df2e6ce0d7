//! Where the month stands: what is said of its budget, and that past it what isn't urgent waits.

use jiff::Timestamp;

use super::Meter;
use super::hold::Held;
use super::level::Level;
use crate::config::{Budget, Then};
use crate::cost;
use crate::journal;
use crate::net::Network;
use crate::outbox::HeldStatus;
use crate::store::Store;
use crate::time::{self, Rfc3339};

/// What to do where the budget is used up.
const LARGER: &str = "A larger budget in [meter] and a reload send it at once.";

/// Holds back what isn't urgent, for as long as there is a reason.
pub(crate) type Hold<'a> = &'a dyn Fn(Option<HeldStatus>);

/// What is to be said, with the numbers.
struct News {
    level: Level,
    budget: Budget,
    used: u64,
    forecast: Option<u64>,
    held: Option<Held>,
}

impl Meter {
    /// Says what is new, notes that it was said, and holds back what has to wait.
    pub(super) async fn judge(&self, store: &Store, network: &impl Network, hold: Hold<'_>) {
        if let Some(news) = self.judged(hold) {
            news.say();
            self.save(store, network).await;
        }
    }

    /// Likewise, but for what is said.
    fn judged(&self, hold: Hold<'_>) -> Option<News> {
        let mut running = self.running.borrow_mut();
        let mut news = None;
        let mut held = None;
        let budget = running.as_ref().and_then(|running| running.budget);
        if let Some(running) = &mut *running
            && let Some(budget) = budget
        {
            let wall = time::wall();
            running.account.turn_to(wall);
            let (level, is_news) = running.account.judge(Some(budget));
            running.level = level;
            held = Held::of(&running.account.month, running.budget, running.delay, wall);
            let month = running.account.month.now();
            let (used, forecast) = (month.total(), month.forecast(wall));
            news = is_news.then_some(News { level, budget, used, forecast, held });
        }
        drop(running);
        let before = self.held.replace(held);
        if before != held {
            hold(held.map(held_back));
        }
        if let (Some(before), None) = (before, held) {
            let why = before.lifted(budget);
            log::info!(
                GATEWIRE_EVENT = "budget_lifted"; "{why}: what waited because it isn't urgent is sent now"
            );
        }
        news
    }

    /// Until when something is held back.
    pub(super) fn waits_until(&self) -> Option<Timestamp> {
        self.held.get()?.until
    }
}

fn held_back(Held { budget, until }: Held) -> HeldStatus {
    HeldStatus {
        cause: "budget",
        since: journal::now().into(),
        reason: format!("the month's budget of {} is used up", cost::bytes(budget.month)),
        advice: LARGER.to_owned(),
        next_attempt: until.map(Rfc3339),
    }
}

impl News {
    fn say(&self) {
        let News { budget, used, .. } = self;
        let (of, used) = (cost::bytes(budget.month), cost::bytes(*used));
        match self.level {
            Level::Within => {}
            Level::Near => log::warn!(
                GATEWIRE_EVENT = "budget_near";
                "the network has carried {used} of the month's budget of {of}{}. What they were for: `gatewire status`",
                self.forecast.map_or_else(String::new, |bytes| format!("; it will be {} by its end if it goes on so", cost::bytes(bytes)))
            ),
            Level::Past => log::warn!(
                GATEWIRE_EVENT = "budget_past";
                "the month's budget of {of} is used up. {}. What it was used for: `gatewire status`", self.consequence()
            ),
        }
    }

    fn consequence(&self) -> String {
        match self.budget.then {
            Then::Warn => "All goes on as before".to_owned(),
            Then::UrgentOnly => {
                let until = self.held.and_then(|held| held.until);
                let until = until.map_or_else(|| "for the next month".to_owned(), |at| format!("until {at:.0}"));
                format!("Only what is urgent is published from now on; the rest waits {until}. {LARGER}")
                    .trim_end_matches('.')
                    .to_owned()
            }
        }
    }
}
