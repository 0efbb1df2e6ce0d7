//! A frame in which one word isn't what was written. The checksum tells which it may be, and what it was: each word adds a multiple of
//! itself to both halves of the sum. Of a high bit only the lowest bits of that multiple are left, which many words have in common. What
//! is torn by a loss of power differs in more than one word.

use super::{FRAME_HEADER, Sum, be32, salt_of};
use crate::store::PAGE_SIZE;

/// A word: where in the frame, and as it was written.
pub(in crate::store::salvage) type Word = (usize, [u8; 4]);

/// The words of which one was wrong.
#[derive(Debug)]
pub(super) struct Mended {
    /// Not empty.
    pub(super) words: Vec<Word>,
    /// It may have been one bit: nothing that is written in part or not at all looks like that.
    pub(super) is_one_bit: bool,
}

impl Mended {
    /// The word that was wrong, if no other may have been.
    pub(super) fn only(&self) -> Option<Word> {
        if let [word] = self.words[..] { Some(word) } else { None }
    }
}

/// Finds the wrong word of a frame that begins with the sum `before` and should end with its own.
pub(super) fn mend(frame: &[u8], before: Sum, salt: [u8; 8]) -> Option<Mended> {
    let mut sum = before;
    sum.add(&frame[..8]);
    sum.add(&frame[FRAME_HEADER..]);
    let has_salt = salt_of(frame, 8) == salt;
    let words = match sum.is_at(frame, 16) {
        // The sum leaves the salt out. Frames of an older log have another one.
        true => wrong_bit_of_the_salt(frame, salt).into_iter().collect(),
        false if has_salt => wrong_words(frame, sum),
        false => Vec::new(),
    };
    let is_one_bit =
        |(at, word): &Word| be32(frame, *at).is_some_and(|was| (was ^ u32::from_be_bytes(*word)).count_ones() == 1);
    let is_one_bit = words.iter().any(is_one_bit);
    (!words.is_empty()).then_some(Mended { words, is_one_bit })
}

fn wrong_bit_of_the_salt(frame: &[u8], salt: [u8; 8]) -> Option<Word> {
    let differs = u64::from_be_bytes(salt_of(frame, 8)) ^ u64::from_be_bytes(salt);
    let half = if differs >> 32 == 0 { 4 } else { 0 };
    (differs.count_ones() == 1).then(|| (8 + half, [salt[half], salt[half + 1], salt[half + 2], salt[half + 3]]))
}

/// One half of the checksum itself.
/// Those of what is summed up, and the halves of the sum itself.
fn wrong_words(frame: &[u8], sum: Sum) -> Vec<Word> {
    let (one, other) = sum.sum;
    let missing = (be32(frame, 16).unwrap_or(0).wrapping_sub(one), be32(frame, 20).unwrap_or(0).wrapping_sub(other));
    let mut words = match missing {
        (0, _) => vec![(20, other.to_be_bytes())],
        (_, 0) => vec![(16, one.to_be_bytes())],
        _ => Vec::new(),
    };
    // How often the two words of a pair count in the halves of the sum: seen from the end, each pair adds both halves up once more.
    let (mut first, mut second) = ((1, 1), (0, 1));
    let further = |(one, other): (u32, u32)| {
        let one = one.wrapping_add(other);
        (one, other.wrapping_add(one))
    };
    for pair in (FRAME_HEADER..FRAME_HEADER + PAGE_SIZE).step_by(8).rev().chain([0]) {
        for (at, times) in [(pair, first), (pair + 4, second)] {
            if let Some(lacks) = quotient(missing, times) {
                words.push((at, sum.bytes(sum.word(&frame[at..]).wrapping_add(lacks))));
            }
        }
        (first, second) = (further(first), further(second));
    }
    words
}

/// What makes `product`, taken `times` in each half.
fn quotient(product: (u32, u32), times: (u32, u32)) -> Option<u32> {
    let (odd, of) = if times.0 & 1 == 1 { (times.0, product.0) } else { (times.1, product.1) };
    // Newton's way to the inverse: each step doubles the bits that are right.
    let inverse =
        (0..5).fold(odd, |inverse: u32, _| inverse.wrapping_mul(2_u32.wrapping_sub(odd.wrapping_mul(inverse))));
    let quotient = of.wrapping_mul(inverse);
    let makes = (quotient.wrapping_mul(times.0), quotient.wrapping_mul(times.1));
    (makes == product).then_some(quotient)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_wrong_bit_of_a_frame_is_found_and_two_words_are_not() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        let salt = [1, 2, 3, 4, 5, 6, 7, 8];
        for is_big_endian in [false, true] {
            let before = Sum { is_big_endian, sum: (rng.u32(..), rng.u32(..)) };
            let mut frame: Vec<u8> = (0..FRAME_HEADER + PAGE_SIZE).map(|_| rng.u8(..)).collect();
            frame[8..16].copy_from_slice(&salt);
            let mut sum = before;
            sum.add(&frame[..8]);
            sum.add(&frame[FRAME_HEADER..]);
            frame[16..20].copy_from_slice(&sum.sum.0.to_be_bytes());
            frame[20..24].copy_from_slice(&sum.sum.1.to_be_bytes());
            let everywhere = (0..FRAME_HEADER).chain((0..200).map(|_| rng.usize(FRAME_HEADER..frame.len())));
            for at in everywhere.collect::<Vec<_>>() {
                let mut wrong = frame.clone();
                wrong[at] ^= 1 << rng.u8(..8);
                let mended = mend(&wrong, before, salt).unwrap();
                let (from, right) = (at / 4 * 4, &frame[at / 4 * 4..][..4]);
                assert!(
                    mended.is_one_bit && mended.words.iter().any(|(at, word)| *at == from && word == right),
                    "byte {at}"
                );
            }
            for (from, to) in [(512, 1024), (FRAME_HEADER, frame.len()), (0, FRAME_HEADER), (8, 16)] {
                let mut torn = frame.clone();
                torn[from..to].fill(0);
                assert!(mend(&torn, before, salt).is_none(), "{from} to {to}");
            }
        }
    }
}
