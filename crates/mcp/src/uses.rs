//! Requests that use something a server offers: one view for all of them, since all of them are decided in the same way.
//!
//! Each has a target, the arguments that are decided on, and the parameters that the upstream gets. Arguments of tools and prompts are the
//! caller's own slice; those of the others are written here from the members that were read, once, for both.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::{
    Fragment, Meta, ParamsError,
    capabilities::Capabilities,
    envelope,
    fragment::ObjectWriter,
    members::{self, Members},
    params::{MAX_NAME_BYTES, members as read_params, meta_in},
};

/// Longest URI, in bytes.
pub const MAX_URI_BYTES: usize = 2048;
/// Longest value that is completed, in bytes.
const MAX_VALUE_BYTES: usize = 4096;
/// Longest state that a client gives back, in bytes.
const MAX_STATE_BYTES: usize = 1024;

/// What is used.
#[derive(Debug)]
pub enum Target<'a> {
    /// A tool.
    Tool(Named<'a>),
    /// A prompt.
    Prompt(Named<'a>),
    /// A resource.
    Resource {
        /// Its URI.
        uri: Cow<'a, str>,
    },
    /// The completion of an argument.
    Completion {
        /// Of what.
        of: Completed<'a>,
        /// The argument's name.
        argument: Cow<'a, str>,
        /// What there is of its value.
        value: Cow<'a, str>,
        /// Arguments that are complete, an object of texts.
        context: Option<&'a RawValue>,
    },
    /// The server's log.
    Log {
        /// From which level on.
        level: Cow<'a, str>,
    },
}

/// What has the argument that is completed.
#[derive(Debug)]
pub enum Completed<'a> {
    /// A prompt, by its name.
    Prompt(Cow<'a, str>),
    /// A template of resources, as it is written.
    Template(Cow<'a, str>),
}

/// Something with a name and arguments.
#[derive(Debug)]
pub struct Named<'a> {
    /// The name, unescaped; not empty, at most [`MAX_NAME_BYTES`].
    pub name: Cow<'a, str>,
    /// The arguments, an object; the exact slice that is decided on and forwarded.
    pub arguments: Option<&'a RawValue>,
}

/// What a client gives back of an earlier answer that asked for more (2026-07-28).
#[derive(Debug, Default)]
pub struct Retry<'a> {
    /// Its answers, by the keys of the questions.
    pub responses: Vec<(Cow<'a, str>, &'a RawValue)>,
    /// The state.
    pub state: Option<Cow<'a, str>>,
}

/// The parameters of a request that uses something.
#[derive(Debug)]
pub struct UseParams<'a> {
    /// What is used.
    pub target: Target<'a>,
    /// What goes on with an earlier request.
    pub retry: Retry<'a>,
    /// The request's `_meta`.
    pub meta: Meta<'a>,
}

impl<'a> UseParams<'a> {
    /// Reads the parameters; none when the method uses nothing that is known here.
    ///
    /// # Errors
    /// [`ParamsError`]
    pub fn parse(method: &str, params: Option<&'a RawValue>) -> Option<Result<Self, ParamsError>> {
        // `task` is of an earlier revision, and means nothing in the newer era: it goes nowhere.
        let named = &["name", "arguments", "_meta", "inputResponses", "requestState", "task"];
        let (known, read): (&[&str], Reader<'a>) = match method {
            "tools/call" => (named, |members| Ok(Target::Tool(Named::read(members)?))),
            "prompts/get" => (named, |members| Ok(Target::Prompt(Named::read(members)?))),
            "resources/read" => (&["uri", "_meta", "inputResponses", "requestState"], resource),
            "resources/subscribe" | "resources/unsubscribe" => (&["uri", "_meta"], resource),
            "completion/complete" => (&["ref", "argument", "context", "_meta"], completion),
            "logging/setLevel" => (&["level", "_meta"], |members| {
                Ok(Target::Log { level: members.need("level", members.text("level", MAX_NAME_BYTES)?)? })
            }),
            _ => return None,
        };
        Some(Self::read(params, known, read))
    }

