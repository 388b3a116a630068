//! The demonstration of Warrantor, floor 6 of the workspace: an example world, an agent in it, and the story of one task.
//!
//! It plays the product from outside. The agent is a real MCP client, the world a real MCP server, and between them stands the program itself as
//! separate processes; nothing that is told was decided here. A step that ends in another way than the story expects is told so, loudly, and the
//! whole counts as failed.
//!
//! Not known here: how decisions are made, what a data directory holds, the clock, the environment.

pub mod bundle;
pub mod world;

pub use world::{WorldError, serve_world_stdio};
