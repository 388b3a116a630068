//! The compact form of signed tokens (RFC 7515, section 7.1), read with the care that RFC 8725 asks for.
//!
//! Nothing of a payload is handed out before its signature holds, but for the one claim that says whose keys to try ([`claimed`]).

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, crypto};
use warrantor_model::{Digest, Json};

use crate::{
    jwt::Refusal,
    keys::{ALGORITHMS, PublicKey},
};

/// Most bytes of a token.
pub(crate) const MAX_TOKEN_BYTES: usize = 16 << 10;

/// A token that has been taken apart and of which nothing is believed yet.
pub(crate) struct Unverified<'a> {
    header: Json,
    signed: &'a str,
    payload: &'a str,
    signature: &'a str,
}

impl<'a> Unverified<'a> {
    pub(crate) fn read(token: &'a str) -> Result<Self, Refusal> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Refusal::Format("it is too long"));
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Refusal::Format("it has no signature"))?;
        let (header, payload) = signed.split_once('.').ok_or(Refusal::Format("it has no payload"))?;
        let header = part(header)?;
        if header.get("crit").is_some() {
            return Err(Refusal::Format("it demands extensions that are not known"));
        }
        Ok(Self { header, signed, payload, signature })
    }

    pub(crate) fn header(&self) -> &Json {
        &self.header
    }

    /// The algorithm it names, if that is one of these.
    pub(crate) fn algorithm(&self, allowed: &[Algorithm]) -> Result<Algorithm, Refusal> {
        let name = self.header.get("alg").and_then(Json::as_str).ok_or(Refusal::Algorithm)?;
        ALGORITHMS
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, algorithm)| *algorithm)
            .filter(|algorithm| allowed.contains(algorithm))
            .ok_or(Refusal::Algorithm)
    }

    /// Its type in lower case, without the `application/` that may stand before it (RFC 7515, section 4.1.9).
    pub(crate) fn kind(&self) -> Result<Option<String>, Refusal> {
        let Some(named) = self.header.get("typ") else { return Ok(None) };
        let named = named.as_str().ok_or(Refusal::Type)?.to_ascii_lowercase();
        Ok(Some(match named.strip_prefix("application/") {
            Some(rest) => rest.to_owned(),
            None => named,
        }))
    }

    /// The name of the key that it says it is signed with.
    pub(crate) fn key_id(&self) -> Result<Option<&str>, Refusal> {
        match self.header.get("kid") {
            None => Ok(None),
            Some(id) => Ok(Some(id.as_str().ok_or(Refusal::Format("the name of its key is no text"))?)),
        }
    }

    /// The payload, if one of these keys has signed it.
    pub(crate) fn signed_by<'k>(
        &self,
        keys: impl Iterator<Item = &'k PublicKey>,
        algorithm: Algorithm,
    ) -> Result<Json, Refusal> {
        let mut tried = false;
        for key in keys.filter(|key| key.fits.contains(&algorithm)) {
            tried = true;
            let holds = crypto::verify(self.signature, self.signed.as_bytes(), &key.key, algorithm);
            if holds.unwrap_or(false) {
                return part(self.payload);
            }
        }
        Err(if tried { Refusal::Signature } else { Refusal::UnknownKey })
    }
}

fn part(text: &str) -> Result<Json, Refusal> {
    let bytes =
        BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| Refusal::Format("a part of it is not base64url"))?;
    // Duplicate members would be read differently by others.
    let json = Json::parse_within(&bytes, MAX_TOKEN_BYTES)
        .map_err(|_| Refusal::Format("a part of it is no JSON, or names a member twice"))?;
    if json.as_object().is_none() { Err(Refusal::Format("a part of it is no object")) } else { Ok(json) }
}

/// The digest of what a token's signature is over: who signed may have signed the same twice, and one signature of some kinds is easily made another.
#[must_use]
pub fn signed_digest(token: &str) -> Digest {
    let signed = token.rsplit_once('.').map_or(token, |(signed, _)| signed);
    Digest::of(signed.as_bytes())
}

/// A claim that is a text, of a token that nobody has verified: good for choosing whose keys to verify it with, and for nothing else.
///
/// # Errors
/// [`Refusal::Format`].
pub fn claimed(token: &str, name: &str) -> Result<Option<String>, Refusal> {
    let token = Unverified::read(token)?;
    Ok(part(token.payload)?.get(name).and_then(Json::as_str).map(str::to_owned))
}
