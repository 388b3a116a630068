//! Warrantor, the one binary: reads arguments and environment, wires the parts, and says what came of it.
//!
//! Exit codes: 0 passed or done, 1 denied or something is wrong, 2 usage, 3 cannot decide, 4 waiting for a person.

#![expect(
    clippy::disallowed_methods,
    reason = "floor 7 is where the wall clock, randomness and the environment enter"
)]

mod args;
mod command;
mod deployment;
mod http;
mod output;
mod system;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = args::Arguments::parse();
    let out = output::Output::new(arguments.output);
    match command::run(arguments.command, &out) {
        Ok(exit) => exit.into(),
        Err(cause) => {
            out.failure(&cause);
            output::Exit::of_error(&cause).into()
        }
    }
}
