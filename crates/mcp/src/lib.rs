//! The Model Context Protocol on the wire, floor 1 of the workspace.
//!
//! Messages are framed on the raw JSON slices that arrived. What was decided on is forwarded as the exact bytes that were
//! decided on; only the envelope around it is rebuilt, from members that this crate knows. So nothing undecided passes
//! by accident, and nothing decided is rewritten on the way (`1.10` stays `1.10`, a 23-digit integer keeps its digits).
//!
//! Kept true everywhere: input is bounded in bytes and nesting before anything recurses; no object in it names a member
//! twice; every text written is one line of well-formed JSON.
//!
//! Not known here: who calls, what is allowed, sessions, sockets, time. This crate is pure.

pub mod capabilities;
pub mod envelope;
pub mod era;
pub mod fragment;
pub mod handshake;
pub mod headers;
pub mod id;
pub mod joined;
pub mod line;
mod members;
pub mod message;
pub mod meta;
pub mod params;
pub mod refusal;
pub mod result;
pub mod rpc;
mod scan;
pub mod sse;
pub mod tasks;
pub mod tools;
pub mod trace;
pub mod uses;

pub use era::{Declared, Era, ProtocolVersion};
pub use fragment::Fragment;
pub use id::{Id, IdKey, ProgressToken};
pub use line::{LineSplitter, LineTooLong};
pub use members::ShapeError;
pub use message::{FrameError, FrameFault, FrameLimits, Message, Outcome};
pub use meta::Meta;
pub use params::ParamsError;
pub use result::ResultError;
pub use rpc::RpcError;
