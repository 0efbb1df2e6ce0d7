use super::*;
use crate::config::{Ack, Allow, Format, Keep, SocketFile, WhenFull};
use crate::forward::Keep as Kept;
use crate::forward::queue::Queue;
use crate::message::Qos;
use crate::store::QueueState;
use crate::template::Fixed;

fn filter(text: &str) -> TopicFilter {
    TopicFilter::new(text).unwrap()
}

fn forward(allow: &[&str]) -> config::Forward {
    let fixed = Fixed { client_id: "gw".to_owned(), thing: "gw".to_owned(), hostname: "pi".to_owned() };
    config::Forward {
        name: "f".to_owned(),
        filters: Vec::new(),
        allow: (!allow.is_empty()).then(|| Allow { filters: allow.iter().map(|text| filter(text)).collect(), fixed }),
        qos: Qos::AtLeastOnce,
        socket: SocketFile { path: "f.sock".into(), mode: 0o660, group: None },
        format: Format::Json,
        ack: Ack::Written,
        keep: Keep { messages: 10, bytes: 1000, when_full: WhenFull::DropOldest },
    }
}

/// Two clients of a forward that allows `gateways/gw/#`, and room for so many filters. The link is up.
struct Bench {
    requested: Requested,
    forward: config::Forward,
    clients: [ClientId; 2],
    now: Instant,
}

impl Bench {
    fn new(room: usize) -> Bench {
        let (forward, now) = (forward(&["gateways/gw/#"]), Instant::now());
        let mut queue = Queue::new(&forward, Duration::ZERO, Kept::new(&forward.keep, QueueState::default()));
        let clients = [queue.attach(false, now), queue.attach(false, now)];
        let mut requested = Requested::default();
        requested.configure(room, std::slice::from_ref(&forward));
        requested.link_changed(true, now);
        Bench { requested, forward, clients, now }
    }

    fn subscribe(&mut self, client: usize, texts: &[&str]) -> Result<(), &'static str> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        let asked = self.requested.subscribe(self.clients[client], &texts, &self.forward);
        asked.map_err(|denied| denied.code)
    }

    fn leave(&mut self, client: usize) -> bool {
        self.requested.leave("f", self.clients[client], self.now)
    }

    fn filters(&self) -> Vec<&str> {
        self.requested.filters("f").map(TopicFilter::as_str).collect()
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.requested.expire(self.now);
    }

    fn link(&mut self, is_up: bool) {
        self.requested.link_changed(is_up, self.now);
    }
}

#[test]
fn what_is_within_allow_is_subscribed_to_and_else_nothing_of_the_line() {
    let mut bench = Bench::new(10);
    assert_eq!(bench.subscribe(0, &["gateways/{{client_id}}/x", "gateways/gw/+/y"]), Ok(()));
    for (texts, code) in [
        (["gateways/gw/z", "gateways/other/x"], "filter_not_allowed"),
        (["gateways/gw/z", "gateways/+/x"], "filter_not_allowed"),
        (["gateways/gw/z", "#"], "filter_not_allowed"),
        (["gateways/gw/z", "gateways/gw"], "filter_not_allowed"),
        (["gateways/gw/z", "$share/g/gateways/gw/x"], "filter_not_allowed"),
        (["gateways/gw/z", "gateways/gw/#/x"], "bad_filter"),
        (["gateways/gw/z", "gateways/{{count}}"], "bad_filter"),
        (["gateways/gw/z", ""], "bad_filter"),
    ] {
        assert_eq!(bench.subscribe(0, &texts), Err(code), "{texts:?}");
    }
    assert_eq!(bench.filters(), ["gateways/gw/+/y", "gateways/gw/x"]);
    assert!(bench.requested.matches("f", &Topic::new("gateways/gw/a/y").unwrap()));
    assert!(!bench.requested.matches("f", &Topic::new("gateways/gw/z").unwrap()));
    bench.forward = forward(&[]);
    assert_eq!(bench.subscribe(0, &["gateways/gw/z"]), Err("filter_not_allowed"));
}

#[test]
fn a_filter_lasts_as_long_as_anybody_wants_it_and_a_moment_longer() {
    let mut bench = Bench::new(10);
    bench.subscribe(0, &["gateways/gw/x", "gateways/gw/y"]).unwrap();
    bench.subscribe(1, &["gateways/gw/x"]).unwrap();
    assert!(bench.leave(0));
    bench.pass(LINGERS);
    assert_eq!(bench.filters(), ["gateways/gw/x"]);
    let texts = ["gateways/{{client_id}}/x".to_owned()];
    bench.requested.unsubscribe(bench.clients[1], &texts, &bench.forward, bench.now).unwrap();
    assert_eq!(bench.requested.next(), Some(bench.now + LINGERS));
    bench.pass(LINGERS - Duration::from_millis(1));
    // Whoever comes back within it has missed nothing.
    bench.subscribe(0, &["gateways/gw/x"]).unwrap();
    bench.pass(Duration::from_secs(3600));
    assert_eq!(bench.filters(), ["gateways/gw/x"]);
    assert!(!bench.leave(1), "it wanted none any more");
}

