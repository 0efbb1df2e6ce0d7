//! What holds of the counts whatever the clock does.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::account::Account;
use super::causes::{Causes, MOST};
use super::hold::{Held, Lifted, delay};
use super::keeping::Due;
use super::level::Level;
use super::note;
use super::periods::{KEPT, Periods, Unit};
use crate::config::{self, Budget, Environment, Then};
use crate::message::Topic;
use crate::mqtt::session::{Label, Labels as _};
use crate::net::Carried;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn config(rest: &str) -> config::Config {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("gatewire.toml");
    let connection = "[connection]\nendpoint = \"localhost\"\nclient_id = \"g\"\n[meter]\n";
    std::fs::write(&path, format!("{connection}{rest}")).unwrap();
    config::read(&path, &Environment::of_service()).unwrap().config
}

fn causes() -> Causes {
    Causes::new(&config(""))
}

fn sent(bytes: u64) -> Carried {
    Carried { sent: bytes, received: 0 }
}

/// Bytes of this hour, day and month.
fn totals(account: &Account) -> [u64; 3] {
    [&account.hour, &account.day, &account.month].map(|periods| periods.now().total())
}

#[test]
fn hours_days_and_months_are_those_of_utc() {
    let mut account = Account::default();
    for (wall, expected) in [
        ("2026-01-31T22:59:59Z", [1, 1, 1]),
        ("2026-01-31T23:00:00Z", [1, 2, 2]),
        ("2026-01-31T23:59:59.999Z", [2, 3, 3]),
        ("2026-02-01T00:00:00Z", [1, 1, 1]),
        ("2026-02-28T23:59:59Z", [1, 1, 2]),
        ("2026-03-01T00:00:00Z", [1, 1, 1]),
    ] {
        account.add(Label(3), sent(1), at(wall));
        assert_eq!(totals(&account), expected, "{wall}");
    }
}

#[test]
fn a_clock_that_was_in_1970_and_becomes_right_loses_nothing() {
    let mut account = Account::default();
    account.add(Label(3), sent(5), at("1970-01-01T00:00:07Z"));
    assert_eq!(totals(&account), [5; 3]);
    account.add(Label(3), sent(1), at("2026-11-20T10:00:00Z"));
    assert_eq!(totals(&account), [6; 3]);
    // A restart, with the battery of the clock still empty.
    let (text, causes) = (note::text(&account, &causes()), causes());
    let mut again = Account::default();
    again.add(Label(3), sent(2), at("1970-01-01T00:00:07Z"));
    note::recall(&text, &mut again, &causes);
    assert_eq!(totals(&again), [8; 3]);
    again.add(Label(3), sent(1), at("2026-11-20T10:30:00Z"));
    assert_eq!(totals(&again), [9; 3]);
    // The month has passed while it was off.
    let mut later = Account::default();
    note::recall(&text, &mut later, &causes);
    later.add(Label(3), sent(1), at("2026-12-01T00:00:00Z"));
    assert_eq!(totals(&later), [1; 3]);
}

#[test]
fn a_clock_that_goes_to_and_fro_begins_no_month_anew() {
    let mut account = Account::default();
    account.add(Label(3), sent(40), at("2026-11-20T10:00:00Z"));
    for _ in 0..3 {
        account.add(Label(3), sent(1), at("2036-01-01T00:00:00Z"));
        account.add(Label(3), sent(1), at("2026-11-20T10:00:01Z"));
    }
    assert_eq!(totals(&account)[2], 43);
    // Each start has the clock at the day that the image was made, and then the right one.
    let (text, causes) = (note::text(&account, &causes()), causes());
    let mut again = Account::default();
    again.add(Label(3), sent(1), at("2026-03-01T00:00:00Z"));
    note::recall(&text, &mut again, &causes);
    again.add(Label(3), sent(1), at("2026-11-20T11:00:00Z"));
    assert_eq!(totals(&again)[2], 44);
}

#[test]
fn a_forecast_goes_on_as_it_was_and_waits_for_a_twentieth() {
    let mut account = Account::default();
    account.add(Label(3), sent(0), at("2026-10-31T23:59:59Z"));
    account.add(Label(3), sent(1), at("2026-10-31T23:59:59Z"));
    account.add(Label(3), sent(300), at("2026-11-01T00:00:00Z"));
    let month = |wall: &str| account.month.now().forecast(at(wall));
    assert_eq!(month("2026-11-02T11:59:00Z"), None);
    assert_eq!(month("2026-11-02T12:00:00Z"), Some(6000));
    assert_eq!(month("2026-11-16T00:00:00Z"), Some(600));
    assert_eq!(month("2026-11-30T23:59:59Z"), Some(300));
    assert_eq!([month("2026-12-01T00:00:00Z"), month("2026-10-31T00:00:00Z")], [None, None]);
    // Counted from the 16th on only: what was before isn't known.
    let mut account = Account::default();
    account.add(Label(3), sent(100), at("2026-11-16T00:00:00Z"));
    assert_eq!(account.month.now().forecast(at("2026-11-21T00:00:00Z")), Some(300));
}

