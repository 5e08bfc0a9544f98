// SPDX-License-Identifier: Apache-2.0
//! A loaded `TritonPythonModel`, whichever process it runs in.
//!
//! Loading is Python's work (`tritongw._model_host`); on the way of a request no Python code runs
//! but the model's, and the event loop's where `execute` is a coroutine function.

use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use tritongw_backend_python::host::{
    BatchReply, BatchSource, Execution, HostBatch, HostRequest, ModelCalls, ModelSource,
    ModelTraits,
};
use tritongw_engine::model_log::LogOwner;
use tritongw_types::{Error, Result};

use crate::call_scope;
use crate::inbox::Inbox;
use crate::log_place::{LogPlace, RequestIds};
use crate::ready_probe::ReadyProbe;
use crate::request::InferenceRequest;
use crate::response::InferenceResponse;
use crate::sender::Outlet;

const HOST_MODULE: &str = "tritongw._model_host";

/// A loaded and initialised model.
pub(crate) struct PythonModel {
    owner: Arc<LogOwner>,
    is_decoupled: bool,
    // None outside of a server.
    calls: Option<Arc<dyn ModelCalls>>,
    execute: Py<PyAny>,
    finalize: Py<PyAny>,
    // None where the model has none.
    is_ready: Option<Py<PyAny>>,
    // Whether `execute` is a generator: it gives parts of the answer, one after another.
    is_yielding: bool,
    // Where `execute` is a coroutine function, or an asynchronous generator.
    event_loop: Option<Py<PyAny>>,
    host: Py<PyModule>,
}

/// A call of `execute` that has begun.
pub(crate) struct Call {
    reply: Arc<dyn BatchReply>,
    pub(crate) outlets: Vec<Arc<Outlet>>,
    execution: Execution,
    ids: RequestIds,
}

impl Call {
    /// Returns the number of its batch.
    pub(crate) fn batch(&self) -> u64 {
        self.reply.id()
    }
}

impl PythonModel {
    /// Imports the model's file and calls `initialize`.
    ///
    /// # Errors
    /// What the file or the model raised, in Triton's words.
    pub(crate) fn load(
        py: Python<'_>,
        source: &ModelSource,
        is_sole: bool,
        calls: Arc<dyn ModelCalls>,
    ) -> Result<Self> {
        let host = host_module(py)?;
        let owner = Arc::new(source.log_owner());
        let place = LogPlace::of(&owner);
        let load = || -> PyResult<Self> {
            let order = order(py, source)?;
            let load = || host.call_method1("load", (order, is_sole));
            let loaded = without_calls(py, place.clone(), load)?;
            Ok(Self {
                owner: Arc::clone(&owner),
                is_decoupled: source.is_decoupled,
                calls: Some(calls),
                execute: loaded.getattr("execute")?.unbind(),
                finalize: loaded.getattr("finalize")?.unbind(),
                is_ready: loaded.getattr("is_ready")?.extract()?,
                is_yielding: loaded.getattr("is_yielding")?.extract()?,
                event_loop: loaded.getattr("event_loop")?.extract()?,
                host: host.clone().unbind(),
            })
        };
        load().map_err(|error| {
            let what = format!("failed to load '{}':", source.instance_name);
            place.log_failure(py, &what, Some(&error));
            Error::internal(description(py, &host, error))
        })
    }

    /// Makes a model of its `execute` alone, which is to be finalised by whoever loaded it.
    ///
    /// # Errors
    /// If our own Python code is not there.
    pub(crate) fn of_function(
        py: Python<'_>,
        execute: Py<PyAny>,
        instance_name: String,
        is_decoupled: bool,
        is_yielding: bool,
        calls: Arc<dyn ModelCalls>,
    ) -> PyResult<Self> {
        let owner = LogOwner {
            instance: instance_name,
            ..LogOwner::default()
        };
        Ok(Self {
            owner: Arc::new(owner),
            is_decoupled,
            calls: Some(calls),
            execute,
            finalize: py.None(),
            is_ready: None,
            is_yielding,
            event_loop: None,
            host: py.import(HOST_MODULE)?.unbind(),
        })
    }

    /// Returns what the model is.
    pub(crate) fn traits(&self) -> ModelTraits {
        ModelTraits {
            is_concurrent: self.event_loop.is_some(),
            has_is_ready: self.is_ready.is_some(),
        }
    }

