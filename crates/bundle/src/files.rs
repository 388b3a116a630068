//! The files of a bundle as they are written: one structure a format (design section 4).
//!
//! The descriptions here are what `warrantor schema` and the reference show.

pub mod config;
pub mod gateway;
pub mod mandate;
pub mod manifest;
pub mod people;
pub mod serve;
pub mod text;
pub mod trace;
pub mod trackers;
