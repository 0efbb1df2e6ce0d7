//! Whose turn it is among those who wait to hand a message over. Pure.
//!
//! Sources are the leaves of a tree: sockets, users, processes, connections. At each level who has used least of the link is
//! first (start-time fair queueing), so that a socket, a user or a process has its share however many connections another has.
//! Who has been silent has saved nothing up.

use std::collections::BTreeMap;

use crate::message::Qos;

/// Where a source is in the tree: socket, user, process, connection.
pub(super) type Path = [u64; 4];

/// What a source waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Room for any message.
    Any,
    /// Room for a QoS 0 message, which only memory can hold.
    Memory,
    /// Likewise for what is urgent: who waits for that has only others before it who do, too.
    Urgent,
    UrgentMemory,
}

impl Need {
    pub(super) const ALL: [Need; 4] = [Need::Any, Need::Memory, Need::Urgent, Need::UrgentMemory];

    pub(super) fn of(qos: Qos, urgent: bool) -> Need {
        match (urgent, qos) {
            (false, Qos::AtLeastOnce) => Need::Any,
            (false, Qos::AtMostOnce) => Need::Memory,
            (true, Qos::AtLeastOnce) => Need::Urgent,
            (true, Qos::AtMostOnce) => Need::UrgentMemory,
        }
    }

    pub(super) fn is_urgent(self) -> bool {
        matches!(self, Need::Urgent | Need::UrgentMemory)
    }

    pub(super) fn is_memory(self) -> bool {
        matches!(self, Need::Memory | Need::UrgentMemory)
    }
}

#[derive(Debug, Default)]
struct Node {
    /// Link time, in ns.
    used: u64,
    /// What that child had used before that was served last: one that comes anew starts there.
    floor: u64,
    /// When it was served last, in turns. Of those that have used as much, who has waited longest is first: one that has been silent
    /// has nobody's whole round before it.
    served: u64,
    /// How many of the sources below wait, by need.
    waiting: [usize; Need::ALL.len()],
    children: BTreeMap<u64, Node>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Shares {
    root: Node,
    turns: u64,
}

impl Node {
    fn waits(&self, is_open: impl Fn(Need) -> bool) -> bool {
        Need::ALL.into_iter().any(|need| self.waiting[need as usize] > 0 && is_open(need))
    }
}

impl Shares {
    /// A source begins to wait. It doesn't yet.
    pub(super) fn wait(&mut self, path: &Path, need: Need) {
        let mut node = &mut self.root;
        node.waiting[need as usize] += 1;
        for key in path {
            let floor = node.floor;
            node = node.children.entry(*key).or_default();
            node.used = node.used.max(floor);
            node.waiting[need as usize] += 1;
        }
    }

    /// A source that waits no longer does.
    pub(super) fn leave(&mut self, path: &Path, need: Need) {
        let mut node = &mut self.root;
        node.waiting[need as usize] -= 1;
        for key in path {
            let Some(child) = node.children.get_mut(key) else { return };
            node = child;
            node.waiting[need as usize] -= 1;
        }
    }

    /// A source has handed over what takes so many ns of the link.
    pub(super) fn charge(&mut self, path: &Path, cost: u64) {
        self.turns += 1;
        let mut node = &mut self.root;
        for key in path {
            let floor = node.floor;
            let child = node.children.entry(*key).or_default();
            child.used = child.used.max(floor);
            node.floor = child.used;
            child.used = child.used.saturating_add(cost);
            child.served = self.turns;
            node = child;
        }
    }

    /// What took `before` of the link takes `now` from now on: the network has become faster or slower. What each has used more than the
    /// others counts for as many messages as it did. Otherwise a moment in which the network seemed to stand still would keep
    /// those who were served in it waiting for as long as it was taken to last.
    pub(super) fn rescale(&mut self, before: u64, now: u64) {
        if before != now && before > 0 {
            rescale(&mut self.root, before, now);
        }
    }

    /// A source that doesn't wait has gone.
    pub(super) fn remove(&mut self, path: &Path) {
        remove(&mut self.root, path);
    }

    pub(super) fn is_anybody_waiting(&self) -> bool {
        self.root.waits(|_| true)
    }

    /// Whether anybody waits to hand over what is urgent, or what isn't.
    pub(super) fn is_line(&self, urgent: bool) -> bool {
        self.root.waits(|need| need.is_urgent() == urgent)
    }

