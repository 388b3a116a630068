//! The tools of the example world as their server defines them.
//!
//! The bundle pins what stands here, so a change here without one there quarantines the tool: that is the point of pins, and a test holds the
//! two together.

use rmcp::model::{Tool, ToolAnnotations, object};
use serde_json::{Value, json};

/// What the server says of itself.
pub(crate) const INSTRUCTIONS: &str = "Files, mail and bank of Ridgeway Ceramics, an invented company.";

/// All definitions, in the order in which they are listed.
pub(crate) fn definitions() -> Vec<Tool> {
    [files(), mail(), bank()].concat()
}

fn files() -> Vec<Tool> {
    let path = json!({ "type": "string", "description": "An absolute path, such as /invoices/brightwell/bw-1043.txt." });
    vec![
        reading("list_files", "List the files below a directory.", json!({ "directory": path }), &[]),
        reading("read_file", "Read a text file.", json!({ "path": path }), &["path"]),
        acting(
            "write_file",
            "Write a text file; one that is there is replaced.",
            json!({ "path": path, "content": { "type": "string" } }),
            &["path", "content"],
        ),
    ]
}

fn mail() -> Vec<Tool> {
    let address = json!({ "type": "string", "description": "A mail address." });
    vec![
        reading(
            "search_mail",
            "Find mails whose sender, subject or text contains the query.",
            json!({ "query": { "type": "string" } }),
            &["query"],
        ),
        reading("read_mail", "Read a mail.", json!({ "id": { "type": "string" } }), &["id"]),
        acting(
            "send_mail",
            "Send a mail in the name of the mailbox's owner.",
            json!({
                "to": { "type": "array", "items": address, "minItems": 1 },
                "subject": { "type": "string" },
                "body": { "type": "string" },
                "attachments": {
                    "type": "array",
                    "items": { "type": "string" },
                    "description": "Paths of files to attach."
                }
            }),
            &["to", "subject", "body"],
        ),
    ]
}

fn bank() -> Vec<Tool> {
    vec![
        reading("list_payees", "List the payees that finance keeps.", json!({}), &[]),
        reading("list_transactions", "List the movements on the company's account.", json!({}), &[]),
        acting(
            "send_money",
            "Send money from the company's account.",
            json!({
                "recipient": { "type": "string", "description": "The IBAN that is paid." },
                "amount": { "type": "number", "exclusiveMinimum": 0 },
                "currency": { "type": "string", "enum": ["EUR"] },
                "reference": { "type": "string", "maxLength": 140 }
            }),
            &["recipient", "amount", "currency", "reference"],
        ),
    ]
}

fn reading(name: &'static str, description: &'static str, properties: Value, required: &[&str]) -> Tool {
    tool(name, description, properties, required).annotate(ToolAnnotations::new().read_only(true))
}

fn acting(name: &'static str, description: &'static str, properties: Value, required: &[&str]) -> Tool {
    tool(name, description, properties, required).annotate(ToolAnnotations::new().read_only(false))
}

#[expect(clippy::needless_pass_by_value, reason = "callers write the properties in place")]
fn tool(name: &'static str, description: &'static str, properties: Value, required: &[&str]) -> Tool {
    let schema = json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false
    });
    Tool::new(name, description, object(schema))
}
