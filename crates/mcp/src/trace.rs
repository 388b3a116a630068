//! W3C Trace Context: which trace a request belongs to.

use std::borrow::Cow;

use opentelemetry::{
    SpanId, TraceFlags, TraceId,
    trace::{SpanContext, TraceState},
};

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

    /// The span of somebody else that it names. What vendors add is left out: it is the other's own text, and no collector gets it.
    #[must_use]
    pub fn span(&self) -> Option<SpanContext> {
        let mut fields = self.parent.split('-').skip(1);
        let trace = TraceId::from_hex(fields.next()?).ok()?;
        let span = SpanId::from_hex(fields.next()?).ok()?;
        let flags = u8::from_str_radix(fields.next()?, 16).ok()?;
        // Of the flags all but the first may mean something else one day.
        let flags = TraceFlags::new(flags) & TraceFlags::SAMPLED;
        let context = SpanContext::new(trace, span, flags, true, TraceState::default());
        context.is_valid().then_some(context)
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

/// The `traceparent` by which others join a span of ours; none of a span that is none.
#[must_use]
pub fn traceparent(span: &SpanContext) -> Option<String> {
    let flags = span.trace_flags().to_u8();
    span.is_valid().then(|| format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id()))
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

    #[test]
    fn a_span_is_read_as_it_is_told_but_for_flags_that_nobody_knows() {
        let told = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-";
        for (flags, kept) in [("00", "00"), ("01", "01"), ("03", "01"), ("fe", "00")] {
            let read = TraceContext::read(Some(format!("{told}{flags}").into()), None).unwrap();
            let span = read.span().unwrap();
            assert!(span.is_remote() && span.trace_state().header().is_empty());
            assert_eq!(traceparent(&span), Some(format!("{told}{kept}")), "{flags}");
        }
        assert_eq!(traceparent(&SpanContext::empty_context()), None);
    }
}
