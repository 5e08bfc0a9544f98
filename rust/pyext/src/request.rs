// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tritongw_backend_python::host::HostRequest;
use tritongw_types::CorrelationId;

use crate::error::model_exception;
use crate::parameters;
use crate::sender::{InferenceResponseSender, Outlet};
use crate::tensor::Tensor;

const RELEASE_ALL: u32 = 1;
const RELEASE_RESCHEDULE: u32 = 2;

/// Where a model would like outputs of another model to lie.
#[pyclass(frozen, module = "tritongw._core")]
#[derive(Debug)]
pub(crate) struct PreferredMemory {
    memory_type: u32,
    device_id: i64,
}

#[pymethods]
impl PreferredMemory {
    #[new]
    #[pyo3(signature = (preferred_memory_type, preferred_device_id = 0))]
    fn new(preferred_memory_type: u32, preferred_device_id: i64) -> Self {
        Self {
            memory_type: preferred_memory_type,
            device_id: preferred_device_id,
        }
    }

    fn __repr__(&self) -> String {
        format!("PreferredMemory({}, {})", self.memory_type, self.device_id)
    }
}

/// The trace that a request belongs to.
#[pyclass(frozen, module = "tritongw._core")]
#[derive(Clone, Debug, Default)]
pub(crate) struct InferenceTrace {
    context: Option<String>,
}

#[pymethods]
impl InferenceTrace {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Return the context of the trace as JSON, or ``None`` if the request is not traced.
    fn get_context(&self) -> Option<&str> {
        self.context.as_deref()
    }
}

/// A request: from the server to a model, or made by a model for another one.
#[pyclass(frozen, module = "tritongw._core")]
pub(crate) struct InferenceRequest {
    request_id: String,
    correlation_id: CorrelationId,
    flags: AtomicU32,
    release_flags: AtomicU32,
    timeout: u64,
    parameters: String,
    trace: InferenceTrace,
    inputs: Vec<Py<Tensor>>,
    // What a request of the server is asked for is known to its outlet.
    requested_output_names: Vec<String>,
    outlet: Option<Arc<Outlet>>,
}

impl InferenceRequest {
    /// Makes a request of the server.
    pub(crate) fn from_host(
        py: Python<'_>,
        request: HostRequest,
        outlet: Arc<Outlet>,
    ) -> PyResult<Self> {
        let inputs = request
            .inputs
            .into_iter()
            .map(|input| Py::new(py, Tensor::from_host(input)));
        Ok(Self {
            request_id: request.id,
            correlation_id: request.correlation_id,
            flags: AtomicU32::new(request.flags),
            release_flags: AtomicU32::new(RELEASE_ALL),
            timeout: request.timeout_us,
            parameters: request.parameters,
            trace: InferenceTrace {
                context: request.trace_context,
            },
            inputs: inputs.collect::<PyResult<_>>()?,
            requested_output_names: Vec::new(),
            outlet: Some(outlet),
        })
    }

    pub(crate) fn tensors(&self) -> &[Py<Tensor>] {
        &self.inputs
    }

    fn served_outlet(&self) -> PyResult<&Arc<Outlet>> {
        self.outlet
            .as_ref()
            .ok_or_else(|| model_exception("only a request of the server has a response sender"))
    }
}

