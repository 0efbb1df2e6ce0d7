//! The two searches: for a string that two patterns share, and for one that some patterns miss.

use std::collections::{BTreeMap, BTreeSet};

use super::{Pattern, Piece};

/// How many positions a search may look at: a second's work. Policies as people write them need some thousands; wildcards
/// nested for the purpose could need more than there is memory.
const MAX_WORK: usize = 2_000_000;

/// The wildcards are too many and too intertwined to be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooComplex;

impl Pattern {
    /// A shortest string that both match, if there is one.
    pub(crate) fn overlap(&self, other: &Pattern) -> Option<String> {
        // Most begin with the same partition, region and account, and differ soon after.
        let begin = self.shared_begin(other)?;
        let alphabet = Alphabet::of([self, other]);
        let mut trail = Trail::default();
        let mut seen = BTreeSet::new();
        let from = begin.chars().count();
        let starts = self.closure(from).flat_map(|own| other.closure(from).map(move |others| (own, others)));
        for state in starts {
            seen.insert(state);
            trail.start(state);
        }
        while let Some((index, (own, others))) = trail.next() {
            if own == self.0.len() && others == other.0.len() {
                return Some(begin + &trail.word(index));
            }
            for c in alphabet.of_piece(self.0.get(own)) {
                for next_own in self.step(own, c) {
                    for next_other in other.step(others, c) {
                        if seen.insert((next_own, next_other)) {
                            trail.add(index, c, (next_own, next_other));
                        }
                    }
                }
            }
        }
        None
    }

    /// The characters with which every string of both begins; `None` if they go on with different ones.
    fn shared_begin(&self, other: &Pattern) -> Option<String> {
        let mut begin = String::new();
        for pieces in self.0.iter().zip(&other.0) {
            match pieces {
                (Piece::Char(own), Piece::Char(others)) if own == others => begin.push(*own),
                (Piece::Char(_), Piece::Char(_)) => return None,
                _ => break,
            }
        }
        Some(begin)
    }

    /// A shortest string that this pattern matches and none of `others` does; `None` if together they match all.
    ///
    /// # Errors
    /// The search was given up.
    pub(crate) fn outside(&self, others: &[&Pattern]) -> Result<Option<String>, TooComplex> {
        common_outside(&[self], others)
    }
}

/// A shortest string that each of `all` matches and none of `others` does; `None` if there is none.
///
/// Strings are spelled out from the left; beside the positions in `all` goes the set of all positions in `others` that the
/// string so far can have reached. Of two such sets at the same positions the smaller one alone is followed: whatever escapes
/// the larger one escapes it, too. A character that nobody names gives the smallest set of all, which is why wildcards hardly
/// ever multiply the work.
///
/// # Errors
/// The search was given up.
pub(crate) fn common_outside(all: &[&Pattern], others: &[&Pattern]) -> Result<Option<String>, TooComplex> {
    // What has nothing in common with a pattern can't help to match what all of them match.
    let helps = |other: &&Pattern| all.iter().all(|pattern| pattern.overlap(other).is_some());
    let others: Vec<&Pattern> = others.iter().copied().filter(helps).collect();
    let alphabet = Alphabet::of(others.iter().chain(all).copied());
    let mut trail = Trail::default();
    let mut seen: BTreeMap<Positions, Vec<Reached>> = BTreeMap::new();
    let start = Reached::start(&others);
    let mut work = 0;
    for positions in combined(all.iter().map(|pattern| pattern.closure(0).collect()))? {
        trail.start((positions, start.clone()));
    }
    while let Some((index, (positions, reached))) = trail.next() {
        let ended = positions.iter().zip(all).all(|(&position, pattern)| position == pattern.0.len());
        if ended && !reached.accepts(&others) {
            return Ok(Some(trail.word(index)));
        }
        for c in alphabet.of_piece(positions.first().and_then(|&first| all[0].0.get(first))) {
            let steps = positions.iter().zip(all).map(|(&position, pattern)| pattern.step(position, c).collect());
            let next = reached.step(&others, c);
            for positions in combined(steps)? {
                let known = seen.entry(positions.clone()).or_default();
                work += (known.len() + 1) * (next.0.len() + 1);
                if work > MAX_WORK {
                    return Err(TooComplex);
                }
                if !known.iter().any(|smaller| smaller.0.is_subset(&next.0)) {
                    known.push(next.clone());
                    trail.add(index, c, (positions, next.clone()));
                }
            }
        }
    }
    Ok(None)
}

