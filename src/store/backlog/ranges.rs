//! A set of numbers that mostly come in stretches.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Start and end (inclusive) of each stretch; no two touch.
#[derive(Debug, Default)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    pub(super) fn insert(&mut self, range: RangeInclusive<u64>) {
        let (mut start, mut end) = range.into_inner();
        if start > end {
            return;
        }
        while let Some((&first, &last)) = self.0.range(..=end.saturating_add(1)).next_back()
            && last.saturating_add(1) >= start
        {
            self.0.remove(&first);
            (start, end) = (start.min(first), end.max(last));
        }
        self.0.insert(start, end);
    }

    pub(super) fn append(&mut self, other: Ranges) {
        other.0.into_iter().for_each(|(start, end)| self.insert(start..=end));
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.0.range(..=number).next_back().is_some_and(|(_, end)| *end >= number)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many stretches there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many numbers.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().fold(0, |count: u64, (start, end)| count.saturating_add((end - start).saturating_add(1)))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = RangeInclusive<u64>> {
        self.0.iter().map(|(start, end)| *start..=*end)
    }

    /// Closes the holes that nothing of `wanted` (sorted by start) lies in.
    pub(super) fn merge_around(&mut self, wanted: &[RangeInclusive<u64>]) {
        let mut merged: Vec<(u64, u64)> = Vec::new();
        for (&start, &end) in &self.0 {
            match merged.last_mut() {
                Some(last) if !is_any_between(wanted, last.1, start) => last.1 = end,
                _ => merged.push((start, end)),
            }
        }
        self.0 = merged.into_iter().collect();
    }
}

/// Whether anything of `wanted` (sorted by start) touches what lies between two numbers.
fn is_any_between(wanted: &[RangeInclusive<u64>], low: u64, high: u64) -> bool {
    let next = wanted.partition_point(|range| *range.start() < high);
    wanted[..next].iter().any(|range| *range.end() > low)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(stretches in prop::collection::vec((0..200u64, 0..9u64), 0..60)) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for (start, length) in stretches {
                ranges.insert(start..=start + length);
                set.extend(start..=start + length);
            }
            prop_assert_eq!(ranges.count(), set.len() as u64);
            prop_assert!((0..220).all(|number| ranges.contains(number) == set.contains(&number)));
            let list: Vec<_> = ranges.iter().collect();
            prop_assert!(list.windows(2).all(|pair| pair[0].end() + 1 < *pair[1].start()));
            prop_assert_eq!(list.into_iter().flatten().collect::<BTreeSet<_>>(), set);
        }

        #[test]
        fn merging_leaves_out_all_that_is_wanted(
            numbers in prop::collection::btree_set(0..300u64, 1..100),
            wanted in prop::collection::btree_set(0..300u64, 0..30),
        ) {
            let mut ranges = Ranges::default();
            for number in numbers.difference(&wanted) {
                ranges.insert(*number..=*number);
            }
            let kept: Vec<_> = wanted.iter().map(|number| *number..=*number).collect();
            ranges.merge_around(&kept);
            let merged: BTreeSet<u64> = ranges.iter().flatten().collect();
            prop_assert!(numbers.difference(&wanted).all(|number| merged.contains(number)));
            prop_assert!(merged.is_disjoint(&wanted));
            prop_assert!(ranges.len() <= wanted.len() + 1);
        }
    }
}