#[pymethods]
impl InferenceRequest {
    #[new]
    #[pyo3(signature = (
        request_id = String::new(), correlation_id = None, inputs = Vec::new(),
        requested_output_names = Vec::new(), model_name = "", model_version = -1, flags = 0,
        timeout = 0, preferred_memory = None, trace = None, parameters = None
    ))]
    #[expect(clippy::too_many_arguments, reason = "Triton's signature")]
    fn new(
        request_id: String,
        correlation_id: Option<&Bound<'_, PyAny>>,
        inputs: Vec<Py<Tensor>>,
        requested_output_names: Vec<String>,
        model_name: &str,
        model_version: i64,
        flags: u32,
        timeout: u64,
        preferred_memory: Option<Py<PreferredMemory>>,
        trace: Option<Py<InferenceTrace>>,
        parameters: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        // Needed to send the request, which this version cannot.
        drop((model_name, model_version, preferred_memory));
        Ok(Self {
            request_id,
            correlation_id: correlation_id_of(correlation_id)?,
            flags: AtomicU32::new(flags),
            release_flags: AtomicU32::new(RELEASE_ALL),
            timeout,
            parameters: parameters::to_json(parameters)?,
            trace: trace.map(|trace| trace.get().clone()).unwrap_or_default(),
            inputs,
            requested_output_names,
            outlet: None,
        })
    }

    /// Return the inputs.
    fn inputs(&self, py: Python<'_>) -> Vec<Py<Tensor>> {
        self.inputs
            .iter()
            .map(|input| input.clone_ref(py))
            .collect()
    }

    /// Return the id, empty if there is none.
    fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Return the id of the sequence: an ``int`` or a ``str``.
    fn correlation_id<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match &self.correlation_id {
            CorrelationId::UInt(id) => Ok(id.into_pyobject(py)?.into_any()),
            CorrelationId::String(id) => Ok(id.as_str().into_pyobject(py)?.into_any()),
        }
    }

    /// Return the place in the sequence.
    fn flags(&self) -> u32 {
        self.flags.load(Ordering::Relaxed)
    }

    /// Set the place in the sequence.
    fn set_flags(&self, flags: u32) {
        self.flags.store(flags, Ordering::Relaxed);
    }

    /// Return the timeout in microseconds, 0 for none.
    fn timeout(&self) -> u64 {
        self.timeout
    }

    /// Return the parameters as a JSON object.
    fn parameters(&self) -> &str {
        if self.parameters.is_empty() {
            "{}"
        } else {
            &self.parameters
        }
    }

    /// Return the trace.
    fn trace(&self) -> InferenceTrace {
        self.trace.clone()
    }

    /// Return the names of the outputs that are asked for.
    fn requested_output_names(&self) -> Vec<String> {
        match &self.outlet {
            Some(outlet) => outlet.requested_outputs().to_vec(),
            None => self.requested_output_names.clone(),
        }
    }

    /// Return what sends responses to this request by hand.
    fn get_response_sender(&self) -> PyResult<InferenceResponseSender> {
        let outlet = self.served_outlet()?;
        outlet.take_sender();
        Ok(InferenceResponseSender::new(Arc::clone(outlet)))
    }

    /// Return whether the client has given the request up.
    fn is_cancelled(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.served_outlet()?.is_cancelled(py))
    }

    /// Say how the request is released; rescheduling is for iterative sequences.
    fn set_release_flags(&self, flags: u32) -> PyResult<()> {
        match flags {
            RELEASE_ALL => {
                self.release_flags.store(flags, Ordering::Relaxed);
                Ok(())
            }
            RELEASE_RESCHEDULE => Err(model_exception(
                "rescheduling a request is not available in this version of tritongw",
            )),
            other => Err(model_exception(format!("unknown release flags {other}"))),
        }
    }

    /// Not available yet: raises ``TritonModelException``.
    #[pyo3(signature = (decoupled = false))]
    fn exec(&self, decoupled: bool) -> PyResult<()> {
        Err(no_model_calls(decoupled))
    }

    /// Not available yet: raises ``TritonModelException``.
    #[pyo3(signature = (decoupled = false))]
    fn async_exec(&self, decoupled: bool) -> PyResult<()> {
        Err(no_model_calls(decoupled))
    }
}

fn no_model_calls(_decoupled: bool) -> PyErr {
    model_exception(
        "calls from a Python model to other models (BLS) are not available in this version of \
         tritongw",
    )
}

fn correlation_id_of(id: Option<&Bound<'_, PyAny>>) -> PyResult<CorrelationId> {
    let Some(id) = id else {
        return Ok(CorrelationId::default());
    };
    if let Ok(number) = id.extract::<u64>() {
        return Ok(CorrelationId::UInt(number));
    }
    match id.extract::<&str>() {
        Ok(text) => Ok(CorrelationId::String(text.into())),
        Err(_) => Err(PyTypeError::new_err(
            "Correlation ID must be integer or string",
        )),
    }
}
