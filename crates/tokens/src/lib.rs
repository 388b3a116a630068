//! Tokens, floor 1: those of others verified or refused, our own made and read, given keys and time. Pure.
//!
//! Follows RFC 7519, RFC 8725 (its advice is not optional here), OpenID Connect Core 1.0, and for our own tokens RFC 9068, RFC 8693, RFC 9396 and RFC 9449.
//! Keys come from the configured issuer, or from the client that is registered, and nowhere else: what a token's own header says of keys (`jku`, `x5u`, `jwk`)
//! is never looked at, but in a proof of possession, whose whole point it is. The algorithm must be one of the allowed ones and fit the key.

mod access;
mod actors;
mod assertion;
mod crossing;
mod details;
mod dpop;
mod jose;
mod jwt;
mod keys;
mod nonces;
mod once;
mod signer;
mod spiffe;

pub use access::{ACCESS_TYPE, AccessError, AccessToken, Binding, MADE_FROM};
pub use actors::{Actor, Actors, ActorsError, MAX_ACTORS};
pub use assertion::{ASSERTION_ALGORITHMS, ASSERTION_TYPE, AssertionExpected, verify_assertion};
pub use crossing::{
    CROSSING_PROFILE, CROSSING_TOKEN_TYPE, CROSSING_TYPE, Crossing, CrossingError, PART_DETAILS, Part,
};
pub use details::{DetailsError, MANDATE_DETAILS, MandateDetails};
pub use dpop::{
    PROOF_ALGORITHMS, ProofExpected, ProofRefusal, VerifiedProof, WINDOW, token_hash, verify_proof,
};
pub use jose::{claimed, signed_digest};
pub use jsonwebtoken::Algorithm;
pub use jwt::{Claims, Expected, Nonce, Purpose, Refusal, verify};
pub use keys::{ALGORITHMS, KeySet, KeySetError, MAX_KEY_SET_BYTES, MAX_KEYS, PublicKey, PublicKeyError};
pub use nonces::Nonces;
pub use once::Once;
pub use signer::{Signer, SignerError, SigningAlgorithm, key_set};
pub use spiffe::{
    SpiffeId, SpiffeIdError, Svid, TrustBundle, TrustBundleError, claimed_trust_domain, verify_jwt_svid,
};