    /// The connection of the source whose turn it is, of those for whose need there is room.
    pub(super) fn first(&self, is_open: impl Fn(Need) -> bool) -> Option<u64> {
        let (mut node, mut found) = (&self.root, None);
        while !node.children.is_empty() {
            let waiting = node.children.iter().filter(|(_, child)| child.waits(&is_open));
            let (key, child) = waiting.min_by_key(|(_, child)| (child.used.max(node.floor), child.served))?;
            (node, found) = (child, Some(*key));
        }
        found
    }
}

fn rescale(node: &mut Node, before: u64, now: u64) {
    let floor = node.floor;
    for child in node.children.values_mut() {
        let ahead = u128::from(child.used.saturating_sub(floor)) * u128::from(now) / u128::from(before);
        child.used = child.used.min(floor).saturating_add(u64::try_from(ahead).unwrap_or(u64::MAX));
        rescale(child, before, now);
    }
}

fn remove(node: &mut Node, path: &[u64]) {
    let Some((key, rest)) = path.split_first() else { return };
    if let Some(child) = node.children.get_mut(key) {
        remove(child, rest);
        if child.children.is_empty() {
            node.children.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// How much each of some sources that all wait all the time has been served, after so many turns.
    fn served(paths: &[Path], costs: impl Fn(usize) -> u64, turns: usize) -> Vec<u64> {
        let mut shares = Shares::default();
        let places: BTreeMap<u64, usize> = paths.iter().enumerate().map(|(n, path)| (path[3], n)).collect();
        let mut served = vec![0; paths.len()];
        paths.iter().for_each(|path| shares.wait(path, Need::Any));
        for _ in 0..turns {
            let n = places[&shares.first(|_| true).unwrap()];
            shares.leave(&paths[n], Need::Any);
            shares.charge(&paths[n], costs(n));
            served[n] += costs(n);
            shares.wait(&paths[n], Need::Any);
        }
        served
    }

    #[test]
    fn sockets_users_processes_and_connections_have_the_same_share_each() {
        let paths = [[1, 0, 10, 0], [1, 0, 10, 1], [1, 0, 11, 2], [1, 7, 12, 3], [2, 0, 10, 4]];
        assert_eq!(served(&paths, |_| 1, 1600), [100, 100, 200, 400, 800]);
    }

    #[test]
    fn who_was_silent_has_saved_nothing_up_and_waits_for_one_turn_of_each() {
        let mut shares = Shares::default();
        let flood: Vec<Path> = (0..10).map(|n| [1, 0, 0, n]).collect();
        let late = [1, 0, 0, 99];
        flood.iter().for_each(|path| shares.wait(path, Need::Any));
        let serve = |shares: &mut Shares| {
            let n = shares.first(|_| true).unwrap();
            shares.leave(&[1, 0, 0, n], Need::Any);
            shares.charge(&[1, 0, 0, n], 1);
            shares.wait(&[1, 0, 0, n], Need::Any);
            n
        };
        for _ in 0..1000 {
            serve(&mut shares);
        }
        shares.wait(&late, Need::Any);
        let turns: Vec<u64> = (0..22).map(|_| serve(&mut shares)).collect();
        assert_eq!(turns.iter().filter(|n| **n == 99).count(), 2, "{turns:?}");
        assert!(turns[..11].contains(&99), "{turns:?}");
    }

    #[test]
    fn who_needs_memory_keeps_nobody_else_waiting() {
        let mut shares = Shares::default();
        shares.wait(&[1, 0, 0, 1], Need::Memory);
        shares.wait(&[1, 0, 0, 2], Need::Any);
        assert_eq!(shares.first(|need| need == Need::Any), Some(2));
        assert_eq!(shares.first(|_| true), Some(1));
        assert_eq!(shares.first(|_| false), None);
        shares.leave(&[1, 0, 0, 2], Need::Any);
        assert_eq!(shares.first(|need| need == Need::Any), None);
        shares.leave(&[1, 0, 0, 1], Need::Memory);
        assert!(!shares.is_anybody_waiting());
        shares.remove(&[1, 0, 0, 1]);
        shares.remove(&[1, 0, 0, 2]);
        assert!(shares.root.children.is_empty());
    }

    proptest! {
        #[test]
        fn messages_of_any_size_make_no_difference(costs in prop::collection::vec(1..1000u64, 2..20)) {
            let paths: Vec<Path> = (0..costs.len() as u64).map(|n| [1, 0, 0, n]).collect();
            let served = served(&paths, |n| costs[n], 5000);
            let (least, most) = (served.iter().min().unwrap(), served.iter().max().unwrap());
            prop_assert!(most - least <= 2 * costs.iter().max().unwrap(), "{:?} of {:?}", served, costs);
        }
    }
}
