//! Messages on their way out: envelopes rebuilt around slices that are passed on as they stand.
//!
//! Every function returns one line without its line feed; the transport adds that, or the HTTP framing. Towards an
//! upstream, requests carry an id and a progress token of our own, so that no upstream learns or can forge another caller's.

use serde_json::value::RawValue;

use crate::{Fragment, Id, Meta, ProgressToken, RpcError, fragment::ObjectWriter, params::ProgressParams};

fn message() -> ObjectWriter {
    ObjectWriter::new().text("jsonrpc", "2.0")
}

/// A request with an id of our own.
#[must_use]
pub fn request(id: u64, method: &str, params: Option<&Fragment<'_>>) -> Vec<u8> {
    message()
        .member("id", &Fragment::count(id))
        .text("method", method)
        .maybe("params", params)
        .finish()
        .into_bytes()
}

/// A notification.
#[must_use]
pub fn notification(method: &str, params: Option<&Fragment<'_>>) -> Vec<u8> {
    message().text("method", method).maybe("params", params).finish().into_bytes()
}

/// A result for the caller, under the id that it chose.
#[must_use]
pub fn result(id: &Id<'_>, result: &Fragment<'_>) -> Vec<u8> {
    message().member("id", &id.fragment()).member("result", result).finish().into_bytes()
}

/// An error of our own for the caller; with the id `null` when it could not be told.
#[must_use]
pub fn error(id: Option<&Id<'_>>, error: &RpcError) -> Vec<u8> {
    let id = match id {
        Some(id) => id.fragment(),
        None => Fragment::null(),
    };
    message().member("id", &id).member("error", &error.to_fragment()).finish().into_bytes()
}

/// An upstream's error for the caller, as the upstream wrote it.
#[must_use]
pub fn relayed_error(id: &Id<'_>, error: &Fragment<'_>) -> Vec<u8> {
    message().member("id", &id.fragment()).member("error", error).finish().into_bytes()
}

/// A `tools/call` towards an upstream: its own name for the tool, the exact slice of the arguments, what may leave of `_meta`.
/// `progress` is our own token; it is sent only if the caller wanted progress.
#[must_use]
pub fn tool_call(
    id: u64,
    name: &str,
    arguments: Option<&RawValue>,
    meta: &Meta<'_>,
    progress: Option<u64>,
) -> Vec<u8> {
    let params = ObjectWriter::new()
        .text("name", name)
        .maybe("arguments", arguments.map(Fragment::from).as_ref())
        .maybe("_meta", meta.outgoing(progress).as_ref())
        .finish();
    request(id, "tools/call", Some(&params))
}

/// A list request (`tools/list`, …) towards an upstream.
#[must_use]
pub fn list(id: u64, method: &str, cursor: Option<&str>, meta: &Meta<'_>) -> Vec<u8> {
    let mut params = ObjectWriter::new();
    if let Some(cursor) = cursor {
        params = params.text("cursor", cursor);
    }
    request(id, method, Some(&params.maybe("_meta", meta.outgoing(None).as_ref()).finish()))
}

/// A request without parameters but `_meta` (`ping`, `server/discover`) towards an upstream.
#[must_use]
pub fn plain(id: u64, method: &str, meta: &Meta<'_>) -> Vec<u8> {
    list(id, method, None, meta)
}

/// A `notifications/cancelled` for one of our requests. The caller's reason is free text and stays here.
#[must_use]
pub fn cancelled(id: u64) -> Vec<u8> {
    let params = ObjectWriter::new().member("requestId", &Fragment::count(id)).finish();
    notification("notifications/cancelled", Some(&params))
}

/// A `notifications/progress` for the caller, under the token that it chose: how far, out of how much. The upstream's words stay here: what an agent
/// reads has to be in its task's history first, and progress comes before the answer is.
#[must_use]
pub fn progress(params: &ProgressParams<'_>, token: &ProgressToken<'_>) -> Vec<u8> {
    let params = ObjectWriter::new()
        .member("progressToken", &token.fragment())
        .member("progress", &Fragment::from(params.progress))
        .maybe("total", params.total.map(Fragment::from).as_ref())
        .finish();
    notification("notifications/progress", Some(&params))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::ToolCallParams;

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    fn line(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_tool_call_is_rebuilt_around_the_exact_arguments() {
        let params = r#"{"_meta":{"progressToken":"t","x/leak":"secret"},"name":"s\u0065nd","arguments":{"a": 1.10, "n":12345678901234567890123,"s":"\u00e9\/\ud83d\ude00"}}"#;
        let call = ToolCallParams::parse(Some(raw(params))).unwrap();
        assert_eq!(
            line(tool_call(7, &call.name, call.arguments, &call.meta, Some(8))),
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"send","arguments":{"a": 1.10, "n":12345678901234567890123,"s":"\u00e9\/\ud83d\ude00"},"_meta":{"progressToken":8}}}"#
        );
    }

    #[test]
    fn a_modern_tool_call_keeps_version_and_info_and_no_capabilities() {
        let params = r#"{"name":"t","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c"},"io.modelcontextprotocol/clientCapabilities":{"sampling":{}}}}"#;
        let call = ToolCallParams::parse(Some(raw(params))).unwrap();
        assert_eq!(
            line(tool_call(1, "t", None, &call.meta, Some(8))),
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c"},"io.modelcontextprotocol/clientCapabilities":{}}}}"#
        );
    }

    #[test]
    fn answers_go_back_under_the_caller_s_spelling_of_the_id() {
        let id = Id::read(raw(r#""\u0061\/""#)).unwrap();
        let pretty = raw("{\n  \"a\": 1.0\n}");
        let failed = RpcError::new(crate::rpc::METHOD_NOT_FOUND, "no \"x\"");
        for (bytes, wanted) in [
            (
                result(&id, &Fragment::from(pretty)),
                r#"{"jsonrpc":"2.0","id":"\u0061\/","result":{   "a": 1.0 }}"#,
            ),
            (
                error(Some(&id), &failed),
                r#"{"jsonrpc":"2.0","id":"\u0061\/","error":{"code":-32601,"message":"no \"x\""}}"#,
            ),
            (
                error(None, &failed),
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32601,"message":"no \"x\""}}"#,
            ),
            (
                relayed_error(&id, &Fragment::from(raw(r#"{"code":1 ,"message":"m"}"#))),
                r#"{"jsonrpc":"2.0","id":"\u0061\/","error":{"code":1 ,"message":"m"}}"#,
            ),
        ] {
            assert_eq!(line(bytes), wanted);
        }
    }

    #[test]
    fn lists_and_notifications_carry_only_what_is_known() {
        let meta = Meta::default();
        let token = ProgressToken::read(raw("\"t\"")).unwrap();
        let from = raw(r#"{"progressToken":8,"progress":1.0,"total":2e0,"message":"m","_meta":{"x":1}}"#);
        for (bytes, wanted) in [
            (
                list(1, "tools/list", Some("c"), &meta),
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"c"}}"#,
            ),
            (plain(2, "ping", &meta), r#"{"jsonrpc":"2.0","id":2,"method":"ping","params":{}}"#),
            (
                cancelled(3),
                r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}"#,
            ),
            (
                notification("notifications/initialized", None),
                r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            ),
            (
                progress(&ProgressParams::parse(Some(from)).unwrap(), &token),
                r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":1.0,"total":2e0}}"#,
            ),
        ] {
            assert_eq!(line(bytes), wanted);
        }
    }
}
