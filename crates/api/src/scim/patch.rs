//! PATCH (RFC 7644, section 3.5.2).

use serde_json::Value;

use super::{ScimError, member};

/// Most operations of one request.
const MAX_OPERATIONS: usize = 1000;

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// `add`.
    Add,
    /// `replace`.
    Replace,
    /// `remove`.
    Remove,
}

/// One operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operation<'a> {
    pub(super) target: Target,
    pub(super) path: Option<&'a str>,
    pub(super) value: Option<&'a Value>,
}

/// The operations of a request, in order.
pub(super) fn operations(sent: &Value) -> Result<Vec<Operation<'_>>, ScimError> {
    let list = member(sent, "Operations")
        .and_then(Value::as_array)
        .ok_or_else(|| ScimError::bad("invalidSyntax", "the list `Operations` is missing"))?;
    if list.len() > MAX_OPERATIONS {
        return Err(ScimError::bad(
            "tooMany",
            format!("at most {MAX_OPERATIONS} operations are done at once"),
        ));
    }
    list.iter().map(operation).collect()
}

fn operation(one: &Value) -> Result<Operation<'_>, ScimError> {
    let named = member(one, "op").and_then(Value::as_str).unwrap_or_default();
    let target = match named.to_ascii_lowercase().as_str() {
        "add" => Target::Add,
        "replace" => Target::Replace,
        "remove" => Target::Remove,
        _ => return Err(ScimError::bad("invalidSyntax", "`op` has to be add, replace or remove")),
    };
    let path = match member(one, "path") {
        None | Some(Value::Null) => None,
        Some(Value::String(path)) => Some(path.as_str()),
        Some(_) => return Err(ScimError::bad("invalidPath", "`path` has to be a text")),
    };
    if target == Target::Remove && path.is_none() {
        return Err(ScimError::bad("noTarget", "what is to be removed has to be named in `path`"));
    }
    // `null` is as good as nothing, and for a removal it is the same as everything that the path names.
    Ok(Operation {
        target,
        path,
        value: member(one, "value").filter(|value| !value.is_null() || target != Target::Remove),
    })
}
