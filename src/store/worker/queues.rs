//! The queues of the forwards: each has one, found by its name.

use super::Worker;
use crate::store::database::Database;
use crate::store::unwanted;
use crate::store::{QueueId, QueueState, Totals};

impl Worker {
    fn forward_queues(&self) -> impl Iterator<Item = &(QueueId, String)> {
        self.queues.iter().filter(|(id, _)| !id.is_built_in())
    }

    /// The place of a forward's queue, which is made if there is none.
    pub(super) fn place(&mut self, forward: String) -> QueueState {
        if !self.forwards.contains(&forward) {
            self.forwards.push(forward.clone());
        }
        let known = self.queues.len();
        self.name_queues();
        let new: Vec<(QueueId, String)> = self.queues[known..].to_vec();
        if let Some(database) = &mut self.database {
            database.add_queues(new);
        }
        let named = self.queues.iter().find(|(_, name)| *name == forward).map(|(queue, _)| *queue);
        let queue = named.or_else(|| QueueId::for_name(&forward, |_| false)).unwrap_or(QueueId::OUTBOX);
        // One that was removed from the configuration before may have left something.
        let queues = self.attempt(Database::queues).unwrap_or_default();
        let stored = queues.iter().find(|(id, ..)| *id == queue).map_or_else(Totals::default, |(_, _, totals)| *totals);
        let given = self.attempt(|database| database.note(&queue.note_of_given())).ok().flatten();
        let given = given.and_then(|given| given.parse().ok()).unwrap_or(0);
        QueueState { queue, stored, generation: if self.database.is_some() { self.generation } else { 0 }, given }
    }

    /// Gives every forward a queue.
    pub(super) fn name_queues(&mut self) {
        for name in &self.forwards {
            if self.forward_queues().any(|(_, known)| known == name) {
                continue;
            }
            let is_taken = |id: QueueId| self.queues.iter().any(|(taken, _)| *taken == id);
            // With no number left, a forward shares its queue with another: there are a thousand.
            if let Some(id) = QueueId::for_name(name, is_taken) {
                self.queues.push((id, name.clone()));
            }
        }
    }

    pub(super) fn say_what_nobody_wants(&self, contents: &[(QueueId, String, Totals)]) {
        for (id, name, totals) in contents {
            if !id.is_built_in() && !self.forwards.contains(name) {
                unwanted::say(name, totals.messages, &self.path);
            }
        }
    }
}
