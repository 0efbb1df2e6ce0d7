//! Runs of the simulation. `GATEWIRE_SEEDS=1000`, or `GATEWIRE_SEEDS=17..18`, says which seeds; `make simulate` is the way to many.
//! `GATEWIRE_HOURS=3` has each of them last three hours, and not a day.
//! With `GATEWIRE_SIMULATION_TELLS=1` everything that happens is told.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::plan::{HOUR, Plan};
use super::world::{Outcome, run};

/// Of a run, without the calm at its end.
const LASTS: Duration = Duration::from_secs(24 * 3600);

/// The same, or what was asked for.
fn lasts() -> Duration {
    std::env::var("GATEWIRE_HOURS").map_or(LASTS, |hours| HOUR * hours.parse::<u32>().unwrap())
}

/// A run that takes so long by the real clock hangs: a task that never waits keeps virtual time from passing, too. On a busy machine one
/// takes a minute or two.
const HANGS_AFTER: Duration = Duration::from_secs(600);

/// So many runs.
const A_WEEK: u64 = 7;

/// Seeds that have failed once.
const FAILED: [u64; 0] = [];

/// Runs of a failing seed with fewer events, to find which matter.
fn reductions() -> usize {
    std::env::var("GATEWIRE_REDUCTIONS").map_or(80, |count| count.parse().unwrap())
}

fn seeds() -> Range<u64> {
    match std::env::var("GATEWIRE_SEEDS") {
        Err(_) => 0..A_WEEK,
        Ok(seeds) => match seeds.split_once("..") {
            Some((from, to)) => from.parse().unwrap()..to.parse().unwrap(),
            None => 0..seeds.parse().unwrap(),
        },
    }
}

/// Ends the process with a report, unless what is returned is dropped in time.
fn watched(seed: u64) -> mpsc::Sender<()> {
    let (ended, ends) = mpsc::channel::<()>();
    thread::spawn(move || {
        if ends.recv_timeout(HANGS_AFTER) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("seed {seed}:\nit hangs: {HANGS_AFTER:?} by the real clock weren't enough for it");
            std::process::exit(101);
        }
    });
    ended
}

/// What was violated, and in how much virtual time.
fn violations(plan: &Plan) -> (Vec<String>, Duration) {
    let _watched = watched(plan.seed);
    match catch_unwind(AssertUnwindSafe(|| run(plan))) {
        Ok(Outcome { violations, lasted, .. }) => (violations, lasted),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            (vec![format!("a panic: {}", text.unwrap_or_default())], plan.lasts)
        }
    }
}

/// Which kind of violation it is: without what varies.
fn kind(violation: &str) -> String {
    violation.chars().filter(|character| !character.is_ascii_digit()).collect()
}

/// The same failure with as few events as can be found.
fn reduced(plan: &Plan, failure: &str) -> Plan {
    let (mut plan, failure) = (plan.clone(), kind(failure));
    let (mut piece, mut left) = (plan.events.len().div_ceil(2), reductions());
    while piece > 0 && left > 0 {
        let (mut at, before) = (0, plan.events.len());
        while at < plan.events.len() && left > 0 {
            let mut less = plan.clone();
            less.events.drain(at..(at + piece).min(plan.events.len()));
            left -= 1;
            match violations(&less).0.iter().any(|violation| kind(violation) == failure) {
                true => plan = less,
                false => at += piece,
            }
        }
        piece = if piece == 1 && plan.events.len() < before { 1 } else { piece / 2 };
    }
    plan
}

fn report(plan: &Plan, violations: &[String]) -> String {
    let reduced = reduced(plan, &violations[0]);
    let events = reduced.events.iter().map(|event| format!("  {:.3} s: {:?}", event.at.as_secs_f64(), event.what));
    let (protocol, seed) = (if plan.is_mqtt5 { "5" } else { "3.1.1" }, plan.seed);
    format!(
        "seed {seed}, MQTT {protocol}:\n{}\nIt takes no more than:\n{}\nTo see it: GATEWIRE_SIMULATION_TELLS=1 GATEWIRE_SEEDS={seed}..{} \
         cargo test --lib simulation::tests::nothing -- --nocapture",
        violations.join("\n"),
        events.collect::<Vec<_>>().join("\n"),
        seed + 1
    )
}

#[test]
fn nothing_that_happens_breaks_a_promise() {
    let seeds = seeds();
    let (next, simulated) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
    let reports = Mutex::new(Vec::new());
    let begun = Instant::now();
    let take = |seed: u64| {
        let plan = Plan::draw(seed, lasts());
        let (violations, lasted) = violations(&plan);
        simulated.fetch_add(lasted.as_secs(), Ordering::Relaxed);
        if !violations.is_empty() {
            let report = report(&plan, &violations);
            eprintln!("{report}");
            reports.lock().unwrap().push(report);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || !reports.lock().unwrap().is_empty() {
                        break;
                    }
                    take(seed);
                }
            });
        }
    });
    if seeds.start == 0 {
        FAILED.iter().for_each(|seed| take(*seed));
    }
    let hours = simulated.load(Ordering::Relaxed) / HOUR.as_secs();
    println!("seeds {seeds:?}: {hours} h simulated in {:.0} s", begun.elapsed().as_secs_f64());
    let reports = reports.into_inner().unwrap();
    assert!(reports.is_empty(), "{} of the seeds {seeds:?} have failed:\n{}", reports.len(), reports.join("\n\n"));
}

#[test]
fn a_seed_is_one_run() {
    for seed in [1, 2, 3].map(|seed| seeds().start + seed) {
        // With jobs and commands, with a bridge, and with a claim.
        let plan = Plan::draw(seed, LASTS / 24);
        assert!(plan.orders.is_some() || plan.bridge.is_some() || plan.claimed.is_some() || seeds().start > 0);
        let (first, second) = (run(&plan), run(&plan));
        for (at, (first, second)) in first.history.iter().zip(&second.history).enumerate() {
            assert_eq!(first, second, "event {at} of seed {}", plan.seed);
        }
        assert_eq!(first, second);
        assert!(first.history.len() > 10, "nothing has happened");
    }
}
