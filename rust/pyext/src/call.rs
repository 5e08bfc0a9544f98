// SPDX-License-Identifier: Apache-2.0
//! Calls to other models: sent, waited for, or awaited.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use tritongw_backend_python::host::{CallHandle, CallReceiver, CallResponse, ModelCalls};

use crate::response::InferenceResponse;
use crate::response_iterator::ResponseIterator;
use crate::thread_state;

/// Called once, on whichever thread brings the next response.
type OnArrival = Box<dyn FnOnce() + Send>;

/// Responses to one call that nobody has looked at.
#[derive(Default)]
pub(crate) struct Mailbox(Mutex<Letters>);

#[derive(Default)]
struct Letters {
    waiting: VecDeque<CallResponse>,
    on_arrival: Option<OnArrival>,
}

impl Mailbox {
    /// Takes the oldest response.
    pub(crate) fn take(&self) -> Option<CallResponse> {
        self.0.lock().waiting.pop_front()
    }

    /// Blocks until there is a response and takes it. The thread must not be attached.
    pub(crate) fn wait(&self, calls: &dyn ModelCalls) -> CallResponse {
        loop {
            calls.wait_until(&mut || !self.0.lock().waiting.is_empty());
            if let Some(response) = self.take() {
                return response;
            }
        }
    }

    /// Has `on_arrival` called with the next response; false, and it is dropped, if one waits.
    fn notify(&self, on_arrival: OnArrival) -> bool {
        let mut letters = self.0.lock();
        if !letters.waiting.is_empty() {
            return false;
        }
        letters.on_arrival = Some(on_arrival);
        true
    }
}

impl CallReceiver for Mailbox {
    fn receive(&self, response: CallResponse) {
        let on_arrival = {
            let mut letters = self.0.lock();
            letters.waiting.push_back(response);
            letters.on_arrival.take()
        };
        if let Some(on_arrival) = on_arrival {
            on_arrival();
        }
    }
}

/// A call that was sent.
#[derive(Clone)]
pub(crate) struct SentCall {
    pub(crate) calls: Arc<dyn ModelCalls>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) handle: Arc<dyn CallHandle>,
}

impl SentCall {
    /// Waits for the one response.
    pub(crate) fn response(&self, py: Python<'_>) -> PyResult<InferenceResponse> {
        let response = py.detach(|| self.mailbox.wait(&*self.calls));
        InferenceResponse::from_call(py, response)
    }
}

/// What an awaited call gives.
pub(crate) enum Awaited {
    /// Its response.
    Response,
    /// The iterator over its responses, once there is one.
    Iterator(Py<ResponseIterator>),
    /// The iterator's next response.
    Next(Py<ResponseIterator>),
}

/// Returns a future of the running event loop.
///
/// # Errors
/// `RuntimeError` if there is none.
pub(crate) fn new_future(py: Python<'_>) -> PyResult<(Bound<'_, PyAny>, Bound<'_, PyAny>)> {
    static GET_LOOP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let event_loop = GET_LOOP
        .import(py, "asyncio", "get_running_loop")?
        .call0()?;
    let future = event_loop.call_method0(intern!(py, "create_future"))?;
    Ok((event_loop, future))
}

/// Returns whether an event loop waits for the running code.
pub(crate) fn is_in_event_loop(py: Python<'_>) -> PyResult<bool> {
    static FIND_LOOP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let event_loop = FIND_LOOP
        .import(py, "asyncio", "_get_running_loop")?
        .call0()?;
    Ok(!event_loop.is_none())
}

/// Resolves `future`, of `event_loop`, with what comes next for a call.
pub(crate) fn resolve_later(
    event_loop: &Bound<'_, PyAny>,
    future: &Bound<'_, PyAny>,
    call: &SentCall,
    awaited: Awaited,
) -> PyResult<()> {
    let py = future.py();
    let arrival = Arrival {
        future: future.clone().unbind(),
        mailbox: Arc::clone(&call.mailbox),
        awaited,
    };
    let arrival = Py::new(py, arrival)?;
    let (event_loop, of_loop) = (event_loop.clone().unbind(), arrival.clone_ref(py));
    let tell = move || {
        thread_state::keep_if_foreign();
        Python::attach(|py| {
            let told = event_loop
                .bind(py)
                .call_method1(intern!(py, "call_soon_threadsafe"), (of_loop,));
            if let Err(error) = told {
                // The loop is closed: nobody awaits.
                log::debug!("a response of a called model came too late: {error}");
            }
        });
    };
    if !call.mailbox.notify(Box::new(tell)) {
        return arrival.get().settle(py);
    }
    let on_done = OnDone(Arc::clone(&call.handle));
    future.call_method1(intern!(py, "add_done_callback"), (Py::new(py, on_done)?,))?;
    Ok(())
}

/// Resolves a future, on the thread of its loop.
#[pyclass(frozen, module = "tritongw._core")]
struct Arrival {
    future: Py<PyAny>,
    mailbox: Arc<Mailbox>,
    awaited: Awaited,
}

impl Arrival {
    fn settle(&self, py: Python<'_>) -> PyResult<()> {
        let future = self.future.bind(py);
        if future.call_method0(intern!(py, "done"))?.is_truthy()? {
            return Ok(());
        }
        let result = match &self.awaited {
            Awaited::Response => match self.mailbox.take() {
                None => return Ok(()), // INVARIANT: there is one, and nobody else takes it.
                Some(response) => {
                    let response = InferenceResponse::from_call(py, response);
                    response.and_then(|response| Ok(Py::new(py, response)?.into_any()))
                }
            },
            Awaited::Iterator(iterator) => Ok(iterator.clone_ref(py).into_any()),
            Awaited::Next(iterator) => match ResponseIterator::take_next(iterator.bind(py)) {
                Ok(Some(response)) => Ok(response.into_any()),
                Ok(None) => return Ok(()),
                Err(error) => Err(error),
            },
        };
        match result {
            Ok(result) => future.call_method1(intern!(py, "set_result"), (result,))?,
            Err(error) => future.call_method1(intern!(py, "set_exception"), (error,))?,
        };
        Ok(())
    }
}

#[pymethods]
impl Arrival {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        self.settle(py)
    }
}

/// Gives a call up whose future was cancelled.
#[pyclass(frozen, module = "tritongw._core")]
struct OnDone(Arc<dyn CallHandle>);

#[pymethods]
impl OnDone {
    fn __call__(&self, future: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = future.py();
        if future.call_method0(intern!(py, "cancelled"))?.is_truthy()? {
            py.detach(|| self.0.cancel());
        }
        Ok(())
    }
}
