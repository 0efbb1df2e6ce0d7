//! What stands for IoT Core: it goes away and comes back, and knows what has arrived.
//!
//! A message has arrived once the broker has it and before gatewire is told so. For mosquitto that is its log, a line a
//! PUBLISH, written without a buffer before the PUBACK: it survives SIGKILL, so that nothing a killed broker forgets can pass
//! for a loss of gatewire's. The scripted broker notes each PUBLISH before it answers.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::producer::{parse_topic, payload};
use crate::run::milliseconds;
use crate::support::PATIENCE;
use crate::support::device::{Device, Published, Said, Version};
use crate::support::mosquitto::Mosquitto;
use crate::support::scripted::Broker;

/// A broker that isn't running yet.
pub(crate) enum Cloud {
    /// mosquitto, which acknowledges at once, and is killed and started again.
    Mosquitto(Mosquitto),
    /// A server that takes its time for PUBACKs, hangs up, refuses connections, and forgets its session.
    Scripted(Broker, Version),
}

/// A broker at work.
pub(crate) struct Running {
    thread: JoinHandle<Vec<String>>,
    /// One word: be calm from now on. Dropped: that is all.
    orders: Sender<()>,
}

impl Cloud {
    pub(crate) fn port(&self) -> u16 {
        match self {
            Cloud::Mosquitto(mosquitto) => mosquitto.port,
            Cloud::Scripted(broker, _) => broker.port,
        }
    }

    pub(crate) fn start(self, rng: Rng) -> Running {
        let (orders, heard) = channel();
        let thread = std::thread::spawn(move || match self {
            Cloud::Mosquitto(mosquitto) => kill_and_restart(mosquitto, rng, &heard),
            Cloud::Scripted(broker, version) => {
                Scripted { rng, orders: heard, calm: false, over: false, arrived: vec![] }.serve(&broker, version)
            }
        });
        Running { thread, orders }
    }
}

impl Running {
    /// It is there from now on, and stays.
    pub(crate) fn calm_down(&self) {
        self.orders.send(()).unwrap();
    }

    /// The topics of all that has arrived, in that order.
    pub(crate) fn finish(self) -> Vec<String> {
        drop(self.orders);
        self.thread.join().unwrap()
    }
}

fn kill_and_restart(mut mosquitto: Mosquitto, mut rng: Rng, orders: &Receiver<()>) -> Vec<String> {
    let is_calm = |time: Duration| match orders.recv_timeout(time) {
        Ok(()) => true,
        Err(RecvTimeoutError::Timeout) => false,
        Err(RecvTimeoutError::Disconnected) => panic!("the test has failed"),
    };
    let mut calm = false;
    while !calm {
        calm = is_calm(milliseconds(&mut rng, 1500));
        mosquitto.kill();
        calm = calm || is_calm(milliseconds(&mut rng, 500));
        mosquitto.restart();
    }
    // Until the other end is dropped.
    assert!(orders.recv().is_err());
    mosquitto.received("thing-1")
}

struct Scripted {
    rng: Rng,
    orders: Receiver<()>,
    calm: bool,
    over: bool,
    arrived: Vec<String>,
}

impl Scripted {
    /// Serves one connection after the other: as a real one, it is through with the old before it looks at the new.
    fn serve(mut self, broker: &Broker, version: Version) -> Vec<String> {
        while !self.over {
            self.refuse(broker);
            let mut device = broker.accept_device(version);
            device.forgive();
            self.talk(&mut device);
            match self.rng.bool() {
                true => device.reset(),
                false => drop(device),
            }
        }
        self.arrived
    }

    /// Is away for a while, or not: whoever connects is turned away.
    fn refuse(&mut self, broker: &Broker) {
        if self.rng.u8(..4) > 0 {
            return;
        }
        let until = Instant::now() + milliseconds(&mut self.rng, 500);
        while Instant::now() < until && !self.listen() {
            drop(broker.accept_tcp());
        }
    }

    /// Whether it has to be calm.
    fn listen(&mut self) -> bool {
        match self.orders.try_recv() {
            Ok(()) => self.calm = true,
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => self.over = true,
        }
        self.calm
    }

    fn talk(&mut self, device: &mut Device) {
        match device.next_within(PATIENCE).expect("no CONNECT") {
            Some(Said::Connect { .. }) => device.connack(self.rng.bool()),
            Some(other) => panic!("{other:?} instead of CONNECT"),
            None => return,
        }
        let delay = [1, 1, 60, 1500][self.rng.usize(..4)];
        let hang_up = Instant::now() + milliseconds(&mut self.rng, 800);
        let mut unanswered = VecDeque::<(Instant, u16)>::new();
        loop {
            match device.next_within(Duration::from_millis(1)) {
                Err(()) => {}
                Ok(Some(Said::Publish(publish))) => {
                    unanswered.push_back((Instant::now() + milliseconds(&mut self.rng, delay), publish.id));
                    self.note(publish);
                }
                Ok(Some(Said::PingReq)) => device.pingresp(),
                Ok(None | Some(Said::Disconnect)) => return,
                Ok(Some(other)) => panic!("{other:?}"),
            }
            if self.listen() && self.over || !self.calm && Instant::now() > hang_up {
                return;
            }
            // In the order of the messages, so one that is due waits for those before it.
            while let Some((_, id)) = unanswered.pop_front_if(|(due, _)| *due <= Instant::now() || self.calm) {
                device.puback(id);
            }
        }
    }

    fn note(&mut self, publish: Published) {
        assert_eq!(publish.payload, payload(parse_topic(&publish.topic).1), "{}", publish.topic);
        self.arrived.push(publish.topic);
    }
}
