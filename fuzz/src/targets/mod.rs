//! The targets, a module for each crate under test.

pub(crate) mod bundle;
pub(crate) mod decide;
pub(crate) mod engine;
pub(crate) mod ledger;
pub(crate) mod mcp;
pub(crate) mod model;
pub(crate) mod tokens;
