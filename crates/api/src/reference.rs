//! The reference of the interface, as Markdown: what the OpenAPI document says, for people who read.

use std::fmt::Write;

use serde_json::Value;

use crate::{
    problem::{Kind, TYPE},
    routes::openapi,
};

/// Every endpoint with what it does, and every sort of problem.
#[must_use]
pub fn reference() -> String {
    let document = serde_json::to_value(openapi()).unwrap_or_default();
    let mut text = String::from(
        "# The control plane's interface\n\nGenerated from the program; the whole of it, with every schema, is [openapi.json](openapi.json), which the control\nplane serves at `/openapi.json`. SCIM 2.0 is at `/scim/v2` and described by RFC 7644.\n\n## Endpoints\n\n| request | what it does | body | answer |\n|---|---|---|---|\n",
    );
    let mut rows: Vec<(String, String)> = Vec::new();
    for (path, item) in document.get("paths").and_then(Value::as_object).into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            let open = if operation.get("security").is_some() { " *Open to everybody.*" } else { "" };
            let summary =
                words(operation, "summary").or_else(|| words(operation, "description")).unwrap_or_default();
            let body = operation
                .pointer("/requestBody/content/application~1json/schema")
                .map(schema)
                .unwrap_or_default();
            let answer = operation
                .get("responses")
                .and_then(Value::as_object)
                .and_then(|all| all.iter().find(|(status, _)| status.starts_with('2')))
                .map(|(status, answer)| {
                    let content = answer.get("content").and_then(Value::as_object);
                    let one = content.and_then(|all| all.values().next()).and_then(|one| one.get("schema"));
                    format!("{status} {}", one.map(schema).unwrap_or_default())
                })
                .unwrap_or_default();
            let summary = summary.replace('\n', " ");
            let row = format!(
                "| `{} {path}` | {summary}{open} | {body} | {} |",
                method.to_uppercase(),
                answer.trim()
            );
            rows.push((format!("{path} {method}"), row));
        }
    }
    rows.sort();
    for (_, row) in rows {
        let _ = writeln!(text, "{row}");
    }
    let _ = write!(
        text,
        "\n## Problems\n\nWhat goes wrong is told as a problem (RFC 9457), `application/problem+json`. Its `type` is `{TYPE}` and one of these;\n`detail` says what is wrong and what would cure it, `field` where, and `instance` names the request as the log does.\n\n| type | status | title |\n|---|---|---|\n"
    );
    for kind in Kind::ALL {
        let _ = writeln!(text, "| `{}` | {} | {} |", kind.slug(), kind.status().as_u16(), kind.title());
    }
    text
}

fn words<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

/// The name of a schema, where it has one.
fn schema(schema: &Value) -> String {
    let choices = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    let named = words(schema, "$ref").or_else(|| choices.filter_map(|one| words(one, "$ref")).next());
    match named.and_then(|named| named.rsplit('/').next()) {
        Some(name) => format!("`{name}`"),
        None => words(schema, "type").unwrap_or_default().to_owned(),
    }
}
