//! The reference of a file format as Markdown, from its JSON Schema: each object with its fields, each word list, each text with its form.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// Renders a schema. Definitions come in the order of their names, the document itself first.
pub(crate) fn render(kind: &str, schema: &Value) -> String {
    let mut out = format!("# Format: {kind}\n\nGenerated from `warrantor schema {kind}`; do not edit.\n\n");
    section(&mut out, None, schema);
    for (name, definition) in object(schema.get("$defs")) {
        section(&mut out, Some(name), definition);
    }
    format!("{}\n", out.trim_end())
}

fn object(value: Option<&Value>) -> Vec<(&String, &Value)> {
    value.and_then(Value::as_object).map(|members| members.iter().collect()).unwrap_or_default()
}

fn section(out: &mut String, name: Option<&str>, schema: &Value) {
    if let Some(name) = name {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(out, "## {name}\n");
    }
    if let Some(text) = schema.get("description").and_then(Value::as_str) {
        let _ = writeln!(out, "{}\n", text.replace('\n', " "));
    }
    let fields = object(schema.get("properties"));
    if fields.is_empty() {
        let _ = writeln!(out, "It is: {}.\n", form(schema));
    } else {
        table(out, schema, &fields);
    }
    for branch in schema.get("anyOf").or(schema.get("oneOf")).and_then(Value::as_array).into_iter().flatten()
    {
        let fields = object(branch.get("properties"));
        if !fields.is_empty() {
            if let Some(text) = branch.get("description").and_then(Value::as_str) {
                let _ = writeln!(out, "{text}\n");
            }
            table(out, branch, &fields);
        }
    }
}

fn table(out: &mut String, schema: &Value, fields: &[(&String, &Value)]) {
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let _ = writeln!(out, "| field | is | meaning |\n|---|---|---|");
    for (name, field) in fields {
        let needed = if required.contains(&name.as_str()) { ", required" } else { "" };
        let default = match field.get("default") {
            None | Some(Value::Null) => String::new(),
            Some(Value::Object(members)) if members.values().all(is_nothing) => String::new(),
            Some(Value::Array(items)) if items.is_empty() => String::new(),
            Some(value) => format!("; `{value}` by default"),
        };
        let meaning = field.get("description").and_then(Value::as_str).unwrap_or_default();
        let _ = writeln!(out, "| `{name}` | {}{needed}{default} | {} |", cell(&form(field)), cell(meaning));
    }
    out.push('\n');
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.values().all(is_nothing),
        Value::Number(number) => number.as_u64() == Some(0),
        Value::Bool(b) => !b,
        Value::String(_) => false,
    }
}

fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}

/// What may stand in a place, in a few words.
fn form(schema: &Value) -> String {
    if let Some(name) =
        schema.get("$ref").and_then(Value::as_str).and_then(|reference| reference.rsplit('/').next())
    {
        return link(name);
    }
    if let Some(word) = schema.get("const") {
        return format!("`{word}`");
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return words
            .iter()
            .filter(|word| !word.is_null())
            .map(|word| format!("`{}`", word.as_str().map_or_else(|| word.to_string(), str::to_owned)))
            .collect::<Vec<_>>()
            .join(", ");
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(branches) = schema.get(key).and_then(Value::as_array) {
            let null = |branch: &&Value| branch.get("type").and_then(Value::as_str) != Some("null");
            let forms: Vec<String> = branches.iter().filter(null).map(form).collect();
            return forms.join(" or ");
        }
    }
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => {
            several.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect()
        }
        _ => Vec::new(),
    };
    match types.as_slice() {
        ["array"] => format!("list of {}", schema.get("items").map_or_else(|| "values".to_owned(), form)),
        ["object"] => map(schema),
        ["string"] => "text".to_owned(),
        ["integer"] => "whole number".to_owned(),
        ["boolean"] => "`true` or `false`".to_owned(),
        [] => "any value".to_owned(),
        several => several.join(" or "),
    }
}

/// A map by name, or an object with fields of its own.
fn map(schema: &Value) -> String {
    let by_pattern = schema
        .get("patternProperties")
        .and_then(Value::as_object)
        .and_then(|patterns| patterns.values().next());
    let values = by_pattern.or(schema.get("additionalProperties").filter(|value| value.is_object()));
    match values {
        Some(values) => format!("map to {}", form(values)),
        None if schema
            .get("properties")
            .and_then(Value::as_object)
            .is_some_and(|fields| !Map::is_empty(fields)) =>
        {
            let names: Vec<String> =
                object(schema.get("properties")).iter().map(|(name, _)| format!("`{name}`")).collect();
            format!("map with {}", names.join(", "))
        }
        None => "map".to_owned(),
    }
}

fn link(name: &str) -> String {
    format!("[{name}](#{})", name.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_told_with_form_need_and_default() {
        let schema = serde_json::json!({
            "description": "A thing.", "type": "object", "required": ["id"],
            "properties": {
                "id": { "$ref": "#/$defs/Id", "description": "Its name." },
                "kinds": { "type": ["array", "null"], "items": { "enum": ["a", "b"] }, "default": [] },
                "depth": { "type": "integer", "default": 3 },
                "by": { "type": "object", "patternProperties": { "^x$": { "type": "string" } } }
            },
            "$defs": { "Id": { "type": "string", "description": "A | name." } }
        });
        let text = render("thing", &schema);
        for line in [
            "| `id` | [Id](#id), required | Its name. |",
            "| `kinds` | list of `a`, `b` |  |",
            "| `depth` | whole number; `3` by default |  |",
            "| `by` | map to text |  |",
            "## Id",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
