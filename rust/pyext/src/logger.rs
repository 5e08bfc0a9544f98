// SPDX-License-Identifier: Apache-2.0
//! `pb_utils.Logger`: to the server's log where there is a server, else to Python's `logging`.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use tritongw_engine::model_log::ModelLine;

use crate::call_scope;
use crate::error::model_exception;
use crate::log_place;

/// Whether a server's log takes the lines of this process: it is a server, or a worker of one.
static IS_SERVED: AtomicBool = AtomicBool::new(false);

/// Notes that this process is a server or a worker of one.
pub(crate) fn note_server() {
    IS_SERVED.store(true, Ordering::Relaxed);
}

/// Returns whether there is a server whose log takes the lines of this process.
pub(crate) fn is_served() -> bool {
    IS_SERVED.load(Ordering::Relaxed)
}

/// Writes lines to the server's log, with the caller's file and line.
///
/// Outside a server the lines go to Python's logger ``tritongw.model``.
#[pyclass(frozen, module = "tritongw._core")]
#[derive(Debug)]
pub(crate) struct Logger;

#[pymethods]
impl Logger {
    #[classattr]
    const INFO: u8 = 0;
    #[classattr]
    const WARNING: u8 = 1;
    #[classattr]
    const ERROR: u8 = 2;
    #[classattr]
    const VERBOSE: u8 = 3;

    /// Write a line at a level.
    #[staticmethod]
    #[pyo3(signature = (message, level = Self::INFO))]
    fn log(py: Python<'_>, message: &str, level: u8) -> PyResult<()> {
        let level = match level {
            Self::INFO => log::Level::Info,
            Self::WARNING => log::Level::Warn,
            Self::ERROR => log::Level::Error,
            Self::VERBOSE => log::Level::Debug,
            other => return Err(model_exception(format!("unknown log level {other}"))),
        };
        write(py, message, level)
    }

    /// Write a line of information.
    #[staticmethod]
    fn log_info(py: Python<'_>, message: &str) -> PyResult<()> {
        write(py, message, log::Level::Info)
    }

    /// Write a warning.
    #[staticmethod]
    fn log_warn(py: Python<'_>, message: &str) -> PyResult<()> {
        write(py, message, log::Level::Warn)
    }

    /// Write an error.
    #[staticmethod]
    fn log_error(py: Python<'_>, message: &str) -> PyResult<()> {
        write(py, message, log::Level::Error)
    }

    /// Write a line that shows only if the server is told to be verbose.
    #[staticmethod]
    fn log_verbose(py: Python<'_>, message: &str) -> PyResult<()> {
        write(py, message, log::Level::Debug)
    }
}

fn write(py: Python<'_>, message: &str, level: log::Level) -> PyResult<()> {
    if !is_served() {
        return write_to_python(py, message, level);
    }
    if level > log::max_level() {
        return Ok(());
    }
    let frame = py.import("sys")?.call_method0("_getframe")?;
    let file: String = frame.getattr("f_code")?.getattr("co_filename")?.extract()?;
    let line: u32 = frame.getattr("f_lineno")?.extract()?;
    let file = file.rsplit('/').next().unwrap_or_default();
    let line = ModelLine {
        level,
        file,
        line,
        request_id: "",
        is_traceback: false,
        message,
    };
    write_line(py, line);
    Ok(())
}

/// Writes a line of the model that runs here, about the requests that it has.
fn write_line(py: Python<'_>, line: ModelLine<'_>) {
    let place = call_scope::place(py);
    let ids = place.as_ref().map(|place| place.ids.joined());
    let line = ModelLine {
        request_id: ids.as_deref().unwrap_or_default(),
        ..line
    };
    // In a worker this writes to a socket, which may block.
    py.detach(|| line.write(place.as_ref().map(|place| &*place.owner)));
}

/// Write a record of Python's ``logging`` to the server's log; nothing outside of a server.
#[pyfunction]
pub(crate) fn log_line(
    py: Python<'_>,
    level: i32,
    file: &str,
    line: u32,
    message: &str,
    has_traceback: bool,
) {
    let level = match level {
        40.. => log::Level::Error,
        30.. => log::Level::Warn,
        20.. => log::Level::Info,
        _ => log::Level::Debug,
    };
    if !is_served() || level > log::max_level() {
        return;
    }
    let line = ModelLine {
        level,
        file,
        line,
        request_id: "",
        is_traceback: has_traceback,
        message,
    };
    write_line(py, line);
}

/// Write what failed and the traceback of an exception to the server's log; nothing outside of a
/// server.
#[pyfunction]
pub(crate) fn log_failure(what: &str, error: &Bound<'_, PyAny>) {
    let py = error.py();
    let place = call_scope::place(py);
    let error = PyErr::from_value(error.clone());
    log_place::log_failure(py, place.as_ref(), what, Some(&error));
}

fn write_to_python(py: Python<'_>, message: &str, level: log::Level) -> PyResult<()> {
    let level = match level {
        log::Level::Error => "ERROR",
        log::Level::Warn => "WARNING",
        log::Level::Info => "INFO",
        log::Level::Debug | log::Level::Trace => "DEBUG",
    };
    let logging = py.import("logging")?;
    let logger = logging.call_method1("getLogger", ("tritongw.model",))?;
    logger.call_method1("log", (logging.getattr(level)?, "%s", message))?;
    Ok(())
}
