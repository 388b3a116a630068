//! Requests to the token service: forms, in which nothing stands twice that may stand once.

use std::collections::BTreeMap;

use axum::{
    body::to_bytes,
    http::{HeaderMap, header},
};
use warrantor_control::tokens::{Code, TokenError};

/// Most bytes of a form: two tokens of the largest size, and room beside them.
const MAX_BYTES: usize = 64 << 10;
/// Most parameters of a form.
const MAX_PARAMETERS: usize = 64;
/// Parameters that may stand several times (RFC 8693, section 2.1).
const REPEATABLE: [&str; 2] = ["resource", "audience"];

/// The parameters of a request.
#[derive(Debug, Default)]
pub(super) struct Form(BTreeMap<String, Vec<String>>);

impl Form {
    /// Reads a request's body.
    pub(super) async fn read(headers: &HeaderMap, body: axum::body::Body) -> Result<Self, TokenError> {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(invalid("parameters are sent as application/x-www-form-urlencoded"));
        }
        let bytes = to_bytes(body, MAX_BYTES)
            .await
            .map_err(|_| invalid("the request is too large or was cut off"))?;
        Self::parse(&bytes)
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, TokenError> {
        let mut parameters: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (count, (name, value)) in url::form_urlencoded::parse(bytes).enumerate() {
            if count >= MAX_PARAMETERS {
                return Err(invalid("too many parameters"));
            }
            // What is sent without a value is treated as if it were not sent (RFC 6749, section 3.2).
            if value.is_empty() {
                continue;
            }
            let values = parameters.entry(name.into_owned()).or_default();
            values.push(value.into_owned());
        }
        let twice =
            parameters.iter().find(|(name, values)| values.len() > 1 && !REPEATABLE.contains(&name.as_str()));
        match twice {
            Some((name, _)) => Err(invalid(format!("the parameter {name} stands twice"))),
            None => Ok(Self(parameters)),
        }
    }

    /// A parameter that stands at most once.
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(|values| values.first()).map(String::as_str)
    }

    /// A parameter that has to be there.
    pub(super) fn must(&self, name: &str) -> Result<&str, TokenError> {
        self.one(name).ok_or_else(|| invalid(format!("the parameter {name} is missing")))
    }

    /// A parameter that may stand several times, and has to stand once here.
    pub(super) fn must_once(&self, name: &str) -> Result<&str, TokenError> {
        match self.all(name) {
            [one] => Ok(one.as_str()),
            [] => Err(invalid(format!("the parameter {name} is missing"))),
            _ => {
                let why = format!("a grant for another domain is for one place: send `{name}` once");
                Err(TokenError::refused(Code::InvalidTarget, why))
            }
        }
    }

    /// All values of a parameter.
    pub(super) fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The one place that a token is asked for, whatever it was named by: one token is for one place.
    pub(super) fn place(&self) -> Result<&str, TokenError> {
        let mut named: Vec<&String> = self.all("resource").iter().chain(self.all("audience")).collect();
        named.sort_unstable();
        named.dedup();
        match named.as_slice() {
            [one] => Ok(one.as_str()),
            [] => {
                let why = "say where the token is to be shown, in `resource` or `audience`";
                Err(TokenError::refused(Code::InvalidTarget, why))
            }
            _ => Err(TokenError::refused(
                Code::InvalidTarget,
                "one token is for one place: ask for each by itself",
            )),
        }
    }
}

fn invalid(why: impl Into<String>) -> TokenError {
    TokenError::refused(Code::InvalidRequest, why)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_may_stand_once_stands_once() {
        let form = Form::parse(b"grant_type=a&scope=&resource=x&resource=y&empty").unwrap();
        assert_eq!((form.one("grant_type"), form.one("scope"), form.one("empty")), (Some("a"), None, None));
        assert_eq!(form.all("resource"), ["x", "y"]);
        for twice in ["grant_type=a&grant_type=a", "client_assertion=a&client_assertion=b"] {
            assert!(Form::parse(twice.as_bytes()).is_err(), "{twice}");
        }
        let many: Vec<String> = (0..65).map(|n| format!("p{n}=1")).collect();
        assert!(Form::parse(many.join("&").as_bytes()).is_err());
    }

    #[test]
    fn a_token_is_for_one_place() {
        let place = |text: &str| Form::parse(text.as_bytes()).unwrap().place().map(str::to_owned).ok();
        assert_eq!(place("resource=https%3A%2F%2Ft.example%2Fx").as_deref(), Some("https://t.example/x"));
        assert_eq!(place("resource=x&audience=x").as_deref(), Some("x"));
        assert_eq!(place("resource=x&audience=y"), None);
        assert_eq!(place("a=b"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(form) = Form::parse(&bytes) {
                let _ = form.place();
            }
        }
    }
}