    /// Returns what asks the model whether it is ready, if it has a word in that.
    pub(crate) fn ready_probe(&self, py: Python<'_>) -> Option<ReadyProbe> {
        let is_ready = self.is_ready.as_ref()?;
        Some(ReadyProbe {
            owner: Arc::clone(&self.owner),
            is_ready: is_ready.clone_ref(py),
            event_loop: self.event_loop.as_ref().map(|each| each.clone_ref(py)),
            host: self.host.clone_ref(py),
        })
    }

    /// Calls `execute` with the requests of a batch and sends what it returns.
    ///
    /// # Errors
    /// If the server is gone; what `execute` raised or did wrong is the answer to its requests.
    pub(crate) fn execute(&self, py: Python<'_>, batch: HostBatch) -> Result<()> {
        let (requests, call) = self.begin(py, batch);
        let entered = match &self.calls {
            Some(calls) => call_scope::enter(py, calls, call.batch(), self.place(&call.ids)),
            None => call_scope::forbid(py, self.place(&call.ids)),
        };
        let returned = requests
            .and_then(|requests| self.execute.bind(py).call1((requests,)))
            .and_then(|returned| match self.is_yielding {
                true => self.send_yielded(&call, &returned),
                false => self.completed(returned),
            });
        entered
            .and_then(|entered| call_scope::leave(py, entered))
            .unwrap_or_else(|error| log::error!("failed to note a batch: {error}"));
        self.end(call, returned)
    }

    /// Runs the model's event loop until the source says stop.
    ///
    /// # Errors
    /// If the server is gone, or the loop cannot go on.
    pub(crate) fn serve(
        self: &Arc<Self>,
        py: Python<'_>,
        source: Box<dyn BatchSource>,
    ) -> PyResult<()> {
        let Some(event_loop) = &self.event_loop else {
            return Ok(());
        };
        let inbox = Bound::new(py, Inbox::new(Arc::clone(self), source))?;
        let event_loop = event_loop.bind(py);
        let served = event_loop.call_method1("serve", (&self.execute, inbox));
        self.finalize(py);
        event_loop.call_method0("close")?;
        served.map(|_| ())
    }

    /// Notes that the running task executes a batch.
    pub(crate) fn enter_task(&self, py: Python<'_>, call: &Call) -> PyResult<()> {
        match &self.calls {
            Some(calls) => call_scope::enter_task(py, calls, call.batch(), self.place(&call.ids)),
            None => Ok(()),
        }
    }