#[test]
fn there_are_no_more_than_there_is_room_for_and_what_nobody_wants_makes_room_at_once() {
    let mut bench = Bench::new(2);
    bench.subscribe(0, &["gateways/gw/1", "gateways/gw/2"]).unwrap();
    assert_eq!(bench.subscribe(1, &["gateways/gw/1", "gateways/gw/3"]), Err("too_many_filters"));
    assert_eq!(bench.subscribe(1, &["gateways/gw/1", "gateways/gw/1"]), Ok(()), "it is there");
    bench.leave(0);
    assert_eq!(bench.subscribe(1, &["gateways/gw/3", "gateways/gw/4"]), Err("too_many_filters"));
    assert_eq!(bench.filters(), ["gateways/gw/1", "gateways/gw/2"], "nothing was given up for what isn't taken");
    assert_eq!(bench.subscribe(1, &["gateways/gw/3"]), Ok(()));
    assert_eq!(bench.filters(), ["gateways/gw/1", "gateways/gw/3"]);
    // What is asked for again isn't given up for its neighbour in the line.
    bench.leave(1);
    assert_eq!(bench.subscribe(0, &["gateways/gw/3", "gateways/gw/4"]), Ok(()));
    assert_eq!(bench.filters(), ["gateways/gw/3", "gateways/gw/4"]);
}

#[test]
fn the_readers_of_a_forward_leave_some_places_to_those_of_another() {
    let mut bench = Bench::new(12);
    let other = config::Forward { name: "g".to_owned(), ..bench.forward.clone() };
    let none = config::Forward { name: "h".to_owned(), ..forward(&[]) };
    bench.requested.configure(12, &[bench.forward.clone(), other.clone(), none]);
    let many = |n: usize| -> Vec<String> { (0..n).map(|n| format!("gateways/gw/{n}")).collect() };
    let client = bench.clients[0];
    let denied = bench.requested.subscribe(client, &many(8), &bench.forward).unwrap_err();
    assert_eq!(
        denied.detail,
        "readers may ask for 12 filters together, beside those of the configuration; 0 are taken, 5 are kept for those of \
         other forwards. connection.max_subscriptions is the bound of all"
    );
    bench.requested.subscribe(client, &many(7), &bench.forward).unwrap();
    bench.requested.subscribe(client, &many(5), &other).unwrap();
    assert!(bench.requested.subscribe(client, &many(6), &other).is_err());
    // What nobody wants any more is given up for others only beyond that.
    bench.requested.leave("g", client, bench.now);
    bench.requested.leave("f", client, bench.now);
    bench.requested.subscribe(client, &many(7), &other).unwrap();
    assert_eq!((bench.filters().len(), bench.requested.taken()), (5, 12));
    assert!(bench.requested.subscribe(client, &many(8), &other).is_err());
}

#[test]
fn a_reload_that_allows_less_tells_the_readers_and_one_that_allows_it_again_gives_it_back() {
    let mut bench = Bench::new(10);
    bench.subscribe(0, &["gateways/gw/1", "gateways/gw/2"]).unwrap();
    bench.subscribe(1, &["gateways/gw/2", "gateways/gw/3"]).unwrap();
    let texts = ["gateways/gw/3".to_owned()];
    bench.requested.unsubscribe(bench.clients[1], &texts, &bench.forward, bench.now).unwrap();
    let (wide, narrow) = (bench.forward.clone(), forward(&["gateways/gw/1"]));
    let told = |change, filters: &[&str]| {
        vec![Notice { forward: "f".to_owned(), change, filters: filters.iter().map(|text| filter(text)).collect() }]
    };
    let notices = bench.requested.configure(10, std::slice::from_ref(&narrow));
    assert_eq!(notices, told(Change::NotAllowed, &["gateways/gw/2"]));
    assert_eq!(bench.filters(), ["gateways/gw/1"]);
    for client in bench.clients {
        let told = bench.requested.take_told("f", client);
        assert_eq!(told.iter().map(|denied| denied.code).collect::<Vec<_>>(), ["filter_not_allowed"]);
        assert!(
            told[0].detail.starts_with(
                "`gateways/gw/2` isn't subscribed to any more after a reload: `gateways/gw/2` isn't within"
            )
        );
    }
    assert_eq!(bench.requested.configure(10, &[forward(&[])]), told(Change::NotAllowed, &["gateways/gw/1"]));
    assert_eq!(bench.requested.take_told("f", bench.clients[0]).len(), 1, "told once");
    // Who has gone, or doesn't want it any more, doesn't get it back.
    bench.leave(1);
    assert_eq!(bench.requested.configure(10, &[wide]), told(Change::Back, &["gateways/gw/1", "gateways/gw/2"]));
    assert_eq!(bench.filters(), ["gateways/gw/1", "gateways/gw/2"]);
    assert!(bench.requested.take_told("f", bench.clients[0]).is_empty());
    bench.requested.configure(10, &[narrow]);
    bench.leave(0);
    assert!(bench.requested.configure(10, &[bench.forward.clone()]).is_empty());
    bench.requested.configure(10, &[]);
    assert_eq!((bench.filters(), bench.requested.taken()), (vec![], 0));
}

