//! Fuzz targets.

fn main() {}
