// SPDX-License-Identifier: Apache-2.0
//! What the event loop of a model (`tritongw._event_loop`) sees of the server.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyList;
use tritongw_backend_python::host::{BatchSource, Next};
use tritongw_types::Error;

use crate::model::{Call, PythonModel};

/// Where the event loop of a model gets its batches from.
#[pyclass(frozen, module = "tritongw._core")]
pub(crate) struct Inbox {
    model: Arc<PythonModel>,
    source: Mutex<Box<dyn BatchSource>>,
    is_stopped: AtomicBool,
}

impl Inbox {
    pub(crate) fn new(model: Arc<PythonModel>, source: Box<dyn BatchSource>) -> Self {
        Self {
            model,
            source: Mutex::new(source),
            is_stopped: AtomicBool::new(false),
        }
    }
}

#[pymethods]
impl Inbox {
    /// Return the descriptor that becomes readable when the loop is called.
    fn fileno(&self) -> RawFd {
        self.source.lock().wake_fd().as_raw_fd()
    }

    /// Return the next batch, or ``None`` if there is none now.
    fn take(&self, py: Python<'_>) -> PyResult<Option<Execution>> {
        let next = self.source.lock().try_next()?;
        match next {
            None => Ok(None),
            Some(Next::Stop) => {
                self.is_stopped.store(true, Ordering::Relaxed);
                Ok(None)
            }
            Some(Next::Batch(batch)) => {
                let (requests, call) = self.model.begin(py, batch);
                let execution = Execution {
                    model: Arc::clone(&self.model),
                    requests: Mutex::new(Some(requests.map(Bound::unbind))),
                    call: Mutex::new(Some(call)),
                };
                Ok(Some(execution))
            }
        }
    }

    /// Return whether no further batch will come.
    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    /// Say that the loop looks again only when it is called; ``False`` if it has to at once.
    fn prepare_sleep(&self) -> bool {
        self.source.lock().prepare_sleep()
    }

    /// Take note of a call.
    fn note_call(&self) -> PyResult<()> {
        Ok(self.source.lock().note_call()?)
    }

    /// See that the server notices what was sent.
    fn flush(&self) {
        self.source.lock().flush();
    }
}

/// A batch under way in an event loop; letting it go ends it with an error.
#[pyclass(frozen, module = "tritongw._core")]
pub(crate) struct Execution {
    model: Arc<PythonModel>,
    requests: Mutex<Option<PyResult<Py<PyList>>>>,
    call: Mutex<Option<Call>>,
}

impl Execution {
    fn end(&self, returned: PyResult<Bound<'_, PyAny>>) -> PyResult<()> {
        let call = self.call.lock().take();
        let Some(call) = call else { return Ok(()) };
        self.model.end(call, returned).map_err(|error| gone(&error))
    }

    /// Uses the call; taken out meanwhile, so that no lock is held while Python code runs. Only
    /// the loop's coroutine of this batch uses it, step by step.
    fn with_call<T>(&self, use_it: impl FnOnce(&Call) -> PyResult<T>) -> PyResult<T> {
        let call = self.call.lock().take();
        let call = call.ok_or_else(|| PyRuntimeError::new_err("the execution has ended"))?;
        let result = use_it(&call);
        *self.call.lock() = Some(call);
        result
    }
}

#[pymethods]
impl Execution {
    /// Return the requests, once.
    fn take_requests<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let requests = self.requests.lock().take();
        self.with_call(|call| self.model.enter_task(py, call))?;
        match requests {
            Some(requests) => Ok(requests?.into_bound(py)),
            None => Err(PyRuntimeError::new_err("the requests were taken before")),
        }
    }

    /// Send what an asynchronous generator has yielded; ``False``: call ``wait_for_room`` before
    /// the next part.
    fn send_part(&self, part: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.with_call(|call| {
            self.model.send_part(call, part)?;
            Ok(call.outlets.iter().all(|outlet| outlet.has_room()))
        })
    }

    /// Say that an asynchronous generator has ended.
    fn end_parts(&self, py: Python<'_>) -> PyResult<()> {
        self.with_call(|call| self.model.end_parts(py, call))
    }

    /// Block while a client reads more slowly than the model answers.
    fn wait_for_room(&self, py: Python<'_>) -> PyResult<()> {
        let outlets = self.with_call(|call| Ok(call.outlets.clone()))?;
        py.detach(|| outlets.iter().for_each(|outlet| outlet.wait_for_room()));
        Ok(())
    }

    /// Send what ``execute`` returned.
    fn finish(&self, returned: Bound<'_, PyAny>) -> PyResult<()> {
        self.end(Ok(returned))
    }

    /// Answer what is open with what ``execute`` raised; nothing if it has ended before.
    fn fail(&self, error: Bound<'_, PyAny>) -> PyResult<()> {
        self.end(Err(PyErr::from_value(error)))
    }
}

/// Makes the exception of a server that takes no more.
pub(crate) fn gone(error: &Error) -> PyErr {
    PyOSError::new_err(error.message().to_owned())
}
