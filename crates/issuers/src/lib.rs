//! Issuers of tokens, floor 4: their metadata and keys, fetched within bounds and kept for a while; and tokens checked with them.
//!
//! The issuer is configured; nothing that a caller sends chooses where a request goes. What the issuer's own document names must be https, unless the
//! issuer itself is plain http on loopback and what it names is too. Redirects are not followed.

mod documents;
mod fetch;
mod issuer;
mod trust;

pub use documents::{ClientDocument, DocumentError, Documents, read_document};
pub use fetch::{TrustError, is_loopback, trusting};
pub use issuer::{CodeSent, Discovery, Issuer, IssuerError, IssuerSettings, Metadata, SettingsError};
pub use trust::{NoBundle, TrustDomain};
