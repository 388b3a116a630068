//! The example bundle: who there is at Ridgeway Ceramics, what the office server offers, the policies and the mandate.

use std::{fs, io, path::Path};

/// The name of the world's server in the bundle.
pub const SERVER: &str = "office";
/// The mandate that the story is about.
pub const MANDATE: &str = "pay-october";
/// The pinned answer of the office server to `tools/list`, with its instructions.
pub const DEFINITIONS: &str = include_str!("../bundle/tools/office.tools.json");

/// The files by path within the bundle.
const FILES: [(&str, &str); 8] = [
    ("warrantor.toml", include_str!("../bundle/warrantor.toml")),
    ("people.yaml", include_str!("../bundle/people.yaml")),
    ("agents.yaml", include_str!("../bundle/agents.yaml")),
    ("tools/office.yaml", include_str!("../bundle/tools/office.yaml")),
    ("tools/office.tools.json", DEFINITIONS),
    ("policies/access.cedar", include_str!("../bundle/policies/access.cedar")),
    ("policies/guards.cedar", include_str!("../bundle/policies/guards.cedar")),
    ("mandates/pay-october.yaml", include_str!("../bundle/mandates/pay-october.yaml")),
];

/// Writes the bundle into a directory, which is made if it is not there. Files that are there are replaced.
///
/// # Errors
/// What the file system says.
pub fn write(directory: &Path) -> io::Result<()> {
    for (path, text) in FILES {
        let file = directory.join(path);
        if let Some(above) = file.parent() {
            fs::create_dir_all(above)?;
        }
        fs::write(file, text)?;
    }
    Ok(())
}