    fn read(params: Option<&'a RawValue>, known: &[&str], target: Reader<'a>) -> Result<Self, ParamsError> {
        let members = read_params(params)?.only(known)?;
        let meta = meta_in(&members)?;
        let members = match meta.modern() {
            Some(_) => members,
            // Older versions ask the client on the way, and not by a second request.
            None => members.without(&["inputResponses", "requestState", "task"])?,
        };
        let responses = match members.object("inputResponses")? {
            Some(responses) => Members::read(responses, "inputResponses")?.into_list(),
            None => Vec::new(),
        };
        let retry = Retry { responses, state: members.text("requestState", MAX_STATE_BYTES)? };
        Ok(Self { target: target(&members)?, retry, meta })
    }

    /// The bytes that are decided on.
    #[must_use]
    pub fn arguments(&self) -> Vec<u8> {
        match &self.target {
            Target::Tool(named) | Target::Prompt(named) => {
                named.arguments.map_or_else(|| b"{}".to_vec(), |raw| raw.get().as_bytes().to_vec())
            }
            Target::Resource { uri } => ObjectWriter::new().text("uri", uri).finish().into_bytes(),
            Target::Completion { argument, value, context, .. } => ObjectWriter::new()
                .text("argument", argument)
                .text("value", value)
                .maybe("context", context.map(Fragment::from).as_ref())
                .finish()
                .into_bytes(),
            Target::Log { level } => ObjectWriter::new().text("level", level).finish().into_bytes(),
        }
    }

    /// The name that headers of the modern era repeat.
    #[must_use]
    pub fn mirrored(&self) -> Option<&str> {
        match &self.target {
            Target::Tool(named) | Target::Prompt(named) => Some(&named.name),
            Target::Resource { uri } => Some(uri),
            Target::Completion { .. } | Target::Log { .. } => None,
        }
    }

    /// The request for the upstream, around `decided`: the bytes that were decided on, if they are the caller's own slice.
    #[must_use]
    pub fn request(&self, id: u64, method: &str, decided: Option<&RawValue>, onward: &Onward<'_>) -> Vec<u8> {
        let out = ObjectWriter::new();
        let out = match &self.target {
            Target::Tool(named) | Target::Prompt(named) => {
                out.text("name", &named.name).maybe("arguments", decided.map(Fragment::from).as_ref())
            }
            Target::Resource { uri } => out.text("uri", uri),
            Target::Completion { of, argument, value, context } => {
                let of = match of {
                    Completed::Prompt(name) => {
                        ObjectWriter::new().text("type", "ref/prompt").text("name", name)
                    }
                    Completed::Template(uri) => {
                        ObjectWriter::new().text("type", "ref/resource").text("uri", uri)
                    }
                };
                let argument = ObjectWriter::new().text("name", argument).text("value", value).finish();
                let context = context.map(|context| {
                    ObjectWriter::new().member("arguments", &Fragment::from(context)).finish()
                });
                out.member("ref", &of.finish())
                    .member("argument", &argument)
                    .maybe("context", context.as_ref())
            }
            Target::Log { level } => out.text("level", level),
        };
        let responses = (!onward.responses.is_empty()).then(|| {
            let write = |out: ObjectWriter, (key, raw): &(String, Box<RawValue>)| {
                out.member(key, &Fragment::from(&**raw))
            };
            onward.responses.iter().fold(ObjectWriter::new(), write).finish()
        });
        let mut out = out.maybe("inputResponses", responses.as_ref());
        if let Some(state) = onward.state {
            out = out.text("requestState", state);
        }
        let meta =
            self.meta.outgoing(onward.progress, onward.capabilities, onward.log, onward.parent.as_deref());
        envelope::request(id, method, Some(&out.maybe("_meta", meta.as_ref()).finish()))
    }
}

