//! Who has handed over messages and wants to know what becomes of them for longer than an answer lasts: also of those that are
//! stored first, and delivered or given up later. Pure.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use super::MessageOutcome;
use crate::message::Sequence;

/// One that hands messages over by itself, such as a rule of a bridge.
pub(crate) trait Sender: fmt::Debug {
    /// What became of the message that it calls `id`: once, as soon as it is safe or given up. It mustn't hand over another meanwhile.
    fn settled(&self, id: u64, outcome: &MessageOutcome);

    fn tally(&self) -> &Tally;
}

/// What became of messages of a [`Sender`], whether it was told of them or they were stored before.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    waiting: Cell<u64>,
    delivered: Cell<u64>,
    refused: Cell<u64>,
    expired: Cell<u64>,
    dropped: Cell<u64>,
}

fn add(counter: &Cell<u64>, n: u16) {
    counter.set(counter.get() + u64::from(n));
}

impl Tally {
    /// In the outbox.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.get()
    }

    /// IoT Core has acknowledged them.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.get()
    }

    /// IoT Core has refused them.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.get()
    }

    /// They had waited for longer than their own time, or `outbox.max_age`.
    pub(crate) fn expired(&self) -> u64 {
        self.expired.get()
    }

    /// The outbox has given them up: there was no room, or nobody knows any more why.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.get()
    }

    fn left(&self, fate: Fate, parts: u16) {
        self.waiting.set(self.waiting.get().saturating_sub(u64::from(parts)));
        match fate {
            Fate::Delivered => add(&self.delivered, parts),
            Fate::Refused => add(&self.refused, parts),
            Fate::Expired => add(&self.expired, parts),
            Fate::Dropped => add(&self.dropped, parts),
        }
    }
}

/// How a message has left the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Delivered,
    Refused,
    Expired,
    Dropped,
}

/// Whose a message is, and how many of its sender's are in it; no parts: nobody asks for it any more.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    sender: u16,
    parts: u16,
}

/// Which messages of the outbox are whose, in their order. Costs four bytes a message, from the first that has a sender on.
#[derive(Debug, Default)]
pub(super) struct Senders {
    known: Vec<Rc<dyn Sender>>,
    /// The place of the first mark.
    first: u64,
    marks: VecDeque<Mark>,
}

impl Senders {
    /// The message at `place`, which is greater than all before, is `sender`'s, and `parts` of its messages.
    pub(super) fn note(&mut self, place: u64, sender: &Rc<dyn Sender>, parts: u16) {
        let Some(index) = self.index_of(sender) else { return };
        if self.marks.is_empty() {
            self.first = place;
        }
        let at = usize::try_from(place - self.first).unwrap_or(usize::MAX);
        self.marks.resize(at, Mark::default());
        self.marks.push_back(Mark { sender: index, parts });
        add(&sender.tally().waiting, parts);
    }

    /// The message noted last wasn't taken.
    pub(super) fn take_back(&mut self, place: u64) {
        let is_last = self.first + self.marks.len() as u64 == place + 1;
        if let Some(mark) = self.marks.pop_back_if(|mark| is_last && mark.parts > 0)
            && let Some(sender) = self.known.get(usize::from(mark.sender))
        {
            let waiting = &sender.tally().waiting;
            waiting.set(waiting.get().saturating_sub(u64::from(mark.parts)));
        }
    }

    /// `None`: there are too many.
    fn index_of(&mut self, sender: &Rc<dyn Sender>) -> Option<u16> {
        let known = self.known.iter().position(|known| Rc::ptr_eq(known, sender));
        let index = known.unwrap_or_else(|| {
            self.known.push(Rc::clone(sender));
            self.known.len() - 1
        });
        u16::try_from(index).ok()
    }

    /// The message at this place has left the outbox.
    pub(super) fn left(&mut self, place: Sequence, fate: Fate) {
        let at = place.get().checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        if let Some(mark) = at.and_then(|at| self.marks.get_mut(at)) {
            let Mark { sender, parts } = std::mem::take(mark);
            self.settle(Mark { sender, parts }, fate);
        }
        while self.marks.front().is_some_and(|mark| mark.parts == 0) {
            self.marks.pop_front();
            self.first += 1;
        }
    }

    /// Nothing that comes before `oldest` is in the outbox any more; `None`: nothing at all is. What is marked was given up.
    pub(super) fn forget_before(&mut self, oldest: Option<u64>) {
        while !self.marks.is_empty() && oldest.is_none_or(|oldest| self.first < oldest) {
            if let Some(mark) = self.marks.pop_front() {
                self.settle(mark, Fate::Dropped);
            }
            self.first += 1;
        }
    }

    fn settle(&self, mark: Mark, fate: Fate) {
        if let Some(sender) = self.known.get(usize::from(mark.sender)).filter(|_| mark.parts > 0) {
            sender.tally().left(fate, mark.parts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Rule(Tally);

    impl Sender for Rule {
        fn settled(&self, _: u64, _: &MessageOutcome) {}

        fn tally(&self) -> &Tally {
            &self.0
        }
    }

    fn counts(sender: &Rc<dyn Sender>) -> [u64; 4] {
        let tally = sender.tally();
        [tally.waiting(), tally.delivered(), tally.refused(), tally.dropped()]
    }

    #[test]
    fn each_message_is_counted_once_for_who_sent_it_whatever_becomes_of_it() {
        let mut senders = Senders::default();
        let [one, other]: [Rc<dyn Sender>; 2] = [Rc::new(Rule::default()), Rc::new(Rule::default())];
        senders.note(1000, &one, 1);
        // What lies between is others'.
        senders.note(1003, &other, 5);
        senders.note(1004, &one, 1);
        senders.note(1005, &one, 1);
        assert_eq!((counts(&one), counts(&other)), ([3, 0, 0, 0], [5, 0, 0, 0]));
        senders.left(Sequence::new(1003), Fate::Delivered);
        senders.left(Sequence::new(1003), Fate::Delivered);
        senders.left(Sequence::new(1001), Fate::Refused);
        senders.left(Sequence::new(7), Fate::Delivered);
        senders.left(Sequence::new(2000), Fate::Delivered);
        senders.left(Sequence::new(1004), Fate::Refused);
        assert_eq!((counts(&one), counts(&other)), ([2, 0, 1, 0], [0, 5, 0, 0]));
        senders.forget_before(Some(1001));
        assert_eq!(counts(&one), [1, 0, 1, 1]);
        senders.left(Sequence::new(1005), Fate::Delivered);
        assert_eq!((counts(&one), senders.marks.len()), ([0, 1, 1, 1], 0));
        senders.note(1010, &other, 2);
        senders.forget_before(None);
        assert_eq!((counts(&other), senders.marks.len()), ([0, 5, 0, 2], 0));
    }
}
