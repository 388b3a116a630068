//! Runs every fuzz target briefly on the stable toolchain: each seed, then inputs made from the seeds.
//!
//! `cargo run -p warrantor-fuzz -- [--runs N] [--number N] [TARGET…]`. An input that breaks a promise is kept under
//! `fuzz/artifacts/` and named; copy it to the target's seeds when the fault is mended, and it stays mended.

#![expect(clippy::print_stdout, reason = "this program tells a person what it found")]

use std::fs;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use warrantor_fuzz::mutate::Mutator;
use warrantor_fuzz::{Reading, TARGETS, Target};

/// Inputs made for each target unless told otherwise: some seconds for all of them together.
const RUNS: u64 = 20_000;

fn main() -> ExitCode {
    let plan = match Plan::read(std::env::args().skip(1)) {
        Ok(plan) => plan,
        Err(complaint) => {
            println!("error: {complaint}");
            return ExitCode::from(2);
        }
    };
    // The assertion's own words are wanted, and nothing about this driver's stack.
    panic::set_hook(Box::new(|broken| println!("{broken}")));
    let mut failed = false;
    for (name, target) in TARGETS.iter().filter(|(name, _)| plan.wants(name)) {
        match run(name, *target, &plan) {
            Ok(line) => println!("{name:<19} {line}"),
            Err(complaint) => {
                failed = true;
                println!("{name:<19} FAILED: {complaint}");
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// What the command line asks for.
struct Plan {
    runs: u64,
    number: u64,
    only: Vec<String>,
}

impl Plan {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut plan = Self { runs: RUNS, number: 1, only: Vec::new() };
        while let Some(argument) = arguments.next() {
            let mut count = || arguments.next().and_then(|text| text.parse().ok());
            match argument.as_str() {
                "--runs" => plan.runs = count().ok_or("--runs takes a number")?,
                "--number" => plan.number = count().ok_or("--number takes a number")?,
                name if TARGETS.iter().any(|(known, _)| *known == name) => plan.only.push(argument),
                name => return Err(format!("there is no target {name}; they are {}", names())),
            }
        }
        Ok(plan)
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

fn names() -> String {
    TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

#[expect(clippy::disallowed_methods, reason = "tells a person how long it took; nothing is decided by it")]
fn run(name: &str, target: Target, plan: &Plan) -> Result<String, String> {
    let began = Instant::now();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let seeds =
        seeds(&root.join("seeds").join(name)).map_err(|error| format!("cannot read its seeds: {error}"))?;
    let mut taken_seeds = 0;
    for seed in &seeds {
        taken_seeds += taken(attempt(root, name, target, seed)?);
    }
    if taken_seeds == 0 {
        return Err(format!(
            "none of its {} seeds is taken; the search would not get past the door",
            seeds.len()
        ));
    }
    let mut mutator = Mutator::new(plan.number);
    let mut taken_inputs = 0;
    for _ in 0..plan.runs {
        taken_inputs += taken(attempt(root, name, target, &mutator.next_input(&seeds))?);
    }
    let (runs, count, seconds) = (plan.runs, seeds.len(), began.elapsed().as_secs_f64());
    Ok(format!("{runs:>6} runs from {count:>2} seeds, {taken_inputs:>6} taken, {seconds:>4.1} s"))
}

fn taken(reading: Reading) -> u64 {
    u64::from(reading == Reading::Taken)
}

fn seeds(directory: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut files =
        fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    // The order decides what the mutator makes of a number.
    files.sort();
    files.iter().map(fs::read).collect()
}

/// Runs one input; a broken promise becomes an error that says where the input is kept.
fn attempt(root: &Path, name: &str, target: Target, input: &[u8]) -> Result<Reading, String> {
    // A target has no state that a panic could leave half changed.
    panic::catch_unwind(AssertUnwindSafe(|| target(input))).map_err(|_| {
        let file = root.join("artifacts").join(format!("{name}-smoke"));
        let kept = fs::create_dir_all(root.join("artifacts")).and_then(|()| fs::write(&file, input));
        match kept {
            Ok(()) => format!("an input of {} bytes, kept as fuzz/artifacts/{name}-smoke", input.len()),
            Err(error) => {
                format!("the input {:?}, which could not be kept: {error}", String::from_utf8_lossy(input))
            }
        }
    })
}
