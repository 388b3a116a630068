//! Grants that one domain's token service makes for another's: identity assertions (draft-ietf-oauth-identity-assertion-authz-grant-03, in short ID-JAG), and the
//! part of a mandate that such a grant may carry.
//!
//! A grant is no access token: it opens nothing, is redeemed by one client at one token service, and that one decides what it is worth there.

use serde_json::{Map, Value, json};
use thiserror::Error;
use warrantor_model::{Digest, Json, Timestamp};

use crate::{
    actors::{Actors, ActorsError},
    details::CALL,
    jwt::{Claims, instant, only_audience},
    once::Once,
    signer::{Signer, SignerError},
};

/// The type of an identity assertion.
pub const CROSSING_TYPE: &str = "oauth-id-jag+jwt";
/// What identity assertions are called where a kind of token is named (RFC 8693, section 3).
pub const CROSSING_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:id-jag";
/// The profile of grants that whoever redeems them names in its metadata.
pub const CROSSING_PROFILE: &str = "urn:ietf:params:oauth:grant-profile:id-jag";
/// The type of authorization details that say a part of a mandate in full, because the other side cannot look it up.
pub const PART_DETAILS: &str = "urn:warrantor:part";

/// A part of a mandate, said in full.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// The mandate that it is of, by its id at home.
    pub mandate: String,
    /// The place that it is for.
    pub location: String,
    /// In the format of mandates, with tools as the place itself names them: `purpose`, `grants`, and what bounds them.
    pub terms: Map<String, Value>,
}

/// What one domain says to another's token service of whoever acts there.
#[derive(Debug, Clone, PartialEq)]
pub struct Crossing {
    /// Its name (`jti`), of its issuer's making.
    pub id: String,
    /// Who says it.
    pub issuer: String,
    /// Of whom: the person at home who answers for the task, or the agent of a standing mandate.
    pub subject: String,
    /// To whom: the other token service.
    pub audience: String,
    /// As whom the agent is known there.
    pub client: String,
    /// For which place there.
    pub resource: Option<String>,
    /// When it was made.
    pub made: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Who acts for whom at home.
    pub actors: Actors,
    /// The task at home (`txn`).
    pub task: Option<String>,
    /// The thumbprint of the key that whoever redeems it proves to have, if that was said.
    pub bound_to: Option<String>,
    /// The part of the mandate.
    pub part: Option<Part>,
}

