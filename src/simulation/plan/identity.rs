//! What happens to an identity that is made, and rotated: drawn beside everything else, so that a run without is what it was.

use std::time::Duration;

use fastrand::Rng;

use super::draw::between;
use super::orders::Order;
use super::{Event, HOUR, Kinds, MINUTE, SECOND, What};
use crate::identity::simulated::Cut;
use crate::simulation::cloud::services::identities::Entry;
use crate::simulation::cloud::services::manners::Manners;
use crate::simulation::identity::CutOff;
use crate::simulation::network::Weather;
use crate::simulation::server::behaviour::Delay;
use crate::store::simulated;

/// Of so many runs one begins with a claim: none of those with a bridge, or with other jobs.
const ONE_OF: u64 = 6;

/// Such a run lasts no longer: its keys sign for real, at each connection and for each certificate.
pub(super) const LASTS: Duration = Duration::from_secs(6 * 3600);

/// What a run that begins with a claim is, beside what happens.
#[derive(Debug, Clone, Copy)]
pub(in crate::simulation) struct Claimed {
    /// Certificates are to be renewed as soon as they are there.
    pub(in crate::simulation) are_short: bool,
}

#[derive(Debug, Clone)]
pub(in crate::simulation) enum Identity {
    /// A job wants another certificate.
    Rotate,
    /// Clients are let in like this for so long.
    Entry(Entry, Duration),
    CutOff(CutOff),
    /// The daemon is ended, and somebody removes the identity.
    Wipe,
}

/// Those of a seed, if it has any.
pub(super) fn draw(seed: u64) -> Option<Claimed> {
    let rng = &mut Rng::with_seed(!seed ^ 0x1d);
    (seed % ONE_OF == 3).then(|| Claimed { are_short: rng.bool() })
}

/// What else may be in such a run: whoever has to be understood mustn't say anything.
pub(super) fn kinds(kinds: Kinds) -> Kinds {
    Kinds { closes: false, wild: false, ..kinds }
}

pub(super) fn events(seed: u64, lasts: Duration) -> Vec<Event> {
    let rng = &mut Rng::with_seed(!seed ^ 0x1de5);
    let mean = between(rng, 10 * MINUTE, 40 * MINUTE);
    let mut events = Vec::new();
    with_company(rng, Duration::ZERO, None, &mut events);
    let mut at = Duration::ZERO;
    while events.len() < 400 {
        at += mean.mul_f64(-(1.0 - rng.f64()).ln());
        if at >= lasts {
            break;
        }
        let what = match rng.u8(..12) {
            0..=6 => What::Identity(Identity::Rotate),
            7 | 8 => What::Identity(Identity::Wipe),
            9 => What::Order(Order::Cancel),
            10 => entry(rng),
            _ => manners(rng),
        };
        with_company(rng, at, Some(what), &mut events);
    }
    events
}

/// Something is begun, and what hits it comes soon.
fn with_company(rng: &mut Rng, at: Duration, what: Option<What>, events: &mut Vec<Event>) {
    let mut add = |at: Duration, what: What| events.push(Event { at, what });
    if rng.bool() {
        add(at, manners(rng));
    }
    if rng.u8(..3) == 0 {
        add(at, entry(rng));
    }
    what.into_iter().for_each(|what| add(at, what));
    for _ in 0..rng.usize(..5) {
        let longest = if rng.bool() { 10 * SECOND } else { 15 * MINUTE };
        let after = between(rng, SECOND / 50, longest);
        add(at + after, disturbance(rng));
    }
}

fn manners(rng: &mut Rng) -> What {
    let mut manners = Manners::default();
    for _ in 0..rng.u8(1..4) {
        match rng.u8(..9) {
            0 => manners.delay = Delay::between(Duration::ZERO, between(rng, SECOND, MINUTE)),
            1 | 2 => manners.lag = Delay::between(Duration::ZERO, between(rng, SECOND, 20 * MINUTE)),
            3 => manners.lost = rng.f64(),
            4 => manners.dead = rng.f64(),
            5 => manners.twice = 0.5,
            // Not that something is wrong with a request: Jobs says that of details, and a rotation can't be told of without.
            6 | 7 => manners.throttles = rng.f64(),
            _ => manners.garbles = rng.f64(),
        }
    }
    What::Order(Order::Manners(Box::new(manners), between(rng, 10 * SECOND, 2 * HOUR)))
}

fn entry(rng: &mut Rng) -> What {
    let counts_after = (rng.u8(..3) > 0).then(|| between(rng, SECOND, 20 * MINUTE));
    let entry = Entry { counts_after, refuses_claims: rng.u8(..3) == 0, says_why: rng.bool() };
    What::Identity(Identity::Entry(entry, between(rng, 10 * SECOND, 2 * HOUR)))
}

fn disturbance(rng: &mut Rng) -> What {
    let off = between(rng, SECOND / 10, 2 * MINUTE);
    let disk = simulated::Behaviour::default();
    match rng.u8(..18) {
        0..=6 => {
            let cut = [Cut::Before, Cut::Middle, Cut::After][rng.usize(..3)];
            let (operation, with_power) = (rng.usize(..50), rng.bool());
            What::Identity(Identity::CutOff(CutOff { operation, cut, with_power, off }))
        }
        7 => What::Kill(rng.u64(..100), off),
        8 => What::PowerCut { off, in_1970: rng.u8(..4) == 0 },
        9 => What::Cut,
        10 | 11 => {
            let writes_fail = Some("No space left on device");
            What::Disk(simulated::Behaviour { writes_fail, ..disk }, between(rng, SECOND, 10 * MINUTE))
        }
        12 => What::Disk(simulated::Behaviour { hangs: true, ..disk }, between(rng, SECOND, 5 * MINUTE)),
        13 => What::SetClock(rng.i64(-100_000..100_000)),
        14 => What::Weather(Weather { is_silent: true, ..Weather::default() }, between(rng, SECOND, 20 * MINUTE)),
        15 => What::Stop(off),
        16 => What::Reload(rng.usize(..3)),
        _ => What::Order(Order::Cancel),
    }
}
