//! The project's own chores, as `cargo xtask check | test | regen | bench | soak`.
//!
//! Continuous integration calls the same two commands as a person does (`.ci/run`), so what passes here passes there.
//! Nothing in this program is part of the product: it runs cargo, git, python and npm, reads their answers and says
//! in one line a step what came of it. It runs on Unix, as the product does.

#![expect(
    clippy::print_stdout,
    reason = "a chore talks to the person at the terminal; there is no other reader"
)]

mod bench;
mod check;
mod dependencies;
mod derived;
mod floors;
mod formats;
mod lengths;
mod licences;
mod links;
mod metadata;
mod process;
mod repository;
mod testing;
mod tools;
mod workplace;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand};

use crate::repository::Repository;

/// Chores of the Warrantor repository
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Check everything that needs no test run; every step runs, then a summary
    Check {
        /// Run only this step; may be given several times
        #[arg(long, value_name = "STEP", value_parser = PossibleValuesParser::new(check::names()))]
        only: Vec<String>,
    },
    /// Install what tests need, then run all of them
    Test {
        /// Only tests whose name contains this
        filter: Option<String>,
        /// Only tests of this package; may be given several times
        #[arg(long, short, value_name = "PACKAGE")]
        package: Vec<String>,
    },
    /// Write the derived files anew: schemas and the command reference
    Regen {
        /// Compare instead of writing
        #[arg(long)]
        check: bool,
    },
    /// Run the benchmarks in release mode; arguments go to the benchmark program
    Bench {
        /// Which benchmark, and its options
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Kill the process at random moments under load, many times
    Soak {
        /// How many times
        #[arg(long, default_value_t = 500)]
        kills: u32,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments.chore) {
        Ok(Ending::Passed) => ExitCode::SUCCESS,
        Ok(Ending::Failed) => ExitCode::FAILURE,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// How a chore ended that could be carried out at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    Passed,
    Failed,
}

fn run(chore: Chore) -> anyhow::Result<Ending> {
    let repository = Repository::open()?;
    match chore {
        Chore::Check { only } => check::run(&repository, &only),
        Chore::Test { filter, package } => testing::run(&repository, filter.as_deref(), &package),
        Chore::Regen { check: true } => derived::compare(&repository),
        Chore::Regen { check: false } => derived::write(&repository),
        Chore::Bench { arguments } => bench::bench(&repository, &arguments),
        Chore::Soak { kills } => bench::soak(&repository, kills),
    }
}
