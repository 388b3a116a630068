//! Bundles: a directory of plain files into a snapshot that decides, floor 3 of the workspace.
//!
//! Every file is read strictly: what is not known, stands twice, reads two ways or is not supported yet is refused with file, line, column and
//! cure, never ignored. All faults of all files are told in one run. Beside loading there are what helps to write a
//! bundle: JSON Schemas of every format, drafts of manifests, and a starter.
//!
//! Not known here: what a fault of meaning is (`decide` judges that and this crate finds its line), who runs, sockets, time.

pub mod files;
mod json;
pub mod read;
pub mod report;
mod toml;
mod tree;
mod yaml;
