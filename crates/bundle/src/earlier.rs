//! Calls that must have succeeded before, as a grant writes them: `server/tool(argument=value, …)`.
//!
//! A value is a number, `true`, `false`, `$slot.NAME`, a text in double quotes, or else the text up to the next comma or the end.

use std::collections::BTreeMap;

use warrantor_model::{Json, Path, ToolRef, mandate::Earlier};

use crate::tree::{is_json_number, short};

/// Why a text is no earlier call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EarlierFault {
    pub(crate) message: String,
    pub(crate) cure: String,
}

fn fault<T>(message: impl Into<String>, cure: &str) -> Result<T, EarlierFault> {
    Err(EarlierFault { message: message.into(), cure: cure.to_owned() })
}

const FORM: &str = "write it as server/tool(argument=value)";

/// Reads an earlier call. A reference to a slot becomes the slot's value.
pub(crate) fn parse(text: &str, slots: &BTreeMap<String, Json>) -> Result<Earlier, EarlierFault> {
    let (tool, inner) = match text.trim().split_once('(') {
        None => (text.trim(), ""),
        Some((tool, rest)) => match rest.strip_suffix(')') {
            Some(inner) => (tool.trim(), inner),
            None => return fault(format!("{:?} does not end with `)`", short(text)), FORM),
        },
    };
    let tool: ToolRef = match tool.parse() {
        Ok(tool) => tool,
        Err(cause) => return fault(format!("{cause}"), FORM),
    };
    let mut arguments: Vec<(Path, Json)> = Vec::new();
    let mut rest = inner.trim();
    while !rest.is_empty() {
        let Some((name, after)) = rest.split_once('=') else {
            return fault(format!("{:?} compares nothing", short(rest)), FORM);
        };
        let name = name.trim();
        if name.is_empty() || name.ends_with(['^', '~', '!', '<', '>']) {
            return fault(
                format!("{:?} is no comparison here", short(rest)),
                "only `=` compares: write argument=value",
            );
        }
        let path: Path = match name.parse() {
            Ok(path) => path,
            Err(cause) => return fault(format!("{cause}"), FORM),
        };
        let (value, tail) = value(after.trim_start(), slots)?;
        if arguments.iter().any(|(known, _)| *known == path) {
            return fault(format!("{path} is compared twice"), "keep one of the two");
        }
        arguments.push((path, value));
        rest = match tail.trim_start().strip_prefix(',') {
            Some(more) if more.trim().is_empty() => {
                return fault("a comma with nothing after it", "remove it");
            }
            Some(more) => more.trim_start(),
            None if tail.trim().is_empty() => "",
            None => {
                return fault(
                    format!("{:?} follows a value", short(tail)),
                    "put a comma between comparisons",
                );
            }
        };
    }
    Ok(Earlier { tool, arguments })
}

/// A value and what follows it.
fn value<'a>(text: &'a str, slots: &BTreeMap<String, Json>) -> Result<(Json, &'a str), EarlierFault> {
    if text.starts_with('"') {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<String>();
        return match values.next() {
            Some(Ok(value)) => {
                Ok((Json::String(value), text.get(values.byte_offset()..).unwrap_or_default()))
            }
            _ => fault("a text in quotes does not end", "close it with a quote"),
        };
    }
    let (bare, rest) = match text.find(',') {
        Some(at) => (text.get(..at).unwrap_or_default(), text.get(at..).unwrap_or_default()),
        None => (text, ""),
    };
    let bare = bare.trim();
    let value = match bare {
        "" => {
            return fault(
                "a comparison without a value",
                "write argument=value, or argument=\"\" for the empty text",
            );
        }
        "true" => Json::Bool(true),
        "false" => Json::Bool(false),
        "$self" => {
            return fault("$self has several values and is no comparison here", "write the value itself");
        }
        reference if reference.starts_with("$slot.") => {
            match slots.get(reference.trim_start_matches("$slot.")) {
                Some(value) => value.clone(),
                None => return fault(format!("there is no slot for {reference}"), "add it to `slots`"),
            }
        }
        structure if structure.starts_with(['[', '{', '(', '\'']) => {
            return fault(
                format!("{:?} is no plain value", short(structure)),
                "write a number, true, false or text",
            );
        }
        number if is_json_number(number) => Json::Number(number.into()),
        text => Json::String(text.to_owned()),
    };
    Ok((value, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slots() -> BTreeMap<String, Json> {
        [("v".to_owned(), Json::String("V".into()))].into()
    }

    #[test]
    fn earlier_calls_compare_arguments_with_plain_values() {
        for (text, tool, arguments) in [
            ("bank/approve", "bank/approve", vec![]),
            ("bank/approve()", "bank/approve", vec![]),
            ("files/read(path=/invoices/a.txt)", "files/read", vec![("path", r#""/invoices/a.txt""#)]),
            (
                r#" a/b( id = 42 , name="x, \"y\")" , ok=true )"#,
                "a/b",
                vec![("id", "42"), ("name", r#""x, \"y\")""#), ("ok", "true")],
            ),
            ("a/b(list/*=3.10)", "a/b", vec![("list/*", "3.10")]),
            ("a/b(t=x (y))", "a/b", vec![("t", r#""x (y)""#)]),
            ("a/b(t=$slot.v)", "a/b", vec![("t", r#""V""#)]),
        ] {
            let read = parse(text, &slots()).unwrap();
            assert_eq!(read.tool.to_string(), tool);
            let found: Vec<_> = read.arguments.iter().map(|(p, v)| (p.to_string(), v.to_string())).collect();
            let wanted: Vec<_> = arguments.iter().map(|(p, v)| ((*p).to_owned(), (*v).to_owned())).collect();
            assert_eq!(found, wanted, "{text}");
        }
    }

    #[test]
    fn what_is_no_comparison_is_refused() {
        for (text, message) in [
            ("approve", "is no tool reference"),
            ("a/b(x=1", "does not end with"),
            ("a/b(x)", "compares nothing"),
            ("a/b(x=)", "without a value"),
            ("a/b(x^=1)", "is no comparison here"),
            ("a/b(x=1,)", "nothing after it"),
            ("a/b(x=\"1)", "does not end"),
            ("a/b(x=\"1\" y=2)", "follows a value"),
            ("a/b(x=1, x=2)", "compared twice"),
            ("a/b(x=[1])", "no plain value"),
            ("a/b(x=$slot.w)", "no slot"),
            ("a/b(x=$self)", "several values"),
        ] {
            let fault = parse(text, &slots()).unwrap_err();
            assert!(fault.message.contains(message), "{text}: {}", fault.message);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(a/b)?[(a-c=,\" )1^\\[]{0,24}|.{0,24}") {
            let _ = parse(&text, &slots());
        }
    }
}
