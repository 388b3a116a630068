//! Texts of others as people see them.

/// A text as people see it: what would move the cursor, turn the direction or take no room is written out. It may be another's words, such as a tool
/// server's or a proposer's, and must not hide or forge a line.
#[must_use]
pub fn visible(text: &str) -> String {
    let hides = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if hides(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_others_neither_hide_nor_forge_a_line() {
        for (text, told) in [
            ("plain ü\n\tmore", "plain ü\n\tmore"),
            ("a\u{1b}[2K\rb", "a\\u{1b}[2K\\u{d}b"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("abc\u{202e}cba\u{200b}", "abc\\u{202e}cba\\u{200b}"),
        ] {
            assert_eq!(visible(text), told);
        }
    }
}
