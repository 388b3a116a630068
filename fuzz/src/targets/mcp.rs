//! Messages from both sides: what is refused can be answered, what is taken can be forwarded without a byte changed.

use serde_json::value::RawValue;
use warrantor_mcp::Fragment;
use warrantor_mcp::capabilities::Capabilities;
use warrantor_mcp::handshake::{DiscoverResult, InitializeResult, Instructions};
use warrantor_mcp::joined;
use warrantor_mcp::message::{FrameLimits, Message, Outcome};
use warrantor_mcp::params::{CancelledParams, InitializeParams, ListParams, ProgressParams};
use warrantor_mcp::result::{InputRequired, ResultKind, Shown, ToolResult};
use warrantor_mcp::sse::{self, EventReader};
use warrantor_mcp::tools::{List, OfferList};
use warrantor_mcp::uses::{ListenParams, Onward, Target, UseParams};
use warrantor_mcp::{Era, LineSplitter, envelope, era, handshake, headers, params};
use warrantor_model::Json;

use crate::Reading;

/// Every method that uses something.
const METHODS: [&str; 7] = [
    "tools/call",
    "prompts/get",
    "resources/read",
    "resources/subscribe",
    "resources/unsubscribe",
    "completion/complete",
    "logging/setLevel",
];

/// A message or an answer that says what is wrong with it; the answer is itself one line and one message.
pub(crate) fn framing(bytes: &[u8]) -> Reading {
    let limits = FrameLimits::default();
    let read = Message::parse(bytes, &limits);
    match &read {
        Ok(Message::Request { id, .. }) => {
            assert!(bytes_hold(bytes, id.raw()), "an id that was not sent");
            assert_one_message(&envelope::result(id, &warrantor_mcp::Fragment::empty_object()));
        }
        Ok(Message::Notification { .. } | Message::Response { .. }) => {}
        Err(error) => assert_one_message(&error.to_response()),
    }
    Reading::of(&read)
}

/// However a stream is cut into chunks, the same lines come out of it.
pub(crate) fn lines(bytes: &[u8]) -> Reading {
    const BOUND: usize = 32;
    let whole = split(bytes.chunks(bytes.len().max(1)), BOUND);
    for size in [1, 2, 7] {
        assert_eq!(split(bytes.chunks(size), BOUND), whole, "chunks of {size}");
    }
    for line in whole.iter().flatten() {
        assert!(line.len() <= BOUND && !line.contains(&b'\n'), "no line: {line:?}");
    }
    if whole.iter().any(Option::is_some) { Reading::Taken } else { Reading::Refused }
}

/// However a stream of events is cut into chunks, the same events come out of it; and what they hold goes into one event each.
pub(crate) fn events(bytes: &[u8]) -> Reading {
    const BOUND: usize = 64;
    let read = |size: usize| -> Vec<_> {
        let mut reader = EventReader::new(BOUND);
        bytes.chunks(size).flat_map(|chunk| reader.push(chunk)).collect()
    };
    let whole = read(bytes.len().max(1));
    for size in [1, 3, 8] {
        assert_eq!(read(size), whole, "chunks of {size}");
    }
    for event in whole.iter().flatten() {
        assert!(event.data.len() <= BOUND, "more than the bound: {event:?}");
        let again = EventReader::new(BOUND * 8).push(&sse::write_event(event.id.as_deref(), &event.data));
        let data: Vec<&[u8]> = again.iter().flatten().map(|event| event.data.as_slice()).collect();
        assert_eq!((again.len(), data), (1, vec![event.data.as_slice()]), "it became other events");
    }
    if whole.iter().any(Result::is_ok) { Reading::Taken } else { Reading::Refused }
}

/// A header's value has one reading or none, and what is read can be written again. Marks of any schema are found or refused.
pub(crate) fn headers(bytes: &[u8]) -> Reading {
    let decoded = headers::decode(bytes);
    if let Some(text) = &decoded {
        let written = headers::encode(text).into_owned();
        assert!(written.bytes().all(|byte| matches!(byte, b' '..=b'~')), "no header can say {written:?}");
        assert_eq!(headers::decode(written.as_bytes()).as_deref(), Some(text.as_ref()));
    }
    if let Ok(schema) = Json::parse(bytes)
        && let Ok(marked) = headers::marked(&schema)
    {
        for (header, text) in headers::repeated(&marked, &schema) {
            assert!(header.starts_with(headers::PARAMETER_PREFIX), "{header}");
            assert_eq!(headers::decode(headers::encode(&text).as_bytes()).as_deref(), Some(text.as_str()));
        }
        return Reading::Taken;
    }
    Reading::of(&decoded.ok_or(()))
}

