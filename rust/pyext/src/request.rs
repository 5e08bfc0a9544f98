// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tritongw_backend_python::host::{CallReceiver, HostCall, HostOutput, HostRequest, TraceParent};
use tritongw_types::{CorrelationId, Parameter};

use crate::call::{Awaited, Mailbox, SentCall, is_in_event_loop, new_future, resolve_later};
use crate::call_scope;
use crate::error::model_exception;
use crate::parameters;
use crate::response_iterator::ResponseIterator;
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
    // The request whose trace it is, if it is the server's.
    parent: Option<TraceParent>,
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
    timeout: u64,
    priority: u64,
    parameters: String,
    trace: InferenceTrace,
    inputs: Vec<Py<Tensor>>,
    // What a request of the server is asked for is known to its outlet.
    requested_output_names: Vec<String>,
    outlet: Option<Arc<Outlet>>,
    // Of a request to another model.
    target: Option<Target>,
}

/// Whom a request is for, and what only the sending of it needs.
struct Target {
    model_name: String,
    model_version: i64,
    parameters: Vec<Parameter>,
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
            timeout: request.timeout_us,
            priority: request.priority,
            parameters: request.parameters,
            trace: InferenceTrace {
                context: request.trace_context,
                parent: outlet.trace_parent(),
            },
            inputs: inputs.collect::<PyResult<_>>()?,
            requested_output_names: Vec::new(),
            outlet: Some(outlet),
            target: None,
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
        request_id = String::new(), correlation_id = None, inputs = None,
        requested_output_names = None, model_name = None, model_version = -1, flags = 0,
        timeout = 0, preferred_memory = None, trace = None, parameters = None, priority = 0
    ))]
    #[expect(
        clippy::too_many_arguments,
        reason = "Triton's signature, and the priority"
    )]
    fn new(
        request_id: String,
        correlation_id: Option<&Bound<'_, PyAny>>,
        inputs: Option<Vec<Option<Py<Tensor>>>>,
        requested_output_names: Option<Vec<String>>,
        model_name: Option<String>,
        model_version: i64,
        flags: u32,
        timeout: u64,
        preferred_memory: Option<Py<PreferredMemory>>,
        trace: Option<Py<InferenceTrace>>,
        parameters: Option<&Bound<'_, PyDict>>,
        priority: u64,
    ) -> PyResult<Self> {
        // All memory is the host's: there is nothing to prefer (Y066).
        drop(preferred_memory);
        let model_name = required("model_name", model_name)?;
        let empty = |what: &str| {
            model_exception(format!(
                "{what} for request with id '{request_id}' and model name '{model_name}' should \
                 not be empty."
            ))
        };
        let inputs = required("inputs", inputs)?
            .into_iter()
            .map(|input| input.ok_or_else(|| empty("Input tensor")))
            .collect::<PyResult<_>>()?;
        let mut requested = Vec::new();
        for name in required("requested_output_names", requested_output_names)? {
            if name.is_empty() {
                return Err(empty("Requested output name"));
            }
            if !requested.contains(&name) {
                requested.push(name);
            }
        }
        let target = Target {
            model_name,
            model_version,
            parameters: parameters
                .map(parameters::from_dict)
                .transpose()?
                .unwrap_or_default(),
        };
        Ok(Self {
            request_id,
            correlation_id: correlation_id_of(correlation_id)?,
            flags: AtomicU32::new(flags),
            timeout,
            priority,
            parameters: parameters::to_json(parameters)?,
            trace: trace.map(|trace| trace.get().clone()).unwrap_or_default(),
            inputs,
            requested_output_names: requested,
            outlet: None,
            target: Some(target),
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

    /// Return the priority level, 0 for the model's default.
    fn priority(&self) -> u64 {
        self.priority
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
            RELEASE_ALL | RELEASE_RESCHEDULE => {
                if let Some(outlet) = &self.outlet {
                    outlet.set_rescheduled(flags == RELEASE_RESCHEDULE);
                }
                Ok(())
            }
            other => Err(model_exception(format!("unknown release flags {other}"))),
        }
    }

    /// Send the request to its model and wait for the response.
    ///
    /// With ``decoupled`` return an iterator over any number of responses at once.
    #[pyo3(signature = (decoupled = false))]
    fn exec<'py>(&self, py: Python<'py>, decoupled: bool) -> PyResult<Bound<'py, PyAny>> {
        let call = self.send(py, decoupled, false)?;
        if decoupled {
            Ok(Bound::new(py, ResponseIterator::new(call, false))?.into_any())
        } else {
            Ok(Bound::new(py, call.response(py)?)?.into_any())
        }
    }

    /// Send the request to its model and return a future of the response.
    ///
    /// With ``decoupled`` the future's result is an iterator over any number of responses.
    #[pyo3(signature = (decoupled = false))]
    fn async_exec<'py>(&self, py: Python<'py>, decoupled: bool) -> PyResult<Bound<'py, PyAny>> {
        let (event_loop, future) = new_future(py)?;
        let call = self.send(py, decoupled, true)?;
        let awaited = if decoupled {
            let iterator = ResponseIterator::new(call.clone(), true);
            Awaited::Iterator(Py::new(py, iterator)?)
        } else {
            Awaited::Response
        };
        resolve_later(&event_loop, &future, &call, awaited)?;
        Ok(future)
    }
}

impl InferenceRequest {
    fn send(&self, py: Python<'_>, is_decoupled: bool, is_watched: bool) -> PyResult<SentCall> {
        let scope = call_scope::current(py)?;
        let target = self.target.as_ref().ok_or_else(|| {
            model_exception(
                "a request of the server cannot be sent on: make an InferenceRequest with its \
                 inputs",
            )
        })?;
        let data: Vec<_> = self
            .inputs
            .iter()
            .map(Py::get)
            .map(|tensor| tensor.data(py).map(|data| (tensor, data)))
            .collect::<PyResult<_>>()?;
        let inputs = data.iter().map(|(tensor, data)| HostOutput {
            name: tensor.name(),
            data_type: tensor.data_type(),
            shape: data.shape(),
            data: data.for_call(),
        });
        let call = HostCall {
            model_name: &target.model_name,
            model_version: target.model_version,
            id: &self.request_id,
            correlation_id: &self.correlation_id,
            flags: self.flags.load(Ordering::Relaxed),
            timeout_us: self.timeout,
            priority: self.priority,
            parameters: &target.parameters,
            requested_outputs: &self.requested_output_names,
            inputs: inputs.collect(),
            is_decoupled,
            batch: scope.batch,
            is_blocking: !is_watched && is_in_event_loop(py)?,
            trace: self.trace.parent,
        };
        let (calls, mailbox) = (scope.calls, Arc::new(Mailbox::default()));
        let receiver = Arc::clone(&mailbox) as Arc<dyn CallReceiver>;
        let handle = py.detach(|| calls.call(&call, receiver, is_watched));
        Ok(SentCall {
            calls,
            mailbox,
            handle: handle.into(),
        })
    }
}

fn required<T>(name: &str, value: Option<T>) -> PyResult<T> {
    value.ok_or_else(|| {
        PyTypeError::new_err(format!(
            "InferenceRequest() is missing the required argument '{name}'"
        ))
    })
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
