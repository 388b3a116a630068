//! Where a value may come from: the words of `from`, and the selectors on records.
//!
//! `request`, `slot:vendor`, `record:Payee#iban[name=$slot.vendor]`, `tool:files/read(path=/a.txt)#lines/*`. A text that does not parse is refused with
//! a cure; nothing is guessed. What the names lead to is checked against a bundle when it loads.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::{Path, ServerName, ToolRef};

/// Most comparisons of one selector.
const MAX_COMPARISONS: usize = 16;

/// A source, as a grant lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The person's own words.
    Request,
    /// A value given at handover.
    Slot(String),
    /// The person's own addresses and handles.
    Own,
    /// Put in by the person who approved this call.
    Person,
    /// A field of a record that a result held.
    Record(RecordSource),
    /// A place in a result of a tool.
    Tool(ToolSource),
    /// An argument of an earlier call that passed.
    Call {
        /// The tool that was called.
        tool: ToolRef,
        /// Its argument.
        argument: Path,
    },
    /// Found nowhere: the agent made it.
    Computed,
    /// Whatever it is.
    Any,
}

/// `record:TYPE#path[…]` or `records:TYPE#path[…]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordSource {
    /// Any matching record, rather than the one there is.
    pub any_match: bool,
    /// The server whose manifest describes the type; each that does, when nothing is said.
    pub server: Option<ServerName>,
    /// The type.
    pub record: String,
    /// The field.
    pub path: Path,
    /// Which records.
    pub selector: Selector,
}

/// `tool:server/tool(argument=value)#path[…]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolSource {
    /// The tool.
    pub tool: ToolRef,
    /// What its arguments must have been.
    pub arguments: Selector,
    /// The place in its result; any leaf, when nothing is said.
    pub path: Option<Path>,
    /// On the record that holds the place.
    pub selector: Selector,
}

/// Comparisons that must all hold. An empty one holds always.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector(pub Vec<Comparison>);

/// One comparison of a selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// What is compared, from the record that holds the field; `None` is `.`, the element itself.
    pub path: Option<Path>,
    /// How.
    pub operator: Operator,
    /// With what.
    pub value: Compared,
}

/// How a selector compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `=`: equal, in the form of the field's kind.
    Equal,
    /// `^=`: begins with.
    Begins,
    /// `~=`: contains the words, whatever their case.
    Contains,
    /// ` host=`: leads to the host. For arguments only.
    Host,
}

impl Operator {
    /// As it is written between the two sides.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::Begins => "^=",
            Self::Contains => "~=",
            Self::Host => " host=",
        }
    }
}

/// The right-hand side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compared {
    /// A text, or the literal of a number or boolean.
    Text(String),
    /// `$slot.NAME`: a value given at handover.
    Slot(String),
    /// `$self`: any of the person's own addresses and handles.
    Own,
}

/// Why a text is no source or no selector.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}: {cure}")]
pub struct SourceError {
    message: String,
    cure: String,
}

fn fault<T>(message: impl Into<String>, cure: impl Into<String>) -> Result<T, SourceError> {
    Err(SourceError { message: message.into(), cure: cure.into() })
}

fn short(text: &str) -> String {
    let mut shown: String = text.chars().take(80).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

const WORDS: &str = "write request, slot:NAME, self, person, record:TYPE#path, records:TYPE#path, tool:server/tool, call:server/tool#argument, computed or any";

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let text = text.trim();
        match text {
            "request" => return Ok(Self::Request),
            "self" => return Ok(Self::Own),
            "person" => return Ok(Self::Person),
            "computed" => return Ok(Self::Computed),
            "any" => return Ok(Self::Any),
            _ => {}
        }
        match text.split_once(':') {
            Some(("slot", name)) => slot(name).map(Self::Slot),
            Some(("record", rest)) => record(rest, false).map(Self::Record),
            Some(("records", rest)) => record(rest, true).map(Self::Record),
            Some(("tool", rest)) => tool(rest).map(Self::Tool),
            Some(("call", rest)) => call(rest),
            _ => fault(format!("{:?} is no source", short(text)), WORDS),
        }
    }
}

fn slot(name: &str) -> Result<String, SourceError> {
    let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    if plain {
        Ok(name.to_owned())
    } else {
        fault(format!("{:?} is no name of a slot", short(name)), "write slot:NAME")
    }
}

