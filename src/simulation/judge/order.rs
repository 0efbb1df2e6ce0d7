//! What comes first, where nothing was refused.

use std::collections::{BTreeMap, BTreeSet};

use super::{Judge, number_of};
use crate::simulation::cloud::Cloud;

impl Judge {
    /// What a client has sent first of a topic has to come first: of what is urgent, and of what isn't.
    pub(in crate::simulation) fn order(&self, cloud: &Cloud) {
        let mut last: BTreeMap<(u64, &str, bool), u64> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let lines = self.lines.borrow();
        for number in cloud.taken().iter().filter_map(number_of) {
            let Some(line) = lines.get(&number).filter(|line| line.qos == 1) else { continue };
            if !seen.insert(number) {
                continue;
            }
            let before = last.insert((line.connection, &line.topic, line.urgent), number).unwrap_or(0);
            if before > number {
                self.violated(format!("{number} to {} came after {before}, which was sent later", line.topic));
            }
        }
    }

    /// What isn't urgent and was sent after the answer to what is has to come after it, whoever has sent the two.
    pub(in crate::simulation) fn urgent_first(&self, cloud: &Cloud) {
        let lines = self.lines.borrow();
        let mut places: BTreeMap<u64, usize> = BTreeMap::new();
        for (place, number) in cloud.taken().iter().filter_map(number_of).enumerate() {
            places.entry(number).or_insert(place);
        }
        let came = |urgent: bool| {
            let of_lane = lines.iter().filter(move |(_, line)| line.urgent == urgent && line.qos == 1);
            of_lane.filter_map(|(number, line)| Some((*number, line, *places.get(number)?)))
        };
        // Of the others, by their numbers: which of those from there on came first.
        let mut first: BTreeMap<u64, (usize, u64)> = BTreeMap::new();
        let mut least = None;
        for (number, _, place) in came(false).collect::<Vec<_>>().into_iter().rev() {
            least = least.min(Some((place, number))).or(Some((place, number)));
            first.extend(least.map(|least| (number, least)));
        }
        for (number, line, place) in came(true).filter(|(_, line, _)| line.answer.is_some()) {
            if let Some((_, (other_place, other))) = first.range(line.answered_after + 1..).next()
                && *other_place < place
            {
                let topic = &line.topic;
                self.violated(format!("{number} to {topic} is urgent, and came after {other}, which was sent later"));
            }
        }
    }
}
