//! Licence expressions (SPDX 2.3, annex D), as far as crates use them: `AND`, `OR`, `WITH`, parentheses, and the old
//! slash that meant `OR`.

use anyhow::{Context, Result, bail};

/// Whether the licences in `allowed` satisfy `expression`.
///
/// # Errors
/// When the expression is not well formed.
pub(crate) fn satisfied(expression: &str, allowed: &[String]) -> Result<bool> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut reader = Reader { words: spaced.split_whitespace().collect(), next: 0, allowed };
    let answer = reader.any().with_context(|| format!("licence expression “{expression}”"))?;
    match reader.peek() {
        None => Ok(answer),
        Some(word) => bail!("licence expression “{expression}”: “{word}” is out of place"),
    }
}

struct Reader<'a> {
    words: Vec<&'a str>,
    next: usize,
    allowed: &'a [String],
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.next).copied()
    }

    /// Steps over `word` if it comes next.
    fn take(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        self.next += usize::from(found);
        found
    }

    fn word(&mut self) -> Result<&'a str> {
        let word = self.peek().context("ends too early")?;
        self.next += 1;
        Ok(word)
    }

    // `OR` binds weakest. Both sides are always read, so `|` and `&` rather than their lazy sisters.
    fn any(&mut self) -> Result<bool> {
        let mut answer = self.all()?;
        while self.take("OR") {
            answer |= self.all()?;
        }
        Ok(answer)
    }

    fn all(&mut self) -> Result<bool> {
        let mut answer = self.one()?;
        while self.take("AND") {
            answer &= self.one()?;
        }
        Ok(answer)
    }

    fn one(&mut self) -> Result<bool> {
        if self.take("(") {
            let answer = self.any()?;
            if !self.take(")") {
                bail!("a parenthesis is not closed");
            }
            return Ok(answer);
        }
        let licence = self.word()?;
        if ["AND", "OR", "WITH", ")"].contains(&licence) {
            bail!("“{licence}” is out of place");
        }
        if self.take("WITH") {
            let exception = self.word()?;
            // An exception only adds permissions, but each is to be allowed by name, as cargo-deny has it.
            return Ok(self.allows(&format!("{licence} WITH {exception}")));
        }
        Ok(self.allows(licence))
    }

    fn allows(&self, licence: &str) -> bool {
        self.allowed.iter().any(|allowed| allowed == licence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_satisfied_by_the_allowed_licences_only() {
        let allowed = ["MIT", "Apache-2.0", "GPL-2.0 WITH Classpath"].map(str::to_owned);
        let cases = [
            ("MIT", Some(true)),
            ("GPL-3.0", Some(false)),
            ("MIT OR GPL-3.0", Some(true)),
            ("GPL-3.0/MIT", Some(true)),
            ("MIT AND GPL-3.0", Some(false)),
            ("MIT OR GPL-3.0 AND GPL-3.0", Some(true)),
            ("(MIT OR GPL-3.0) AND GPL-3.0", Some(false)),
            ("(MIT OR GPL-3.0) AND (Apache-2.0)", Some(true)),
            ("Apache-2.0 WITH LLVM-exception", Some(false)),
            ("GPL-2.0 WITH Classpath", Some(true)),
            ("GPL-2.0 WITH Other", Some(false)),
            ("mit", Some(false)),
            ("", None),
            ("MIT OR", None),
            ("MIT Apache-2.0", None),
            ("(MIT", None),
            ("MIT)", None),
            ("OR MIT", None),
            ("MIT WITH", None),
        ];
        for (expression, expected) in cases {
            assert_eq!(satisfied(expression, &allowed).ok(), expected, "{expression}");
        }
    }
}