#[test]
fn a_message_belongs_to_who_publishes_to_its_topic() {
    let causes = Causes::new(&config(
        "[[publish]]\nname = \"hello\"\ntopic = \"g/hello\"\nevery = \"1m\"\npayload = \"x\"\n\
         [[publish]]\nname = \"again\"\ntopic = \"g/hello\"\nevery = \"1h\"\npayload = \"x\"\n\
         [[bridge]]\nname = \"house\"\nbroker = \"127.0.0.1:1883\"\n\
         [[bridge.up]]\nfrom = \"z/+\"\nstrip = \"z/\"\nto = \"g/z-\"\n\
         [[bridge.down]]\nfrom = \"g/set/#\"\nstrip = \"g/set/\"\nto = \"z/\"\n",
    ));
    let sent = |topic: &str| causes.name(causes.sent(&Topic::received(topic)));
    assert_eq!(
        ["g/hello", "g/z-lamp", "g/z-lamp/x", "$aws/things/g/jobs/start-next", "$aws/rules/r/g/z-lamp"].map(sent),
        ["publish hello", "bridge", "ingest", "services", "ingest"]
    );
    let received = |topic: &str| causes.name(causes.received(&Topic::received(topic)));
    assert_eq!(["g/set/lamp", "g/other", "$aws/things/g/jobs/notify"].map(received), ["bridge", "forward", "services"]);
    // What isn't configured any more keeps its bytes.
    let hello = causes.sent(&Topic::received("g/hello"));
    causes.configure(&config(""));
    assert_eq!((causes.name(hello), sent("g/hello")), ("publish hello".to_owned(), "ingest".to_owned()));
}

#[test]
fn each_level_of_the_budget_is_said_once_a_month_across_restarts() {
    let budget = |month| Some(Budget { month, warn_at: 80, then: Then::Warn });
    let (mut account, causes) = (Account::default(), causes());
    let add = |account: &mut Account, bytes, wall: &str| {
        account.add(Label(3), sent(bytes), at(wall));
        account.judge(budget(1000))
    };
    assert_eq!(add(&mut account, 799, "2026-11-20T10:00:00Z"), (Level::Within, false));
    assert_eq!(add(&mut account, 1, "2026-11-20T10:00:00Z"), (Level::Near, true));
    assert_eq!(add(&mut account, 199, "2026-11-20T10:00:00Z"), (Level::Near, false));
    let text = note::text(&account, &causes);
    account = Account::default();
    note::recall(&text, &mut account, &causes);
    assert_eq!(add(&mut account, 0, "2026-11-20T10:00:00Z"), (Level::Near, false));
    assert_eq!(add(&mut account, 1, "2026-11-20T10:00:00Z"), (Level::Past, true));
    assert_eq!(add(&mut account, 1, "2026-11-20T10:00:00Z"), (Level::Past, false));
    // A larger budget, which is used up, too.
    assert_eq!(account.judge(budget(2000)), (Level::Within, false));
    assert_eq!(account.judge(budget(1001)), (Level::Past, true));
    // The next month, and a clock that goes back once more.
    assert_eq!(add(&mut account, 1, "2026-12-01T00:00:00Z"), (Level::Within, false));
    assert_eq!(add(&mut account, 1, "2026-11-30T23:59:59Z"), (Level::Past, false));
    assert_eq!(add(&mut account, 1, "2026-12-01T00:00:00Z"), (Level::Within, false));
    assert_eq!(account.judge(None), (Level::Within, false));
}

/// What isn't urgent waits until then, past 1000 bytes a month, in a gateway whose moment is 17 min after the month.
fn held(account: &mut Account, wall: &str) -> Option<Option<Timestamp>> {
    let (wall, budget) = (at(wall), Budget { month: 1000, warn_at: 80, then: Then::UrgentOnly });
    account.turn_to(wall);
    let held = Held::of(&account.month, Some(budget), SignedDuration::from_mins(17), wall);
    let warned = Budget { then: Then::Warn, ..budget };
    assert_eq!(Held::of(&account.month, Some(warned), SignedDuration::ZERO, wall), None);
    held.map(|held| held.until)
}

