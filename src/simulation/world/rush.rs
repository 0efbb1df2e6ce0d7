//! Many programs publish as much as they can, over a network that is slow and stands still now and then: each has its share.

use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use tokio::task::spawn_local;
use tokio::time::{sleep, sleep_until, timeout};

use super::World;
use crate::simulation::clients::{Conversation, Habit, Local, Publishes};
use crate::simulation::judge::Fairness;
use crate::simulation::network::Weather;
use crate::simulation::plan::SECOND;
use crate::time;

/// A line that is no message, and longer than any client may leave unfinished without asking for memory.
static LONG: [u8; 30_000] = {
    let mut line = [b'['; 30_000];
    line[29_999] = b'\n';
    line
};
const LINE_WITHIN: Duration = Duration::from_secs(10);

/// So long they do.
const LASTS: Duration = Duration::from_secs(130);

impl World {
    pub(super) async fn rush(&self, seed: u64) {
        self.judge.note("rush".to_owned());
        let mut rng = Rng::with_seed(seed);
        let count = rng.usize(3..25);
        let fairness = Rc::new(Fairness::of(count));
        let until = time::now() + LASTS;
        let clients: Vec<_> = (0..count)
            .map(|client| {
                let at_once = rng.u32(1..8);
                spawn_local(press(self.local.clone(), Rc::clone(&fairness), (client, at_once), until))
            })
            .collect();
        let slow = |rng: &mut Rng| Weather { bandwidth: rng.u64(3000..12_000), ..Weather::default() };
        self.network.set_weather(slow(&mut rng));
        sleep(rng.u32(10..20) * SECOND).await;
        // It stands still, not for so long that the connection is given up.
        self.network.set_weather(Weather { is_silent: true, ..slow(&mut rng) });
        sleep(rng.u32(5..9) * SECOND).await;
        self.network.set_weather(slow(&mut rng));
        sleep(rng.u32(50..80) * SECOND).await;
        // Many messages are in flight, of which the server knows nothing afterwards.
        self.network.cut();
        self.network.with_cloud(|cloud| cloud.forget_sessions(time::now()));
        sleep_until(until.into()).await;
        self.network.set_weather(Weather::default());
        for client in clients {
            let _ = client.await;
        }
    }
}

/// Publishes until then, without a pause: so many lines at once.
async fn press(local: Local, fairness: Rc<Fairness>, (client, at_once): (usize, u32), until: std::time::Instant) {
    let what = Publishes {
        lines: u32::MAX,
        at_once,
        pause: Duration::ZERO,
        topic: format!("up/in/a/rush/{client}"),
        qos: 1,
        size: 300,
        habit: Habit::Good,
    };
    let mut conversation = Conversation::begin(&local).await;
    // First a line that takes memory of which there is only some for all, and costs the link nothing: it isn't JSON.
    let answered =
        async { conversation.say(&LONG, None).await.is_ok() && matches!(conversation.hear().await, Ok(true)) };
    if timeout(LINE_WITHIN, answered).await != Ok(true) {
        local.judge.violated(format!("a long line had no answer within {LINE_WITHIN:?}"));
        return;
    }
    while time::now() < until {
        let before = fairness.sends(client, at_once.into());
        for _ in 0..at_once {
            let (number, line) = conversation.line(&what);
            if conversation.say(&line, Some(number)).await.is_err() {
                return;
            }
        }
        for n in 1..=at_once {
            if !matches!(conversation.hear().await, Ok(true)) {
                return;
            }
            if let Some(overtaken) = fairness.answered(client, n.into(), &before) {
                local.judge.violated(format!(
                    "line {n} of client {client} has waited until {overtaken} later ones of another were answered"
                ));
                return;
            }
        }
        // Where answers come at once, because what is published is stored or refused, time has to pass.
        sleep(SECOND / 4).await;
    }
}
