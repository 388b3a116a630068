//! YAML into the tree, strictly.
//!
//! The events of the parser underneath `serde-saphyr` are taken directly, because values and places then come from one reading.
//! Taken is the part of YAML that every reader understands alike: no anchors, aliases, tags, merge keys or directives; one document;
//! keys are text, each once; plain scalars only where YAML 1.1 and 1.2 agree with JSON on what they are.

use std::collections::HashSet;

use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle, ScanError};

use crate::tree::{Content, Entry, Node, Span, is_json_number, short};

/// Deepest nesting that is read.
pub(crate) const MAX_DEPTH: usize = 60;
/// Most values in one document.
const MAX_NODES: usize = 200_000;

/// Something that cannot be read, or not for certain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyntaxFault {
    pub(crate) span: Option<Span>,
    pub(crate) message: String,
    pub(crate) cure: Option<String>,
}

impl SyntaxFault {
    pub(crate) fn new(span: Option<Span>, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), cure: None }
    }

    fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }
}

/// Reads one YAML document. All faults are collected, but what is no YAML ends the reading.
pub(crate) fn parse(text: &str) -> Result<Node, Vec<SyntaxFault>> {
    let options = granit_parser::options! {
        disallow_directives: true,
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut reader = Reader { faults: Vec::new(), nodes: 0, stack: Vec::new(), root: None };
    for next in Parser::new_from_str_with_options(text, options) {
        match next {
            Ok((event, span)) => {
                if !reader.take(&event, bytes(&span)) {
                    break;
                }
            }
            Err(error) => {
                reader.faults.push(scan_fault(&error));
                break;
            }
        }
    }
    match (reader.root, reader.faults.is_empty()) {
        (Some(root), true) => Ok(root),
        (None, true) => Ok(Node { span: Span::default(), content: Content::Null }),
        (_, false) => Err(reader.faults),
    }
}

fn bytes(span: &granit_parser::Span) -> Span {
    let start = span.start.byte_offset().unwrap_or_default();
    Span { start, end: span.end.byte_offset().unwrap_or(start).max(start) }
}

fn scan_fault(error: &ScanError) -> SyntaxFault {
    let at = error.marker().byte_offset();
    SyntaxFault::new(
        at.map(|at| Span { start: at, end: at }),
        format!("not well-formed YAML: {}", error.info()),
    )
}

/// A container that is being filled.
struct Open {
    node: Node,
    /// The keys of a map so far.
    keys: HashSet<String>,
    /// The key that waits for its value; `None` in it when it was no usable key.
    key: Option<(Option<String>, Span)>,
}

struct Reader {
    faults: Vec<SyntaxFault>,
    nodes: usize,
    stack: Vec<Open>,
    root: Option<Node>,
}

impl Reader {
    fn fault(&mut self, span: Span, message: impl Into<String>, cure: &str) {
        self.faults.push(SyntaxFault::new(Some(span), message).cure(cure));
    }

    /// Takes an event. Answers whether to go on.
    fn take(&mut self, event: &Event<'_>, span: Span) -> bool {
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes > MAX_NODES {
            self.fault(span, format!("more than {MAX_NODES} values"), "divide the file");
            return false;
        }
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                self.fault(span, "a second document in one file", "put it into a file of its own");
                false
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.properties(*anchor, tag.is_some(), span);
                let content = self.scalar(text, *style, span);
                self.value(Node { span, content });
                true
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.properties(*anchor, tag.is_some(), span);
                self.open(span, Content::Seq(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.properties(*anchor, tag.is_some(), span);
                self.open(span, Content::Map(Vec::new()))
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(mut open) = self.stack.pop() {
                    open.node.span.end = span.end.max(open.node.span.start);
                    self.value(open.node);
                }
                true
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.fault(
                    span,
                    "an alias",
                    "write the value out: what one line means must not depend on another",
                );
                self.value(Node { span, content: Content::Null });
                true
            }
            _ => true,
        }
    }

    fn open(&mut self, span: Span, content: Content) -> bool {
        if self.stack.len() >= MAX_DEPTH {
            self.fault(span, format!("nested more than {MAX_DEPTH} deep"), "flatten the value");
            return false;
        }
        self.stack.push(Open { node: Node { span, content }, keys: HashSet::new(), key: None });
        true
    }

    fn properties(&mut self, anchor: usize, tagged: bool, span: Span) {
        if anchor != 0 {
            self.fault(span, "an anchor", "write the value out where it is used");
        }
        if tagged {
            self.fault(span, "a tag", "remove it: values here have the types of JSON");
        }
    }

    /// Puts a finished value where it belongs.
    fn value(&mut self, node: Node) {
        let Some(open) = self.stack.last_mut() else {
            self.root = Some(node);
            return;
        };
        match &mut open.node.content {
            Content::Seq(items) => items.push(node),
            Content::Map(entries) => match open.key.take() {
                Some((Some(key), key_span)) => {
                    if !open.keys.insert(key.clone()) {
                        let message = format!("{:?} stands twice here", short(&key));
                        self.fault(key_span, message, "remove one of the two");
                    } else {
                        entries.push(Entry { key, key_span, node });
                    }
                }
                Some((None, _)) => {}
                None => {
                    let span = node.span;
                    let key = key_text(node);
                    let usable = key.as_ref().is_some_and(|key| key != "<<");
                    open.key = Some((key.clone().filter(|_| usable), span));
                    match key {
                        None => self.fault(span, "a key that is no text", "write a name"),
                        Some(key) if key == "<<" => {
                            self.fault(span, "a merge key", "write the members out where they are used");
                        }
                        Some(_) => {}
                    }
                }
            },
            _ => {}
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, span: Span) -> Content {
        if style != ScalarStyle::Plain {
            return Content::String(text.to_owned());
        }
        // A plain key is the text that was written, whatever it would be as a value.
        let is_key = self
            .stack
            .last()
            .is_some_and(|open| matches!(open.node.content, Content::Map(_)) && open.key.is_none());
        if is_key {
            return Content::String(text.to_owned());
        }
        match text {
            "" | "null" | "~" => Content::Null,
            "true" => Content::Bool(true),
            "false" => Content::Bool(false),
            number if is_json_number(number) => Content::Number(number.into()),
            doubtful if reads_two_ways(doubtful) => {
                let message =
                    format!("{:?} is read in different ways by different readers of YAML", short(doubtful));
                self.fault(span, message, "put it in quotes if it is text; write true, false, null or a plain decimal number if it is not");
                Content::Null
            }
            plain => Content::String(plain.to_owned()),
        }
    }
}

fn key_text(node: Node) -> Option<String> {
    match node.content {
        Content::String(text) => Some(text),
        _ => None,
    }
}

/// Whether YAML 1.1, YAML 1.2 and JSON may differ on what a plain scalar is. It is no JSON number.
fn reads_two_ways(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    if matches!(lower.as_str(), "true" | "false" | "null" | "yes" | "no" | "on" | "off") {
        return true;
    }
    let unsigned = lower.strip_prefix(['+', '-']).unwrap_or(&lower);
    if matches!(unsigned, ".inf" | ".nan") {
        return true;
    }
    let begins_as_number = unsigned.starts_with(|c: char| c.is_ascii_digit())
        || (unsigned.starts_with('.') && unsigned.chars().nth(1).is_some_and(|c| c.is_ascii_digit()));
    if !begins_as_number {
        return false;
    }
    let all = |allowed: &str, text: &str| text.chars().all(|c| c.is_ascii_digit() || allowed.contains(c));
    let radix = |prefix: &str, allowed: &str| {
        unsigned.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && all(allowed, rest))
    };
    // 1:30 is ninety in YAML 1.1.
    let sexagesimal = unsigned.contains(':')
        && unsigned.split(':').all(|part| (1..=2).contains(&part.len()) && all("", part));
    let dots = unsigned.matches('.').count();
    let decimal = dots <= 1 && all("_.", unsigned);
    let exponent = unsigned.split_once('e').is_some_and(|(mantissa, exponent)| {
        dots <= 1
            && !mantissa.is_empty()
            && all("_.", mantissa)
            && !exponent.is_empty()
            && all("+-", exponent)
    });
    sexagesimal || decimal || exponent || radix("0x", "abcdef_") || radix("0o", "_") || radix("0b", "_")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(text: &str) -> String {
        match parse(text) {
            Ok(node) => serde_json::to_string(&node.to_json()).unwrap(),
            Err(faults) => faults.iter().map(|f| f.message.clone()).collect::<Vec<_>>().join("; "),
        }
    }

    #[test]
    fn what_all_readers_read_alike_is_taken_literally() {
        for (yaml, expected) in [
            ("", "null"),
            ("a: 1.10\nb: 12345678901234567890123\n", r#"{"a":1.10,"b":12345678901234567890123}"#),
            ("a: -0.5e10", r#"{"a":-0.5e10}"#),
            ("[a, 'b', \"c\\u00e9\"]", r#"["a","b","cé"]"#),
            ("a:\n- b\n- c: ~\n  d:\n", r#"{"a":["b",{"c":null,"d":null}]}"#),
            ("a: 2026-01-31T12:00:00Z", r#"{"a":"2026-01-31T12:00:00Z"}"#),
            ("a: 00u1\nb: 1.2.3\nc: 30m\nd: -x", r#"{"a":"00u1","b":"1.2.3","c":"30m","d":"-x"}"#),
            ("1: a\ntrue: b\nno: c", r#"{"1":"a","true":"b","no":"c"}"#),
            ("a: |\n  x\n  y\nb: >\n  x\n  y\n", r#"{"a":"x\ny\n","b":"x y\n"}"#),
            ("a: \"yes\"", r#"{"a":"yes"}"#),
        ] {
            assert_eq!(json(yaml), expected, "{yaml:?}");
        }
    }

    #[test]
    fn what_reads_two_ways_or_hides_something_is_refused() {
        for (yaml, message) in [
            ("a: &x 1\nb: 2", "an anchor"),
            ("a: &x 1\nb: *x", "an anchor; an alias"),
            ("a: !!str 1", "a tag"),
            ("<<: {a: 1}", "a merge key"),
            ("a: 1\nb: 2\na: 3", "\"a\" stands twice here"),
            ("? [a]\n: b", "a key that is no text"),
            ("a: 1\n---\nb: 2", "a second document in one file"),
            ("a: yes", "\"yes\" is read in different ways by different readers of YAML"),
            ("a: True", "\"True\" is read in different ways by different readers of YAML"),
            ("a: 0123", "\"0123\" is read in different ways by different readers of YAML"),
            ("a: 0x1f", "\"0x1f\" is read in different ways by different readers of YAML"),
            ("a: 1_000", "\"1_000\" is read in different ways by different readers of YAML"),
            ("a: +1", "\"+1\" is read in different ways by different readers of YAML"),
            ("a: .5", "\".5\" is read in different ways by different readers of YAML"),
            ("a: 1.", "\"1.\" is read in different ways by different readers of YAML"),
            ("a: .inf", "\".inf\" is read in different ways by different readers of YAML"),
            ("a: 1:30", "\"1:30\" is read in different ways by different readers of YAML"),
        ] {
            assert_eq!(json(yaml), message, "{yaml:?}");
        }
        for broken in ["a: [", "a: \"x", "%YAML 1.2\n---\na: 1", "a:\n\t- b", &"[".repeat(1000), "a: b: c"] {
            assert!(parse(broken).is_err(), "{broken:?} was taken");
        }
    }

    #[test]
    fn places_are_bytes_of_the_text() {
        let text = "é: [1, {b: two}]\n";
        let root = parse(text).unwrap();
        let slice = |span: Span| text.get(span.start..span.end).unwrap();
        assert_eq!(slice(root.place(&["é", "0"])), "1");
        assert_eq!(slice(root.place(&["é", "1", "b"])), "two");
        assert_eq!(slice(root.key_place(&["é", "1", "b"])), "b");
        assert_eq!(slice(root.place(&["é"])), "é");
        assert_eq!(slice(root.place(&["é", "1", "c", "d"])), "");
        assert_eq!(root.place(&["é", "1", "c", "d"]).start, text.find("{b").unwrap());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(?s)[-a-c:{}\\[\\],&*!?|>'\"% \n\t0-9~<#.@]{0,60}|.{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn json_is_yaml(keys in proptest::collection::btree_map("[a-z]{1,6}", "[^\\p{C}]{0,12}", 0..5)) {
            let text = serde_json::to_string(&keys).unwrap();
            prop_assert_eq!(parse(&text).unwrap().to_json(), warrantor_model::Json::parse(text.as_bytes()).unwrap());
        }
    }
}