#[test]
fn what_waits_for_the_next_month_goes_at_a_moment_of_its_own_in_its_first_hour() {
    let (mut account, causes) = (Account::default(), causes());
    let until = Some(Some(at("2026-12-01T00:17:00Z")));
    account.add(Label(3), sent(999), at("2026-11-20T10:00:00Z"));
    assert_eq!(held(&mut account, "2026-11-20T10:00:00Z"), None);
    account.add(Label(3), sent(1), at("2026-11-20T10:00:00Z"));
    for wall in ["2026-11-20T10:00:00Z", "2026-11-30T23:59:59Z", "2026-12-01T00:00:00Z", "2026-12-01T00:16:59Z"] {
        assert_eq!(held(&mut account, wall), until, "{wall}");
    }
    // A restart meanwhile, also one that comes after the turn.
    for noted_at in ["2026-11-30T23:00:00Z", "2026-12-01T00:05:00Z"] {
        let mut noted = account.clone();
        noted.turn_to(at(noted_at));
        let mut again = Account::default();
        note::recall(&note::text(&noted, &causes), &mut again, &causes);
        assert_eq!(held(&mut again, "2026-12-01T00:10:00Z"), until);
        assert_eq!(held(&mut again, "2026-12-01T00:17:00Z"), None);
    }
    assert_eq!(held(&mut account, "2026-12-01T00:17:00Z"), None);
    // A month later, or with a clock that lost its time, nothing waits for what was before.
    assert_eq!(held(&mut account, "2027-01-01T00:01:00Z"), None);
    account.add(Label(3), sent(1000), at("2027-01-01T00:01:00Z"));
    assert_eq!(held(&mut account, "1970-01-01T00:00:00Z"), Some(Some(at("2027-02-01T00:17:00Z"))));
}

#[test]
fn what_lifts_a_hold_is_called_by_its_name() {
    let budget = Budget { month: 1000, warn_at: 80, then: Then::UrgentOnly };
    let held = Held { budget, until: None };
    let lifted = |budget| held.lifted(budget).to_string();
    assert_eq!(held.lifted(Some(budget)), Lifted::AnotherMonth);
    assert_eq!(lifted(Some(Budget { month: 2000, ..budget })), "the month's budget is 2.0 kB now and isn't used up");
    let warns = Budget { month: 2000, then: Then::Warn, ..budget };
    assert_eq!(lifted(Some(warns)), "the month's budget only warns now");
    assert_eq!(lifted(None), "the month has no budget any more");
}

#[test]
fn what_is_dropped_before_it_may_go_is_told() {
    let budget = Budget { month: 1000, warn_at: 80, then: Then::UrgentOnly };
    let days = |days: u64| std::time::Duration::from_secs(days * 86_400);
    let loss =
        |until: Option<&str>, max_age| Held { budget, until: until.map(at) }.loss(max_age, at("2026-11-20T00:00:00Z"));
    let until = Some("2026-12-01T00:17:00Z");
    assert_eq!(loss(until, days(7)).unwrap(), "What has waited for [outbox] max_age (7d) by then is dropped");
    assert_eq!(
        [loss(until, days(12)), loss(Some("2026-11-19T00:00:00Z"), days(7)), loss(None, days(32))],
        [None, None, None]
    );
    assert!(loss(until, days(11)).is_some() && loss(None, days(31)).is_some());
}

#[test]
fn counts_are_noted_five_minutes_after_a_start_and_then_hourly() {
    let start = std::time::Instant::now();
    let mut due = Due::from_start(start);
    let noted = (0..200).filter(|minute| due.is_now(start + std::time::Duration::from_secs(minute * 60)));
    assert_eq!(noted.collect::<Vec<_>>(), [5, 65, 125, 185]);
}

#[test]
fn however_often_schedules_are_renamed_the_causes_are_bounded_and_lose_no_byte() {
    let (mut account, causes, wall) = (Account::default(), causes(), at("2026-11-20T10:00:00Z"));
    for n in 0..1000 {
        account.add(causes.label(&format!("publish p{n}")), sent(1), wall);
    }
    let named = |causes: &Causes, account: &Account| {
        let month = account.month.now();
        let names = (0..).map(Label).zip(&month.by_cause).filter(|(_, carried)| carried.sent > 0);
        names.map(|(label, carried)| (causes.name(label), carried.sent)).collect::<BTreeMap<_, _>>()
    };
    let before = named(&causes, &account);
    // All but the other nine, which had nothing.
    assert_eq!((before.len(), before["other"], before["publish p0"]), (MOST - 9, 1000 - (MOST as u64 - 10), 1));
    // A restart with other schedules keeps the sum.
    let (mut again, after) = (Account::default(), super::tests::causes());
    for n in 0..200 {
        after.label(&format!("publish q{n}"));
    }
    note::recall(&note::text(&account, &causes), &mut again, &after);
    let after = named(&after, &again);
    assert_eq!((after.values().sum::<u64>(), after.len()), (1000, MOST - 200 - 9));
}

