// SPDX-License-Identifier: Apache-2.0
//! A batch that a host executes: answers its requests, each exactly once.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tritongw_engine::batch::{Batch, ExecutionPermit, Requests};
use tritongw_engine::clock::monotonic_ns;
use tritongw_engine::model_log::join_request_ids;
use tritongw_engine::trace::InferenceTrace;
use tritongw_engine::{
    CallOrigin, ComputeTimings, InferenceRequest, InferenceResponse, Responder, ResponseFlags,
    ResponseOutcome, ResponseTimings,
};
use tritongw_types::{Error, Result};

use super::outputs::{check_size, part_of_inputs};
use crate::host::{HostResponse, OutputData};

/// When the model computed, by the host's word.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ComputeSpan {
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
    /// When the host had finished what it was given before: until then the batch waited.
    pub(crate) free_ns: u64,
}

/// How the requests of a batch are executed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BatchKind {
    /// Each may have any number of responses.
    pub(crate) is_decoupled: bool,
    /// A coroutine executes them, which may live on when all are answered.
    pub(crate) is_concurrent: bool,
}

/// The requests of one execution that are not answered yet, and the slot they hold.
///
/// Callable from any thread; no lock is held while a door takes a response.
pub(crate) struct OpenBatch {
    state: Mutex<State>,
    kind: BatchKind,
    batch_size: u32,
    exec_start_ns: u64,
}

struct State {
    requests: Vec<Option<Box<InferenceRequest>>>,
    permit: Option<ExecutionPermit>,
    is_counted: bool,
    // When the last response to each request was complete, 0 before the first.
    responded_ns: Vec<u64>,
    // What sends further responses to requests that are no longer here but will be executed again.
    rescheduled: HashMap<usize, Arc<Responder>>,
}

impl OpenBatch {
    /// Takes over the requests of `batch`, and its permit.
    pub(crate) fn take(batch: &mut Batch, kind: BatchKind) -> Self {
        let requests: Requests = batch.take_requests();
        let state = State {
            responded_ns: vec![0; requests.len()],
            requests: requests.into_iter().map(Some).collect(),
            permit: batch.take_permit(),
            is_counted: false,
            rescheduled: HashMap::new(),
        };
        Self {
            state: Mutex::new(state),
            kind,
            batch_size: batch.batch_size(),
            exec_start_ns: batch.start_ns(),
        }
    }

    /// Answers the request at `index`; `None` carries flags alone.
    ///
    /// # Errors
    /// If there is no such request, or it was answered for good.
    pub(crate) fn answer(
        &self,
        index: usize,
        response: Option<&HostResponse<'_>>,
        flags: ResponseFlags,
        span: ComputeSpan,
    ) -> Result<()> {
        if let Some(responder) = self.rescheduled_responder(index) {
            return send_between(&responder, response, flags);
        }
        if self.kind.is_decoupled && !flags.is_final() {
            return self.answer_more(index, response, flags, span);
        }
        let Some(response) = response else {
            // A model that is not decoupled has sent its one response before, without the flag.
            return if self.kind.is_decoupled {
                self.end(index, span).inspect(|()| self.free_if_answered())
            } else {
                Ok(())
            };
        };
        let request = self.take_request(index)?;
        let timings = self.timings(span);
        self.count(&request, &timings);
        let output_start_ns = monotonic_ns();
        let filled = fill(request.responder().new_response(), response, Some(&request));
        if self.kind.is_decoupled {
            let outcome = outcome(&filled);
            self.count_response(index, request.responder(), outcome, output_start_ns, span);
        }
        request.finish(filled, &timings);
        self.free_if_answered();
        Ok(())
    }

    /// Sends a response that is not the last.
    fn answer_more(
        &self,
        index: usize,
        response: Option<&HostResponse<'_>>,
        flags: ResponseFlags,
        span: ComputeSpan,
    ) -> Result<()> {
        let responder = {
            let state = self.state.lock();
            let request = state.requests.get(index).and_then(Option::as_ref);
            request.ok_or_else(answered_before)?.responder().clone()
        };
        let Some(response) = response else {
            return Ok(());
        };
        let output_start_ns = monotonic_ns();
        let filled = fill(responder.new_response(), response, None);
        self.count_response(index, &responder, outcome(&filled), output_start_ns, span);
        let response = filled.unwrap_or_else(|error| {
            let mut response = responder.new_response();
            response.set_error(error);
            response
        });
        responder.send(Some(response), flags)
    }

