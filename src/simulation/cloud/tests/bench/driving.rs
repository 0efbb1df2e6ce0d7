//! What happens in a [`Bench`] at one instant: what the link does, and the network.

use std::time::Duration;

use jiff::Timestamp;

use super::{Bench, Queue, arrival, number};
use crate::message::{Condition, Sequence};
use crate::mqtt::Rejection;
use crate::mqtt::isolation::Guilty;
use crate::mqtt::session::{End, Event, NextSend, Remembered};
use crate::simulation::cloud::Output;

impl Bench {
    pub(super) fn step(&mut self) -> bool {
        self.serve();
        if self.is_due(self.connect_at) {
            self.connect();
        }
        if self.is_due(self.connack_deadline) {
            self.end(None, false);
        }
        if self.is_due(self.session.timeout())
            && let Err(end) = self.session.handle_timeout(self.now)
        {
            self.end(Some(end), false);
        }
        if self.session.wants_other_limits(self.now) {
            self.session.disconnect();
            self.end(None, false);
        }
        let to_client = self.to_client.front().map(|(at, _)| *at);
        if self.is_due(to_client) {
            self.hear();
        }
        while let Some(((at, token), ())) = self.done_at.first_key_value().map(|(key, ())| (*key, ()))
            && at <= self.now
        {
            self.done_at.remove(&(at, token));
            self.session.acknowledge(token);
            if !self.input.is_empty() {
                self.receive();
            }
        }
        self.fill();
        self.events();
        self.write();
        self.cloud.handle_timeout(self.now);
        self.output();
        self.is_due(self.next_at())
    }

    fn connect(&mut self) {
        self.connect_at = None;
        self.session.connect();
        self.input.clear();
        self.to_client.clear();
        self.connection = Some(self.cloud.accept(self.now));
        self.connack_deadline = Some(self.now + Duration::from_secs(20));
    }

    /// What has arrived at the server.
    fn serve(&mut self) {
        for id in self.to_server.keys().copied().collect::<Vec<_>>() {
            while let Some(wire) = self.to_server.get_mut(&id)
                && let Some((_, bytes)) = wire.pop_front_if(|(at, _)| *at <= self.now)
            {
                match bytes {
                    // Cut in two anywhere.
                    Some(bytes) => {
                        let (one, two) = bytes.split_at(self.random.usize(..=bytes.len()));
                        self.cloud.receive(id, one, self.now);
                        self.cloud.receive(id, two, self.now);
                    }
                    None => self.cloud.lost(id, self.now),
                }
            }
        }
        self.output();
    }

    /// What the server says goes on the wire.
    fn output(&mut self) {
        while let Some((id, output)) = self.cloud.next_output() {
            if Some(id) != self.connection {
                continue;
            }
            let at = arrival(&self.to_client, self.now + self.latency.pick(&mut self.random));
            self.to_client.push_back(match output {
                Output::Bytes(bytes) => (at, Some(bytes)),
                Output::Close => (at, None),
            });
        }
    }

    /// What has arrived at the client.
    fn hear(&mut self) {
        match self.to_client.pop_front() {
            Some((_, Some(bytes))) => {
                self.input.extend_from_slice(&bytes);
                self.receive();
            }
            Some((_, None)) => self.end(None, true),
            None => {}
        }
    }

    fn receive(&mut self) {
        let heard = self.session.receive(&mut self.input, self.now, Timestamp::UNIX_EPOCH);
        self.events();
        if let Err(end) = heard {
            self.end(Some(end), false);
        }
    }

    fn fill(&mut self) {
        self.quota_until = None;
        loop {
            let has_room = self.session.has_room();
            let Bench { waiting, messages, .. } = self;
            let next = self.session.next_send(&mut Queue { waiting, messages }, has_room, self.now);
            if matches!(next, NextSend::Wait) {
                return;
            }
            if !self.quota.take(self.now, (100, 10), Duration::ZERO) {
                self.quota_until = Some(self.now + Duration::from_millis(10));
                return;
            }
            match next {
                NextSend::Resend(_) => self.session.resend(self.now),
                NextSend::Fresh(n) => {
                    self.waiting.remove(&n);
                    let message = self.messages[&n].clone();
                    self.session.publish(Sequence::new(n), message, self.now);
                    self.events();
                }
                NextSend::Wait => {}
            }
        }
    }

    fn write(&mut self) {
        let output = self.session.output().split();
        let Some(id) = self.connection.filter(|_| !output.is_empty()) else { return };
        self.session.wrote(output.len(), self.now);
        let wire = self.to_server.entry(id).or_default();
        let at = arrival(wire, self.now + self.latency.pick(&mut self.random));
        wire.push_back((at, Some(output.to_vec())));
    }

    fn events(&mut self) {
        while let Some(event) = self.session.next_event() {
            match event {
                Event::Connected { session_present, .. } => {
                    self.connack_deadline = None;
                    self.connected.push(session_present);
                }
                Event::Message(message, token) => {
                    self.received.push(message);
                    if let Some(token) = token {
                        let at = self.now + self.reading.pick(&mut self.random);
                        self.done_at.insert((at, token), ());
                    }
                }
                Event::Delivered(sequence) => assert!(self.delivered.insert(number(sequence)), "{sequence:?} twice"),
                Event::Rejected(sequence, _, rejection) => self.rejected.push((number(sequence), rejection)),
                Event::Doubtful(sequence, traits, rejection) => {
                    self.waiting.insert(number(sequence));
                    if matches!(rejection, Rejection::PubAck(_)) {
                        self.session.keep_apart(traits, self.now);
                    }
                }
                Event::Guilty(condition, _) => self.set_aside(condition),
                Event::Expired(sequence) => _ = self.expired.insert(number(sequence)),
                Event::Subscription(filter, answer) => self.answers.push((filter, answer)),
                Event::Settled(filters, identifiers) => {
                    self.remembered = Remembered { filters, identifiers, sure: true, ..Remembered::default() };
                }
                Event::Overdue(..) | Event::SubscribeOverdue(_) | Event::Throttled(..) | Event::LimitsRelaxed => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn set_aside(&mut self, condition: Condition) {
        let Bench { waiting, messages, .. } = self;
        waiting.retain(|n| !condition.matches(&messages[n].traits()));
        self.set_aside.push(condition);
    }

    /// The client gives the connection up, or sees that the server has closed.
    pub(super) fn end(&mut self, end: Option<End>, is_close: bool) {
        let Some(id) = self.connection else { return };
        if let Some(end) = &end {
            self.session.say_why(end);
        }
        self.write();
        self.connection = None;
        let wire = self.to_server.entry(id).or_default();
        let at = arrival(wire, self.now + self.latency.max);
        wire.push_back((at, None));
        let for_a_packet = is_close || matches!(&end, Some(End::Disconnected(reason)) if reason.code.0 == 0x87);
        if for_a_packet && self.session.is_connected() {
            let verdict = self.session.closed_by_server(false, self.now);
            self.waiting.extend(verdict.returned.into_iter().map(number));
            if let Some(Guilty::Publish(condition)) = verdict.guilty {
                self.set_aside(condition);
            }
        } else {
            self.session.ended_otherwise();
        }
        self.ends.push(end);
        self.disconnected();
    }

    pub(super) fn disconnected(&mut self) {
        self.session.connection_lost();
        self.done_at.clear();
        self.connack_deadline = None;
        self.to_client.clear();
        let wait = Duration::from_millis(self.random.u64(1100..3000));
        self.connect_at = Some((self.now + wait).max(self.not_before));
    }
}