fn record(text: &str, any_match: bool) -> Result<RecordSource, SourceError> {
    let form = "write record:TYPE#path[field=value]";
    let Some((kind, rest)) = text.split_once('#') else {
        return fault(format!("{:?} names no field", short(text)), form);
    };
    let (server, record) = match kind.split_once('/') {
        Some((server, record)) => (Some(server), record),
        None => (None, kind),
    };
    if record.is_empty() || !record.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-') {
        return fault(format!("{:?} is no name of a record", short(record)), form);
    }
    let server = match server.map(ServerName::new).transpose() {
        Ok(server) => server,
        Err(cause) => return fault(cause.to_string(), form),
    };
    let (path, selector) = place(rest)?;
    Ok(RecordSource { any_match, server, record: record.to_owned(), path, selector })
}

fn tool(text: &str) -> Result<ToolSource, SourceError> {
    let end = text.find(['(', '#', '[']).unwrap_or(text.len());
    let (name, mut rest) = text.split_at_checked(end).unwrap_or((text, ""));
    let tool = tool_ref(name)?;
    let mut arguments = Selector::default();
    if let Some(inner) = rest.strip_prefix('(') {
        let (inside, after) = closed(inner, ')')?;
        arguments = comparisons(inside, true)?;
        rest = after;
    }
    if rest.is_empty() {
        return Ok(ToolSource { tool, arguments, path: None, selector: Selector::default() });
    }
    let (path, selector) = match rest.strip_prefix('#') {
        Some(place_text) => {
            let (path, selector) = place(place_text)?;
            (Some(path), selector)
        }
        None => (None, bracketed(rest)?),
    };
    Ok(ToolSource { tool, arguments, path, selector })
}

fn call(text: &str) -> Result<Source, SourceError> {
    let Some((name, argument)) = text.split_once('#') else {
        return fault(format!("{:?} names no argument", short(text)), "write call:server/tool#argument");
    };
    let tool = tool_ref(name)?;
    match argument.parse() {
        Ok(argument) => Ok(Source::Call { tool, argument }),
        Err(cause) => fault(format!("{cause}"), "write call:server/tool#argument"),
    }
}

fn tool_ref(name: &str) -> Result<ToolRef, SourceError> {
    match name.trim().parse() {
        Ok(tool) => Ok(tool),
        Err(cause) => fault(format!("{cause}"), "write server/tool"),
    }
}

/// A path, and the selector that may follow it.
fn place(text: &str) -> Result<(Path, Selector), SourceError> {
    let at = text.find('[').unwrap_or(text.len());
    let (path, rest) = text.split_at_checked(at).unwrap_or((text, ""));
    let path: Path = match path.trim().parse() {
        Ok(path) => path,
        Err(cause) => return fault(format!("{cause}"), "write segments joined by /"),
    };
    Ok((path, if rest.is_empty() { Selector::default() } else { bracketed(rest)? }))
}

fn bracketed(text: &str) -> Result<Selector, SourceError> {
    let Some(inner) = text.strip_prefix('[') else {
        return fault(
            format!("{:?} follows where a selector could stand", short(text)),
            "write [field=value]",
        );
    };
    let (inside, after) = closed(inner, ']')?;
    if !after.is_empty() {
        return fault(format!("{:?} follows the selector", short(after)), "a selector ends the source");
    }
    comparisons(inside, false)
}

/// What stands before the closing sign, quotes respected, and what follows it.
fn closed(text: &str, sign: char) -> Result<(&str, &str), SourceError> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if c == sign && !quoted => {
                let (inside, rest) = text.split_at_checked(at).unwrap_or((text, ""));
                return Ok((inside, rest.strip_prefix(sign).unwrap_or(rest)));
            }
            _ => {}
        }
    }
    fault(format!("{:?} is not closed", short(text)), format!("close it with `{sign}`"))
}

/// Comparisons joined by commas.
fn comparisons(text: &str, of_arguments: bool) -> Result<Selector, SourceError> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (one, after) = comparison(rest, of_arguments)?;
        found.push(one);
        if found.len() > MAX_COMPARISONS {
            return fault(format!("more than {MAX_COMPARISONS} comparisons"), "write fewer");
        }
        rest = match after.trim_start().strip_prefix(',') {
            Some(more) if more.trim().is_empty() => {
                return fault("a comma with nothing after it", "remove it");
            }
            Some(more) => more.trim_start(),
            None if after.trim().is_empty() => "",
            None => {
                return fault(
                    format!("{:?} follows a value", short(after)),
                    "put a comma between comparisons",
                );
            }
        };
    }
    if found.is_empty() && !of_arguments {
        return fault("an empty selector", "write [field=value], or leave it out");
    }
    Ok(Selector(found))
}

