//! A document with the place of everything in it.
//!
//! YAML, JSON and TOML are read into this one tree, and files are read from the tree and from nothing else. So a value and its
//! place cannot disagree, number literals stay as they were written, and what one format reads as two things is refused in
//! one place.

use warrantor_model::Json;

/// Bytes of a text, the end exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) content: Content,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    Null,
    Bool(bool),
    /// A number in JSON's grammar, as written.
    Number(Box<str>),
    String(String),
    Seq(Vec<Node>),
    Map(Vec<Entry>),
}

/// A member of a map.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) node: Node,
}

/// A way into a document: member names and indices from the root.
pub(crate) type Pointer = Vec<String>;

impl Node {
    /// A value without places: from a store, not from a file.
    pub(crate) fn from_json(json: &Json) -> Self {
        let content = match json {
            Json::Null => Content::Null,
            Json::Bool(b) => Content::Bool(*b),
            Json::Number(literal) => Content::Number(literal.clone()),
            Json::String(text) => Content::String(text.clone()),
            Json::Array(items) => Content::Seq(items.iter().map(Self::from_json).collect()),
            Json::Object(members) => Content::Map(
                members
                    .iter()
                    .map(|(key, value)| Entry {
                        key: key.clone(),
                        key_span: Span::default(),
                        node: Self::from_json(value),
                    })
                    .collect(),
            ),
        };
        Self { span: Span::default(), content }
    }

    /// The value without its places.
    pub(crate) fn to_json(&self) -> Json {
        match &self.content {
            Content::Null => Json::Null,
            Content::Bool(b) => Json::Bool(*b),
            Content::Number(literal) => Json::Number(literal.clone()),
            Content::String(text) => Json::String(text.clone()),
            Content::Seq(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            Content::Map(entries) => {
                Json::Object(entries.iter().map(|e| (e.key.clone(), e.node.to_json())).collect())
            }
        }
    }

    /// What a person would call this.
    pub(crate) fn description(&self) -> String {
        match &self.content {
            Content::Null => "nothing".to_owned(),
            Content::Bool(b) => format!("{b}"),
            Content::Number(literal) => format!("the number {}", short(literal)),
            Content::String(text) => format!("the text {:?}", short(text)),
            Content::Seq(_) => "a list".to_owned(),
            Content::Map(_) => "a map".to_owned(),
        }
    }

    pub(crate) fn member(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.node)
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.content {
            Content::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    fn child(&self, step: &str) -> Option<&Self> {
        match &self.content {
            Content::Seq(items) => items.get(step.parse::<usize>().ok()?),
            _ => self.member(step),
        }
    }

    /// The node a pointer leads to.
    pub(crate) fn at<S: AsRef<str>>(&self, pointer: &[S]) -> Option<&Self> {
        pointer.iter().try_fold(self, |node, step| node.child(step.as_ref()))
    }

    /// Where what a pointer leads to stands: a scalar itself, a map or list by its key. Where the pointer leads nowhere, the
    /// nearest of its ancestors that is there.
    pub(crate) fn place<S: AsRef<str>>(&self, pointer: &[S]) -> Span {
        let (mut node, mut place) = (self, self.start());
        for step in pointer {
            let Some(child) = node.child(step.as_ref()) else { return place };
            place = match (node.entry(step.as_ref()), &child.content) {
                (Some(entry), Content::Seq(_) | Content::Map(_) | Content::Null) => entry.key_span,
                _ => child.start(),
            };
            node = child;
        }
        place
    }

    /// Where the key stands that a pointer ends in.
    pub(crate) fn key_place<S: AsRef<str>>(&self, pointer: &[S]) -> Span {
        let Some((last, holder)) = pointer.split_last() else { return self.start() };
        match self.at(holder).and_then(|node| node.entry(last.as_ref())) {
            Some(entry) => entry.key_span,
            None => self.place(pointer),
        }
    }

    /// Containers span many lines; a diagnostic points to where they begin.
    fn start(&self) -> Span {
        match &self.content {
            Content::Seq(_) | Content::Map(_) => Span { start: self.span.start, end: self.span.start },
            _ => self.span,
        }
    }

    /// Takes out what a pointer leads to. Answers whether there was anything.
    pub(crate) fn prune<S: AsRef<str>>(&mut self, pointer: &[S]) -> bool {
        let Some((step, rest)) = pointer.split_first() else { return false };
        let step = step.as_ref();
        let index = match &self.content {
            Content::Seq(items) => step.parse::<usize>().ok().filter(|index| *index < items.len()),
            Content::Map(entries) => entries.iter().position(|entry| entry.key == step),
            _ => None,
        };
        let Some(index) = index else { return false };
        match &mut self.content {
            Content::Seq(items) if rest.is_empty() => {
                items.remove(index);
                true
            }
            Content::Map(entries) if rest.is_empty() => {
                entries.remove(index);
                true
            }
            Content::Seq(items) => items.get_mut(index).is_some_and(|item| item.prune(rest)),
            Content::Map(entries) => entries.get_mut(index).is_some_and(|entry| entry.node.prune(rest)),
            _ => false,
        }
    }
}

/// The beginning of a text that goes into a message.
pub(crate) fn short(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Whether a text is a number in JSON's grammar.
pub(crate) fn is_json_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_of_json_is_what_the_json_reader_takes(text in "-?[0-9+.eE-]{1,8}") {
            let taken = matches!(Json::parse(text.as_bytes()), Ok(Json::Number(_)));
            prop_assert_eq!(is_json_number(&text), taken);
        }
    }

    #[test]
    fn json_goes_through_the_tree_unchanged() {
        let text = r#"{"b":[1.10,12345678901234567890123,{"a":null}],"a":"x"}"#;
        let json = Json::parse(text.as_bytes()).unwrap();
        assert_eq!(Node::from_json(&json).to_json(), json);
    }
}
