//! Arguments of `warrantor secret`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// Make a key that seals secrets, in a file that nobody else may read.
    #[command(after_help = "Examples:\n  warrantor secret key --file /etc/warrantor/secrets.key")]
    Key(SecretKeyArgs),
    /// Seal a secret, read from standard input, in place of one that has its name.
    #[command(
        after_help = "Examples:\n  printf 'Bearer %s' \"$TOKEN\" | warrantor secret put bank --store secrets.json --key-file secrets.key\n  warrantor secret put bank --store secrets.json --key-command aws-unwrap --key-command secrets.key.wrapped < token"
    )]
    Put(SecretArgs),
    /// List what secrets there are, and nothing of what they are.
    #[command(
        after_help = "Examples:\n  warrantor secret list --store secrets.json --key-file secrets.key -o json"
    )]
    List(SecretListArgs),
    /// Take a secret away.
    #[command(
        after_help = "Examples:\n  warrantor secret remove bank --store secrets.json --key-file secrets.key"
    )]
    Remove(SecretArgs),
    /// Have another key open the secrets, and the old one none.
    #[command(
        after_help = "Examples:\n  warrantor secret rewrap --store secrets.json --key-file old.key --new-key-file new.key"
    )]
    Rewrap(SecretRewrapArgs),
}

/// A file of sealed secrets, and its key.
#[derive(Debug, Args)]
pub(crate) struct SecretPlace {
    /// The file of sealed secrets; made if it is not there.
    #[arg(long, value_name = "FILE")]
    pub(crate) store: PathBuf,
    /// The file with the key.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// The environment variable with the key.
    #[arg(long, value_name = "NAME")]
    pub(crate) key_env: Option<String>,
    /// A command that prints the key; given once for each of its words.
    #[arg(long, value_name = "WORD")]
    pub(crate) key_command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SecretKeyArgs {
    /// The file to make.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct SecretArgs {
    /// Its name.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) place: SecretPlace,
}

#[derive(Debug, Args)]
pub(crate) struct SecretListArgs {
    #[command(flatten)]
    pub(crate) place: SecretPlace,
}

#[derive(Debug, Args)]
pub(crate) struct SecretRewrapArgs {
    #[command(flatten)]
    pub(crate) place: SecretPlace,
    /// The file with the new key.
    #[arg(long, value_name = "FILE")]
    pub(crate) new_key_file: Option<PathBuf>,
    /// The environment variable with the new key.
    #[arg(long, value_name = "NAME")]
    pub(crate) new_key_env: Option<String>,
    /// A command that prints the new key; given once for each of its words.
    #[arg(long, value_name = "WORD")]
    pub(crate) new_key_command: Vec<String>,
}