/// A position in each of several patterns.
type Positions = Vec<usize>;

/// How many of them are looked at: two to the power of the patterns, if a wildcard comes next in each.
const MAX_COMBINED: usize = 4096;

/// Every way to take one position of each pattern's.
fn combined(mut each: impl Iterator<Item = Vec<usize>>) -> Result<Vec<Positions>, TooComplex> {
    each.try_fold(vec![Vec::new()], |before, next| {
        if before.len() * next.len() > MAX_COMBINED {
            return Err(TooComplex);
        }
        let longer = |positions: &Positions| {
            let positions = positions.clone();
            next.iter().map(move |&position| positions.iter().copied().chain([position]).collect()).collect::<Vec<_>>()
        };
        Ok(before.iter().flat_map(longer).collect())
    })
}

/// Where a string can have led in each of several patterns: the pattern's index and the position in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reached(BTreeSet<(usize, usize)>);

impl Reached {
    fn start(patterns: &[&Pattern]) -> Reached {
        let starts = patterns.iter().enumerate();
        Reached(starts.flat_map(|(index, pattern)| pattern.closure(0).map(move |start| (index, start))).collect())
    }

    fn step(&self, patterns: &[&Pattern], c: char) -> Reached {
        let steps = self.0.iter().flat_map(|&(index, position)| {
            let next = patterns[index].step(position, c);
            next.map(move |next| (index, next))
        });
        Reached(steps.collect())
    }

    fn accepts(&self, patterns: &[&Pattern]) -> bool {
        self.0.iter().any(|&(index, position)| position == patterns[index].0.len())
    }
}

/// The characters that need to be tried: those that some pattern names, and one in the place of all others.
struct Alphabet(Vec<char>);

impl Alphabet {
    fn of<'a>(patterns: impl IntoIterator<Item = &'a Pattern>) -> Alphabet {
        let named: BTreeSet<char> = patterns.into_iter().flat_map(Pattern::named).collect();
        // Something readable, as it is shown in examples. Nobody names all characters there are.
        let other = ('a'..='z').rev().chain('0'..='9').chain('\u{a1}'..=char::MAX).find(|c| !named.contains(c));
        // First, as it leads to the smallest sets.
        Alphabet(other.into_iter().chain(named).collect())
    }

    /// Those that a piece stands for.
    fn of_piece(&self, piece: Option<&Piece>) -> impl Iterator<Item = char> {
        self.0.iter().copied().filter(move |&c| piece.is_some_and(|piece| piece.admits(c)))
    }
}

/// States in the order in which a search from the shortest strings on looks at them, each with the way to it.
struct Trail<S> {
    /// The state, the index of the one before it, and the character between the two.
    states: Vec<(S, Option<(usize, char)>)>,
    next: usize,
}

impl<S> Default for Trail<S> {
    fn default() -> Trail<S> {
        Trail { states: Vec::new(), next: 0 }
    }
}

impl<S: Clone> Trail<S> {
    fn start(&mut self, state: S) {
        self.states.push((state, None));
    }

    fn add(&mut self, from: usize, c: char, state: S) {
        self.states.push((state, Some((from, c))));
    }

    fn next(&mut self) -> Option<(usize, S)> {
        let index = self.next;
        let (state, _) = self.states.get(index)?;
        self.next += 1;
        Some((index, state.clone()))
    }

    /// The string that leads to a state.
    fn word(&self, mut index: usize) -> String {
        let mut backwards = Vec::new();
        while let Some((from, c)) = self.states[index].1 {
            backwards.push(c);
            index = from;
        }
        backwards.into_iter().rev().collect()
    }
}
