//! What is missing, and what came in the wrong order. Pure.

use std::collections::HashSet;

/// See [`judge`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Promised, and never arrived.
    pub(crate) missing: Vec<u64>,
    /// Arrived for the first time after one with a higher number: that number, and its own.
    pub(crate) overtaken: Vec<(u64, u64)>,
    /// Arrivals of what had arrived before.
    pub(crate) duplicates: usize,
}

/// Compares what was promised with what arrived, both by number. Numbers were given out in the order of acceptance, so each must
/// arrive for the first time after all lower ones that arrive at all.
pub(crate) fn judge(promised: &[u64], arrived: &[u64]) -> Verdict {
    let mut verdict = Verdict::default();
    let (mut seen, mut highest) = (HashSet::new(), 0);
    for number in arrived {
        if !seen.insert(number) {
            verdict.duplicates += 1;
        } else if *number < highest {
            verdict.overtaken.push((highest, *number));
        } else {
            highest = *number;
        }
    }
    verdict.missing = promised.iter().filter(|number| !seen.contains(number)).copied().collect();
    verdict
}

#[test]
fn the_verdict_tells_a_loss_from_a_repetition_and_from_a_wrong_order() {
    let verdict = |missing: &[u64], overtaken: &[(u64, u64)], duplicates| Verdict {
        missing: missing.to_vec(),
        overtaken: overtaken.to_vec(),
        duplicates,
    };
    assert_eq!(judge(&[0, 1, 3], &[0, 1, 2, 3]), verdict(&[], &[], 0), "one arrived that nobody had been promised");
    assert_eq!(judge(&[0, 1, 3], &[0, 1, 0, 1, 3, 0]), verdict(&[], &[], 3));
    assert_eq!(judge(&[0, 1, 2], &[0, 2, 2]), verdict(&[1], &[], 1));
    assert_eq!(judge(&[0, 1, 2], &[0, 2, 1]), verdict(&[], &[(2, 1)], 0));
    assert_eq!(judge(&[0, 1, 2], &[2, 0, 1, 0]), verdict(&[], &[(2, 0), (2, 1)], 1));
}