fn comparison(text: &str, of_arguments: bool) -> Result<(Comparison, &str), SourceError> {
    let form = "write field=value, field^=value or field~=value";
    let Some((left, after)) = text.split_once('=') else {
        return fault(format!("{:?} compares nothing", short(text)), form);
    };
    let left = left.trim_end();
    let (left, operator) = match left.strip_suffix(['^', '~']) {
        Some(rest) if left.ends_with('^') => (rest, Operator::Begins),
        Some(rest) => (rest, Operator::Contains),
        None => match left.trim_end().strip_suffix("host").filter(|rest| rest.ends_with(char::is_whitespace))
        {
            Some(rest) if of_arguments => (rest, Operator::Host),
            _ => (left, Operator::Equal),
        },
    };
    let left = left.trim();
    if left.contains(['"', ',']) {
        return fault(format!("{:?} compares nothing", short(left)), form);
    }
    if left.ends_with(['!', '<', '>', '*', '-', '+', '%', ':', '~', '^']) || after.starts_with('=') {
        return fault(format!("{:?} is no comparison that there is", short(text)), form);
    }
    let path = match left {
        "" => return fault(format!("{:?} compares nothing", short(text)), form),
        "." => None,
        path => match path.parse::<Path>() {
            Ok(path) => Some(path),
            Err(cause) => return fault(format!("{cause}"), form),
        },
    };
    let (value, rest) = compared(after.trim_start())?;
    Ok((Comparison { path, operator, value }, rest))
}

/// A value and what follows it: a text in double quotes, or whatever stands up to the next comma.
fn compared(text: &str) -> Result<(Compared, &str), SourceError> {
    if text.starts_with('"') {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<String>();
        return match values.next() {
            Some(Ok(value)) => {
                Ok((Compared::Text(value), text.get(values.byte_offset()..).unwrap_or_default()))
            }
            _ => fault("a text in quotes does not end", "close it with a quote"),
        };
    }
    let at = text.find(',').unwrap_or(text.len());
    let (bare, rest) = text.split_at_checked(at).unwrap_or((text, ""));
    let bare = bare.trim();
    let value = match bare {
        "" => {
            return fault(
                "a comparison without a value",
                "write field=value, or field=\"\" for the empty text",
            );
        }
        quoted if quoted.contains('"') => {
            return fault(
                format!("{:?} has a quote within", short(quoted)),
                "put the whole text in quotes, and a \\ before the quote",
            );
        }
        "$self" => Compared::Own,
        reference => match reference.strip_prefix('$') {
            None => Compared::Text(reference.to_owned()),
            Some(name) => match name.strip_prefix("slot.") {
                Some(name) => Compared::Slot(slot(name)?),
                None => {
                    return fault(
                        format!("{reference} is no reference"),
                        "write $slot.NAME, $self, or put the text in quotes",
                    );
                }
            },
        },
    };
    Ok((value, rest))
}

impl FromStr for Selector {
    type Err = SourceError;

    /// Reads a selector with its brackets.
    fn from_str(text: &str) -> Result<Self, SourceError> {
        bracketed(text.trim())
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("$self"),
            Self::Slot(name) => write!(f, "$slot.{name}"),
            Self::Text(text) => {
                let plain = !text.is_empty()
                    && text.trim() == text
                    && !text.starts_with(['$', '"'])
                    && !text.contains([',', ']', ')', '"']);
                if plain {
                    f.write_str(text)
                } else {
                    f.write_str(&serde_json::Value::String(text.clone()).to_string())
                }
            }
        }
    }
}

