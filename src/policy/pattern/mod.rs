//! Patterns of strings, and what is decided about them: whether a string is matched, whether two patterns have one in
//! common, whether some patterns together match all that another does.
//!
//! A pattern is read as a small automaton whose states are the positions between its pieces. All answers are exact and come
//! with the string that proves them.

mod search;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

pub(crate) use search::{TooComplex, common_outside};

/// What a stretch of a string may be. A wildcard names the characters that it doesn't stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    Char(char),
    /// One character.
    One(&'static str),
    /// Any number of characters, none at all included.
    Run(&'static str),
}

impl Piece {
    /// The wildcards of policies stand for everything, `/` included.
    pub(crate) const ANY_ONE: Piece = Piece::One("");
    pub(crate) const ANY_RUN: Piece = Piece::Run("");

    fn admits(self, c: char) -> bool {
        match self {
            Piece::Char(own) => own == c,
            Piece::One(except) | Piece::Run(except) => !except.contains(c),
        }
    }
}

/// A set of strings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<Piece>);

impl Pattern {
    /// Just this one string.
    pub(crate) fn literal(text: &str) -> Pattern {
        text.chars().map(Piece::Char).collect()
    }

    /// `*` and `?` as in the actions of a policy.
    pub(crate) fn glob(text: &str) -> Pattern {
        text.chars().map(Pattern::glob_piece).collect()
    }

    /// What a character of a policy stands for.
    pub(crate) fn glob_piece(c: char) -> Piece {
        match c {
            '*' => Piece::ANY_RUN,
            '?' => Piece::ANY_ONE,
            c => Piece::Char(c),
        }
    }

    /// Every string of this pattern followed by every one of `next`.
    pub(crate) fn then(mut self, next: &Pattern) -> Pattern {
        next.pieces().for_each(|piece| self.push(piece));
        self
    }

    /// Adds a piece at the end. Of several runs of the same kind one says as much, and a search has less to try.
    pub(crate) fn push(&mut self, piece: Piece) {
        if !matches!(piece, Piece::Run(_)) || self.0.last() != Some(&piece) {
            self.0.push(piece);
        }
    }

    /// Its pieces, from the left.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = Piece> {
        self.0.iter().copied()
    }

    /// Whether `text` is one of its strings.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let mut positions: BTreeSet<usize> = self.closure(0).collect();
        for c in text.chars() {
            positions = positions.into_iter().flat_map(|position| self.step(position, c)).collect();
        }
        positions.contains(&self.0.len())
    }

    /// The positions that can be taken for `position` without a character: a run may be empty.
    fn closure(&self, position: usize) -> impl Iterator<Item = usize> + use<> {
        let runs = self.0[position..].iter().take_while(|piece| matches!(piece, Piece::Run(_))).count();
        position..=position + runs
    }

    /// The positions after one more character.
    fn step(&self, position: usize, c: char) -> impl Iterator<Item = usize> + use<> {
        let next = match self.0.get(position) {
            Some(piece @ Piece::Run(_)) if piece.admits(c) => Some(position),
            Some(piece @ (Piece::Char(_) | Piece::One(_))) if piece.admits(c) => Some(position + 1),
            _ => None,
        };
        next.map(|next| self.closure(next)).into_iter().flatten()
    }

    /// Every character that it names.
    fn named(&self) -> impl Iterator<Item = char> {
        self.0.iter().flat_map(|piece| {
            let (own, except) = match *piece {
                Piece::Char(c) => (Some(c), ""),
                Piece::One(except) | Piece::Run(except) => (None, except),
            };
            own.into_iter().chain(except.chars())
        })
    }
}

impl FromIterator<Piece> for Pattern {
    fn from_iter<I: IntoIterator<Item = Piece>>(pieces: I) -> Pattern {
        let mut pattern = Pattern::default();
        pieces.into_iter().for_each(|piece| pattern.push(piece));
        pattern
    }
}
