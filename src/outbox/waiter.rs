//! Who is told what becomes of a message.

use std::rc::Rc;

use tokio::sync::oneshot;

use super::outcome::MessageOutcome;
use super::quarantine::Place;
use super::senders::Sender;

/// Who has to be told what became of a message.
#[derive(Debug)]
pub(super) enum Waiter {
    Client(oneshot::Sender<MessageOutcome>),
    /// It calls the message by this number.
    Sender(Rc<dyn Sender>, u64),
    /// It was refused before and is tried anew; until then it lies in the quarantine.
    Quarantine(Place),
}

impl Waiter {
    /// A program waits for the answer at this moment, and shouldn't for long. A bridge can.
    pub(super) fn is_impatient(&self) -> bool {
        matches!(self, Waiter::Client(client) if !client.is_closed())
    }

    /// Somebody hears what becomes of it.
    pub(super) fn is_client(&self) -> bool {
        match self {
            Waiter::Client(client) => !client.is_closed(),
            Waiter::Sender(..) => true,
            Waiter::Quarantine(_) => false,
        }
    }
}