impl fmt::Display for Selector {
    /// Without brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, Comparison { path, operator, value }) in self.0.iter().enumerate() {
            if nth > 0 {
                f.write_str(", ")?;
            }
            match path {
                None => f.write_str(".")?,
                Some(path) => write!(f, "{path}")?,
            }
            write!(f, "{}{value}", operator.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let selector = |f: &mut fmt::Formatter<'_>, selector: &Selector| match selector.0.is_empty() {
            true => Ok(()),
            false => write!(f, "[{selector}]"),
        };
        match self {
            Self::Request => f.write_str("request"),
            Self::Slot(name) => write!(f, "slot:{name}"),
            Self::Own => f.write_str("self"),
            Self::Person => f.write_str("person"),
            Self::Computed => f.write_str("computed"),
            Self::Any => f.write_str("any"),
            Self::Call { tool, argument } => write!(f, "call:{tool}#{argument}"),
            Self::Record(source) => {
                f.write_str(if source.any_match { "records:" } else { "record:" })?;
                if let Some(server) = &source.server {
                    write!(f, "{server}/")?;
                }
                write!(f, "{}#{}", source.record, source.path)?;
                selector(f, &source.selector)
            }
            Self::Tool(source) => {
                write!(f, "tool:{}", source.tool)?;
                if !source.arguments.0.is_empty() {
                    write!(f, "({})", source.arguments)?;
                }
                if let Some(path) = &source.path {
                    write!(f, "#{path}")?;
                }
                selector(f, &source.selector)
            }
        }
    }
}

/// What is done with a value that is in no listed source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// The call passes.
    Pass,
    /// A person is asked.
    Ask,
    /// The call is refused.
    Deny,
}

/// `otherwise`: by where the value does occur. `untrusted` is never laxer than the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Otherwise {
    /// It occurs only where anyone writes, or what it came from was forgotten.
    pub untrusted: Answer,
    /// It occurs elsewhere in this task.
    pub elsewhere: Answer,
    /// It occurs nowhere.
    pub computed: Answer,
}

impl Default for Otherwise {
    fn default() -> Self {
        Self { untrusted: Answer::Deny, elsewhere: Answer::Ask, computed: Answer::Ask }
    }
}

/// Sources of one argument, as a grant states them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Provenance {
    /// The value must occur in one of these, if any are given.
    pub from: Option<Vec<Source>>,
    /// And in one of these too.
    pub also_from: Option<Vec<Source>>,
    /// Else this is done.
    pub otherwise: Option<Otherwise>,
}

impl Provenance {
    /// Whether the grant says where the value comes from.
    #[must_use]
    pub fn is_stated(&self) -> bool {
        self.from.is_some() || self.also_from.is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sources_read_as_they_are_written() {
        for text in [
            "request",
            "slot:vendor",
            "self",
            "person",
            "computed",
            "any",
            "record:Payee#iban",
            "records:bank/Payee#iban[name=$slot.vendor]",
            "record:Payee#addresses/*/iban[name~=ACME GmbH, status=active, name^=A]",
            "record:Hotel#@keys[.=$self]",
            "tool:files/read",
            "tool:files/read(path=/invoices/acme-10.txt)",
            "tool:web/get(url host=example.com)#items/*/price[name=\"a, b]\"]",
            "tool:files/list[.^=a]",
            "tool:files/read#",
            "call:notes/create#title",
        ] {
            assert_eq!(text.parse::<Source>().map(|source| source.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_is_no_source_is_refused() {
        for (text, message) in [
            ("", "is no source"),
            ("requests", "is no source"),
            ("slot:", "no name of a slot"),
            ("record:Payee", "names no field"),
            ("record:#iban", "no name of a record"),
            ("record:Payee#iban[", "is not closed"),
            ("record:Payee#iban[]", "empty selector"),
            ("record:Payee#iban[name]", "compares nothing"),
            ("record:Payee#iban[a, b=c]", "compares nothing"),
            ("record:Payee#iban[a=\"b\", c\"d=e\"]", "compares nothing"),
            ("record:Payee#iban[name=]", "without a value"),
            ("record:Payee#iban[name=a,]", "nothing after it"),
            ("record:Payee#iban[name=\"a\" b=c]", "follows a value"),
            ("record:Payee#iban[name=$slots.a]", "no reference"),
            ("record:Payee#iban[a=b]c", "follows the selector"),
            ("record:Payee#a~2", "escape"),
            ("tool:files", "is no tool reference"),
            ("tool:files/read(path=/a", "is not closed"),
            ("tool:files/read x", "character"),
            ("call:files/read", "names no argument"),
        ] {
            let fault = text.parse::<Source>().unwrap_err();
            assert!(fault.message.contains(message), "{text}: {fault}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_reads_again(text in "(record|tool|call|slot)?:?[a-c/#\\[\\]()=^~,$\" .]{0,24}|.{0,24}") {
            if let Ok(source) = text.parse::<Source>() {
                prop_assert_eq!(source.to_string().parse::<Source>(), Ok(source));
            }
        }
    }
}