    /// Makes the objects that the model gets.
    pub(crate) fn begin<'py>(
        &self,
        py: Python<'py>,
        batch: HostBatch,
    ) -> (PyResult<Bound<'py, PyList>>, Call) {
        let mut outlets = Vec::with_capacity(batch.requests.len());
        let ids = RequestIds::of(&batch.requests);
        let requests = self.request_objects(py, batch.requests, &mut |index, requested_outputs| {
            let reply = Arc::clone(&batch.reply);
            let outlet = Arc::new(Outlet::new(
                reply,
                index,
                self.is_decoupled,
                requested_outputs,
                ids.clone(),
            ));
            outlets.push(Arc::clone(&outlet));
            outlet
        });
        let call = Call {
            reply: batch.reply,
            outlets,
            execution: batch.execution,
            ids,
        };
        (requests, call)
    }

    /// Sends what the model returned, or answers what is open with what it raised.
    ///
    /// # Errors
    /// If the server is gone.
    pub(crate) fn end(&self, call: Call, returned: PyResult<Bound<'_, PyAny>>) -> Result<()> {
        let Call {
            reply,
            outlets,
            execution,
            ids,
        } = call;
        reply.note_compute_end();
        let sent = match returned {
            Ok(returned) => self
                .send_returned(&returned, &outlets)
                .and_then(|()| Ok(outlets.iter().try_for_each(|outlet| outlet.reschedule())?))
                .map_err(|failure| self.failed(returned.py(), failure, &ids)),
            Err(error) => Err(Python::attach(|py| self.failed(py, error.into(), &ids))),
        };
        if sent.is_err() {
            // The batch's error answers them.
            outlets.iter().for_each(|outlet| outlet.close());
        }
        drop(outlets);
        execution.finish(sent)
    }

    /// Sends what a generator yields until it ends.
    fn send_yielded<'py>(
        &self,
        call: &Call,
        generator: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = generator.py();
        for part in generator.try_iter()? {
            self.send_part(call, &part?)?;
            let outlets = &call.outlets;
            py.detach(|| outlets.iter().for_each(|outlet| outlet.wait_for_room()));
        }
        self.end_parts(py, call)?;
        Ok(py.None().into_bound(py))
    }

    /// Sends one part of the answers: a list with a response or `None` for each request, or a
    /// response alone where there is one request.
    ///
    /// # Errors
    /// `TypeError` for anything else, and if an answer had ended before.
    pub(crate) fn send_part(&self, call: &Call, part: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = part.py();
        let responses = match part.cast::<PyList>() {
            Ok(list) => list.iter().collect(),
            Err(_) => vec![part.clone()],
        };
        let is_response =
            |part: &Bound<'_, PyAny>| part.is_none() || part.is_instance_of::<InferenceResponse>();
        if responses.len() != call.outlets.len() || !responses.iter().all(is_response) {
            return Err(PyTypeError::new_err(format!(
                "execute must yield a list of {} elements, an InferenceResponse or None for each \
                 request, found {}",
                call.outlets.len(),
                part.repr()?
            )));
        }
        for (response, outlet) in responses.iter().zip(&call.outlets) {
            if let Ok(response) = response.cast::<InferenceResponse>() {
                outlet.send_part(py, response.get())?;
            }
        }
        call.reply.flush();
        Ok(())
    }

    /// Says that no answer of a call has further parts.
    pub(crate) fn end_parts(&self, py: Python<'_>, call: &Call) -> PyResult<()> {
        call.outlets
            .iter()
            .try_for_each(|outlet| outlet.end_parts(py))
    }

    fn place(&self, ids: &RequestIds) -> LogPlace {
        LogPlace {
            owner: Arc::clone(&self.owner),
            ids: ids.clone(),
        }
    }

    /// Logs why an execution failed, and returns what its requests are answered with.
    fn failed(&self, py: Python<'_>, failure: Failure, ids: &RequestIds) -> Error {
        let host = self.host.bind(py);
        let name = &self.owner.instance;
        let what = format!("Failed to process the request(s) for model '{name}'");
        let text = match failure {
            Failure::Misuse(text) => {
                let what = format!("{what}, message: {text}");
                self.place(ids).log_failure(py, &what, None);
                text
            }
            Failure::Raised(error) => {
                let whole = format!("{what}:");
                self.place(ids).log_failure(py, &whole, Some(&error));
                description(py, host, error)
            }
        };
        Error::internal(format!("{what}, message: {text}"))
    }

    /// Returns the result of a coroutine that a plain `execute` returned, and all else as it is.
    fn completed<'py>(&self, returned: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        if returned.is_none() || returned.is_instance_of::<PyList>() {
            return Ok(returned);
        }
        let host = self.host.bind(returned.py());
        host.call_method1("run_to_end", (returned,))
    }

    fn request_objects<'py>(
        &self,
        py: Python<'py>,
        requests: Vec<HostRequest>,
        outlet: &mut dyn FnMut(usize, Vec<String>) -> Arc<Outlet>,
    ) -> PyResult<Bound<'py, PyList>> {
        let mut objects = Vec::with_capacity(requests.len());
        for (index, mut request) in requests.into_iter().enumerate() {
            let outlet = outlet(index, std::mem::take(&mut request.requested_outputs));
            let request = InferenceRequest::from_host(py, request, outlet)?;
            objects.push(Bound::new(py, request)?);
        }
        PyList::new(py, objects)
    }

    fn send_returned(
        &self,
        returned: &Bound<'_, PyAny>,
        outlets: &[Arc<Outlet>],
    ) -> std::result::Result<(), Failure> {
        let py = returned.py();
        if self.is_decoupled {
            if returned.is_none() {
                return Ok(());
            }
            return Err(Failure::Misuse(format!(
                "Python model '{}' is using the decoupled mode and the execute function must \
                 return None.\n",
                self.owner.instance
            )));
        }
        let Ok(responses) = returned.cast::<PyList>() else {
            return Err(Failure::Misuse(format!(
                "Expected a list in the execute return, found type '{}'.\n",
                returned.get_type().str()?
            )));
        };
        if responses.len() != outlets.len() {
            return Err(Failure::Misuse(format!(
                "Number of InferenceResponse objects do not match the number of InferenceRequest \
                 objects. InferenceRequest(s) size is:{}, and InferenceResponse(s) size is:{}\n",
                outlets.len(),
                responses.len()
            )));
        }
        for (response, outlet) in responses.iter().zip(outlets) {
            let is_response = response.is_instance_of::<InferenceResponse>();
            if outlet.is_rescheduled() && !response.is_none() {
                return Err(Failure::Misuse(format!(
                    "Expected a None object in the execute function return list for reschduled \
                     request, found type '{}'.\n",
                    response.get_type().str()?
                )));
            }
            let is_answered =
                response.is_none() && (outlet.may_answer_later() || outlet.is_rescheduled());
            if !is_response && !is_answered {
                return Err(Failure::Misuse(format!(
                    "Expected an 'InferenceResponse' object in the execute function return list, \
                     found type '{}'.\n",
                    response.get_type().str()?
                )));
            }
        }
        for (response, outlet) in responses.iter().zip(outlets) {
            if let Ok(response) = response.cast::<InferenceResponse>() {
                outlet.send_returned(py, response.get())?;
            }
        }
        Ok(())
    }

    /// Calls `finalize`, if the model has it.
    pub(crate) fn finalize(&self, py: Python<'_>) {
        let place = LogPlace::of(&self.owner);
        let finalized = without_calls(py, place.clone(), || self.finalize.bind(py).call0());
        if let Err(error) = finalized {
            let what = format!("failed to finalize '{}':", self.owner.instance);
            place.log_failure(py, &what, Some(&error));
        }
    }
}

