// SPDX-License-Identifier: Apache-2.0
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tritongw_backend_python::host::{CallResponse, parameters_json};
use tritongw_types::{Error, Parameter};

use crate::error::TritonError;
use crate::parameters;
use crate::tensor::Tensor;

/// A model's answer to one request: tensors, or an error.
#[pyclass(frozen, module = "tritongw._core")]
pub(crate) struct InferenceResponse {
    output_tensors: Vec<Py<Tensor>>,
    error: Option<Py<TritonError>>,
    parameters: Vec<Parameter>,
    parameters_json: String,
}

impl InferenceResponse {
    /// Makes the response of a called model.
    pub(crate) fn from_call(py: Python<'_>, response: CallResponse) -> PyResult<Self> {
        let outputs = response.outputs.into_iter();
        let output_tensors = outputs.map(|output| Py::new(py, Tensor::from_host(output)));
        let error = response.error.as_ref().map(TritonError::of);
        Ok(Self {
            output_tensors: output_tensors.collect::<PyResult<_>>()?,
            error: error.map(|error| Py::new(py, error)).transpose()?,
            parameters_json: match response.parameters.as_slice() {
                [] => "{}".to_owned(),
                parameters => parameters_json(parameters),
            },
            parameters: response.parameters,
        })
    }

    pub(crate) fn tensors(&self) -> &[Py<Tensor>] {
        &self.output_tensors
    }

    pub(crate) fn host_error(&self) -> Option<Error> {
        self.error.as_ref().map(|error| error.get().to_error())
    }

    pub(crate) fn host_parameters(&self) -> &[Parameter] {
        &self.parameters
    }
}

#[pymethods]
impl InferenceResponse {
    #[new]
    #[pyo3(signature = (output_tensors = None, error = None, parameters = None))]
    fn new(
        output_tensors: Option<Vec<Py<Tensor>>>,
        error: Option<Py<TritonError>>,
        parameters: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let values = parameters.map(parameters::from_dict).transpose()?;
        Ok(Self {
            output_tensors: output_tensors.unwrap_or_default(),
            error,
            parameters: values.unwrap_or_default(),
            parameters_json: parameters::to_json(parameters)?,
        })
    }

    /// Return the outputs.
    fn output_tensors(&self, py: Python<'_>) -> Vec<Py<Tensor>> {
        self.output_tensors
            .iter()
            .map(|tensor| tensor.clone_ref(py))
            .collect()
    }

    /// Return whether this is an error.
    fn has_error(&self) -> bool {
        self.error.is_some()
    }

    /// Return the error, or ``None``.
    fn error(&self, py: Python<'_>) -> Option<Py<TritonError>> {
        self.error.as_ref().map(|error| error.clone_ref(py))
    }

    /// Return the parameters as a JSON object.
    fn parameters(&self) -> &str {
        &self.parameters_json
    }
}
