//! Bundles: a directory of plain files into a snapshot that decides, floor 3 of the workspace.
//!
//! Every file is read strictly: what is not known, stands twice, reads two ways or is not supported yet is refused with file, line, column and
//! cure, never ignored. All faults of all files are told in one run. Beside loading there are what helps to write a
//! bundle: JSON Schemas of every format, drafts of manifests, and a starter.
//!
//! Not known here: what a fault of meaning is (`decide` judges that and this crate finds its line), who runs, sockets, time.

mod archive;
pub mod config;
mod definitions;
mod doc;
pub mod draft;
mod earlier;
pub mod files;
pub mod gateway;
mod guess;
mod json;
mod link;
mod load;
mod manifest;
mod offers;
mod open;
mod read;
mod redraft;
pub mod report;
mod schema;
pub mod serve;
mod starter;
mod terms;
mod text;
mod toml;
mod trackers;
mod tree;
pub mod values;
mod yaml;

pub use archive::{MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES};
pub use config::{Config, EnvEntry, ServerSettings};
pub use draft::{Draft, draft, launch_digest};
pub use files::mandate::TakenKind;
pub use load::{Described, Loaded, MandateTemplate, check, load, load_files};
pub use open::{FillError, Filling, Open, Taken};
pub use redraft::{Compared, Redraft, compare, guesses, redraft};
pub use report::{Diagnostic, Listed, Report, Severity};
pub use schema::{FileKind, UnknownKind, parse_any, parse_definitions, schema, trace_line};
pub use starter::{STARTER_MANDATE, STARTER_NOTES, STARTER_PACKAGE, STARTER_SERVER, StarterError, starter};
pub use terms::terms_from_document;
