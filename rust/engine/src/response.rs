// SPDX-License-Identifier: Apache-2.0
//! Responses, and the [`Responder`] that sends them and outlives its request.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tritongw_scheduler::Ticket;
use tritongw_types::{
    CName, DataType, Error, ErrorCode, MemoryLocation, Parameter, ParameterValue, Result, Shape,
};

use crate::Model;
use crate::buffer::{OutputBuffer, ResponseAllocator, not_in_host_memory};
use crate::trace::InferenceTrace;

/// Flags that accompany a response; numbers are those of `TRITONSERVER_ResponseCompleteFlag`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseFlags(pub u32);

impl ResponseFlags {
    /// More responses follow.
    pub const NONE: Self = Self(0);
    /// The last response of its request.
    pub const FINAL: Self = Self(1);

    /// Returns whether this is the last response.
    pub fn is_final(self) -> bool {
        self.0 & Self::FINAL.0 != 0
    }
}

/// Called once a sink has room again.
pub type Resume = Box<dyn FnOnce() + Send>;

/// Receives the responses of one request; each door brings its own.
///
/// Called from whichever thread answers, with no engine lock held; it must not block. `FINAL`
/// comes exactly once, on a response or, for decoupled models, alone.
pub trait ResponseSink: Send + Sync {
    /// Takes one response; `None` carries flags only.
    fn respond(&self, response: Option<Box<InferenceResponse>>, flags: ResponseFlags);

    /// Returns whether the client keeps up. A decoupled model that goes on although it does not
    /// is never refused, but what it sends takes memory until the client has read it.
    fn has_room(&self) -> bool {
        true
    }

    /// Calls `resume` as soon as [`Self::has_room`] holds, or nobody reads any more: at once, or
    /// later from another thread.
    fn when_room(&self, resume: Resume) {
        resume();
    }
}

/// Sees responses between the backend and the sink, innermost first: ordering, cache insertion,
/// ensemble steps.
pub trait ResponseStage: Send + Sync {
    /// Passes the response on through `next`, now or later, in this or another order.
    fn pass(
        &self,
        response: Option<Box<InferenceResponse>>,
        flags: ResponseFlags,
        next: &Arc<dyn ResponseSink>,
    );
}

/// One output of a response.
#[derive(Debug)]
pub struct OutputTensor {
    /// Name.
    pub name: CName,
    /// Element type.
    pub data_type: DataType,
    /// Shape, batch dimension included.
    pub shape: Shape,
    /// Memory, once allocated; an output with no element may have none.
    pub buffer: Option<OutputBuffer>,
}

/// One response: outputs, or an error.
///
/// Lives as long as its holder wants, independent of request and model instance.
pub struct InferenceResponse {
    model: Arc<Model>,
    request_id: CName,
    allocator: Arc<dyn ResponseAllocator>,
    // Boxed, so that the address of an output stays the same while others are added.
    #[expect(
        clippy::vec_box,
        reason = "a C caller holds pointers to single outputs"
    )]
    outputs: Vec<Box<OutputTensor>>,
    parameters: Vec<Parameter>,
    error: Option<Error>,
}

impl InferenceResponse {
    /// Returns the model that answered.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Returns the id of the request, empty if it had none.
    pub fn request_id(&self) -> &CName {
        &self.request_id
    }

    /// Returns the error, if the request failed.
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// Makes this an error response.
    pub fn set_error(&mut self, error: Error) {
        self.error = Some(error);
    }

    /// Returns the outputs in the order in which the backend added them (P069).
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = &OutputTensor> {
        self.outputs.iter().map(|output| &**output)
    }

    /// Takes the outputs out, in order.
    pub fn take_outputs(&mut self) -> impl ExactSizeIterator<Item = OutputTensor> + use<> {
        std::mem::take(&mut self.outputs)
            .into_iter()
            .map(|output| *output)
    }

    /// Returns the response parameters.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Adds a response parameter.
    pub fn add_parameter(&mut self, name: &str, value: ParameterValue) {
        self.parameters.push(Parameter {
            name: CName::new(name),
            value,
        });
    }

    /// Adds an output whose memory is not yet allocated. `shape` is the backend's; the client
    /// gets it with the output's `reshape` undone.
    pub fn add_output(
        &mut self,
        name: &str,
        data_type: DataType,
        shape: Shape,
    ) -> &mut OutputTensor {
        if self.outputs.is_empty() {
            self.allocator.start();
        }
        let name = CName::new(name);
        let shape = self.model.client_output_shape(&name, shape);
        self.outputs.push(Box::new(OutputTensor {
            name,
            data_type,
            shape,
            buffer: None,
        }));
        self.outputs
            .last_mut()
            .expect("INVARIANT: one was just pushed")
    }

    /// Adds an output with `byte_size` bytes of host memory from the request's allocator.
    ///
    /// # Errors
    /// Those of the allocator, and [`ErrorCode::Unsupported`] if it gives no host memory.
    pub fn add_output_buffer(
        &mut self,
        name: &str,
        data_type: DataType,
        shape: Shape,
        byte_size: usize,
    ) -> Result<&mut [u8]> {
        let allocator = Arc::clone(&self.allocator);
        let output = self.add_output(name, data_type, shape);
        let buffer = allocator.allocate(&output.name, byte_size, MemoryLocation::CPU)?;
        let memory = output.buffer.insert(buffer).as_mut_slice();
        memory.ok_or_else(|| not_in_host_memory(name))
    }

    /// Adds an output whose data the backend already holds: kept as it is where the allocator
    /// adopts it, copied into the allocator's memory otherwise.
    ///
    /// # Errors
    /// As [`Self::add_output_buffer`].
    pub fn add_output_bytes(
        &mut self,
        name: &str,
        data_type: DataType,
        shape: Shape,
        data: Bytes,
    ) -> Result<()> {
        let allocator = Arc::clone(&self.allocator);
        let output = self.add_output(name, data_type, shape);
        output.buffer = Some(allocator.adopt(&output.name, data)?);
        Ok(())
    }

    pub(crate) fn output_mut(&mut self, name: &str) -> Option<&mut OutputTensor> {
        let mut outputs = self.outputs.iter_mut().map(|output| &mut **output);
        outputs.find(|output| output.name == *name)
    }

    /// Brings outputs to where the client looks for them; what cannot be makes this an error
    /// response.
    fn settle(&mut self) {
        let buffers = self
            .outputs
            .iter_mut()
            .filter_map(|output| output.buffer.as_mut());
        for buffer in buffers {
            if let Err(error) = buffer.settle() {
                self.error = Some(error);
                break;
            }
        }
    }
}

impl fmt::Debug for InferenceResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InferenceResponse")
            .field("request_id", &self.request_id)
            .field("outputs", &self.outputs)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

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
    pub(crate) queue_ticket: Mutex<Option<Ticket>>,
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

    /// Returns an empty response to fill.
    pub fn new_response(&self) -> Box<InferenceResponse> {
        Box::new(InferenceResponse {
            model: Arc::clone(&self.model),
            request_id: self.request_id.clone(),
            allocator: Arc::clone(&self.allocator),
            outputs: Vec::new(),
            parameters: Vec::new(),
            error: None,
        })
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
        response.error = Some(error);
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

/// A stage and what lies behind it, as one sink.
struct StagedSink {
    stage: Arc<dyn ResponseStage>,
    next: Arc<dyn ResponseSink>,
}

impl ResponseSink for StagedSink {
    fn respond(&self, response: Option<Box<InferenceResponse>>, flags: ResponseFlags) {
        self.stage.pass(response, flags, &self.next);
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
