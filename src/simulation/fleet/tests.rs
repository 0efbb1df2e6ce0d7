//! What docs/fleet.md promises, with fleets small enough for a debug build. The figures there are of [`figures`](super::figures).

use super::account::{Beyond, Limit};
use super::*;

fn seconds(duration: Option<Duration>) -> f64 {
    duration.expect("so much of the fleet comes back").as_secs_f64()
}

#[test]
fn a_lone_gateway_is_back_within_seconds() {
    for seed in 0..200 {
        for happens in [Happens::Outage(Duration::ZERO), Happens::NoNetwork(HOUR)] {
            let report = Scenario { seed, ..Scenario::new(1, happens) }.run();
            assert!(seconds(report.connected(1.0)) <= 1.5, "seed {seed}: {report:?}");
        }
    }
}

#[test]
fn a_thousand_gateways_need_no_configuration() {
    for happens in
        [0, 2, 600].map(|lasts| Happens::Outage(SECOND * lasts)).into_iter().chain([Happens::NoNetwork(MINUTE)])
    {
        let report = Scenario::new(1000, happens).run();
        assert!(report.refused() == 0.0 && seconds(report.connected(1.0)) <= 121.0, "{happens:?}: {report:?}");
    }
}

#[test]
fn without_a_first_wait_a_fleet_comes_back_as_a_storm() {
    for happens in [Happens::Outage(Duration::ZERO), Happens::NoNetwork(MINUTE)] {
        let fleet = Scenario::new(5000, happens);
        let storm = fleet.clone().waits(Duration::ZERO, 2 * MINUTE).run();
        assert!(storm.most(|second| second.connects) == 5000 && storm.refused() > 1.5, "{}", storm.refused());
        let spread = fleet.recommended().run();
        assert_eq!(spread.refused(), 0.0);
        assert!(spread.most(|second| second.connects) < 500);
        // And nobody is back later for it.
        assert!(spread.connected(0.99) < storm.connected(0.99));
    }
}

#[test]
fn after_a_long_outage_the_longest_wait_decides() {
    let fleet = Scenario::new(3000, Happens::Outage(10 * MINUTE)).waits(SECOND, 2 * MINUTE);
    // As 500 are for 30,000.
    let limits = |per_second| Account { connects: Limit::new(per_second), ..Account::default() };
    let with = |per_second| Scenario { account: limits(per_second), ..fleet.clone() }.run();
    let (within, beyond) = (with(60), with(15));
    assert!(within.refused() < 0.01 && seconds(within.connected(0.99)) < 121.0, "{}", within.refused());
    assert!(beyond.refused() > 0.5, "{}", beyond.refused());
}

/// 3000 gateways that were switched on together, of an account with a tenth of the limits.
fn switched_on_together(jitter: Duration) -> Scenario {
    let account = Account { connects: Limit::new(50), publishes: Limit::new(2000), beyond: Beyond::Discarded };
    let fleet = Scenario::new(3000, Happens::Nothing).publishing(When::Every(MINUTE), jitter);
    Scenario { account, began_together: true, patience: 3 * MINUTE, ..fleet }
}

#[test]
fn schedules_without_jitter_meet_and_cost_connections() {
    let together = switched_on_together(Duration::ZERO).run();
    assert!(together.beyond() >= 1000 && together.given_up >= 1000, "{together:?}");
    let apart = switched_on_together(3 * SECOND).run();
    assert_eq!((apart.beyond(), apart.given_up), (0, 0));
}

#[test]
fn by_the_clock_on_the_wall_jitter_helps_likewise() {
    let cron = || When::Cron(Box::new(crate::cron::Cron::new("*/15 * * * *", jiff::tz::TimeZone::UTC).unwrap()));
    let fleet = |jitter| Scenario { patience: 20 * MINUTE, ..switched_on_together(jitter).publishing(cron(), jitter) };
    let together = fleet(Duration::ZERO).run();
    assert!(together.beyond() >= 1000, "{together:?}");
    assert_eq!(fleet(3 * SECOND).run().beyond(), 0);
}

#[test]
fn who_is_told_that_the_quota_is_exceeded_keeps_the_connection() {
    let mut fleet = switched_on_together(Duration::ZERO);
    fleet.account.beyond = Beyond::Refused;
    let report = fleet.run();
    assert!(report.beyond() >= 1000 && report.given_up == 0 && report.caught_up(1.0).is_some(), "{report:?}");
}

#[test]
fn a_seed_gives_one_run() {
    let fleet = Scenario::new(300, Happens::Outage(MINUTE)).publishing(When::Every(SECOND), Duration::ZERO);
    assert_eq!(fleet.run(), fleet.run());
    assert_ne!(fleet.run(), Scenario { seed: 2, ..fleet.clone() }.run());
}
