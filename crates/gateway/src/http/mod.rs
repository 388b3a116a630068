//! Streamable HTTP: one endpoint for each tool server, both eras of the protocol on it.

mod behind;
mod callers;
mod checks;
mod connection;
mod foreign;
mod front;
mod patient;
mod remembered;
mod resource;
mod respond;
mod serve;
mod served;
mod sessions;
mod stream;

pub use behind::SetSettings;
pub use callers::CallerSettings;
pub use connection::{EndpointSettings, UpstreamSettings};
pub use foreign::{ForeignClient, ForeignIssuer};
pub use front::{GatewayParts, MANDATE_HEADER, Mandates};
pub use resource::ResourceSettings;
pub use serve::{Gateway, Handle};
pub use served::{GatewayLimits, Serving};