#[test]
fn a_reload_that_leaves_less_room_takes_it_from_the_newest() {
    let mut bench = Bench::new(5);
    bench.subscribe(0, &["gateways/gw/5"]).unwrap();
    bench.subscribe(1, &["gateways/gw/4"]).unwrap();
    bench.leave(1);
    bench.subscribe(0, &["gateways/gw/3"]).unwrap();
    bench.subscribe(1, &["gateways/gw/2"]).unwrap();
    bench.subscribe(0, &["gateways/gw/1"]).unwrap();
    let forwards = [bench.forward.clone()];
    let notices = bench.requested.configure(2, &forwards);
    let [Notice { change: Change::NoRoom, filters, .. }] = &notices[..] else { panic!("{notices:?}") };
    assert_eq!(*filters, ["gateways/gw/1", "gateways/gw/2"].map(filter));
    assert_eq!(bench.filters(), ["gateways/gw/3", "gateways/gw/5"]);
    for client in bench.clients {
        assert_eq!(bench.requested.take_told("f", client)[0].code, "too_many_filters");
    }
    assert_eq!(bench.subscribe(1, &["gateways/gw/2"]), Err("too_many_filters"));
    // What nobody wants makes room for what was given up, the oldest first.
    let notices = bench.requested.configure(3, &forwards);
    assert_eq!(notices[0].filters, ["gateways/gw/2"].map(filter));
    assert_eq!((notices[0].change, bench.requested.taken()), (Change::Back, 3));
    bench.requested.unsubscribe(bench.clients[0], &["gateways/gw/3".to_owned()], &forwards[0], bench.now).unwrap();
    assert_eq!(bench.subscribe(0, &["gateways/gw/1"]), Ok(()));
    assert_eq!(bench.filters(), ["gateways/gw/1", "gateways/gw/2", "gateways/gw/5"]);
}

#[test]
fn what_the_server_holds_for_a_reader_that_has_gone_has_a_connection_long_enough_to_come() {
    let mut bench = Bench::new(10);
    bench.subscribe(0, &["gateways/gw/x"]).unwrap();
    bench.link(false);
    bench.leave(0);
    bench.pass(Duration::from_secs(3600));
    assert_eq!((bench.filters(), bench.requested.next()), (vec!["gateways/gw/x"], None));
    // What was never subscribed to has nothing to come.
    bench.subscribe(0, &["gateways/gw/y"]).unwrap();
    bench.leave(0);
    assert_eq!(bench.requested.next(), Some(bench.now + LINGERS));
    bench.pass(LINGERS);
    assert_eq!(bench.filters(), ["gateways/gw/x"]);
    bench.link(true);
    assert_eq!(bench.requested.next(), Some(bench.now + LINGERS));
    bench.pass(LINGERS - Duration::from_millis(1));
    assert_eq!(bench.filters(), ["gateways/gw/x"]);
    bench.pass(Duration::from_millis(1));
    assert!(bench.filters().is_empty());
}

#[test]
fn what_was_asked_for_before_a_restart_is_wanted_as_long_as_its_reader_has_to_come_back() {
    let mut bench = Bench::new(2);
    bench.link(false);
    let noted = ["$aws/things/gw/x", "gateways/gw/x", "gateways/gw/y", "gateways/gw/z", "other"].map(filter);
    let (allowing, other) = (bench.forward.clone(), config::Forward { name: "g".to_owned(), ..forward(&[]) });
    bench.requested.resume(&[other, allowing], &noted, bench.now);
    assert_eq!(bench.filters(), ["gateways/gw/x", "gateways/gw/y"], "no more than there is room for");
    assert_eq!(bench.requested.filters("g").count(), 0);
    bench.pass(Duration::from_secs(60));
    bench.link(true);
    bench.subscribe(0, &["gateways/gw/y"]).unwrap();
    bench.pass(LINGERS);
    assert_eq!(bench.filters(), ["gateways/gw/y"]);
}
