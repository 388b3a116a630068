//! The one program that libFuzzer drives. Which target it runs, `WARRANTOR_FUZZ_TARGET` says; so a new target needs
//! no file here.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use warrantor_fuzz::{TARGETS, Target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let wanted = std::env::var("WARRANTOR_FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|(name, _)| *name == wanted);
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    found.unwrap_or_else(|| panic!("set WARRANTOR_FUZZ_TARGET to one of {}", names.join(", "))).1
});

fuzz_target!(|input: &[u8]| {
    TARGET(input);
});
