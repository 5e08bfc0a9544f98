// SPDX-License-Identifier: Apache-2.0
use parking_lot::Mutex;
use pyo3::exceptions::{PyStopAsyncIteration, PyStopIteration, PyTypeError};
use pyo3::prelude::*;
use tritongw_backend_python::host::CallResponse;

use crate::call::{Awaited, SentCall, new_future, resolve_later};
use crate::response::InferenceResponse;

const DONE: &str = "Iteration is done for the responses.";

/// The responses of a call with ``decoupled=True``.
///
/// Once all have come, they can be iterated over again.
#[pyclass(frozen, module = "tritongw._core")]
pub(crate) struct ResponseIterator {
    call: SentCall,
    // Whether responses arrive while nobody waits, which asynchronous iteration needs.
    is_watched: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    seen: Vec<Py<InferenceResponse>>,
    next: usize,
    is_complete: bool,
}

impl ResponseIterator {
    pub(crate) fn new(call: SentCall, is_watched: bool) -> Self {
        Self {
            call,
            is_watched,
            state: Mutex::default(),
        }
    }

    /// Returns what was seen before, if all responses have been; the exception after the last.
    fn again(
        &self,
        py: Python<'_>,
        done: impl FnOnce() -> PyErr,
    ) -> PyResult<Option<Py<InferenceResponse>>> {
        let mut state = self.state.lock();
        if !state.is_complete {
            return Ok(None);
        }
        let next = state.next;
        match state.seen.get(next).map(|response| response.clone_ref(py)) {
            Some(response) => {
                state.next += 1;
                Ok(Some(response))
            }
            None => Err(done()),
        }
    }

    fn add(&self, py: Python<'_>, response: CallResponse) -> PyResult<Py<InferenceResponse>> {
        let is_final = response.is_final;
        let response = Py::new(py, InferenceResponse::from_call(py, response)?)?;
        let mut state = self.state.lock();
        state.seen.push(response.clone_ref(py));
        state.next = state.seen.len();
        state.is_complete = is_final;
        drop(state);
        if !is_final {
            py.detach(|| self.call.handle.note_read());
        }
        Ok(response)
    }

    /// Returns the next response if it has come.
    ///
    /// # Errors
    /// `StopAsyncIteration` after the last.
    pub(crate) fn take_next(slf: &Bound<'_, Self>) -> PyResult<Option<Py<InferenceResponse>>> {
        let (py, iterator) = (slf.py(), slf.get());
        let again = iterator.again(py, || PyStopAsyncIteration::new_err(DONE))?;
        if again.is_some() {
            return Ok(again);
        }
        let response = iterator.call.mailbox.take();
        response
            .map(|response| iterator.add(py, response))
            .transpose()
    }
}

#[pymethods]
impl ResponseIterator {
    /// Return the iterator itself; from the first response again if all have come.
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        let mut state = slf.get().state.lock();
        if state.is_complete {
            state.next = 0;
        }
        drop(state);
        slf
    }

    /// Return the next response, waiting for it.
    fn __next__(&self, py: Python<'_>) -> PyResult<Py<InferenceResponse>> {
        if let Some(response) = self.again(py, || PyStopIteration::new_err(DONE))? {
            return Ok(response);
        }
        let response = py.detach(|| self.call.mailbox.wait(&*self.call.calls));
        self.add(py, response)
    }

    /// Return the iterator itself, for ``async for``.
    fn __aiter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        if !slf.get().is_watched {
            return Err(PyTypeError::new_err(
                "only the responses of async_exec can be iterated over with 'async for'",
            ));
        }
        Ok(Self::__iter__(slf))
    }

    /// Return a future of the next response.
    fn __anext__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let (event_loop, future) = new_future(py)?;
        match Self::take_next(slf)? {
            Some(response) => {
                future.call_method1("set_result", (response,))?;
            }
            None => {
                let awaited = Awaited::Next(slf.clone().unbind());
                resolve_later(&event_loop, &future, &slf.get().call, awaited)?;
            }
        }
        Ok(future)
    }

    /// Give the call up: the model learns of it, and answers no more if it looks.
    fn cancel(&self, py: Python<'_>) {
        py.detach(|| self.call.handle.cancel());
    }
}

impl Drop for ResponseIterator {
    fn drop(&mut self) {
        if !self.state.get_mut().is_complete {
            self.call.handle.ignore();
        }
    }
}
