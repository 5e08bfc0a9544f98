// SPDX-License-Identifier: Apache-2.0
//! Whose lines the running code writes to the log, and about which requests.

use std::sync::Arc;

use pyo3::prelude::*;
use tritongw_backend_python::host::HostRequest;
use tritongw_engine::model_log::{LogOwner, ModelLine, join_request_ids};

use crate::logger;

/// The ids of a batch's requests; nothing is kept where no client gave one.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestIds(Option<Arc<[String]>>);

impl RequestIds {
    pub(crate) fn of(requests: &[HostRequest]) -> Self {
        let has_id = requests.iter().any(|request| !request.id.is_empty());
        Self(has_id.then(|| requests.iter().map(|request| request.id.clone()).collect()))
    }

    /// Returns the id of one request; empty if it has none.
    pub(crate) fn one(&self, index: usize) -> &str {
        let id = self.0.as_ref().and_then(|ids| ids.get(index));
        id.map_or("", String::as_str)
    }

    /// Returns all of them as a line tells them.
    pub(crate) fn joined(&self) -> String {
        let ids = self.0.iter().flat_map(|ids| ids.iter());
        join_request_ids(ids.map(String::as_str))
    }
}

/// Whose a line is, and about which requests.
#[derive(Clone, Debug)]
pub(crate) struct LogPlace {
    pub(crate) owner: Arc<LogOwner>,
    pub(crate) ids: RequestIds,
}

impl LogPlace {
    /// Returns the place of code that executes nothing.
    pub(crate) fn of(owner: &Arc<LogOwner>) -> Self {
        Self {
            owner: Arc::clone(owner),
            ids: RequestIds::default(),
        }
    }

    /// Writes what failed, with the traceback of what was raised; nothing outside of a server.
    pub(crate) fn log_failure(&self, py: Python<'_>, what: &str, error: Option<&PyErr>) {
        log_failure(py, Some(self), what, error);
    }
}

/// As [`LogPlace::log_failure`], where the place may be unknown.
pub(crate) fn log_failure(
    py: Python<'_>,
    place: Option<&LogPlace>,
    what: &str,
    error: Option<&PyErr>,
) {
    if !logger::is_served() {
        return;
    }
    let (file, line, text) = match error {
        None => ("model".to_owned(), 0, String::new()),
        Some(error) => traceback_of(error.clone_ref(py).into_value(py).bind(py))
            .unwrap_or_else(|_| ("model".to_owned(), 0, error.to_string())),
    };
    let request_id = place.map_or_else(String::new, |place| place.ids.joined());
    let message = format!("{what}\n{text}");
    // In a worker this writes to a socket, which may block.
    py.detach(|| {
        ModelLine {
            level: log::Level::Error,
            file: &file,
            line,
            request_id: &request_id,
            is_traceback: true,
            message: message.trim_end(),
        }
        .write(place.map(|place| &*place.owner));
    });
}

/// Returns where an exception was raised, and its traceback.
fn traceback_of(error: &Bound<'_, PyAny>) -> PyResult<(String, u32, String)> {
    let module = error.py().import("tritongw._traceback")?;
    module.call_method1("traceback_of", (error,))?.extract()
}
