// SPDX-License-Identifier: Apache-2.0
//! The `tritongw` command: the server with this interpreter behind it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use pyo3::prelude::*;
use tritongw_backend_onnxruntime::{LibraryLocation, OnnxRuntimeConfig};
use tritongw_backend_python::PythonBackendConfig;
use tritongw_server::Embedding;

use crate::host::Interpreter;
use crate::logger;

/// Run a command line and return the exit status of the process.
#[pyfunction]
pub(crate) fn main(py: Python<'_>, argv: Vec<OsString>) -> PyResult<i32> {
    let embedding = Embedding {
        python: PythonBackendConfig {
            worker_command: python_command(py, "tritongw.worker")?,
            environment_command: python_command(py, "tritongw._environment")?,
            in_process: Some(Arc::new(Interpreter)),
        },
        model_writer: python_command(py, "tritongw._targets")?,
        onnxruntime: OnnxRuntimeConfig {
            library: LibraryLocation::Find(Box::new(|| Python::attach(find_onnxruntime))),
        },
    };
    logger::note_server();
    Ok(py.detach(|| tritongw_server::main(argv, embedding)))
}

/// Returns what runs a module of ours, in the interpreter of the server. `-P`: what lies in the
/// current directory must not take the place of a module.
fn python_command(py: Python<'_>, module: &str) -> PyResult<Vec<OsString>> {
    let executable: OsString = py.import("sys")?.getattr("executable")?.extract()?;
    let arguments = ["-P", "-m", module].map(OsString::from);
    Ok([executable].into_iter().chain(arguments).collect())
}

/// Returns the directory of the installed `onnxruntime` package, without importing it.
fn find_onnxruntime(py: Python<'_>) -> Option<PathBuf> {
    let find = || -> PyResult<Option<PathBuf>> {
        let spec = py
            .import("importlib.util")?
            .call_method1("find_spec", ("onnxruntime",))?;
        if spec.is_none() {
            return Ok(None);
        }
        let origin: PathBuf = spec.getattr("origin")?.extract()?;
        Ok(origin.parent().map(PathBuf::from))
    };
    find().unwrap_or_else(|error| {
        log::warn!("failed to look for onnxruntime: {error}");
        None
    })
}