/// What goes to the upstream beside what was asked.
#[derive(Debug, Default)]
pub struct Onward<'a> {
    /// Our own token for progress.
    pub progress: Option<u64>,
    /// What the client can be asked, as far as that is granted.
    pub capabilities: Capabilities,
    /// Whether the log level that the client wants is passed on.
    pub log: bool,
    /// The span of ours that it belongs to, as a `traceparent`.
    pub parent: Option<String>,
    /// Answers of the client that were let through.
    pub responses: &'a [(String, Box<RawValue>)],
    /// The upstream's own state.
    pub state: Option<&'a str>,
}

type Reader<'a> = fn(&Members<'a>) -> Result<Target<'a>, ParamsError>;

impl<'a> Named<'a> {
    fn read(members: &Members<'a>) -> Result<Self, ParamsError> {
        let name = members.need("name", members.text("name", MAX_NAME_BYTES)?)?;
        if name.is_empty() {
            return Err(members.wrong("name", "a string that is not empty").into());
        }
        Ok(Self { name, arguments: members.object("arguments")? })
    }
}

fn resource<'a>(members: &Members<'a>) -> Result<Target<'a>, ParamsError> {
    Ok(Target::Resource { uri: members.need("uri", members.text("uri", MAX_URI_BYTES)?)? })
}

fn completion<'a>(members: &Members<'a>) -> Result<Target<'a>, ParamsError> {
    let of = Members::read(members.need("ref", members.object("ref")?)?, "ref")?;
    let of = match of.need("type", of.text("type", MAX_NAME_BYTES)?)?.as_ref() {
        "ref/prompt" => {
            let of = of.only(&["type", "name", "title"])?;
            Completed::Prompt(of.need("name", of.text("name", MAX_NAME_BYTES)?)?)
        }
        "ref/resource" => {
            let of = of.only(&["type", "uri"])?;
            Completed::Template(of.need("uri", of.text("uri", MAX_URI_BYTES)?)?)
        }
        _ => return Err(of.wrong("type", "`ref/prompt` or `ref/resource`").into()),
    };
    let argument = Members::read(members.need("argument", members.object("argument")?)?, "argument")?
        .only(&["name", "value"])?;
    let context = match members.object("context")? {
        Some(context) => Members::read(context, "context")?.only(&["arguments"])?.object("arguments")?,
        None => None,
    };
    Ok(Target::Completion {
        of,
        argument: argument.need("name", argument.text("name", MAX_NAME_BYTES)?)?,
        value: argument.need("value", argument.text("value", MAX_VALUE_BYTES)?)?,
        context,
    })
}

/// What a client wants to be told as long as it listens (2026-07-28).
#[derive(Debug)]
pub struct ListenParams<'a> {
    /// That the list of tools changed.
    pub tools: bool,
    /// That the list of prompts changed.
    pub prompts: bool,
    /// That the list of resources changed.
    pub resources: bool,
    /// That one of these changed.
    pub uris: Vec<Cow<'a, str>>,
    /// The request's `_meta`.
    pub meta: Meta<'a>,
}

/// The subscription that a notification belongs to (2026-07-28): the id of the request that began it, if it is one of ours.
#[must_use]
pub fn subscription_of(params: Option<&RawValue>) -> Option<u64> {
    let meta = Members::read(params?, "params").ok()?.get("_meta")?;
    let id = Members::read(meta, "_meta").ok()?.get("io.modelcontextprotocol/subscriptionId")?;
    id.get().parse().ok()
}

/// The URI that a notification names.
#[must_use]
pub fn uri_of(params: Option<&RawValue>) -> Option<String> {
    let members = Members::read(params?, "params").ok()?;
    Some(members.text("uri", MAX_URI_BYTES).ok()??.into_owned())
}

/// Most resources of one subscription.
const MAX_SUBSCRIBED: usize = 256;

