use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::Arc;

use tokio::time::{Instant as TokioInstant, sleep};

use super::*;

const MS: Duration = Duration::from_millis(1);
const LIMIT: Duration = Duration::from_secs(10);

fn v4(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 8883))
}

fn v6(last: u16) -> SocketAddr {
    SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, last], 8883))
}

/// What an address of a test does, after how many milliseconds.
#[derive(Clone, Copy)]
enum Plan {
    Succeeds(u64),
    Fails(u64, ErrorKind),
    Silent,
}

/// The outcome of a race, when it came, and when which address was started, in milliseconds.
struct Ran {
    outcome: Result<Won<Arc<SocketAddr>>, Vec<Attempt>>,
    ended: u128,
    started: Vec<(SocketAddr, u128)>,
}

/// Races `plans` in virtual time.
async fn ran(plans: &[(SocketAddr, Plan)]) -> Ran {
    let begin = TokioInstant::now();
    let started = Rc::new(RefCell::new(Vec::new()));
    let connect = |address| {
        started.borrow_mut().push((address, begin.elapsed().as_millis()));
        let plan = plans.iter().find(|(planned, _)| *planned == address).map(|(_, plan)| *plan).unwrap();
        async move {
            match plan {
                Plan::Succeeds(after) => sleep(MS * after as u32).await,
                Plan::Fails(after, kind) => {
                    sleep(MS * after as u32).await;
                    return Err(kind.into());
                }
                Plan::Silent => std::future::pending().await,
            }
            Ok(Arc::new(address))
        }
    };
    let outcome = run(plans.iter().map(|(address, _)| *address).collect(), LIMIT, connect).await;
    Ran { outcome, ended: begin.elapsed().as_millis(), started: started.take() }
}

#[test]
fn families_alternate_from_the_one_the_resolver_prefers() {
    let order = |addresses: &[SocketAddr]| Vec::from(interleave(addresses.to_vec()));
    assert_eq!(order(&[v6(1), v6(2), v6(3), v4(1), v4(2)]), [v6(1), v4(1), v6(2), v4(2), v6(3)]);
    assert_eq!(order(&[v4(1), v4(2), v6(1)]), [v4(1), v6(1), v4(2)]);
    assert_eq!(order(&[v4(2), v4(1)]), [v4(2), v4(1)]);
    assert_eq!(order(&[]), []);
}

#[test]
fn the_next_address_starts_after_the_delay_or_at_once_after_a_failure() {
    let start = Instant::now();
    let mut schedule = Schedule::new(vec![v4(1), v4(2), v4(3)], start);
    assert_eq!(schedule.next(start), Next::Start(v4(1)));
    assert_eq!(schedule.next(start), Next::Wait(Some(start + 250 * MS)));
    assert_eq!(schedule.next(start + 249 * MS), Next::Wait(Some(start + 250 * MS)));
    assert_eq!(schedule.next(start + 260 * MS), Next::Start(v4(2)));
    assert_eq!(schedule.next(start + 260 * MS), Next::Wait(Some(start + 510 * MS)));
    schedule.failed(start + 300 * MS);
    assert_eq!(schedule.next(start + 300 * MS), Next::Start(v4(3)));
    assert_eq!(schedule.next(start + 300 * MS), Next::Wait(None));
    schedule.failed(start + 301 * MS);
    assert_eq!(schedule.next(start + 301 * MS), Next::Wait(None));
    schedule.failed(start + 302 * MS);
    assert_eq!(schedule.next(start + 302 * MS), Next::Lost);
}

#[tokio::test(start_paused = true)]
async fn a_quick_first_address_is_the_only_one_tried() {
    let ran = ran(&[(v6(1), Plan::Succeeds(249)), (v4(1), Plan::Succeeds(0))]).await;
    let won = ran.outcome.unwrap();
    assert_eq!((won.address, won.lost, ran.ended), (v6(1), vec![], 249));
    assert_eq!(ran.started, [(v6(1), 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_address_delays_the_others_by_a_quarter_second_each() {
    let silent = [v6(1), v6(2), v4(1)].map(|address| (address, Plan::Silent));
    let ran = ran(&[&silent[..], &[(v4(2), Plan::Succeeds(40))]].concat()).await;
    let won = ran.outcome.unwrap();
    assert_eq!((won.address, ran.ended), (v4(2), 790));
    assert_eq!(ran.started, [(v6(1), 0), (v4(1), 250), (v6(2), 500), (v4(2), 750)]);
    assert_eq!(won.lost, [v6(1), v4(1), v6(2)].map(|address| Attempt { address, failure: None }));
}

#[tokio::test(start_paused = true)]
async fn a_failure_starts_the_next_address_at_once() {
    let unreachable = ErrorKind::NetworkUnreachable;
    let ran = ran(&[(v6(1), Plan::Fails(5, unreachable)), (v4(1), Plan::Succeeds(10))]).await;
    let won = ran.outcome.unwrap();
    assert_eq!((won.address, ran.ended), (v4(1), 15));
    assert_eq!(won.lost, [Attempt { address: v6(1), failure: Some(unreachable) }]);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_answers_late_may_still_win() {
    let ran = ran(&[(v6(1), Plan::Succeeds(300)), (v4(1), Plan::Succeeds(200))]).await;
    assert_eq!((ran.outcome.unwrap().address, ran.ended), (v6(1), 300));
    assert_eq!(ran.started, [(v6(1), 0), (v4(1), 250)]);
}

#[tokio::test(start_paused = true)]
async fn all_failures_are_reported_in_the_order_tried() {
    let (refused, unreachable) = (ErrorKind::ConnectionRefused, ErrorKind::HostUnreachable);
    let ran = ran(&[(v6(1), Plan::Fails(400, refused)), (v4(1), Plan::Fails(0, unreachable))]).await;
    let attempts = ran.outcome.unwrap_err();
    assert_eq!(ran.ended, 400);
    assert_eq!(
        attempts,
        [Attempt { address: v6(1), failure: Some(refused) }, Attempt { address: v4(1), failure: Some(unreachable) }]
    );
}

#[tokio::test(start_paused = true)]
async fn silence_ends_at_the_limit() {
    let ran = ran(&[(v6(1), Plan::Silent), (v4(1), Plan::Fails(0, ErrorKind::ConnectionRefused))]).await;
    let attempts = ran.outcome.unwrap_err();
    assert_eq!(ran.ended, LIMIT.as_millis());
    assert_eq!(attempts[0], Attempt { address: v6(1), failure: None });
    assert_eq!(attempts[1].failure, Some(ErrorKind::ConnectionRefused));
}

#[tokio::test(start_paused = true)]
async fn the_winner_drops_the_other_attempts() {
    let alive = Arc::new(());
    let held = Arc::clone(&alive);
    let connect = move |address| {
        let held = Arc::clone(&held);
        async move {
            if address == v6(1) {
                std::future::pending::<()>().await;
            }
            drop(held);
            Ok(())
        }
    };
    assert_eq!(run(vec![v6(1), v4(1)], LIMIT, connect).await.unwrap().address, v4(1));
    // What was aborted is dropped when the runtime next gets to it.
    tokio::task::yield_now().await;
    assert_eq!(Arc::strong_count(&alive), 1);
}
