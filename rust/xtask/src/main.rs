// SPDX-License-Identifier: Apache-2.0
//! Development chores of the workspace that need more than a shell line.
//!
//! `cargo run -p xtask -- generate` writes the Rust types of `protos/` to
//! `rust/protocol/src/generated`; with `--check` it writes nothing and fails where a file differs.
//! **Invariant:** what is generated depends on `protos/` alone, so that a check on any machine
//! gives the same answer.
#![forbid(unsafe_code)]

mod generate;

use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo run -p xtask -- generate [--check]";

#[expect(
    clippy::print_stderr,
    reason = "a command-line tool reports to its caller"
)]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let outcome = match arguments.as_slice() {
        ["generate"] => generate::write(&root),
        ["generate", "--check"] => generate::check(&root),
        _ => Err(USAGE.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
