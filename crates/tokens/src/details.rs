//! What a token is good for, as rich authorization details (RFC 9396): one mandate, at one place.
//!
//! ```json
//! [{"type": "urn:warrantor:mandate", "identifier": "m…", "actions": ["call"], "locations": ["https://tools.example.com/bank"]}]
//! ```
//!
//! The mandate says what may be done; the detail only says which one. Whoever has the token has no more than the mandate, judged call by call.

use serde_json::{Value, json};
use thiserror::Error;
use warrantor_model::{Json, MandateId};

/// The type of the details that are known here.
pub const MANDATE_DETAILS: &str = "urn:warrantor:mandate";
/// The one action there is.
pub(crate) const CALL: &str = "call";
/// Most bytes of a request's details.
const MAX_BYTES: usize = 4 << 10;

/// Why details are refused: `invalid_authorization_details`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DetailsError {
    /// They do not read.
    #[error("authorization_details is no JSON array with one object of the type {MANDATE_DETAILS}")]
    Format,
    /// A type that is not known.
    #[error("the type of the authorization details is not known: use {MANDATE_DETAILS}")]
    Type,
    /// A member that is not known, or has another form.
    #[error("the member {0} of the authorization details is not known, or has another form")]
    Member(String),
    /// No mandate is named.
    #[error("the authorization details name no mandate in `identifier`")]
    Mandate,
}

/// One mandate, and where it may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MandateDetails {
    /// Which.
    pub mandate: MandateId,
    /// Where; empty in a request that leaves it to the audience.
    pub locations: Vec<String>,
}

impl MandateDetails {
    /// Reads the parameter of a request.
    ///
    /// # Errors
    /// [`DetailsError`].
    pub fn parse(text: &str) -> Result<Self, DetailsError> {
        let json = Json::parse_within(text.as_bytes(), MAX_BYTES).map_err(|_| DetailsError::Format)?;
        Self::read(&json)
    }

    /// Reads the claim of a token.
    ///
    /// # Errors
    /// [`DetailsError`].
    pub fn read(claim: &Json) -> Result<Self, DetailsError> {
        let Some([one]) = claim.as_array() else { return Err(DetailsError::Format) };
        let members = one.as_object().ok_or(DetailsError::Format)?;
        if one.get("type").and_then(Json::as_str) != Some(MANDATE_DETAILS) {
            return Err(DetailsError::Type);
        }
        let (mut mandate, mut locations) = (None, Vec::new());
        for (name, value) in members {
            let unfit = || DetailsError::Member(name.chars().take(64).collect());
            let texts = || {
                let list = value.as_array().ok_or_else(unfit)?;
                list.iter().map(Json::as_str).collect::<Option<Vec<_>>>().ok_or_else(unfit)
            };
            match name.as_str() {
                "type" => {}
                "identifier" => {
                    let text = value.as_str().ok_or_else(unfit)?;
                    mandate = Some(text.parse().map_err(|_| unfit())?);
                }
                "locations" => locations = texts()?.into_iter().map(str::to_owned).collect(),
                "actions" if texts()?.as_slice() == [CALL] => {}
                _ => return Err(unfit()),
            }
        }
        Ok(Self { mandate: mandate.ok_or(DetailsError::Mandate)?, locations })
    }

    /// The claim.
    #[must_use]
    pub fn claim(&self) -> Value {
        json!([{
            "type": MANDATE_DETAILS, "identifier": self.mandate, "actions": [CALL], "locations": self.locations,
        }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_read_as_they_are_written() {
        let one = MandateDetails {
            mandate: "m1".parse().unwrap(),
            locations: vec!["https://t.example/x".to_owned()],
        };
        assert_eq!(MandateDetails::parse(&one.claim().to_string()), Ok(one));
        let bare = MandateDetails::parse(r#"[{"type":"urn:warrantor:mandate","identifier":"m1"}]"#).unwrap();
        assert_eq!((bare.mandate.as_str(), bare.locations.len()), ("m1", 0));
    }

    #[test]
    fn what_is_not_known_is_refused_with_its_name() {
        let member = |name: &str| DetailsError::Member(name.to_owned());
        for (text, why) in [
            ("", DetailsError::Format),
            ("{}", DetailsError::Format),
            ("[]", DetailsError::Format),
            ("[1]", DetailsError::Format),
            (
                r#"[{"type":"urn:warrantor:mandate","identifier":"m1"},{"type":"urn:warrantor:mandate","identifier":"m2"}]"#,
                DetailsError::Format,
            ),
            (r#"[{"type":"urn:warrantor:mandate","type":"x","identifier":"m1"}]"#, DetailsError::Format),
            (r#"[{"identifier":"m1"}]"#, DetailsError::Type),
            (r#"[{"type":"payment","identifier":"m1"}]"#, DetailsError::Type),
            (r#"[{"type":"urn:warrantor:mandate"}]"#, DetailsError::Mandate),
            (r#"[{"type":"urn:warrantor:mandate","identifier":7}]"#, member("identifier")),
            (r#"[{"type":"urn:warrantor:mandate","identifier":"../m1"}]"#, member("identifier")),
            (
                r#"[{"type":"urn:warrantor:mandate","identifier":"m1","actions":["call","pay"]}]"#,
                member("actions"),
            ),
            (r#"[{"type":"urn:warrantor:mandate","identifier":"m1","actions":[]}]"#, member("actions")),
            (r#"[{"type":"urn:warrantor:mandate","identifier":"m1","locations":"x"}]"#, member("locations")),
            (r#"[{"type":"urn:warrantor:mandate","identifier":"m1","limits":{}}]"#, member("limits")),
        ] {
            assert_eq!(MandateDetails::parse(text), Err(why), "{text}");
        }
    }
}