#[test]
fn the_moments_of_a_fleet_are_spread_over_the_hour() {
    let mut by_minute = [0; 60];
    for n in 0..6000 {
        let after = delay(&format!("gateway-{n:05}")).as_secs();
        by_minute[usize::try_from(after / 60).unwrap()] += 1;
    }
    assert!(by_minute.iter().all(|gateways| (60..=140).contains(gateways)), "{by_minute:?}");
    assert_eq!(delay("gw1"), delay("gw1"));
}

/// Where a clock of a gateway may stand: unset, right, a little or far off.
fn any_wall() -> impl Strategy<Value = Timestamp> {
    let from = at("2026-11-29T00:00:00Z").as_second();
    prop_oneof![
        6 => (0..4 * 86_400_i64).prop_map(move |after| from + after),
        1 => (0..600_i64).prop_map(|after| after),
        1 => Just(at("2036-01-01T00:00:00Z").as_second()),
    ]
    .prop_map(|second| Timestamp::from_second(second).unwrap())
}

fn of_all(periods: &Periods) -> u64 {
    periods.all().iter().map(super::periods::Period::total).sum()
}

proptest! {
    #[test]
    fn sums_are_equal_and_restarts_lose_only_what_was_not_noted(
        steps in proptest::collection::vec((any_wall(), 0..9_u16, 0..1000_u64, 0..1000_u64, 0..8_u8), 1..120)
    ) {
        let (mut account, causes, mut before) = (Account::default(), causes(), 0);
        for (wall, label, sent, received, event) in steps {
            let known: Vec<_> = account.month.all().to_vec();
            account.add(Label(label), Carried { sent, received }, wall);
            before += sent + received;
            let month = account.month.now();
            let by_cause = month.by_cause.iter().fold((0, 0), |sum, of| (sum.0 + of.sent, sum.1 + of.received));
            prop_assert_eq!(by_cause, (month.carried.sent, month.carried.received));
            prop_assert!(account.month.all().len() <= KEPT);
            if sent + received > 0 && wall.as_second() > 86_400 {
                prop_assert_eq!(month.span, Unit::Month.span(wall));
                // It goes on from what was counted in it, or before the clock was set.
                let earlier = known.iter().find(|period| period.span == month.span).map_or(0, |period| period.total());
                let unset = known.iter().find(|period| period.span.is_none()).map_or(0, |period| period.total());
                prop_assert_eq!(month.total(), earlier + unset + sent + received);
            }
            // The months that these clocks show are three, which are all remembered.
            prop_assert_eq!(of_all(&account.month), before);
            if event == 0 {
                let is_set = account.month.now().span.is_some();
                let text = note::text(&account, &causes);
                account = Account::default();
                note::recall(&text, &mut account, &causes);
                before = if is_set { before } else { 0 };
                prop_assert_eq!(of_all(&account.month), before);
            }
        }
    }

    #[test]
    fn what_is_not_urgent_is_held_past_the_budget_and_at_most_an_hour_after_the_month(
        carried in proptest::collection::vec((any_wall(), 0..700_u64), 1..20), client in "[a-z]{1,8}"
    ) {
        let (mut account, delay) = (Account::default(), delay(&client));
        let budget = Budget { month: 1000, warn_at: 80, then: Then::UrgentOnly };
        for (wall, bytes) in carried {
            account.turn_to(wall);
            account.count(Label(3), sent(bytes));
            let (months, is_past) = (&account.month, account.month.now().total() >= 1000);
            let held = Held::of(months, Some(budget), delay, wall);
            prop_assert!(held.is_some() || !is_past);
            if let (Some(Held { until: Some(until), .. }), Some(now)) = (held, months.now().span) {
                let turn = if is_past { now.end } else { now.start };
                prop_assert_eq!(until, turn + delay);
                prop_assert!(until < turn + SignedDuration::from_hours(1));
            }
        }
    }

    #[test]
    fn a_forecast_is_no_less_than_what_was_carried_and_no_more_than_twenty_times_that(
        bytes in 0..u64::MAX / 64, since in 0..2_592_000_i64, passed in 0..2_592_000_i64
    ) {
        let start = at("2026-11-01T00:00:00Z");
        let mut account = Account::default();
        account.add(Label(3), sent(bytes), start + SignedDuration::from_secs(since));
        let wall = start + SignedDuration::from_secs(passed);
        match account.month.now().forecast(wall) {
            None => prop_assert!(bytes == 0 || passed < since + 2_592_000 / 20),
            Some(forecast) => prop_assert!(forecast >= bytes && forecast <= bytes.saturating_mul(20) + 20, "{}", forecast),
        }
    }
}
