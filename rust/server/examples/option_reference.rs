// SPDX-License-Identifier: Apache-2.0
//! Writes `docs/reference/flags.md` from the definitions; with `--check`, compares only.

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

fn main() -> io::Result<ExitCode> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/flags.md");
    let reference = tritongw_server::option_reference();
    if env::args().any(|arg| arg == "--check") {
        let is_current = fs::read_to_string(path)? == reference;
        return Ok(if is_current {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
    fs::write(path, reference)?;
    Ok(ExitCode::SUCCESS)
}
