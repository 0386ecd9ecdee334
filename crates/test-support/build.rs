//! Compiles the library that sets a program's clock wrong, with the C compiler that Rust links with.

use std::{env, error::Error, process::Command};

const SOURCE: &str = "src/skewed_clock.c";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={SOURCE}");
    // The tests that need it are for Linux; the others are not to fail elsewhere.
    if env::var("CARGO_CFG_TARGET_OS")? != "linux" {
        return Ok(());
    }
    let library = format!("{}/skewed_clock.so", env::var("OUT_DIR")?);
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-o", &library, SOURCE])
        .status()?;
    if status.success() { Ok(()) } else { Err(format!("cc: {status}").into()) }
}
