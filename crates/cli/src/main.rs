//! Warrantor, the binary.

fn main() {}