/// Runs what must not call models.
pub(crate) fn without_calls<T>(
    py: Python<'_>,
    place: LogPlace,
    run: impl FnOnce() -> PyResult<T>,
) -> PyResult<T> {
    let entered = call_scope::forbid(py, place)?;
    let result = run();
    call_scope::leave(py, entered)?;
    result
}

/// Why a batch failed.
enum Failure {
    Raised(PyErr),
    /// The model broke a rule; the text ends in a line feed, as Triton's does.
    Misuse(String),
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

/// Asks the model's `auto_complete_config`; `None` if it has none.
///
/// # Errors
/// As [`PythonModel::load`].
pub(crate) fn complete_config(py: Python<'_>, source: &ModelSource) -> Result<Option<String>> {
    let host = host_module(py)?;
    let complete = || -> PyResult<Option<String>> {
        host.call_method1("complete_config", (order(py, source)?,))?
            .extract()
    };
    complete().map_err(|error| {
        let what = format!(
            "failed to complete the configuration of '{}':",
            source.model_name
        );
        let place = LogPlace::of(&Arc::new(source.log_owner()));
        place.log_failure(py, &what, Some(&error));
        Error::internal(description(py, &host, error))
    })
}

fn host_module(py: Python<'_>) -> Result<Bound<'_, PyModule>> {
    py.import(HOST_MODULE)
        .map_err(|error| Error::internal(format!("failed to import {HOST_MODULE}: {error}")))
}

/// Returns the text of an exception as clients get it.
pub(crate) fn description(py: Python<'_>, host: &Bound<'_, PyModule>, error: PyErr) -> String {
    let described = host.call_method1(intern!(py, "describe"), (error.into_value(py),));
    described
        .and_then(|text| text.extract())
        .unwrap_or_else(|error| error.to_string())
}

/// Returns the source as keyword arguments of `_model_host.ModelOrder`.
fn order<'py>(py: Python<'py>, source: &ModelSource) -> PyResult<Bound<'py, PyDict>> {
    let order = PyDict::new(py);
    order.set_item("instance_name", &source.instance_name)?;
    order.set_item("model_name", &source.model_name)?;
    order.set_item("model_path", &source.model_path)?;
    order.set_item("version_directory", &source.version_directory)?;
    order.set_item("model_directory", &source.model_directory)?;
    order.set_item("model_config", &source.model_config)?;
    order.set_item("instance_kind", &source.instance_kind)?;
    order.set_item("device_id", source.device_id)?;
    order.set_item("version", source.version)?;
    order.set_item("is_decoupled", source.is_decoupled)?;
    order.set_item("debugger", &source.debugger)?;
    Ok(order)
}