impl<'a> ListenParams<'a> {
    /// Reads the parameters of `subscriptions/listen`.
    ///
    /// # Errors
    /// [`ParamsError`]
    pub fn parse(params: Option<&'a RawValue>) -> Result<Self, ParamsError> {
        let members = read_params(params)?.only(&["notifications", "_meta"])?;
        let wanted =
            Members::read(members.need("notifications", members.object("notifications")?)?, "notifications")?;
        let flag = |member| match wanted.get(member).map(RawValue::get) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(wanted.wrong(member, "a boolean")),
        };
        let uris = match wanted.get("resourceSubscriptions") {
            None => Vec::new(),
            Some(list) => members::elements(list)
                .filter(|list| list.len() <= MAX_SUBSCRIBED)
                .and_then(|list| list.into_iter().map(members::text).collect::<Option<Vec<_>>>())
                .filter(|list| list.iter().all(|uri| uri.len() <= MAX_URI_BYTES))
                .ok_or_else(|| wanted.wrong("resourceSubscriptions", "an array of at most 256 URIs"))?,
        };
        Ok(Self {
            tools: flag("toolsListChanged")?,
            prompts: flag("promptsListChanged")?,
            resources: flag("resourcesListChanged")?,
            uris,
            meta: meta_in(&members)?,
        })
    }

    /// What is wanted, with only these URIs.
    #[must_use]
    pub fn wanted(&self, uris: &[String]) -> Fragment<'static> {
        let mut out = ObjectWriter::new();
        for (member, flag) in [
            ("toolsListChanged", self.tools),
            ("promptsListChanged", self.prompts),
            ("resourcesListChanged", self.resources),
        ] {
            if flag {
                out = out.member(member, &Fragment::boolean(true));
            }
        }
        if !uris.is_empty() {
            let uris = Fragment::array(uris.iter().map(|uri| Fragment::text(uri)));
            out = out.member("resourceSubscriptions", &uris);
        }
        out.finish()
    }

    /// The request for the upstream.
    #[must_use]
    pub fn request(&self, id: u64, uris: &[String]) -> Vec<u8> {
        let meta = self.meta.outgoing(None, Capabilities::default(), false, None);
        let params =
            ObjectWriter::new().member("notifications", &self.wanted(uris)).maybe("_meta", meta.as_ref());
        envelope::request(id, "subscriptions/listen", Some(&params.finish()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

    fn check(method: &str, params: &str, decided: &str, sent: &str) {
        let read = UseParams::parse(method, Some(raw(params))).unwrap().unwrap();
        assert_eq!(String::from_utf8(read.arguments()).unwrap(), decided, "{params}");
        let own = match &read.target {
            Target::Tool(named) | Target::Prompt(named) => named.arguments,
            _ => None,
        };
        let line = String::from_utf8(read.request(7, method, own, &Onward::default())).unwrap();
        assert_eq!(line, format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{sent}}}"#));
    }

    fn call(params: &str) -> UseParams<'_> {
        UseParams::parse("tools/call", Some(raw(params))).unwrap().unwrap()
    }

    fn sent(call: &UseParams<'_>, id: u64, progress: Option<u64>) -> String {
        let Target::Tool(named) = &call.target else { panic!("no tool") };
        let onward = Onward { progress, ..Onward::default() };
        String::from_utf8(call.request(id, "tools/call", named.arguments, &onward)).unwrap()
    }

    #[test]
    fn a_tool_call_is_rebuilt_around_the_exact_arguments() {
        let params = r#"{"_meta":{"progressToken":"t","x/leak":"secret"},"name":"s\u0065nd","arguments":{"a": 1.10, "n":12345678901234567890123,"s":"\u00e9\/\ud83d\ude00"}}"#;
        let call = call(params);
        assert_eq!(
            sent(&call, 7, Some(8)),
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"send","arguments":{"a": 1.10, "n":12345678901234567890123,"s":"\u00e9\/\ud83d\ude00"},"_meta":{"progressToken":8}}}"#
        );
    }

    #[test]
    fn a_modern_tool_call_keeps_version_and_info_and_no_capabilities() {
        let params = r#"{"name":"t","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c"},"io.modelcontextprotocol/clientCapabilities":{"sampling":{}}}}"#;
        let call = call(params);
        assert_eq!(
            sent(&call, 1, Some(8)),
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c"},"io.modelcontextprotocol/clientCapabilities":{}}}}"#
        );
    }

    #[test]
    fn what_is_decided_and_what_is_sent_are_the_same_values() {
        check(
            "prompts/get",
            r#"{"name":"p\u0061","arguments":{"a": "1"}}"#,
            r#"{"a": "1"}"#,
            r#"{"name":"pa","arguments":{"a": "1"}}"#,
        );
        check("prompts/get", r#"{"name":"p"}"#, "{}", r#"{"name":"p"}"#);
        check("resources/read", r#"{"uri":"x:\u0061"}"#, r#"{"uri":"x:a"}"#, r#"{"uri":"x:a"}"#);
        check(
            "completion/complete",
            r#"{"ref":{"type":"ref/prompt","name":"p","title":"t"},"argument":{"name":"n","value":"v"},"context":{"arguments":{"a":"b"}}}"#,
            r#"{"argument":"n","value":"v","context":{"a":"b"}}"#,
            r#"{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"n","value":"v"},"context":{"arguments":{"a":"b"}}}"#,
        );
        check("logging/setLevel", r#"{"level":"info"}"#, r#"{"level":"info"}"#, r#"{"level":"info"}"#);
    }

    #[test]
    fn what_nobody_could_decide_on_is_refused_by_name() {
        for (method, params) in [
            ("prompts/get", r#"{"name":""}"#),
            ("prompts/get", r#"{"name":"p","arguments":[]}"#),
            ("prompts/get", r#"{"name":"p","extra":1}"#),
            ("prompts/get", r#"{"name":"p","requestState":"s"}"#),
            ("tools/call", r#"{"name":"p","inputResponses":{}}"#),
            ("tools/call", r#"{"name":"p","task":{}}"#),
            ("resources/read", r#"{"uri":1}"#),
            ("resources/subscribe", r#"{"uri":"x:a","requestState":"s"}"#),
            (
                "completion/complete",
                r#"{"ref":{"type":"ref/tool","name":"p"},"argument":{"name":"n","value":"v"}}"#,
            ),
            (
                "completion/complete",
                r#"{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"n","value":"v","x":1}}"#,
            ),
            ("logging/setLevel", "{}"),
        ] {
            assert!(UseParams::parse(method, Some(raw(params))).unwrap().is_err(), "{method} {params}");
        }
        assert!(UseParams::parse("tools/list", None).is_none());
    }

    #[test]
    fn a_retry_is_read_in_the_newer_era_and_goes_on_with_what_was_let_through() {
        let params = format!(
            r#"{{"name":"t","inputResponses":{{"k":{{"a":1}},"l":{{}}}},"requestState":"ours",{META}}}"#
        );
        let read = UseParams::parse("tools/call", Some(raw(&params))).unwrap().unwrap();
        assert_eq!((read.retry.responses.len(), read.retry.state.as_deref()), (2, Some("ours")));
        let responses = vec![("k".to_owned(), raw(r#"{"a": 1}"#).to_owned())];
        let onward = Onward { responses: &responses, state: Some("theirs"), ..Onward::default() };
        let line = String::from_utf8(read.request(1, "tools/call", None, &onward)).unwrap();
        assert!(
            line.contains(r#""inputResponses":{"k":{"a": 1}},"requestState":"theirs","_meta":"#),
            "{line}"
        );
    }

    #[test]
    fn a_subscription_says_what_it_wants_and_no_more() {
        let params = format!(
            r#"{{"notifications":{{"toolsListChanged":true,"resourceSubscriptions":["x:a","x:b"]}},{META}}}"#
        );
        let read = ListenParams::parse(Some(raw(&params))).unwrap();
        assert_eq!((read.tools, read.prompts, read.uris.len()), (true, false, 2));
        assert_eq!(
            read.wanted(&["x:a".to_owned()]).as_str(),
            r#"{"toolsListChanged":true,"resourceSubscriptions":["x:a"]}"#
        );
        for bad in [
            r#"{}"#,
            r#"{"notifications":{"toolsListChanged":1}}"#,
            r#"{"notifications":{"resourceSubscriptions":"x"}}"#,
        ] {
            assert!(ListenParams::parse(Some(raw(bad))).is_err(), "{bad}");
        }
    }
}
