// SPDX-License-Identifier: Apache-2.0
//! Calls of a model under test to other models: an object of the test answers them, at once and in
//! the caller's thread.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use tritongw_backend_python::host::{
    CallHandle, CallReceiver, CallResponse, HostCall, ModelCalls, ModelControl,
};
use tritongw_types::{CorrelationId, Error, Result};

use crate::error::to_exception;
use crate::parameters;
use crate::request::InferenceRequest;
use crate::response::InferenceResponse;
use crate::standalone;
use crate::tensor::Tensor;

/// Hands calls to `tritongw.testing`.
pub(crate) struct FakeModels {
    models: Py<PyAny>,
}

impl FakeModels {
    pub(crate) fn new(models: Py<PyAny>) -> Self {
        Self { models }
    }

    fn answer(&self, py: Python<'_>, call: &HostCall<'_>) -> PyResult<Vec<CallResponse>> {
        let arguments = (call.model_name, call.model_version, request(py, call)?);
        let answered = self.models.bind(py).call_method1("call", arguments)?;
        let answered: Vec<Py<InferenceResponse>> = answered.extract()?;
        let responses = answered.iter().map(|each| call_response(py, each.get()));
        responses.collect()
    }
}

/// Returns the call as the request that the model made.
fn request<'py>(py: Python<'py>, call: &HostCall<'_>) -> PyResult<Bound<'py, PyAny>> {
    let inputs = call.inputs.iter().map(|input| {
        let input = standalone::on_host(input).map_err(|error| to_exception(&error))?;
        Bound::new(py, Tensor::from_host(input))
    });
    let fields = PyDict::new(py);
    fields.set_item("request_id", call.id)?;
    match call.correlation_id {
        CorrelationId::UInt(id) => fields.set_item("correlation_id", id)?,
        CorrelationId::String(id) => fields.set_item("correlation_id", id.as_str())?,
    }
    fields.set_item("inputs", inputs.collect::<PyResult<Vec<_>>>()?)?;
    fields.set_item("requested_output_names", call.requested_outputs)?;
    fields.set_item("model_name", call.model_name)?;
    fields.set_item("model_version", call.model_version)?;
    fields.set_item("flags", call.flags)?;
    fields.set_item("timeout", call.timeout_us)?;
    fields.set_item("priority", call.priority)?;
    fields.set_item("parameters", parameters::to_dict(py, call.parameters)?)?;
    py.get_type::<InferenceRequest>().call((), Some(&fields))
}

fn call_response(py: Python<'_>, response: &InferenceResponse) -> PyResult<CallResponse> {
    let tensors = response.tensors().iter();
    let outputs = tensors.map(|tensor| standalone::copy(py, tensor.get()));
    Ok(CallResponse {
        outputs: outputs.collect::<PyResult<_>>()?,
        error: response.host_error(),
        parameters: response.host_parameters().to_vec(),
        is_final: false,
    })
}

impl ModelCalls for FakeModels {
    fn call(
        &self,
        call: &HostCall<'_>,
        receiver: Arc<dyn CallReceiver>,
        _is_watched: bool,
    ) -> Box<dyn CallHandle> {
        let failed = |message: String| vec![CallResponse::failed(Error::internal(message))];
        let mut responses = Python::attach(|py| self.answer(py, call))
            .unwrap_or_else(|error| failed(error.to_string()));
        if !call.is_decoupled && responses.len() != 1 {
            responses = failed(format!(
                "Model {} is using the decoupled. The current BLS request call doesn't support \
                 models using the decoupled transaction policy. Please use 'decoupled=True' \
                 argument to the 'exec' or 'async_exec' calls for decoupled models.'",
                call.model_name
            ));
        }
        if responses.is_empty() {
            responses.push(CallResponse::default());
        }
        if let Some(last) = responses.last_mut() {
            last.is_final = true;
        }
        for response in responses {
            receiver.receive(response);
        }
        Box::new(Answered)
    }

    fn wait_until(&self, is_over: &mut dyn FnMut() -> bool) {
        let is_over = is_over();
        debug_assert!(is_over, "a call is answered when it returns");
    }

    fn control(&self, order: &ModelControl<'_>) -> Result<bool> {
        let (method, name) = match order {
            ModelControl::Load { name, .. } => ("load", name),
            ModelControl::Unload { name } => ("unload", name),
            ModelControl::IsReady { name, .. } => ("is_ready", name),
        };
        Python::attach(|py| {
            let answer = self.models.bind(py).call_method1(method, (name,));
            answer
                .and_then(|answer| answer.is_truthy())
                .map_err(|error| Error::internal(error.value(py).to_string()))
        })
    }
}

/// A call that is over.
struct Answered;

impl CallHandle for Answered {
    fn cancel(&self) {}

    fn note_read(&self) {}

    fn ignore(&self) {}
}
