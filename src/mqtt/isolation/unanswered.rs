//! QoS 0 messages, which the server doesn't answer: what was written shortly before a close may be the reason, and a PINGREQ
//! whose answer comes clears it.

use std::time::{Duration, Instant};

use super::evidence::kind;
use super::{Isolation, MAX_REMEMBERED, Suspect};
use crate::message::Traits;

/// It is suspected if it was written less than this before the connection was closed.
const LATELY: Duration = Duration::from_secs(5);

/// The PINGREQ is sent so long after it: nothing says that the server looks at a policy before it answers a PINGREQ.
const PING_AFTER: Duration = Duration::from_secs(1);

/// A QoS 0 message that was written on this connection.
#[derive(Debug)]
struct Unproven {
    traits: Traits,
    written_at: Instant,
    is_alone: bool,
    /// A PINGREQ was sent behind it.
    asked: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Written {
    unproven: Vec<Unproven>,
    /// They are to be cleared by a PINGREQ: one of them is tried alone, or something else waits to be.
    wants_ping: bool,
    /// Since when something waits to be tried alone until the server has answered anything on this connection.
    wants_proof: Option<Instant>,
}

impl Written {
    pub(super) fn restart(&mut self) {
        *self = Written::default();
    }

    /// Lets go of what was written long enough ago, but for what is tried alone.
    fn drop_old(&mut self, now: Instant) {
        self.unproven.retain(|unproven| unproven.is_alone || now < unproven.written_at + LATELY);
    }
}

impl Isolation {
    /// A QoS 0 message has been written.
    pub(crate) fn wrote(&mut self, traits: Traits, now: Instant) {
        let is_alone = self.is_alone(&Suspect::Publish(traits.clone()));
        let written = &mut self.written;
        written.drop_old(now);
        written.unproven.retain(|unproven| kind(&unproven.traits) != kind(&traits));
        if written.unproven.len() >= MAX_REMEMBERED {
            written.unproven.remove(0);
        }
        written.wants_ping |= is_alone;
        written.unproven.push(Unproven { traits, written_at: now, is_alone, asked: false });
    }

    /// The QoS 0 messages that were written lately, the last written last.
    pub(crate) fn written_lately(&self, now: Instant) -> impl Iterator<Item = &Traits> {
        let unproven = self.written.unproven.iter();
        unproven.filter(move |unproven| now < unproven.written_at + LATELY).map(|unproven| &unproven.traits)
    }

    /// What may be the reason of a close. It is forgotten.
    pub(super) fn take_written(&mut self, now: Instant) -> Vec<Traits> {
        self.written.drop_old(now);
        self.written.unproven.drain(..).map(|unproven| unproven.traits).collect()
    }

    /// Whether a QoS 0 message that is tried alone is on the wire.
    pub(crate) fn is_written_alone(&self) -> bool {
        self.written.unproven.iter().any(|unproven| unproven.is_alone)
    }

    /// Whether something can be tried alone: no QoS 0 message is on the wire, and the server `has_answered` something on this
    /// connection. If not, [`Isolation::ping_at`] says what to do about that.
    pub(crate) fn make_way(&mut self, has_answered: bool, now: Instant) -> bool {
        let written = &mut self.written;
        written.drop_old(now);
        written.wants_ping |= !written.unproven.is_empty();
        if !has_answered {
            written.wants_proof.get_or_insert(now);
        }
        has_answered && written.unproven.is_empty()
    }

    /// When to send a PINGREQ, once that before is answered.
    pub(crate) fn ping_at(&self) -> Option<Instant> {
        let written = &self.written;
        let unasked = written.unproven.iter().filter(|unproven| !unproven.asked).map(|unproven| unproven.written_at);
        let ping_at = unasked.max().filter(|_| written.wants_ping).map(|written_at| written_at + PING_AFTER);
        written.wants_proof.or(ping_at)
    }

    /// A PINGREQ is sent.
    pub(crate) fn pinged(&mut self, now: Instant) {
        for unproven in self.written.unproven.iter_mut().filter(|unproven| unproven.written_at + PING_AFTER <= now) {
            unproven.asked = true;
        }
    }

    /// PINGRESP has come.
    pub(crate) fn ping_answered(&mut self, now: Instant) {
        self.written.wants_proof = None;
        let asked: Vec<Unproven> = self.written.unproven.extract_if(.., |unproven| unproven.asked).collect();
        for unproven in asked {
            self.witness(&unproven.traits, now);
        }
        self.written.wants_ping &= !self.written.unproven.is_empty();
    }
}