    /// Ends a decoupled request without a further response.
    fn end(&self, index: usize, span: ComputeSpan) -> Result<()> {
        let request = self.take_request(index)?;
        let timings = self.timings(span);
        self.count(&request, &timings);
        let outcome = if request.is_cancelled() {
            ResponseOutcome::Cancelled
        } else {
            ResponseOutcome::Empty
        };
        self.count_response(index, request.responder(), outcome, monotonic_ns(), span);
        request.report(true, &timings);
        let sent = request.responder().send(None, ResponseFlags::FINAL);
        request.release();
        sent
    }

    /// Has a request executed once more, when this execution has ended (S051).
    ///
    /// # Errors
    /// If there is no such request, or it was answered for good.
    pub(crate) fn reschedule(&self, index: usize, span: ComputeSpan) -> Result<()> {
        let request = self.take_request(index)?;
        let timings = self.timings(span);
        self.count(&request, &timings);
        if self.kind.is_decoupled {
            let responder = Arc::clone(request.responder());
            self.state.lock().rescheduled.insert(index, responder);
        }
        if let Err((error, request)) = request.reschedule(&timings) {
            self.let_go(index);
            request.finish(Err(error), &timings);
        }
        Ok(())
    }

    /// Notes that no further response to a rescheduled request comes by this batch.
    pub(crate) fn let_go(&self, index: usize) {
        let responder = self.state.lock().rescheduled.remove(&index);
        drop(responder);
    }

    fn rescheduled_responder(&self, index: usize) -> Option<Arc<Responder>> {
        let state = self.state.lock();
        state.rescheduled.get(&index).cloned()
    }

    /// Notes that `execute` has returned: frees the instance's slot. After an error every request
    /// that is still open is answered with it.
    pub(crate) fn executed(&self, result: Result<()>, span: ComputeSpan) {
        if let Err(error) = result {
            self.fail(&error, span);
        }
        let permit = self.state.lock().permit.take();
        drop(permit);
    }

    /// Frees the slot of a coroutine that has answered everything, so that one which never ends
    /// keeps neither other requests from being executed nor the model from being unloaded.
    fn free_if_answered(&self) {
        if !self.kind.is_concurrent {
            return;
        }
        let permit = {
            let mut state = self.state.lock();
            let is_answered = state.requests.iter().all(Option::is_none);
            is_answered.then(|| state.permit.take()).flatten()
        };
        drop(permit);
    }

    /// Answers every open request with `error`.
    pub(crate) fn fail(&self, error: &Error, span: ComputeSpan) {
        let timings = self.timings(span);
        let open: Vec<_> = self
            .state
            .lock()
            .requests
            .iter_mut()
            .filter_map(Option::take)
            .collect();
        for request in open {
            request.finish(Err(error.clone()), &timings);
        }
    }

    /// Returns the responder of the request at `index`, if it is still open.
    pub(crate) fn responder(&self, index: usize) -> Option<Arc<Responder>> {
        let state = self.state.lock();
        let request = state.requests.get(index).and_then(Option::as_ref);
        let open = request.map(|request| request.responder());
        open.or_else(|| state.rescheduled.get(&index)).cloned()
    }

    /// Returns the ids of the requests that are open, as a line of the log tells them.
    pub(crate) fn request_ids(&self) -> String {
        let state = self.state.lock();
        let open = state.requests.iter().flatten();
        join_request_ids(open.map(|request| request.id().as_str()))
    }

    /// Returns by whom a call that the execution makes is made; see [`CallOrigin::new`].
    pub(crate) fn call_origin(&self, is_blocking: bool) -> CallOrigin {
        let state = self.state.lock();
        let open = state.requests.iter().flatten();
        CallOrigin::new(
            state.permit.as_ref(),
            open.map(|request| &**request),
            is_blocking,
        )
    }

    /// Returns the trace of the request at `index`, if it is open and has one.
    pub(crate) fn trace(&self, index: usize) -> Option<Arc<InferenceTrace>> {
        let state = self.state.lock();
        let request = state.requests.get(index).and_then(Option::as_ref);
        request.and_then(|request| request.trace().cloned())
    }

    /// Returns whether the request at `index` was given up by its client.
    pub(crate) fn is_cancelled(&self, index: usize) -> bool {
        let responder = self.responder(index);
        responder.is_some_and(|responder| responder.is_cancelled())
    }

    /// Returns whether nothing is left to be done: no request is open, `execute` has returned.
    pub(crate) fn is_done(&self) -> bool {
        let state = self.state.lock();
        state.permit.is_none()
            && state.rescheduled.is_empty()
            && state.requests.iter().all(Option::is_none)
    }

