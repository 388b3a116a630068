//! Text that goes into files we write.

/// A text in double quotes, the same in YAML and JSON: line breaks, control characters and what YAML cannot print are escaped.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len().saturating_add(2));
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\u{0}'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A name as a YAML key or value: plain where no reader of YAML could take it for anything but text.
pub(crate) fn plain_or_quoted(text: &str) -> String {
    let plain = text.len() > 3
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./".contains(&b))
        && !text.ends_with(['-', '.', '/'])
        && !matches!(text.to_ascii_lowercase().as_str(), "null" | "true" | "false");
    if plain { text.to_owned() } else { quoted(text) }
}

/// Text of a server in a comment of ours: one line, bounded, nothing invisible.
pub(crate) fn comment(text: &str) -> String {
    const MOST: usize = 100;
    let line: String = text
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .map(|c| if c.is_ascii_graphic() || c.is_alphanumeric() { c } else { ' ' })
        .collect();
    let words: Vec<&str> = line.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::yaml;

    proptest! {
        #[test]
        fn a_quoted_text_is_the_text_in_both_formats(text in "(?s).{0,12}|[\\x00-\\x9f\u{2028}\u{feff}\"\\\\]{0,6}") {
            let quoted = quoted(&text);
            prop_assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text.as_str());
            let node = yaml::parse(&format!("k: {quoted}")).unwrap();
            prop_assert_eq!(node.member("k").unwrap().to_json(), warrantor_model::Json::String(text));
        }

        #[test]
        fn a_name_is_the_same_name_as_key_and_value(text in "[a-zA-Z0-9_./~*-]{1,6}|no|on|yes|null|true|.{1,6}") {
            let written = plain_or_quoted(&text);
            let node = yaml::parse(&format!("{written}: {written}")).unwrap();
            prop_assert_eq!(node.member(&text).unwrap().to_json(), warrantor_model::Json::String(text));
        }

        #[test]
        fn a_comment_is_one_line(text in "(?s).{0,200}") {
            let comment = comment(&text);
            let broken = comment.contains(['\n', '\r', '\u{85}', '\u{2028}']);
            prop_assert!(comment.chars().count() <= 101);
            prop_assert!(!broken);
        }
    }
}
