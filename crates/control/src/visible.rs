//! Texts of others as people see them.

/// Characters that show nothing, or turn what stands beside them: those that Unicode calls `Default_Ignorable_Code_Point`, and interlinear marks.
fn takes_no_room(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// A text as people see it: what would move the cursor, turn the direction or take no room is written out. It may be another's words, such as a tool
/// server's or a proposer's, and must not hide or forge a line.
#[must_use]
pub fn visible(text: &str) -> String {
    let hides = |c: char| {
        ((c.is_control() || c.is_whitespace()) && !matches!(c, ' ' | '\n' | '\t')) || takes_no_room(c)
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
            ("DE1\u{a0}\u{e0031}\u{ad}\u{3164}", "DE1\\u{a0}\\u{e0031}\\u{ad}\\u{3164}"),
        ] {
            assert_eq!(visible(text), told);
        }
    }
}
