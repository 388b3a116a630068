//! Splitting a stream of bytes into newline-delimited messages, bounded, without I/O.
//!
//! A line over the bound is reported once, as soon as the bound is passed, and then dropped up to its line feed without being
//! kept; the next line is read as if nothing had happened. The bytes held are at most the bound and the chunk last pushed.

use thiserror::Error;

/// A line was longer than the bound; the splitter goes on with the next one. The sender's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a line is longer than {bound} bytes: send smaller messages, or raise the bound")]
pub struct LineTooLong {
    /// The bound, in bytes without the line feed.
    pub bound: usize,
}

/// Chunks go in, lines come out.
#[derive(Debug)]
pub struct LineSplitter {
    bound: usize,
    held: Vec<u8>,
    /// How many bytes of `held` were given out already.
    given: usize,
    /// How many bytes of `held` are known to hold no line feed that was not given out.
    searched: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// What is held belongs to a line within the bound, so far.
    Within,
    /// Bytes up to the next line feed belong to a line that was reported as too long.
    Dropping,
}

impl LineSplitter {
    /// A splitter for lines of at most `bound` bytes, the line feed not counted.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self { bound, held: Vec::new(), given: 0, searched: 0, state: State::Within }
    }

    /// Takes the next bytes of the stream. Call [`LineSplitter::next_line`] until it has no more before pushing again, or the
    /// chunks pile up.
    pub fn push(&mut self, chunk: &[u8]) {
        if self.given > 0 {
            self.held.drain(..self.given.min(self.held.len()));
            self.searched = self.searched.saturating_sub(self.given);
            self.given = 0;
        }
        self.held.extend_from_slice(chunk);
    }

    /// The next whole line, without its line feed and one carriage return before it. Lines of white space only carry no message
    /// and are passed over. `None`: push more.
    ///
    /// # Errors
    /// [`LineTooLong`], once for each line over the bound.
    pub fn next_line(&mut self) -> Option<Result<&[u8], LineTooLong>> {
        loop {
            let Some(end) = self.find_line_feed() else { return self.without_line_feed() };
            let start = self.given;
            self.given = end.saturating_add(1);
            self.searched = self.given;
            if std::mem::replace(&mut self.state, State::Within) == State::Dropping {
                continue;
            }
            if end.saturating_sub(start) > self.bound {
                return Some(Err(LineTooLong { bound: self.bound }));
            }
            if !blank(self.held.get(start..end)) {
                return self.held.get(start..end).map(|line| Ok(line.strip_suffix(b"\r").unwrap_or(line)));
            }
        }
    }

    /// What stands after the last line feed, for when the stream has ended. A message must end in a line feed, so what is
    /// here was cut off; it is for the log.
    #[must_use]
    pub fn remainder(&self) -> &[u8] {
        match self.state {
            State::Within => self.held.get(self.given..).unwrap_or_default(),
            State::Dropping => &[],
        }
    }

    fn find_line_feed(&mut self) -> Option<usize> {
        let found = self.held.get(self.searched..)?.iter().position(|b| *b == b'\n');
        match found {
            Some(offset) => Some(self.searched.saturating_add(offset)),
            None => {
                self.searched = self.held.len();
                None
            }
        }
    }

    fn without_line_feed(&mut self) -> Option<Result<&[u8], LineTooLong>> {
        let open = self.held.len().saturating_sub(self.given);
        let over = self.state == State::Within && open > self.bound;
        if over || self.state == State::Dropping {
            self.held.clear();
            (self.given, self.searched) = (0, 0);
            self.state = State::Dropping;
        }
        over.then_some(Err(LineTooLong { bound: self.bound }))
    }
}

fn blank(line: Option<&[u8]>) -> bool {
    line.is_none_or(|line| line.trim_ascii().is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every line or error, in order, when the bytes arrive in chunks of this size.
    fn split(bytes: &[u8], chunk: usize, bound: usize) -> Vec<Result<Vec<u8>, LineTooLong>> {
        let mut splitter = LineSplitter::new(bound);
        let mut out = Vec::new();
        for chunk in bytes.chunks(chunk) {
            splitter.push(chunk);
            while let Some(line) = splitter.next_line() {
                out.push(line.map(<[u8]>::to_vec));
            }
            assert!(splitter.held.len() <= bound + chunk.len(), "more is held than the bound and a chunk");
        }
        out
    }

    #[test]
    fn lines_come_out_whole_whatever_the_chunks() {
        let long = Err(LineTooLong { bound: 4 });
        for (bytes, lines) in [
            ("", vec![]),
            ("ab", vec![]),
            ("ab\ncd\r\n", vec![Ok("ab"), Ok("cd")]),
            ("\n \t\r\n\nab\n", vec![Ok("ab")]),
            ("abcd\nabcde\nef\n", vec![Ok("abcd"), long, Ok("ef")]),
            ("abcdefghijklmnop\nef\nabcdefgh", vec![long, Ok("ef"), long]),
            ("a\rb\n", vec![Ok("a\rb")]),
        ] {
            let wanted: Vec<_> = lines.into_iter().map(|l| l.map(|l| l.as_bytes().to_vec())).collect();
            for chunk in 1..=bytes.len().max(1) {
                assert_eq!(split(bytes.as_bytes(), chunk, 4), wanted, "{bytes:?} by {chunk}");
            }
        }
    }

    #[test]
    fn a_line_without_end_is_reported_once_and_not_kept() {
        let mut splitter = LineSplitter::new(1000);
        let mut errors = 0;
        for _ in 0..10_000 {
            splitter.push(&[b'x'; 1000]);
            while let Some(line) = splitter.next_line() {
                assert!(line.is_err());
                errors += 1;
            }
        }
        assert_eq!((errors, splitter.remainder().len()), (1, 0));
    }

    #[test]
    fn what_was_cut_off_is_the_remainder() {
        let mut splitter = LineSplitter::new(10);
        splitter.push(b"one\ntw");
        assert_eq!(splitter.next_line(), Some(Ok(&b"one"[..])));
        assert_eq!(splitter.next_line(), None);
        assert_eq!(splitter.remainder(), b"tw");
    }

    proptest! {
        #[test]
        fn chunking_never_changes_the_lines(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'a'), Just(b'\r'), any::<u8>()], 0..200),
            chunk in 1usize..50,
            bound in 0usize..40,
        ) {
            prop_assert_eq!(split(&bytes, chunk, bound), split(&bytes, bytes.len().max(1), bound));
        }
    }
}
