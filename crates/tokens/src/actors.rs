//! The chain of actors in a delegated token (RFC 8693, section 4.1, and the actor profile): `act`, the present actor outermost.
//!
//! What stands within is history: it may narrow a decision and never widens one. A chain is kept as it came, or gets exactly one actor more.

use serde_json::{Value, json};
use thiserror::Error;
use warrantor_model::Json;

/// How many actors a chain may have.
pub const MAX_ACTORS: usize = 8;

/// One actor: known by both together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
}

/// Why a chain is not taken, or gets no further actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ActorsError {
    /// It does not read.
    #[error("`act` is no chain of actors, each with `iss` and `sub`")]
    Format,
    /// Too many.
    #[error("the chain would have more than {MAX_ACTORS} actors")]
    TooDeep,
    /// The same actor twice.
    #[error("the actor is in the chain already")]
    Circle,
}

/// A chain of actors, the present one first; empty where nobody acts for anybody.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Actors {
    list: Vec<Actor>,
    /// As it came, whatever else its members say.
    claim: Option<Value>,
}

impl Actors {
    /// Reads the claim `act`; none where there is none.
    ///
    /// # Errors
    /// [`ActorsError::Format`], [`ActorsError::TooDeep`].
    pub fn read(claim: Option<&Json>) -> Result<Self, ActorsError> {
        let Some(claim) = claim else { return Ok(Self::default()) };
        let mut list = Vec::new();
        let mut next = Some(claim);
        while let Some(actor) = next {
            if list.len() >= MAX_ACTORS {
                return Err(ActorsError::TooDeep);
            }
            let text = |name: &str| {
                actor.get(name).and_then(Json::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
            };
            let (Some(issuer), Some(subject)) = (text("iss"), text("sub")) else {
                return Err(ActorsError::Format);
            };
            list.push(Actor { issuer, subject });
            next = actor.get("act");
        }
        // A number that no value can hold would not be kept as it is.
        let claim = claim.to_value().ok_or(ActorsError::Format)?;
        Ok(Self { list, claim: Some(claim) })
    }

    /// The chain, the present actor first.
    #[must_use]
    pub fn list(&self) -> &[Actor] {
        &self.list
    }

    /// Whoever acts now.
    #[must_use]
    pub fn present(&self) -> Option<&Actor> {
        self.list.first()
    }

    /// The chain with one agent more; the same chain where that one is the present actor.
    ///
    /// # Errors
    /// [`ActorsError`].
    pub fn extended(&self, agent: Actor) -> Result<Self, ActorsError> {
        if self.present() == Some(&agent) {
            return Ok(self.clone());
        }
        if self.list.contains(&agent) {
            return Err(ActorsError::Circle);
        }
        if self.list.len() >= MAX_ACTORS {
            return Err(ActorsError::TooDeep);
        }
        let mut claim = json!({ "iss": agent.issuer, "sub": agent.subject, "sub_profile": "ai_agent" });
        if let (Some(members), Some(inner)) = (claim.as_object_mut(), self.claim.clone()) {
            members.insert("act".to_owned(), inner);
        }
        let list = std::iter::once(agent).chain(self.list.iter().cloned()).collect();
        Ok(Self { list, claim: Some(claim) })
    }

    /// The claim `act`; none of an empty chain.
    #[must_use]
    pub fn claim(&self) -> Option<Value> {
        self.claim.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(name: &str) -> Actor {
        Actor { issuer: "https://i.example".to_owned(), subject: name.to_owned() }
    }

    fn read(text: &str) -> Result<Actors, ActorsError> {
        Actors::read(Some(&Json::parse(text.as_bytes()).unwrap()))
    }

    #[test]
    fn a_chain_grows_by_one_outermost_actor_and_keeps_what_is_within() {
        let chain = Actors::default().extended(actor("a")).unwrap();
        let chain = chain.extended(actor("b")).unwrap();
        assert_eq!(
            chain.claim().unwrap(),
            json!({ "iss": "https://i.example", "sub": "b", "sub_profile": "ai_agent",
                "act": { "iss": "https://i.example", "sub": "a", "sub_profile": "ai_agent" } })
        );
        assert_eq!(chain.extended(actor("b")).unwrap(), chain);
        assert_eq!(chain.extended(actor("a")), Err(ActorsError::Circle));
        // The same name at another issuer is somebody else.
        let other = Actor { issuer: "https://j.example".to_owned(), subject: "a".to_owned() };
        assert_eq!(chain.extended(other).unwrap().list().len(), 3);
        let foreign = r#"{"iss":"x","sub":"a","model":"m-1","act":{"iss":"y","sub":"b"}}"#;
        let claim = read(foreign).unwrap().extended(actor("c")).unwrap().claim().unwrap();
        assert_eq!(claim["act"], serde_json::from_str::<Value>(foreign).unwrap());
    }

    #[test]
    fn what_is_no_chain_is_refused() {
        for text in [
            r#""a""#,
            r#"{}"#,
            r#"{"sub":"a"}"#,
            r#"{"iss":"i","sub":""}"#,
            r#"{"iss":"i","sub":"a","act":7}"#,
        ] {
            assert_eq!(read(text), Err(ActorsError::Format), "{text}");
        }
        let mut chain = Actors::default();
        for name in 0..MAX_ACTORS {
            chain = chain.extended(actor(&name.to_string())).unwrap();
        }
        assert_eq!(chain.extended(actor("more")), Err(ActorsError::TooDeep));
        let deep = json!({ "iss": "i", "sub": "s", "act": chain.claim().unwrap() }).to_string();
        assert_eq!(read(&deep), Err(ActorsError::TooDeep));
    }
}
