//! What gatewire itself publishes at the local broker, retained: on `status_topic` what the link to IoT Core does, and with `discovery`
//! what Home Assistant shows.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::retained::Retained;
use super::upstream::{Figures, Upstream};
use crate::client::ConnectionState;
use crate::config;
use crate::home_assistant::{Device, Entity, has_started};
use crate::message::{Condition, Outbound, Qos, Sequence, Topic};
use crate::mqtt::Will;

/// Sequences from here on are of what is published there: no message of a bridge gets so far.
const FIRST: u64 = u64::MAX / 2;

/// Numbers are looked at as often as this, and Home Assistant is told everything again at most as often, whatever it says.
const INTERVAL: Duration = Duration::from_secs(5);

/// What is published, and what was.
#[derive(Debug)]
pub(super) struct Announcements {
    upstream: Upstream,
    status_topic: Option<Topic>,
    device: Option<Device>,
    retained: Retained,
    next: u64,
    /// Nothing more is followed: the last was said.
    is_last: bool,
    /// When the numbers are looked at again, once there is a connection.
    look_at: Option<Instant>,
    /// When everything was told last.
    told_at: Option<Instant>,
    /// Home Assistant has started since.
    is_asked: bool,
}

/// Once gatewire is gone without having said so.
pub(super) fn will(config: &config::Bridge) -> Option<Will> {
    let topic = config.status_topic.clone()?;
    Some(Will { topic, payload: Bytes::from_static(b"{\"state\":\"gone\"}"), qos: Qos::AtLeastOnce, retain: true })
}

fn payload(state: ConnectionState) -> Bytes {
    Bytes::from_static(match state {
        ConnectionState::Connected => b"{\"state\":\"connected\"}",
        ConnectionState::Connecting => b"{\"state\":\"connecting\"}",
        ConnectionState::Waiting => b"{\"state\":\"waiting\"}",
        ConnectionState::Stopped => b"{\"state\":\"stopped\"}",
    })
}

impl Announcements {
    pub(super) fn new(config: &config::Bridge, upstream: Upstream) -> Announcements {
        Announcements {
            upstream,
            status_topic: config.status_topic.clone(),
            device: config.discovery.clone(),
            retained: Retained::default(),
            next: FIRST,
            is_last: false,
            look_at: None,
            told_at: None,
            is_asked: false,
        }
    }

    /// The configuration is another one, of the same broker: what isn't published any more is to be removed there.
    pub(super) fn reconfigured(&mut self, config: &config::Bridge) {
        let wanted: Vec<Topic> = config.announces().into_iter().chain(config.status_topic.clone()).collect();
        self.retained.leave_all_but(|topic| wanted.contains(topic));
        self.retained.forgive();
        (self.status_topic, self.device) = (config.status_topic.clone(), config.discovery.clone());
    }

    /// The broker is left, and gatewire doesn't stop: Home Assistant is to forget it there.
    pub(super) fn leave(&mut self) {
        self.device = None;
        self.retained.leave_all_but(|topic| Some(topic) == self.status_topic.as_ref());
    }

    /// CONNACK has come: the will may have been published, or another broker knows nothing of it.
    pub(super) fn connected(&mut self, now: Instant) {
        self.is_last = false;
        self.retained.begin_anew();
        self.tell(now);
    }

    /// All that there is to say.
    fn tell(&mut self, now: Instant) {
        if let (Some(device), Some(status)) = (&self.device, &self.status_topic) {
            for entity in [Entity::Link, Entity::Waiting] {
                self.retained.set(&device.config_topic(entity), device.config(entity, status));
            }
            (self.look_at, self.told_at, self.is_asked) = (Some(now), Some(now), false);
        }
        self.advance(now);
        self.tell_link();
    }

    fn tell_link(&mut self) {
        let state = if self.is_last { ConnectionState::Stopped } else { *self.upstream.link.borrow_and_update() };
        if let Some(topic) = &self.status_topic {
            self.retained.set(topic, payload(state));
        }
    }

