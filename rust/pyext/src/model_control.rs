// SPDX-License-Identifier: Apache-2.0
//! Loading and unloading models from a model (Y071).

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyDict;
use tritongw_backend_python::host::ModelControl;

use crate::call_scope;
use crate::error::to_exception;

fn control(py: Python<'_>, order: &ModelControl<'_>) -> PyResult<bool> {
    let scope = call_scope::current(py)?;
    py.detach(|| scope.calls.control(order))
        .map_err(|error| to_exception(&error))
}

/// Load a model, or load it again, and wait until it serves.
///
/// Only where the server's models are controlled explicitly. ``files`` maps names such as
/// ``file:1/model.py`` to contents, and needs a ``config``.
#[pyfunction]
#[pyo3(signature = (model_name, config = "", files = None))]
pub(crate) fn load_model(
    py: Python<'_>,
    model_name: &str,
    config: &str,
    files: Option<&Bound<'_, PyDict>>,
) -> PyResult<()> {
    let files: Vec<(String, PyBackedBytes)> = files
        .into_iter()
        .flatten()
        .map(|(name, content)| Ok((name.extract()?, content.extract()?)))
        .collect::<PyResult<_>>()?;
    let files: Vec<(String, &[u8])> = files
        .iter()
        .map(|(name, content)| (name.clone(), &content[..]))
        .collect();
    let order = ModelControl::Load {
        name: model_name,
        config: Some(config).filter(|config| !config.is_empty()),
        files: &files,
    };
    control(py, &order).map(|_| ())
}

/// Take a model out of service; what it has begun is still answered.
///
/// Only where the server's models are controlled explicitly.
#[pyfunction]
#[pyo3(signature = (model_name, unload_dependents = false))]
pub(crate) fn unload_model(
    py: Python<'_>,
    model_name: &str,
    unload_dependents: bool,
) -> PyResult<()> {
    // Only ensembles have dependents.
    let _ = unload_dependents;
    control(py, &ModelControl::Unload { name: model_name }).map(|_| ())
}

/// Return whether a model could execute now.
#[pyfunction]
#[pyo3(signature = (model_name, model_version = ""))]
pub(crate) fn is_model_ready(
    py: Python<'_>,
    model_name: &str,
    model_version: &str,
) -> PyResult<bool> {
    let order = ModelControl::IsReady {
        name: model_name,
        version: model_version,
    };
    control(py, &order)
}
