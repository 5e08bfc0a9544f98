// SPDX-License-Identifier: Apache-2.0
//! Puts engine, backends and doors together from the command line.
//!
//! Owns start-up order, signals and the drain. **Invariant:** the environment and the command
//! line are read here and nowhere below. Start with [`main`].
#![forbid(unsafe_code)]

mod announce;
mod descriptors;
mod logging;
mod options;
mod sagemaker_container;
mod serve;
mod startup_tables;
mod table;
mod targets;
mod tracing;

use std::ffi::OsString;
use std::fmt;
use std::io::Write;

use tritongw_backend_onnxruntime::OnnxRuntimeConfig;
use tritongw_backend_python::PythonBackendConfig;

use crate::options::ProcessEnvironment;

pub use crate::options::reference as option_reference;

/// What the program that hosts the server brings along.
pub struct Embedding {
    /// How Python models are hosted.
    pub python: PythonBackendConfig,
    /// Program and arguments that write the models of Python objects; the directory and what names
    /// the objects are added. Empty where there is no Python.
    pub model_writer: Vec<OsString>,
    /// Where ONNX Runtime's library is.
    pub onnxruntime: OnnxRuntimeConfig,
}

impl fmt::Debug for Embedding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedding").finish_non_exhaustive()
    }
}

/// Runs the command line `args`, program name first, and returns the exit status.
///
/// Blocks until the server has shut down. Takes over SIGINT and SIGTERM while it serves.
pub fn main(args: Vec<OsString>, embedding: Embedding) -> i32 {
    let parsed = match args.as_slice() {
        [_, command, options @ ..] if command == "sagemaker" => {
            sagemaker_container::parse_options(options, &ProcessEnvironment)
        }
        _ => options::parse(args, &ProcessEnvironment),
    };
    let args = match parsed {
        Ok(args) => args,
        Err(refusal) => return refusal.report(),
    };
    for notice in &args.notices {
        // A closed console leaves nobody to tell.
        let _ = writeln!(std::io::stderr(), "Warning: {notice}");
    }
    match serve::run(args, embedding) {
        Ok(()) => 0,
        Err(failure) => {
            failure.report();
            1
        }
    }
}