/// Why a grant does not read as one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CrossingError {
    /// A claim is missing, or has another form.
    #[error("its claim {0} is missing, has another form, or is not understood here")]
    Claim(&'static str),
    /// The chain.
    #[error(transparent)]
    Actors(#[from] ActorsError),
    /// Details that are not understood cannot be granted, and may not be passed over (RFC 9396, section 5).
    #[error("its authorization_details are not one part of a mandate ({PART_DETAILS})")]
    Details,
}

impl Crossing {
    /// Signs it.
    ///
    /// # Errors
    /// [`SignerError`].
    pub fn sign(&self, signer: &Signer) -> Result<String, SignerError> {
        signer.sign(CROSSING_TYPE, &self.claims())
    }

    fn claims(&self) -> Value {
        let seconds = |at: Timestamp| at.as_micros().div_euclid(1_000_000);
        let mut claims = json!({
            "iss": self.issuer, "sub": self.subject, "aud": self.audience, "client_id": self.client, "jti": self.id,
            "iat": seconds(self.made), "exp": seconds(self.expires_at),
        });
        let optional = [
            ("resource", self.resource.as_ref().map(|resource| json!(resource))),
            ("act", self.actors.claim()),
            ("cnf", self.bound_to.as_ref().map(|thumbprint| json!({ "jkt": thumbprint }))),
            ("txn", self.task.as_ref().map(|task| json!(task))),
            ("authorization_details", self.part.as_ref().map(Part::claim)),
        ];
        if let Some(members) = claims.as_object_mut() {
            members.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        }
        claims
    }

    /// Reads the claims of a verified grant.
    ///
    /// # Errors
    /// [`CrossingError`].
    pub fn read(claims: &Claims) -> Result<Self, CrossingError> {
        let bounded = |text: &&str| (1..=256).contains(&text.len());
        let text = |name: &'static str| claims.text(name).filter(bounded).ok_or(CrossingError::Claim(name));
        let all = claims.all();
        // What would narrow a grant or say of which tenant it speaks, and is not understood, is nothing that may be passed over.
        for name in ["scope", "tenant", "aud_tenant", "aud_sub"] {
            if all.get(name).is_some() {
                return Err(CrossingError::Claim(name));
            }
        }
        let audience = only_audience(all).ok_or(CrossingError::Claim("aud"))?.to_owned();
        let resource = match all.get("resource") {
            None => None,
            Some(Json::String(one)) => Some(one.clone()),
            Some(Json::Array(list)) => match list.as_slice() {
                [Json::String(one)] => Some(one.clone()),
                // A token is for one place, so a grant for several says of none what it would be for.
                _ => return Err(CrossingError::Claim("resource")),
            },
            Some(_) => return Err(CrossingError::Claim("resource")),
        };
        let bound_to = match all.get("cnf") {
            None => None,
            Some(cnf) => {
                let alone = cnf.as_object().is_some_and(|members| members.len() == 1);
                let thumbprint = cnf.get("jkt").and_then(Json::as_str).filter(|_| alone);
                // A binding that is not understood is not one that may be passed over.
                Some(thumbprint.ok_or(CrossingError::Claim("cnf"))?.to_owned())
            }
        };
        Ok(Self {
            id: text("jti")?.to_owned(),
            issuer: claims.issuer().to_owned(),
            subject: claims.subject().to_owned(),
            audience,
            client: text("client_id")?.to_owned(),
            resource,
            made: instant(all, "iat").ok_or(CrossingError::Claim("iat"))?,
            expires_at: claims.expires_at(),
            actors: Actors::read(all.get("act"))?,
            task: claims.text("txn").map(str::to_owned),
            bound_to,
            part: all.get("authorization_details").map(Part::read).transpose()?,
        })
    }

    /// What is remembered so that it counts once, until it has ended whoever's clock is asked.
    #[must_use]
    pub fn once(&self, leeway: std::time::Duration) -> Once {
        // No issuer has a line's end in it, so that nobody's names run into another's.
        let replay = Digest::of_parts(&[b"crossing\n", self.issuer.as_bytes(), b"\n", self.id.as_bytes()]);
        Once { replay, until: self.expires_at.plus(leeway) }
    }
}

impl Part {
    /// The claim.
    #[must_use]
    pub fn claim(&self) -> Value {
        json!([{
            "type": PART_DETAILS, "identifier": self.mandate, "actions": [CALL], "locations": [self.location],
            "terms": self.terms,
        }])
    }

    fn read(claim: &Json) -> Result<Self, CrossingError> {
        let [one] = claim.as_array().ok_or(CrossingError::Details)? else {
            return Err(CrossingError::Details);
        };
        let members = one.as_object().ok_or(CrossingError::Details)?;
        let text = |name: &str| one.get(name).and_then(Json::as_str);
        let only = |name: &str| match one.get(name).and_then(Json::as_array) {
            Some([only]) => only.as_str(),
            _ => None,
        };
        let known = ["type", "identifier", "actions", "locations", "terms"];
        let is_part = text("type") == Some(PART_DETAILS) && only("actions") == Some(CALL);
        if !is_part || members.iter().any(|(name, _)| !known.contains(&name.as_str())) {
            return Err(CrossingError::Details);
        }
        let terms = one.get("terms").and_then(Json::to_value);
        match (text("identifier"), only("locations"), terms) {
            (Some(mandate), Some(location), Some(Value::Object(terms)))
                if (1..=128).contains(&mandate.len()) =>
            {
                Ok(Self { mandate: mandate.to_owned(), location: location.to_owned(), terms })
            }
            _ => Err(CrossingError::Details),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        Actor, Algorithm, Expected, KeySet, Nonce, Purpose, Refusal, SigningAlgorithm, key_set, verify,
    };

    const HOME: &str = "https://control.acme.example";
    const ABROAD: &str = "https://control.bank.example";
    const AT: i64 = 1_893_499_200;

    fn crossing() -> Crossing {
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        let actor = Actor { issuer: HOME.to_owned(), subject: "bot".to_owned() };
        let terms = json!({ "purpose": "look", "grants": [{ "tool": "list_payees" }] });
        Crossing {
            id: "k1".to_owned(),
            issuer: HOME.to_owned(),
            subject: "alice".to_owned(),
            audience: ABROAD.to_owned(),
            client: "acme-bot".to_owned(),
            resource: Some("https://tools.bank.example/bank".to_owned()),
            made: at(AT),
            expires_at: at(AT + 300),
            actors: Actors::default().extended(actor).unwrap(),
            task: Some("t1".to_owned()),
            bound_to: Some("abc".to_owned()),
            part: Some(Part {
                mandate: "m1".to_owned(),
                location: "https://tools.bank.example/bank".to_owned(),
                terms: terms.as_object().unwrap().clone(),
            }),
        }
    }

    fn verified(kind: &str, claims: &Value, purpose: Purpose) -> Result<Claims, Refusal> {
        let signer = Signer::from_seed(SigningAlgorithm::EdDsa, &[6; 32]).unwrap();
        let keys = KeySet::parse(key_set([&signer]).to_string().as_bytes()).unwrap();
        let audiences = [ABROAD.to_owned()];
        let expected = Expected {
            issuer: HOME,
            audiences: &audiences,
            algorithms: &[Algorithm::EdDSA],
            purpose,
            nonce: Nonce::Absent,
            leeway: Duration::from_secs(5),
            max_age: Some(Duration::from_secs(600)),
        };
        let token = signer.sign(kind, claims).unwrap();
        verify(&token, &keys, &expected, Timestamp::from_micros((AT + 10) * 1_000_000))
    }

    fn read(claims: &Value) -> Result<Crossing, CrossingError> {
        Crossing::read(&verified(CROSSING_TYPE, claims, Purpose::Crossing).unwrap())
    }

    #[test]
    fn a_grant_reads_as_it_was_made() {
        assert_eq!(read(&crossing().claims()), Ok(crossing()));
        let plain = Crossing {
            resource: None,
            actors: Actors::default(),
            task: None,
            bound_to: None,
            part: None,
            ..crossing()
        };
        assert_eq!(read(&plain.claims()), Ok(plain));
    }

    #[test]
    fn a_grant_is_no_access_token_and_no_token_is_a_grant() {
        let claims = crossing().claims();
        for (kind, purpose) in [
            (CROSSING_TYPE, Purpose::Access),
            (CROSSING_TYPE, Purpose::Id),
            ("at+jwt", Purpose::Crossing),
            ("JWT", Purpose::Crossing),
        ] {
            assert_eq!(verified(kind, &claims, purpose), Err(Refusal::Type), "{kind} {purpose:?}");
        }
    }

    #[test]
    fn a_grant_is_for_one_token_service_and_no_other_beside_it() {
        for (audience, taken) in [
            (json!(ABROAD), true),
            (json!([ABROAD]), true),
            (json!([ABROAD, "https://evil.example"]), false),
            (json!([ABROAD, ABROAD]), false),
            (json!([]), false),
            (json!("https://evil.example"), false),
        ] {
            let mut claims = crossing().claims();
            claims["aud"] = audience.clone();
            let judged = verified(CROSSING_TYPE, &claims, Purpose::Crossing);
            assert_eq!(judged.is_ok(), taken, "{audience}");
        }
    }

    #[test]
    fn what_is_not_understood_does_not_read() {
        let part = |change: fn(&mut Value)| {
            let mut claim = crossing().part.unwrap().claim();
            change(&mut claim[0]);
            claim
        };
        let details = || CrossingError::Details;
        for (name, value, why) in [
            ("jti", Value::Null, CrossingError::Claim("jti")),
            ("jti", json!("x".repeat(257)), CrossingError::Claim("jti")),
            ("client_id", Value::Null, CrossingError::Claim("client_id")),
            ("resource", json!(["https://a.example", "https://b.example"]), CrossingError::Claim("resource")),
            ("cnf", json!({ "x5t#S256": "a" }), CrossingError::Claim("cnf")),
            ("cnf", json!({ "jkt": "a", "jwk": {} }), CrossingError::Claim("cnf")),
            ("scope", json!("read"), CrossingError::Claim("scope")),
            ("tenant", json!("t2"), CrossingError::Claim("tenant")),
            ("aud_sub", json!("bob"), CrossingError::Claim("aud_sub")),
            ("act", json!({ "sub": "bot" }), CrossingError::Actors(ActorsError::Format)),
            ("authorization_details", json!([]), details()),
            ("authorization_details", json!([{ "type": "payment_initiation" }]), details()),
            ("authorization_details", part(|one| one["actions"] = json!(["call", "own"])), details()),
            ("authorization_details", part(|one| one["locations"] = json!([])), details()),
            ("authorization_details", part(|one| one["identifier"] = json!("")), details()),
            ("authorization_details", part(|one| one["terms"] = json!([])), details()),
            ("authorization_details", part(|one| one["privileges"] = json!("all")), details()),
        ] {
            let mut claims = crossing().claims();
            match value.clone() {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value,
            }
            assert_eq!(read(&claims), Err(why), "{name}: {value}");
        }
    }
}
