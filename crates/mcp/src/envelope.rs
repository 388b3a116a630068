//! Messages on their way out: envelopes rebuilt around slices that are passed on as they stand.
//!
//! Every function returns one line without its line feed; the transport adds that, or the HTTP framing. Towards an
//! upstream, requests carry an id and a progress token of our own, so that no upstream learns or can forge another caller's.

use serde_json::value::RawValue;

use crate::{
    Fragment, Id, Meta, ProgressToken, RpcError, ShapeError, capabilities::Capabilities,
    fragment::ObjectWriter, members::Members, params::ProgressParams,
};

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

/// A list request (`tools/list`, …) towards an upstream.
#[must_use]
pub fn list(id: u64, method: &str, cursor: Option<&str>, meta: &Meta<'_>) -> Vec<u8> {
    let mut params = ObjectWriter::new();
    if let Some(cursor) = cursor {
        params = params.text("cursor", cursor);
    }
    request(
        id,
        method,
        Some(
            &params
                .maybe("_meta", meta.outgoing(None, Capabilities::default(), false, None).as_ref())
                .finish(),
        ),
    )
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

/// A `notifications/message` of a server's log, without what stands beside.
///
/// # Errors
/// [`ShapeError`] when the parameters lack what a message has.
pub fn log_message(params: &RawValue) -> Result<Vec<u8>, ShapeError> {
    let members = Members::read(params, "params")?;
    let level = members.need("level", members.text("level", 32)?)?;
    let data = members.need("data", members.get("data"))?;
    let mut out = ObjectWriter::new().text("level", &level);
    if let Some(logger) = members.text("logger", 512)? {
        out = out.text("logger", &logger);
    }
    Ok(notification("notifications/message", Some(&out.member("data", &Fragment::from(data)).finish())))
}

/// The parameters of a server's question as the client gets them: as they were written, but for `_meta`.
///
/// # Errors
/// [`ShapeError`] when they are no object.
pub fn question(params: &RawValue) -> Result<Fragment<'static>, ShapeError> {
    let members = Members::read(params, "params")?;
    let kept = members.iter().filter(|(name, _)| *name != "_meta");
    Ok(kept.fold(ObjectWriter::new(), |out, (name, raw)| out.member(name, &Fragment::from(raw))).finish())
}

/// An answer to an elicitation by which a person gives nothing: written anew, so that nothing else comes with it.
#[must_use]
pub fn declined(asked: &str, answer: &RawValue) -> Option<Box<RawValue>> {
    let members = Members::read(answer, "result").ok().filter(|_| asked == "elicitation")?;
    let action = members.text("action", 32).ok()??;
    let action = ["decline", "cancel"].into_iter().find(|known| *known == action)?;
    RawValue::from_string(ObjectWriter::new().text("action", action).finish().as_str().to_owned()).ok()
}

/// A `notifications/resources/updated`, of a subscription if it belongs to one.
#[must_use]
pub fn updated(uri: &str, subscription: Option<&Id<'_>>) -> Vec<u8> {
    let params = ObjectWriter::new().text("uri", uri).maybe("_meta", subscribed(subscription).as_ref());
    notification("notifications/resources/updated", Some(&params.finish()))
}

/// A notification of a subscription that says no more than its method.
#[must_use]
pub fn changed(method: &str, subscription: &Id<'_>) -> Vec<u8> {
    let params = ObjectWriter::new().maybe("_meta", subscribed(Some(subscription)).as_ref());
    notification(method, Some(&params.finish()))
}

/// What a subscription tells first: what it will tell.
#[must_use]
pub fn acknowledged(honoured: &Fragment<'_>, subscription: &Id<'_>) -> Vec<u8> {
    let params = ObjectWriter::new()
        .member("notifications", honoured)
        .maybe("_meta", subscribed(Some(subscription)).as_ref());
    notification("notifications/subscriptions/acknowledged", Some(&params.finish()))
}

/// The end of a subscription.
#[must_use]
pub fn unsubscribed(id: &Id<'_>) -> Vec<u8> {
    let end =
        ObjectWriter::new().text("resultType", "complete").maybe("_meta", subscribed(Some(id)).as_ref());
    result(id, &end.finish())
}

fn subscribed(subscription: Option<&Id<'_>>) -> Option<Fragment<'static>> {
    let id = subscription?.fragment();
    Some(ObjectWriter::new().member("io.modelcontextprotocol/subscriptionId", &id).finish())
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

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    fn line(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
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