    /// When [`Announcements::advance`] has something to do without anything happening.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.look_at.filter(|_| self.device.is_some() && !self.is_last)
    }

    /// Looks at the numbers, if it is time.
    pub(super) fn advance(&mut self, now: Instant) {
        if self.due_at().is_none_or(|due| now < due) {
            return;
        }
        self.look_at = Some(now + INTERVAL);
        if std::mem::take(&mut self.is_asked) {
            self.told_at = Some(now);
            self.retained.repeat();
        }
        let (Some(device), Some(status)) = (&self.device, &self.status_topic) else { return };
        let Figures { waiting, certificate_days } = (self.upstream.figures)();
        self.retained.set(&device.state_topic(Entity::Waiting), Bytes::from(waiting.to_string()));
        if let Some(days) = certificate_days {
            let entity = Entity::Certificate;
            self.retained.set(&device.config_topic(entity), device.config(entity, status));
            self.retained.set(&device.state_topic(entity), Bytes::from(days.to_string()));
        }
    }

    /// A message of the broker: it may be Home Assistant that has started, and knows nothing of us.
    pub(super) fn heard(&mut self, topic: &Topic, payload: &[u8], now: Instant) {
        if self.device.is_some() && has_started(topic, payload) {
            let soonest = self.told_at.map_or(now, |told| now.max(told + INTERVAL));
            self.look_at = self.look_at.map(|look| look.min(soonest));
            self.is_asked = true;
        }
    }

    /// Waits until the link to IoT Core does something else.
    pub(super) async fn changed(&mut self) {
        if self.status_topic.is_none() || self.is_last || self.upstream.link.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.tell_link();
    }

    /// The daemon stops: that is said, and nothing more.
    pub(super) fn stop(&mut self) {
        self.is_last = true;
        self.tell_link();
    }

    /// What is to be published.
    pub(super) fn waiting(&self) -> Vec<Outbound> {
        self.retained.waiting().collect()
    }

    /// Gives out what waits for a topic.
    pub(super) fn take(&mut self, topic: &Topic) -> Option<(Sequence, Outbound)> {
        let message = self.retained.take(topic)?;
        self.next += 1;
        Some((Sequence::new(self.next), message))
    }

    pub(super) fn is_own(sequence: Sequence) -> bool {
        sequence.get() > FIRST
    }

    /// Something wasn't published, though the connection lasts or a new one comes: what counts is told then.
    pub(super) fn put_back(&mut self) {
        self.tell_link();
        self.retained.repeat();
    }

    /// The broker doesn't take what was published to `topic`. Whether there is something new to be said of that.
    pub(super) fn refuse(&mut self, topic: &Topic) -> bool {
        self.retained.refuse(topic)
    }

    /// The broker closes the connection for what was published to `topic`. Whether there is something new to be said of that. With one
    /// topic of `discovery` all of them are given up: finding the others out would cost a connection each.
    pub(super) fn give_up(&mut self, topic: &Topic) -> bool {
        let is_status = |topic: &Topic| Some(topic) == self.status_topic.as_ref();
        self.retained.give_up(|other| is_status(other) == is_status(topic))
    }

    /// Likewise for what meets this: returns the topic of which there is something new to be said.
    pub(super) fn give_up_those(&mut self, condition: &Condition) -> Option<Topic> {
        let topic = self.retained.find(|own| condition.matches(&own.traits()))?;
        self.give_up(&topic).then_some(topic)
    }

    /// A reload: what was refused is tried once more.
    pub(super) fn forgive(&mut self) {
        self.retained.forgive();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use tokio::sync::watch;

    use super::*;
    use crate::bridge::local::tests::bridge;

    const NODE: &str = "gatewire-thing-1";

    struct Bench {
        link: watch::Sender<ConnectionState>,
        figures: Rc<Cell<Figures>>,
        announcements: Announcements,
        now: Instant,
    }

    fn announced() -> config::Bridge {
        let device = Device::new(NODE);
        let status_topic = Some(device.state_topic(Entity::Link));
        config::Bridge { discovery: Some(device), status_topic, ..bridge() }
    }

    impl Bench {
        fn new(config: &config::Bridge) -> Bench {
            let (link, figures) = (watch::Sender::new(ConnectionState::Connecting), Rc::<Cell<Figures>>::default());
            let read = Rc::clone(&figures);
            let upstream = Upstream { link: link.subscribe(), figures: Rc::new(move || read.get()) };
            Bench { link, figures, announcements: Announcements::new(config, upstream), now: Instant::now() }
        }

        /// So much later; what is published then, `TOPIC PAYLOAD` without what their beginnings have in common.
        fn after(&mut self, seconds: u64) -> Vec<String> {
            self.now += Duration::from_secs(seconds);
            self.announcements.advance(self.now);
            self.said()
        }

        fn said(&mut self) -> Vec<String> {
            let waiting = self.announcements.waiting();
            let taken = waiting.iter().filter_map(|own| self.announcements.take(&own.topic));
            let shown = taken.map(|(sequence, Outbound { topic, payload, retain, .. })| {
                assert!(retain && Announcements::is_own(sequence));
                let payload = String::from_utf8(payload.to_vec()).unwrap();
                let payload = if payload.contains("unique_id") { "CONFIG".to_owned() } else { payload };
                let topic = topic.as_str().replace(&format!("/{NODE}"), "");
                format!("{topic} {payload}")
            });
            shown.collect()
        }

        fn connect(&mut self) -> Vec<String> {
            self.announcements.connected(self.now);
            self.said()
        }

        fn hears(&mut self, topic: &str, payload: &[u8]) {
            self.announcements.heard(&Topic::of_mqtt(topic).unwrap(), payload, self.now);
        }
    }

    const LINK: &str = "homeassistant/binary_sensor/link/config CONFIG";
    const WAITING: &str = "homeassistant/sensor/waiting/config CONFIG";
    const CERTIFICATE: &str = "homeassistant/sensor/certificate/config CONFIG";
    const CONNECTING: &str = "gatewire/link {\"state\":\"connecting\"}";

    #[test]
    fn a_connection_begins_with_entities_and_their_states() {
        let mut bench = Bench::new(&announced());
        assert_eq!(bench.connect(), [LINK, WAITING, "gatewire/waiting 0", CONNECTING]);
        assert_eq!(bench.after(3600), [""; 0], "nothing has changed");
        // The certificate comes later, as with provisioning.
        bench.figures.set(Figures { waiting: 7, certificate_days: Some(365) });
        assert_eq!(bench.after(5), ["gatewire/waiting 7", CERTIFICATE, "gatewire/certificate 365"]);
        bench.figures.set(Figures { waiting: 7, certificate_days: Some(-1) });
        assert_eq!(bench.after(5), ["gatewire/certificate -1"]);
        assert_eq!(bench.connect().len(), 6, "another connection");
    }

    #[test]
    fn a_number_that_changes_all_the_time_is_told_every_five_seconds_at_most() {
        let mut bench = Bench::new(&announced());
        bench.connect();
        let mut told = 0;
        for second in 1..=60 {
            bench.figures.set(Figures { waiting: second, certificate_days: None });
            told += bench.after(1).len();
        }
        assert_eq!(told, 12);
        // It isn't looked at earlier, and the connection wakes for it.
        assert_eq!(bench.announcements.due_at(), Some(bench.now + INTERVAL));
    }

    #[test]
    fn home_assistant_is_told_again_when_it_starts_and_not_as_often_as_somebody_says_so() {
        let mut bench = Bench::new(&announced());
        bench.connect();
        for (topic, payload) in [("homeassistant/status", b"offline".as_slice()), ("homeassistant/x", b"online")] {
            bench.hears(topic, payload);
        }
        assert_eq!(bench.after(60), [""; 0]);
        bench.hears("homeassistant/status", b"online");
        assert_eq!(bench.after(0), [LINK, WAITING, "gatewire/waiting 0", CONNECTING]);
        let mut told = 0;
        for _ in 0..600 {
            bench.hears("homeassistant/status", b"online");
            told += bench.after(0).len();
            bench.hears("homeassistant/status", b"online");
            bench.now += Duration::from_millis(100);
            told += bench.after(0).len();
        }
        assert_eq!(told, 12 * 4, "in a minute");
        bench.announcements.stop();
        assert_eq!(bench.said(), ["gatewire/link {\"state\":\"stopped\"}"]);
        bench.hears("homeassistant/status", b"online");
        assert_eq!((bench.announcements.due_at(), bench.after(60)), (None, vec![]));
    }

    #[test]
    fn without_discovery_there_is_nothing_to_wake_for() {
        let mut bench = Bench::new(&config::Bridge { status_topic: Topic::of_mqtt("gatewire/link").ok(), ..bridge() });
        assert_eq!(bench.connect(), [CONNECTING]);
        bench.hears("homeassistant/status", b"online");
        assert_eq!((bench.announcements.due_at(), bench.after(60)), (None, vec![]));
        bench.link.send_replace(ConnectionState::Waiting);
        let mut bench = Bench::new(&bridge());
        assert_eq!(bench.connect(), [""; 0]);
    }

    #[test]
    fn what_the_broker_closes_the_connection_for_is_not_said_again_before_a_reload() {
        let config = announced();
        let (mut bench, device) = (Bench::new(&config), Device::new(NODE));
        bench.connect();
        assert!(bench.announcements.give_up(&device.config_topic(Entity::Waiting)));
        assert!(
            !bench.announcements.give_up(&device.state_topic(Entity::Waiting)),
            "all of discovery is given up at once"
        );
        bench.figures.set(Figures { waiting: 1, certificate_days: None });
        assert_eq!(bench.connect(), [CONNECTING], "the status topic isn't part of it");
        let status = device.state_topic(Entity::Link);
        assert!(bench.announcements.give_up(&status) && !bench.announcements.give_up(&status));
        assert_eq!(bench.connect(), [""; 0]);
        bench.announcements.forgive();
        assert_eq!(bench.said(), [LINK, WAITING, "gatewire/waiting 1", CONNECTING]);
    }

    #[test]
    fn what_discovery_leaves_is_removed() {
        let mut bench = Bench::new(&announced());
        bench.figures.set(Figures { waiting: 0, certificate_days: Some(1) });
        assert_eq!(bench.connect().len(), 6);
        bench
            .announcements
            .reconfigured(&config::Bridge { status_topic: Topic::of_mqtt("gatewire/link").ok(), ..bridge() });
        let removed = [
            "homeassistant/binary_sensor/link/config ",
            "homeassistant/sensor/waiting/config ",
            "gatewire/waiting ",
            "homeassistant/sensor/certificate/config ",
            "gatewire/certificate ",
        ];
        let bare = |line: String| line.replace(&format!("/{NODE}"), "");
        let said: Vec<String> = bench.connect().into_iter().map(bare).collect();
        assert_eq!(said[..5], removed);
        assert_eq!(said[5..], ["gatewire/link ", CONNECTING], "its own status topic, and the configured one");
        // A bridge that goes as a whole keeps its status topic, which says `stopped`.
        let mut bench = Bench::new(&announced());
        bench.connect();
        bench.announcements.leave();
        bench.announcements.stop();
        assert_eq!(bench.said(), [removed[0], removed[1], removed[2], "gatewire/link {\"state\":\"stopped\"}"]);
    }
}
