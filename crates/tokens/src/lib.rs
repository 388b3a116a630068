//! Tokens that others signed, floor 1: verified or refused, given keys and time. Pure.
//!
//! Follows RFC 7519, RFC 8725 (its advice is not optional here) and OpenID Connect Core 1.0. Keys come from the configured issuer and nowhere else: what a
//! token's own header says of keys (`jku`, `x5u`, `jwk`) is never looked at. The algorithm must be one of the allowed ones and fit the key.

mod jwt;
mod keys;

pub use jsonwebtoken::Algorithm;
pub use jwt::{Claims, Expected, Purpose, Refusal, verify};
pub use keys::{ALGORITHMS, KeySet, KeySetError, MAX_KEY_SET_BYTES, MAX_KEYS, PublicKey, PublicKeyError};
