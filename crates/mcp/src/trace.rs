//! W3C Trace Context: which trace a request belongs to.

use std::borrow::Cow;

/// Longest `tracestate` that is taken, in bytes.
const MAX_STATE_BYTES: usize = 512;
/// Most members of it.
const MAX_MEMBERS: usize = 32;

/// The trace that a request belongs to. Well-formed: what is not is as good as none, as that text demands (3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext<'a> {
    parent: Cow<'a, str>,
    state: Option<Cow<'a, str>>,
}

impl<'a> TraceContext<'a> {
    /// Reads a `traceparent`, and the `tracestate` beside it.
    #[must_use]
    pub fn read(parent: Option<Cow<'a, str>>, state: Option<Cow<'a, str>>) -> Option<Self> {
        let parent = parent.filter(|text| is_traceparent(text))?;
        Some(Self { parent, state: state.filter(|text| is_tracestate(text)) })
    }

    /// `<version>-<trace id>-<parent id>-<flags>`, hexadecimal in lower case.
    #[must_use]
    pub fn parent(&self) -> &str {
        &self.parent
    }

    /// What vendors add: printable ASCII of at most 512 bytes.
    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// The same, for longer.
    #[must_use]
    pub fn into_owned(self) -> TraceContext<'static> {
        TraceContext {
            parent: Cow::Owned(self.parent.into_owned()),
            state: self.state.map(|state| Cow::Owned(state.into_owned())),
        }
    }
}

fn is_traceparent(text: &str) -> bool {
    let fields: Vec<&str> = text.split('-').collect();
    let [version, trace, parent, flags] = fields.as_slice() else { return false };
    let is_hex = |field: &str, width: usize| {
        field.len() == width && field.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_zero = |field: &str| field.bytes().all(|b| b == b'0');
    is_hex(version, 2)
        && *version != "ff"
        && is_hex(trace, 32)
        && !is_zero(trace)
        && is_hex(parent, 16)
        && !is_zero(parent)
        && is_hex(flags, 2)
}

/// `key=value` up to 32 times, joined by commas (3.3.1): keys in lower case, values of printable ASCII without `,` and `=`.
fn is_tracestate(text: &str) -> bool {
    let is_key = |key: &str| {
        key.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && key.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@'))
    };
    let is_value = |value: &str| {
        !value.is_empty()
            && !value.ends_with(' ')
            && value.bytes().all(|b| matches!(b, b' '..=b'~') && !matches!(b, b',' | b'='))
    };
    let is_member = |member: &str| {
        member
            .trim_matches([' ', '\t'])
            .split_once('=')
            .is_some_and(|(key, value)| is_key(key) && is_value(value))
    };
    text.len() <= MAX_STATE_BYTES && text.split(',').count() <= MAX_MEMBERS && text.split(',').all(is_member)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_trace_context_is_none() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let read = |parent: &str, state: &str| {
            let read = TraceContext::read(Some(parent.to_owned().into()), Some(state.to_owned().into()))?;
            Some((read.parent().to_owned(), read.state().map(str::to_owned)))
        };
        assert_eq!(read(parent, "a=b"), Some((parent.to_owned(), Some("a=b".to_owned()))));
        assert_eq!(read(parent, "a=\u{e9}"), Some((parent.to_owned(), None)));
        for state in [
            "any sentence",
            "a=b,",
            "A=b",
            "a=b=c",
            "=b",
            &"a=b,".repeat(33),
            &format!("a={}", "b".repeat(511)),
        ] {
            assert_eq!(read(parent, state), Some((parent.to_owned(), None)), "{state}");
        }
        assert!(read(parent, "rojo=00f067aa0ba902b7,t1@v-1=x y").unwrap().1.is_some());
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ] {
            assert_eq!(read(bad, "a=b"), None, "{bad}");
        }
        assert_eq!(TraceContext::read(None, Some("a=b".into())), None);
    }
}
