//! Inputs made from seeds: a small deterministic mutator for runs without coverage guidance.
//!
//! The same seed number gives the same inputs on every machine, so a failure in continuous integration is a failure
//! at home. Nothing here is random in any sense that security could lean on.

/// Inputs are kept shorter than this, so that a run is many small inputs rather than few large ones.
const MAX_BYTES: usize = 8 * 1024;
/// The most changes on top of one another.
const MAX_CHANGES: u64 = 6;

/// Pieces that grammars give a meaning to.
const PIECES: &[&[u8]] = &[
    b"\n",
    b"\n\n",
    b"\r",
    b"\0",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"{",
    b"}",
    b"[",
    b"]",
    b"[[[[[[[[[[[[[[[[",
    b":",
    b",",
    b" ",
    b"- ",
    b"  ",
    b"#",
    b"&a ",
    b"*a",
    b"!!str ",
    b"<<: ",
    b"|",
    b"null",
    b"true",
    b"-",
    b"0",
    b"-0",
    b"1e999",
    b"1.10",
    b"9007199254740993",
    b"99999999999999999999999",
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xe2\x80\x94 ",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xae",
    b"..",
    b"/",
    b"%2e",
    b"[*]",
    b"=",
    b"+",
    b"\x1b[31m",
    b"\x9f",
    b"\xbf",
    b"\xff\xff\xff\xff",
];

/// A sequence of inputs.
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// The sequence of this number.
    #[must_use]
    pub fn new(number: u64) -> Self {
        // Zero is the one state that xorshift never leaves.
        let state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xd1b5_4a32_d192_ed03;
        Self { state: state.max(1) }
    }

    /// The next input, made from one of the seeds, sometimes of two.
    pub fn next_input(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = self.one_of(seeds).cloned().unwrap_or_default();
        for _ in 0..=self.below(MAX_CHANGES) {
            self.change(&mut input, seeds);
        }
        input.truncate(MAX_BYTES);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let (from, to) = self.range(input.len());
        match self.below(8) {
            0 => {
                let bit = 1 << self.below(8);
                input.iter_mut().skip(from).take(1).for_each(|byte| *byte ^= bit);
            }
            1 => {
                let byte = self.byte();
                input.iter_mut().skip(from).take(1).for_each(|place| *place = byte);
            }
            2 => drop(input.drain(from..to)),
            3 => {
                let twice: Vec<u8> = input.iter().copied().skip(from).take(to - from).collect();
                input.splice(to..to, twice);
            }
            4 => input.truncate(from),
            5 => {
                let other = self.one_of(seeds).cloned().unwrap_or_default();
                let (start, end) = self.range(other.len());
                input.splice(from..to, other.into_iter().skip(start).take(end - start));
            }
            // Twice as likely as the others: it is the one that knows grammars.
            _ => {
                let piece = self.one_of(PIECES).copied().unwrap_or_default();
                let end = if self.below(2) == 0 { from } else { to };
                input.splice(from..end, piece.iter().copied());
            }
        }
    }

    /// A range within `length`, mostly a short one.
    fn range(&mut self, length: usize) -> (usize, usize) {
        let from = self.index(length + 1);
        let most = if self.below(4) == 0 { length } else { 8 };
        (from, (from + self.index(most + 1)).min(length))
    }

    fn one_of<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.index(items.len()))
    }

    fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap_or_default()
    }

    /// A number below `bound`; 0 for a bound of 0. The bias is of no matter here.
    fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or_default()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes().first().copied().unwrap_or_default()
    }

    /// xorshift64.
    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_number_gives_the_same_inputs_again_and_another_gives_others() {
        let seeds = [b"{\"a\":[1,2,3]}".to_vec(), b"name: value\n".to_vec()];
        let inputs = |number| {
            let mut mutator = Mutator::new(number);
            (0..200).map(|_| mutator.next_input(&seeds)).collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
        let distinct: BTreeSet<_> = inputs(1).into_iter().collect();
        assert!(distinct.len() > 150, "{} of 200 inputs are distinct", distinct.len());
    }

    #[test]
    fn inputs_stay_short_and_empty_seeds_do_no_harm() {
        for seeds in [vec![], vec![vec![]], vec![vec![b'['; 3 * MAX_BYTES]]] {
            let mut mutator = Mutator::new(3);
            for _ in 0..500 {
                assert!(mutator.next_input(&seeds).len() <= MAX_BYTES);
            }
        }
    }
}
