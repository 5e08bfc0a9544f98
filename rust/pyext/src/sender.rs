// SPDX-License-Identifier: Apache-2.0
//! Sends the responses to one request, by hand or when `execute` returns them.

use std::sync::Arc;

use parking_lot::Mutex;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use tritongw_backend_python::host::{BatchReply, HostOutput, HostResponse, TraceParent};
use tritongw_engine::ResponseFlags;
use tritongw_engine::model_log::ModelLine;
use tritongw_types::Error;

use crate::error::{model_exception, to_exception};
use crate::log_place::RequestIds;
use crate::response::InferenceResponse;

const FINAL: u32 = ResponseFlags::FINAL.0;

/// What is known of the answers to one request of the server; shared by the request and its
/// sender. When both are gone nothing more can be sent, and the request is ended if it is open.
pub(crate) struct Outlet {
    reply: Arc<dyn BatchReply>,
    index: usize,
    is_decoupled: bool,
    requested_outputs: Vec<String>,
    // Of all requests of the batch.
    ids: RequestIds,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Default)]
struct State {
    is_sender_taken: bool,
    is_closed: bool,
    // The model asked for another execution of the request.
    is_rescheduled: bool,
    // The server heard of it.
    was_rescheduled: bool,
    sent_count: u64,
}

impl Outlet {
    pub(crate) fn new(
        reply: Arc<dyn BatchReply>,
        index: usize,
        is_decoupled: bool,
        requested_outputs: Vec<String>,
        ids: RequestIds,
    ) -> Self {
        Self {
            reply,
            index,
            is_decoupled,
            requested_outputs,
            ids,
            state: Mutex::default(),
        }
    }

    /// Returns the place of the request among those that the server knows.
    pub(crate) fn trace_parent(&self) -> Option<TraceParent> {
        let index = u32::try_from(self.index).ok()?;
        let batch = self.reply.id();
        Some(TraceParent { batch, index })
    }

    pub(crate) fn requested_outputs(&self) -> &[String] {
        &self.requested_outputs
    }

    pub(crate) fn is_cancelled(&self, py: Python<'_>) -> bool {
        py.detach(|| self.reply.is_cancelled(self.index))
    }

    /// Notes that the model answers by itself.
    pub(crate) fn take_sender(&self) {
        self.state.lock().is_sender_taken = true;
    }

    /// Returns whether `execute` may give no response for the request.
    pub(crate) fn may_answer_later(&self) -> bool {
        let state = self.state.lock();
        state.is_sender_taken || state.sent_count > 0
    }

    /// Says whether the request is to be executed once more, when `execute` has returned.
    pub(crate) fn set_rescheduled(&self, is_rescheduled: bool) {
        self.state.lock().is_rescheduled = is_rescheduled;
    }

    pub(crate) fn is_rescheduled(&self) -> bool {
        self.state.lock().is_rescheduled
    }

    /// Has the request executed once more, if the model asked for it. What is sent later in a
    /// decoupled model is still a response to it.
    pub(crate) fn reschedule(&self) -> PyResult<()> {
        {
            let mut state = self.state.lock();
            if !state.is_rescheduled || state.is_closed {
                return Ok(());
            }
            if self.is_decoupled {
                state.was_rescheduled = true;
            } else {
                state.is_closed = true;
            }
        }
        self.reply
            .reschedule(self.index)
            .map_err(|error| to_exception(&error))
    }

    /// Sees that nothing more is sent: someone else answers.
    pub(crate) fn close(&self) {
        self.state.lock().is_closed = true;
    }

    /// Sends the response that `execute` returned, without waking the server: the end of the
    /// execution does.
    pub(crate) fn send_returned(
        &self,
        py: Python<'_>,
        response: &InferenceResponse,
    ) -> PyResult<()> {
        self.note(true, FINAL)?;
        self.send(py, Some(response), FINAL)
    }

    /// Sends a part of the answer, which the server notices at the next [`Self::flush`].
    pub(crate) fn send_part(&self, py: Python<'_>, response: &InferenceResponse) -> PyResult<()> {
        self.note(true, 0)?;
        self.send(py, Some(response), 0)
    }

    /// Says that no further part comes, unless that was said.
    pub(crate) fn end_parts(&self, py: Python<'_>) -> PyResult<()> {
        let state = *self.state.lock();
        if state.is_closed || state.is_rescheduled {
            return Ok(());
        }
        self.note(false, FINAL)?;
        self.send(py, None, FINAL)
    }

    /// Returns whether [`Self::wait_for_room`] would return at once.
    pub(crate) fn has_room(&self) -> bool {
        self.reply.has_room(self.index)
    }

    /// Blocks while the client reads more slowly than the model answers.
    pub(crate) fn wait_for_room(&self) {
        self.reply.wait_for_room(self.index);
    }