/// The parameters of every method are read or refused; a call that is taken goes upstream with its very arguments.
pub(crate) fn params(bytes: &[u8]) -> Reading {
    // Within a message, as they always come: framing has refused duplicate names and lone surrogates by then.
    let line = [br#"{"jsonrpc":"2.0","id":1,"method":"m","params":"#, bytes, b"}"].concat();
    let Ok(Message::Request { params: Some(raw), .. }) = Message::parse(&line, &FrameLimits::default())
    else {
        return Reading::Refused;
    };
    let others = [
        params::meta_of(Some(raw)).is_ok(),
        params::only_meta(Some(raw)).is_ok(),
        ListParams::parse(Some(raw)).is_ok(),
        CancelledParams::parse(Some(raw)).is_ok(),
        ProgressParams::parse(Some(raw)).is_ok(),
        era::declared("tools/call", Some(raw)).is_ok(),
        InitializeParams::parse(Some(raw)).is_ok_and(|opening| {
            assert_one_message(&handshake::initialize_request(
                1,
                &opening,
                Capabilities::read(opening.capabilities).unwrap_or_default(),
            ));
            true
        }),
    ];
    let mut taken = others.contains(&true) || ListenParams::parse(Some(raw)).is_ok();
    for method in METHODS {
        let Some(Ok(used)) = UseParams::parse(method, Some(raw)) else { continue };
        taken = true;
        let own = match &used.target {
            Target::Tool(named) | Target::Prompt(named) => named.arguments,
            _ => None,
        };
        if let Target::Tool(named) = &used.target {
            // Under a set's name it is the same call, to the byte.
            let renamed = joined::params_with(Some(raw), "name", &Fragment::text("other")).ok();
            let again = renamed.as_deref().and_then(|renamed| UseParams::parse(method, Some(renamed)));
            let again = again.and_then(Result::ok).and_then(|again| match again.target {
                Target::Tool(again) => Some((again.name, again.arguments.map(RawValue::get))),
                _ => None,
            });
            assert_eq!(again, Some(("other".into(), named.arguments.map(RawValue::get))));
        }
        let sent = used.request(7, method, own, &Onward { progress: Some(7), ..Onward::default() });
        assert_one_message(&sent);
        let Ok(Message::Request { params: again, .. }) = Message::parse(&sent, &FrameLimits::default())
        else {
            continue;
        };
        let again = UseParams::parse(method, again).and_then(Result::ok);
        assert!(
            again.as_ref().is_some_and(|again| again.mirrored() == used.mirrored()),
            "something else is used"
        );
        // The one licence that a fragment takes: a line break between tokens becomes a space.
        let plain = |used: &UseParams<'_>| {
            used.arguments()
                .into_iter()
                .map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { b })
                .collect::<Vec<u8>>()
        };
        assert_eq!(again.as_ref().map(plain), Some(plain(&used)), "other arguments");
    }
    if taken { Reading::Taken } else { Reading::Refused }
}

/// The results of an upstream are read or refused; a filtered list of tools holds only what was listed.
pub(crate) fn results(bytes: &[u8]) -> Reading {
    let line = [br#"{"jsonrpc":"2.0","id":1,"result":"#, bytes, b"}"].concat();
    let read = Message::parse(&line, &FrameLimits::default());
    let Ok(Message::Response { outcome: Outcome::Result(raw), .. }) = read else { return Reading::Refused };
    let lists = [List::Tools, List::Prompts, List::Resources, List::Templates];
    let lists = lists.map(|of| OfferList::parse(of, raw).ok().map(|list| (of, list)));
    for (of, list) in lists.iter().flatten() {
        for era in [Era::Legacy, Era::Modern] {
            let none = list.filtered(era, |_| None);
            assert!(serde_json::from_str::<&RawValue>(none.as_str()).is_ok(), "not JSON: {}", none.as_str());
            let none = serde_json::from_str::<serde_json::Value>(none.as_str());
            let left = none.ok().and_then(|list| list.get(of.members().0)?.as_array().map(Vec::len));
            assert_eq!(left, Some(0), "entries that nobody kept");
        }
    }
    let opening = InitializeResult::parse(raw);
    if let Ok(opening) = &opening {
        let shown = opening.to_client(Instructions::Withheld, &["tools"]);
        let shown = serde_json::from_str::<serde_json::Value>(shown.as_str());
        assert!(
            shown.is_ok_and(|shown| shown.get("instructions").is_none()),
            "instructions were not withheld"
        );
    }
    let others = [
        lists.iter().any(Option::is_some),
        opening.is_ok(),
        Shown::prompt(raw).is_ok() || Shown::resource(raw).is_ok() || Shown::completion(raw).is_ok(),
        InputRequired::parse(raw).is_ok_and(|asked| {
            assert!(serde_json::from_str::<&RawValue>(asked.to_client("state").as_str()).is_ok(), "not JSON");
            true
        }),
        ResultKind::of(raw).is_ok(),
        ToolResult::parse(raw).is_ok(),
        DiscoverResult::parse(raw).is_ok(),
    ];
    if others.contains(&true) { Reading::Taken } else { Reading::Refused }
}

fn assert_one_message(line: &[u8]) {
    assert!(!line.contains(&b'\n'), "not one line: {}", String::from_utf8_lossy(line));
    let read = Message::parse(line, &FrameLimits::default());
    assert!(read.is_ok(), "no message: {}", String::from_utf8_lossy(line));
}

fn bytes_hold(bytes: &[u8], part: &str) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.contains(part))
}

/// The lines of a stream that comes in chunks; `None` stands for one that is too long.
fn split<'a>(chunks: impl Iterator<Item = &'a [u8]>, bound: usize) -> Vec<Option<Vec<u8>>> {
    let mut splitter = LineSplitter::new(bound);
    let mut lines = Vec::new();
    for chunk in chunks {
        splitter.push(chunk);
        while let Some(line) = splitter.next_line() {
            lines.push(line.ok().map(<[u8]>::to_vec));
        }
    }
    lines
}
