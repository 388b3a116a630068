//! TOML into the tree.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    tree::{Content, Entry, Node, Span, is_json_number},
    yaml::SyntaxFault,
};

/// Reads one TOML document. The parser bounds nesting and refuses keys that stand twice.
pub(crate) fn parse(text: &str) -> Result<Node, Vec<SyntaxFault>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(errors
            .iter()
            .map(|error| {
                let span = error.span().map(|range| Span { start: range.start, end: range.end });
                SyntaxFault::new(span, format!("not well-formed TOML: {}", error.message()))
            })
            .collect());
    }
    let mut faults = Vec::new();
    let root = Node { span: span(&table), content: members(table.get_ref(), &mut faults) };
    if faults.is_empty() { Ok(root) } else { Err(faults) }
}

fn span<T>(spanned: &Spanned<T>) -> Span {
    let range = spanned.span();
    Span { start: range.start, end: range.end }
}

fn members(table: &DeTable<'_>, faults: &mut Vec<SyntaxFault>) -> Content {
    let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let name: &std::borrow::Cow<'_, str> = key.get_ref();
        Entry { key: name.clone().into_owned(), key_span: span(key), node: node(value, faults) }
    };
    Content::Map(table.iter().map(entry).collect())
}

fn node(value: &Spanned<DeValue<'_>>, faults: &mut Vec<SyntaxFault>) -> Node {
    let content = match value.get_ref() {
        DeValue::String(text) => Content::String(text.clone().into_owned()),
        DeValue::Boolean(b) => Content::Bool(*b),
        DeValue::Integer(integer) => number(integer.as_str(), span(value), faults),
        DeValue::Float(float) => number(float.as_str(), span(value), faults),
        DeValue::Datetime(instant) => Content::String(instant.to_string()),
        DeValue::Array(items) => Content::Seq(items.iter().map(|item| node(item, faults)).collect()),
        DeValue::Table(table) => members(table, faults),
    };
    Node { span: span(value), content }
}

fn number(text: &str, span: Span, faults: &mut Vec<SyntaxFault>) -> Content {
    if !is_json_number(text) {
        faults.push(SyntaxFault::new(
            Some(span),
            format!("{text} is no plain decimal number: write it without sign, base or name"),
        ));
    }
    Content::Number(text.into())
}