    fn take_request(&self, index: usize) -> Result<Box<InferenceRequest>> {
        let mut state = self.state.lock();
        state
            .requests
            .get_mut(index)
            .and_then(Option::take)
            .ok_or_else(answered_before)
    }

    /// Counts the execution, once, before the first of its requests is answered.
    fn count(&self, request: &InferenceRequest, timings: &ComputeTimings) {
        let is_first = !std::mem::replace(&mut self.state.lock().is_counted, true);
        if is_first {
            request
                .model()
                .statistics()
                .report_batch(self.batch_size, timings);
        }
    }

    /// Counts one response of a decoupled request, complete now (T007).
    fn count_response(
        &self,
        index: usize,
        responder: &Responder,
        outcome: ResponseOutcome,
        output_start_ns: u64,
        span: ComputeSpan,
    ) {
        let has_output = outcome == ResponseOutcome::Success;
        let end_ns = monotonic_ns();
        let first_ns = span.start_ns.clamp(self.exec_start_ns, end_ns);
        let start_ns = match self.state.lock().responded_ns.get_mut(index) {
            Some(responded_ns) => std::mem::replace(responded_ns, end_ns).max(first_ns),
            None => first_ns,
        };
        let timings = ResponseTimings {
            start_ns,
            output_start_ns: has_output.then_some(output_start_ns),
            end_ns,
        };
        let statistics = responder.model().statistics();
        statistics.report_response(responder.sent_count(), outcome, timings);
    }

    /// Returns the timings of the execution; a host's word counts only where it is possible.
    fn timings(&self, span: ComputeSpan) -> ComputeTimings {
        let now = ComputeTimings::until_now(self.exec_start_ns).exec_end_ns;
        let exec_start_ns = span.free_ns.clamp(self.exec_start_ns, now);
        let compute_start_ns = span.start_ns.clamp(exec_start_ns, now);
        let compute_end_ns = span.end_ns.clamp(compute_start_ns, now);
        ComputeTimings {
            exec_start_ns,
            compute_start_ns,
            compute_end_ns,
            exec_end_ns: now,
        }
    }
}

impl fmt::Debug for OpenBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenBatch")
            .field("batch_size", &self.batch_size)
            .finish_non_exhaustive()
    }
}

/// Sends a response to a request that is elsewhere by now: its rounds count themselves.
fn send_between(
    responder: &Responder,
    response: Option<&HostResponse<'_>>,
    flags: ResponseFlags,
) -> Result<()> {
    let Some(response) = response else {
        return responder.send(None, flags);
    };
    let filled = fill(responder.new_response(), response, None).unwrap_or_else(|error| {
        let mut response = responder.new_response();
        response.set_error(error);
        response
    });
    responder.send(Some(filled), flags)
}

fn answered_before() -> Error {
    Error::internal("the request was answered before, or never asked")
}

fn outcome(filled: &Result<Box<InferenceResponse>>) -> ResponseOutcome {
    match filled {
        Ok(response) if response.error().is_none() => ResponseOutcome::Success,
        _ => ResponseOutcome::Fail,
    }
}

/// Moves what the model answered into the engine's response, in memory of the request's door.
/// Fills a response; inputs of the request that is `answered` for good are handed on where they
/// lie.
fn fill(
    mut target: Box<InferenceResponse>,
    source: &HostResponse<'_>,
    answered: Option<&InferenceRequest>,
) -> Result<Box<InferenceResponse>> {
    for parameter in &source.parameters {
        target.add_parameter(&parameter.name, parameter.value.clone());
    }
    if let Some(error) = &source.error {
        target.set_error(error.clone());
        return Ok(target);
    }
    for output in &source.outputs {
        let (name, data_type, shape) = (output.name, output.data_type, output.shape.clone());
        let check = |data: &[u8]| {
            check_size(data_type, &output.shape, data)
                .map_err(|what| Error::internal(format!("output '{name}': {what}")))
        };
        match &output.data {
            OutputData::Owned(data) => {
                check(data)?;
                target.add_output_bytes(name, data_type, shape, data.clone())?;
            }
            OutputData::Borrowed(data) => {
                check(data)?;
                match answered.and_then(|request| part_of_inputs(request, data_type, data)) {
                    Some(data) => target.add_output_bytes(name, data_type, shape, data)?,
                    None => target
                        .add_output_buffer(name, data_type, shape, data.len())?
                        .copy_from_slice(data),
                }
            }
            OutputData::Device(data) => {
                let memory = target.add_output_buffer(name, data_type, shape, data.byte_size())?;
                data.copy_to(memory)?;
                check(memory)?;
            }
        }
    }
    Ok(target)
}
