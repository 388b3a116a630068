//! Measures Warrantor: every figure a ratio within one run, against the bare library, the direct connection or the bare disk.
//!
//! `cargo xtask bench` prints all of it and writes `docs/benchmarks.md`; `cargo xtask bench decide` measures one part and writes
//! nothing. Rounds of the two sides alternate, so that whatever else the machine does meets both.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measuring program reads clocks and prints"
)]

mod decide;
mod disk;
mod gateway;
mod plane;
mod process;
mod report;
mod tokens;
mod trace;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use report::Part;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// A decision against bare Cedar.
    Decide,
    /// A call through `run` against the direct connection; start; memory.
    Run,
    /// Calls through the gateway against the direct connection and a bare passthrough.
    Gateway,
    /// Decisions, handovers and stops where very much is registered.
    Plane,
    /// Durable records a second against append and fdatasync.
    Store,
    /// Access tokens against bare signatures.
    Tokens,
    /// What tracing costs: deciding, taking results in, replaying.
    Trace,
}

/// Measures Warrantor by ratios within one run.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only these parts; then nothing is written.
    parts: Vec<Name>,
    /// Rounds of each side.
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// Serve one end of a measured connection instead.
    #[arg(long, hide = true)]
    serve: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(what) = &arguments.serve {
        return gateway::serve(what);
    }
    let wanted = |name| arguments.parts.is_empty() || arguments.parts.contains(&name);
    let root = repository()?;
    let mut parts: Vec<Part> = Vec::new();
    if wanted(Name::Decide) {
        parts.push(decide::measure(arguments.rounds)?);
    }
    if wanted(Name::Trace) {
        parts.push(trace::measure(arguments.rounds)?);
    }
    if wanted(Name::Tokens) {
        parts.push(tokens::measure(arguments.rounds)?);
    }
    if wanted(Name::Store) {
        parts.push(disk::measure(arguments.rounds.min(5))?);
    }
    if wanted(Name::Run) {
        let binary = build(&root)?;
        parts.push(process::measure(&binary, arguments.rounds)?);
    }
    if wanted(Name::Gateway) {
        let binary = build(&root)?;
        parts.push(gateway::measure(&binary, arguments.rounds.min(5))?);
    }
    if wanted(Name::Plane) {
        let binary = build(&root)?;
        parts.push(plane::measure(&binary, arguments.rounds.min(5))?);
    }
    let text = report::render(&parts);
    println!("{text}");
    if arguments.parts.is_empty() {
        std::fs::write(root.join("docs/benchmarks.md"), text)
            .context("docs/benchmarks.md cannot be written")?;
    }
    Ok(())
}

fn repository() -> anyhow::Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(Path::to_owned).context("the benchmark stands in no repository")
}

/// Builds the binary as users do.
fn build(root: &Path) -> anyhow::Result<PathBuf> {
    let status = std::process::Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--package", "warrantor"])
        .current_dir(root)
        .status()?;
    if !status.success() {
        bail!("the binary does not build");
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("release/warrantor"))
}

/// The middle of some figures; of an even number the lower middle.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len().saturating_sub(1) / 2;
    figures.get(middle).copied().unwrap_or(f64::NAN)
}