    /// Checks a sending and notes it (Triton: `ResponseSender::UpdateStateAndCounters`).
    fn note(&self, has_response: bool, flags: u32) -> PyResult<()> {
        let mut state = self.state.lock();
        let refusal = if state.is_closed {
            Some("Response sender has been closed.")
        } else if self.is_decoupled {
            None
        } else if has_response && state.sent_count > 0 {
            Some("Non-decoupled model cannot send more than one response.")
        } else if !has_response && state.sent_count == 0 {
            Some("Non-decoupled model cannot send complete final before sending a response.")
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return Err(model_exception(format!(
                "Unable to send response. {refusal}"
            )));
        }
        state.is_closed = flags == FINAL;
        state.sent_count += 1;
        Ok(())
    }

    fn send(
        &self,
        py: Python<'_>,
        response: Option<&InferenceResponse>,
        flags: u32,
    ) -> PyResult<()> {
        let flags = ResponseFlags(flags);
        let Some(response) = response else {
            return self
                .reply
                .send(self.index, None, flags)
                .map_err(|error| to_exception(&error));
        };
        let sent = self.send_response(py, response, flags)?;
        // What cannot be sent, for its size say, is the request's error, not the batch's.
        sent.or_else(|error| {
            let response = HostResponse {
                error: Some(error),
                ..HostResponse::default()
            };
            self.reply.send(self.index, Some(&response), flags)
        })
        .map_err(|error| to_exception(&error))
    }

    fn send_response(
        &self,
        py: Python<'_>,
        response: &InferenceResponse,
        flags: ResponseFlags,
    ) -> PyResult<tritongw_types::Result<()>> {
        // Outputs that nobody asked for are dropped (Y052), and all of an error.
        let error = response.host_error();
        let is_wanted = |name: &str| self.requested_outputs.iter().any(|wanted| wanted == name);
        let tensors: Vec<_> = response
            .tensors()
            .iter()
            .map(Py::get)
            .filter(|tensor| error.is_none() && is_wanted(tensor.name()))
            .map(|tensor| tensor.data(py).map(|data| (tensor, data)))
            .collect::<PyResult<_>>()?;
        let outputs = tensors.iter().map(|(tensor, data)| HostOutput {
            name: tensor.name(),
            data_type: tensor.data_type(),
            shape: data.shape(),
            data: data.for_response(),
        });
        let parameters = response.host_parameters().to_vec();
        let response = HostResponse {
            outputs: outputs.collect(),
            error,
            parameters,
        };
        let send = || self.reply.send(self.index, Some(&response), flags);
        // Nobody else is to wait for a GPU.
        let waits = tensors.iter().any(|(_, data)| data.lies_on_gpu());
        Ok(if waits { py.detach(send) } else { send() })
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        let state = *self.state.get_mut();
        if state.was_rescheduled {
            self.reply.let_go(self.index);
            return;
        }
        if state.is_closed || (!self.is_decoupled && state.sent_count > 0) {
            return;
        }
        let sent = if self.is_decoupled {
            self.reply.send(self.index, None, ResponseFlags::FINAL)
        } else {
            let error = Error::internal("the model let the request go without a response");
            let response = HostResponse {
                error: Some(error),
                ..HostResponse::default()
            };
            self.reply
                .send(self.index, Some(&response), ResponseFlags::FINAL)
        };
        if let Err(error) = sent {
            let message = format!("failed to end a request: {}", error.message());
            ModelLine {
                level: log::Level::Error,
                file: file!(),
                line: line!(),
                request_id: self.ids.one(self.index),
                is_traceback: false,
                message: &message,
            }
            .write(None);
        }
        self.reply.flush();
    }
}

/// Sends responses to one request, from any thread, also after ``execute`` has returned.
#[pyclass(frozen, module = "tritongw._core")]
pub(crate) struct InferenceResponseSender {
    outlet: Arc<Outlet>,
}

impl InferenceResponseSender {
    pub(crate) fn new(outlet: Arc<Outlet>) -> Self {
        Self { outlet }
    }
}

#[pymethods]
impl InferenceResponseSender {
    /// Send a response, or with ``None`` only the flags.
    #[pyo3(signature = (response = None, flags = 0))]
    fn send(&self, py: Python<'_>, response: Option<Bound<'_, PyAny>>, flags: u32) -> PyResult<()> {
        let response = response.map(|response| {
            response.cast_into::<InferenceResponse>().map_err(|error| {
                PyTypeError::new_err(format!("expected an InferenceResponse: {error}"))
            })
        });
        let response = response.transpose()?;
        if flags != 0 && flags != FINAL {
            return Err(model_exception(
                "Unable to send response. Unsupported flag provided.",
            ));
        }
        if response.is_none() && flags == 0 {
            return Err(model_exception(
                "Inference Response object must be provided when the response flags is set to \
                 zero.",
            ));
        }
        self.outlet.note(response.is_some(), flags)?;
        self.outlet
            .send(py, response.as_ref().map(Bound::get), flags)?;
        let Outlet { reply, index, .. } = &*self.outlet;
        reply.flush();
        if flags != FINAL {
            py.detach(|| reply.wait_for_room(*index));
        }
        Ok(())
    }

    /// Return whether the client has given the request up.
    fn is_cancelled(&self, py: Python<'_>) -> bool {
        self.outlet.is_cancelled(py)
    }
}
