//! Whether clients that all want to publish wait no longer than their share.

use std::cell::RefCell;

/// What a client may be behind others beyond its turns: what they had read from their sockets, and what is answered at once.
const SLACK: u64 = 20;

/// Lines of each client, and their answers.
#[derive(Debug, Default, Clone, Copy)]
struct Client {
    sent: u64,
    answered: u64,
}

/// See the module.
pub(in crate::simulation) struct Fairness(RefCell<Vec<Client>>);

/// What each client had sent when one of them sent its lines.
pub(in crate::simulation) struct Before(Vec<u64>);

impl Fairness {
    pub(in crate::simulation) fn of(clients: usize) -> Fairness {
        Fairness(RefCell::new(vec![Client::default(); clients]))
    }

    /// A client is about to send so many lines.
    pub(in crate::simulation) fn sends(&self, client: usize, lines: u64) -> Before {
        let clients = &mut *self.0.borrow_mut();
        let before = clients.iter().map(|client| client.sent).collect();
        clients[client].sent += lines;
        Before(before)
    }

    /// The `n`th of those lines was answered. Returns how many lines of another, which were sent later, have come before, if that is
    /// more than its share.
    pub(in crate::simulation) fn answered(&self, client: usize, n: u64, before: &Before) -> Option<u64> {
        let clients = &mut *self.0.borrow_mut();
        clients[client].answered += 1;
        let others = clients.iter().zip(&before.0).enumerate().filter(|(other, _)| *other != client);
        let overtaken = others.map(|(_, (other, before))| other.answered.saturating_sub(*before)).max();
        overtaken.filter(|lines| *lines > 2 * n + SLACK)
    }
}
