// SPDX-License-Identifier: Apache-2.0
//! What sends the responses of a request, and outlives it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use smallvec::SmallVec;
use tritongw_types::{CName, Error, ErrorCode, Result};

use crate::Model;
use crate::buffer::ResponseAllocator;
use crate::request::log_prefix;
use crate::response::{InferenceResponse, ResponseFlags};
use crate::response_sink::{ResponseSink, ResponseStage, Resume, StagedSink};
use crate::scheduling_machine::QueueTicket;
use crate::trace::InferenceTrace;

/// Sends the responses of one request and carries its cancel flag (Triton: response factory).
///
/// Shared by the door, which may cancel, and the backend, which may answer from any thread long
/// after the request itself was released. **Invariant:** the sink sees exactly one `FINAL`; if the
/// last holder goes without one, the client gets an error.
pub struct Responder {
    model: Arc<Model>,
    request_id: CName,
    allocator: Arc<dyn ResponseAllocator>,
    sink: Arc<dyn ResponseSink>,
    stages: SmallVec<[Arc<dyn ResponseStage>; 1]>,
    is_cancelled: AtomicBool,
    is_final_sent: AtomicBool,
    // Whether its model counts it among the unanswered.
    is_counted: AtomicBool,
    sent_count: AtomicU64,
    // When the request was accepted; 0 before.
    start_ns: AtomicU64,
    /// Names the request in the queue of its model, for cancellation.
    pub(crate) queue_ticket: Mutex<Option<QueueTicket>>,
    pub(crate) trace: Option<Arc<InferenceTrace>>,
}

impl Responder {
    /// Makes the responder of a request to `model`.
    pub fn new(
        model: Arc<Model>,
        request_id: CName,
        allocator: Arc<dyn ResponseAllocator>,
        sink: Arc<dyn ResponseSink>,
    ) -> Self {
        Self {
            model,
            request_id,
            allocator,
            sink,
            stages: SmallVec::new(),
            is_cancelled: AtomicBool::new(false),
            is_final_sent: AtomicBool::new(false),
            is_counted: AtomicBool::new(false),
            sent_count: AtomicU64::new(0),
            start_ns: AtomicU64::new(0),
            queue_ticket: Mutex::new(None),
            trace: None,
        }
    }

    /// Returns the model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Returns the id of the request.
    pub fn request_id(&self) -> &CName {
        &self.request_id
    }

    /// Returns what stands before lines of the log about the request (P039).
    pub fn log_prefix(&self) -> String {
        log_prefix(&self.request_id)
    }

    /// Returns an empty response to fill.
    pub fn new_response(&self) -> Box<InferenceResponse> {
        Box::new(InferenceResponse::new(
            Arc::clone(&self.model),
            self.request_id.clone(),
            Arc::clone(&self.allocator),
        ))
    }

    /// Sends a response, or flags alone.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] if `FINAL` was sent before; the response is dropped.
    pub fn send(
        &self,
        mut response: Option<Box<InferenceResponse>>,
        flags: ResponseFlags,
    ) -> Result<()> {
        let was_final = if flags.is_final() {
            self.is_final_sent.swap(true, Ordering::AcqRel)
        } else {
            self.is_final_sent.load(Ordering::Acquire)
        };
        if was_final {
            return Err(Error::internal(
                "the final response of this request was sent before",
            ));
        }
        if let Some(response) = &mut response {
            response.settle();
            self.count_sent();
        }
        self.deliver(response, flags);
        Ok(())
    }

    /// Sends `error` as the final response, unless one was sent before.
    pub fn send_error(&self, error: Error) {
        if self.is_final_sent.swap(true, Ordering::AcqRel) {
            return;
        }
        self.count_sent();
        let mut response = self.new_response();
        response.set_error(error);
        self.deliver(Some(response), ResponseFlags::FINAL);
    }

    /// Notes when the request was accepted, for the time to its first response.
    pub(crate) fn note_start(&self, ns: u64) {
        self.start_ns.store(ns, Ordering::Relaxed);
    }

    fn count_sent(&self) {
        let is_first = self.sent_count.fetch_add(1, Ordering::Relaxed) == 0;
        let start_ns = self.start_ns.load(Ordering::Relaxed);
        if is_first && start_ns > 0 {
            let latencies = self.model.statistics().latencies();
            latencies.observe_first_response(start_ns);
        }
    }

    /// Returns how many responses were sent, errors included and flags alone excluded.
    pub fn sent_count(&self) -> u64 {
        self.sent_count.load(Ordering::Relaxed)
    }

    /// Asks for the request to be given up: at once if it is still queued, otherwise when its
    /// backend looks at [`Self::is_cancelled`].
    pub fn cancel(&self) {
        if !self.is_cancelled.swap(true, Ordering::AcqRel) {
            self.model.cancel_queued(self);
        }
    }

    /// Returns whether the request was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Acquire)
    }

    /// Returns whether the client keeps up with the responses, or has given the request up.
    pub fn has_room(&self) -> bool {
        self.is_cancelled() || self.sink.has_room()
    }

    /// Calls `resume` once [`Self::has_room`] holds: at once, or later from another thread, which
    /// must not be held up. For backends that cannot wait where they are.
    pub fn when_room(&self, resume: Resume) {
        if self.has_room() {
            resume();
        } else {
            self.sink.when_room(resume);
        }
    }

    /// Blocks until [`Self::has_room`] holds: how a decoupled backend, between two responses,
    /// adapts to its client.
    pub fn wait_for_room(&self) {
        if self.has_room() {
            return;
        }
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let resume = move || {
            // The channel has room for the one message.
            let _ = sender.send(());
        };
        self.sink.when_room(Box::new(resume));
        // A sink that goes without a word has nobody who reads.
        let _ = receiver.recv();
    }

    /// Notes that the model waits for the final response.
    pub(crate) fn count(&self) {
        if !self.is_counted.swap(true, Ordering::AcqRel) {
            self.model.add_unanswered();
        }
    }

    /// Notes that the model waits no longer.
    pub(crate) fn discount(&self) {
        if self.is_counted.swap(false, Ordering::AcqRel) {
            self.model.remove_unanswered();
        }
    }

    /// Adds a stage before the sink; only before the request is sent off.
    pub fn add_stage(&mut self, stage: Arc<dyn ResponseStage>) {
        self.stages.push(stage);
    }

    fn deliver(&self, response: Option<Box<InferenceResponse>>, flags: ResponseFlags) {
        if let Some(trace) = &self.trace {
            trace.responded(response.as_deref());
        }
        match self.stages.first() {
            None => self.sink.respond(response, flags),
            Some(stage) => stage.pass(response, flags, &self.sink_after(1)),
        }
        if flags.is_final() {
            self.discount();
        }
    }

    /// Returns the sink that runs the stages from `index` on.
    fn sink_after(&self, index: usize) -> Arc<dyn ResponseSink> {
        let mut sink = Arc::clone(&self.sink);
        for stage in self.stages[index..].iter().rev() {
            sink = Arc::new(StagedSink {
                stage: Arc::clone(stage),
                next: sink,
            });
        }
        sink
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if !*self.is_final_sent.get_mut() {
            self.send_error(Error::new(
                ErrorCode::Internal,
                format!(
                    "model '{}' gave no final response to the request",
                    self.model.name()
                ),
            ));
        }
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder")
            .field("model", &self.model.name())
            .field("request_id", &self.request_id)
            .field("is_cancelled", &self.is_cancelled)
            .field("is_final_sent", &self.is_final_sent)
            .finish_non_exhaustive()
    }
}
