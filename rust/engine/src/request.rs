// SPDX-License-Identifier: Apache-2.0
//! The request on its way from a door to a backend.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::{SmallVec, smallvec};
use tritongw_scheduler::InstanceIndex;
use tritongw_types::{
    CName, CorrelationId, DataType, Error, Parameter, ParameterValue, Result, Shape,
};

use crate::Model;
use crate::buffer::{InputBuffer, InputData, ResponseAllocator};
use crate::call_graph::CallRecord;
use crate::instance::ComputeTimings;
use crate::ordering::OrderStage;
use crate::responder::Responder;
use crate::response::{InferenceResponse, ResponseFlags};
use crate::response_sink::ResponseSink;
use crate::statistics::FailureKind;
use crate::trace::{Activity, InferenceTrace};

/// Place of a request in its sequence; numbers are those of `TRITONSERVER_RequestFlag`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SequenceFlags(pub u32);

impl SequenceFlags {
    /// Not the first and not the last.
    pub const NONE: Self = Self(0);
    /// The first request of a sequence.
    pub const START: Self = Self(1);
    /// The last request of a sequence.
    pub const END: Self = Self(2);

    /// Returns whether all flags of `other` are set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns both sets of flags together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Inputs of one request, and outputs it may name. Triton sets no limit; finding duplicates takes
/// time by the square of the number.
const MAX_TENSORS: usize = 4096;

/// Longest name of an input or output, in bytes: longer ones are no model's, and would come back
/// in the error.
const MAX_NAME_LENGTH: usize = 1024;

/// One input of a request.
#[derive(Clone, Debug)]
pub struct InputTensor {
    /// Name.
    pub name: CName,
    /// Element type.
    pub data_type: DataType,
    /// Shape as the client sent it, batch dimension included.
    pub shape: Shape,
    /// Data in the wire's layout: little-endian, row-major; `BYTES` with length prefixes (P074).
    pub data: InputData,
}

impl InputTensor {
    /// Makes an input whose data is one piece of host memory.
    pub fn new(name: &str, data_type: DataType, shape: Shape, data: Bytes) -> Self {
        let data = smallvec![InputBuffer::Host(data)];
        Self {
            name: CName::new(name),
            data_type,
            shape,
            data,
        }
    }

    /// Returns the size of the data in bytes.
    pub fn byte_size(&self) -> usize {
        self.data.iter().map(InputBuffer::byte_size).sum()
    }

    /// Returns the data as one contiguous piece of host memory: without a copy where it is one.
    ///
    /// # Errors
    /// `Unsupported` if a piece lies in device memory.
    pub fn contiguous(&self) -> Result<Bytes> {
        if let [InputBuffer::Host(data)] = self.data.as_slice() {
            return Ok(data.clone());
        }
        let mut whole = Vec::with_capacity(self.byte_size());
        self.append_to(&mut whole)?;
        Ok(Bytes::from(whole))
    }

    /// Appends the data to `target`: the gather of a batch.
    ///
    /// # Errors
    /// `Unsupported` if a piece lies in device memory.
    pub fn append_to(&self, target: &mut Vec<u8>) -> Result<()> {
        for buffer in &self.data {
            let data = buffer.as_host().ok_or_else(|| {
                Error::unsupported(format!("input '{}' must lie in host memory", self.name))
            })?;
            target.extend_from_slice(data);
        }
        Ok(())
    }
}

/// Moments of a request's life, in [`monotonic_ns`](crate::clock::monotonic_ns); 0 = not reached.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestTimestamps {
    /// The engine took the request.
    pub request_start_ns: u64,
    /// The scheduler queued it.
    pub queue_start_ns: u64,
}

/// Returns the text Triton puts before errors of the request with this id (P039).
pub fn log_prefix(id: &CName) -> String {
    let id = if id.is_empty() {
        "<id_unknown>"
    } else {
        id.as_str()
    };
    format!("[request id: {id}] ")
}

/// Called when a request is released; gets the request itself, which may then be sent again.
pub type ReleaseHook = Box<dyn FnOnce(Box<InferenceRequest>) + Send>;

/// One inference request.
///
/// Boxed and owned by one holder at a time: door, scheduler, backend. Each hop that can refuse it
/// gives it back with the error.
pub struct InferenceRequest {
    model: Arc<Model>,
    id: CName,
    flags: SequenceFlags,
    correlation_id: CorrelationId,
    priority: u64,
    timeout_us: u64,
    inputs: SmallVec<[InputTensor; 2]>,
    override_inputs: SmallVec<[InputTensor; 0]>,
    requested_outputs: SmallVec<[CName; 2]>,
    parameters: Vec<Parameter>,
    pub(crate) batch_size: u32,
    responder: Option<Arc<Responder>>,
    order: Option<Arc<OrderStage>>,
    release_hooks: SmallVec<[ReleaseHook; 0]>,
    pub(crate) timestamps: RequestTimestamps,
    trace: Option<Arc<InferenceTrace>>,
    call: Option<Arc<CallRecord>>,
    is_null: bool,
}

impl InferenceRequest {
    /// Makes an empty request to `model`, which it keeps loaded.
    pub fn new(model: Arc<Model>) -> Box<Self> {
        Box::new(Self {
            model,
            id: CName::default(),
            flags: SequenceFlags::NONE,
            correlation_id: CorrelationId::default(),
            priority: 0,
            timeout_us: 0,
            inputs: SmallVec::new(),
            override_inputs: SmallVec::new(),
            requested_outputs: SmallVec::new(),
            parameters: Vec::new(),
            batch_size: 1,
            responder: None,
            order: None,
            release_hooks: SmallVec::new(),
            timestamps: RequestTimestamps::default(),
            trace: None,
            call: None,
            is_null: false,
        })
    }

    /// Makes a request that only fills a slot of a direct sequence batch (S034).
    pub(crate) fn new_null(model: Arc<Model>) -> Box<Self> {
        let mut request = Self::new(model);
        request.is_null = true;
        request
    }

    /// Returns the model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Returns the id, empty if none was given.
    pub fn id(&self) -> &CName {
        &self.id
    }

    /// Sets the id.
    pub fn set_id(&mut self, id: &str) {
        self.id = CName::new(id);
    }

    /// Returns the text Triton puts before errors of this request (P039).
    pub fn log_prefix(&self) -> String {
        log_prefix(&self.id)
    }

    /// Returns the place in the sequence.
    pub fn flags(&self) -> SequenceFlags {
        self.flags
    }

    /// Sets the place in the sequence.
    pub fn set_flags(&mut self, flags: SequenceFlags) {
        self.flags = flags;
    }

    /// Returns the sequence.
    pub fn correlation_id(&self) -> &CorrelationId {
        &self.correlation_id
    }

    /// Sets the sequence.
    pub fn set_correlation_id(&mut self, id: CorrelationId) {
        self.correlation_id = id;
    }

    /// Returns the priority; 0 stands for the model's default level.
    pub fn priority(&self) -> u64 {
        self.priority
    }

    /// Sets the priority.
    pub fn set_priority(&mut self, priority: u64) {
        self.priority = priority;
    }

    /// Returns the timeout in microseconds; 0 for none.
    pub fn timeout_us(&self) -> u64 {
        self.timeout_us
    }

    /// Sets the timeout in microseconds.
    pub fn set_timeout_us(&mut self, timeout_us: u64) {
        self.timeout_us = timeout_us;
    }

    /// Adds an input.
    ///
    /// # Errors
    /// `InvalidArg` if there is one of that name, there are too many or its name is too long; the
    /// text begins with the request's id (P039).
    pub fn add_input(&mut self, input: InputTensor) -> Result<()> {
        let known = self.inputs.iter().map(|known| &known.name);
        self.check_new("input", &input.name, known)?;
        self.inputs.push(input);
        Ok(())
    }

    /// Checks that a tensor may join the `known` ones of its kind.
    fn check_new<'a>(
        &self,
        kind: &str,
        name: &str,
        mut known: impl ExactSizeIterator<Item = &'a CName>,
    ) -> Result<()> {
        let problem = if name.len() > MAX_NAME_LENGTH {
            format!("name of {kind} is longer than {MAX_NAME_LENGTH} bytes")
        } else if known.len() >= MAX_TENSORS {
            format!("request has more than {MAX_TENSORS} {kind}s")
        } else if known.any(|known| known == name) {
            format!("{kind} '{name}' already exists in request")
        } else {
            return Ok(());
        };
        let prefix = self.log_prefix();
        Err(Error::invalid_arg(format!("{prefix}{problem}")))
    }

    /// Returns the client's inputs.
    pub fn original_inputs(&self) -> &[InputTensor] {
        &self.inputs
    }

    pub(crate) fn original_inputs_mut(&mut self) -> &mut [InputTensor] {
        &mut self.inputs
    }

    /// Adds an input of the scheduler (sequence controls, state) that the client did not send.
    pub fn add_override_input(&mut self, input: InputTensor) {
        self.override_inputs.push(input);
    }

    pub(crate) fn clear_override_inputs(&mut self) {
        self.override_inputs.clear();
    }

    /// Returns the inputs a backend sees: the client's, then the scheduler's.
    pub fn inputs(&self) -> impl Iterator<Item = &InputTensor> {
        self.inputs.iter().chain(&self.override_inputs)
    }

    /// Returns the input of that name.
    pub fn input(&self, name: &str) -> Option<&InputTensor> {
        self.inputs().find(|input| input.name == name)
    }

    /// Adds a requested output.
    ///
    /// # Errors
    /// As [`Self::add_input`]. Triton 2.51 took an output that is named again for the same.
    pub fn add_requested_output(&mut self, name: &str) -> Result<()> {
        self.check_new("output", name, self.requested_outputs.iter())?;
        self.requested_outputs.push(CName::new(name));
        Ok(())
    }

    /// Returns the outputs the client named; none means all.
    pub fn requested_outputs(&self) -> &[CName] {
        &self.requested_outputs
    }

    /// Returns whether the client wants the output.
    pub fn wants_output(&self, name: &str) -> bool {
        self.requested_outputs.is_empty() || self.requested_outputs.iter().any(|n| n == name)
    }

    /// Adds a parameter that travels to the model.
    pub fn add_parameter(&mut self, name: &str, value: ParameterValue) {
        self.parameters.push(Parameter {
            name: CName::new(name),
            value,
        });
    }

    /// Returns the parameters.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Returns the batch size: the first dimension where the model batches, else 1.
    pub fn batch_size(&self) -> u32 {
        self.batch_size
    }

    /// Returns whether the request only fills a slot of a direct sequence batch.
    pub fn is_null(&self) -> bool {
        self.is_null
    }

    /// Returns the moments reached so far.
    pub fn timestamps(&self) -> RequestTimestamps {
        self.timestamps
    }

    /// Returns the trace, if the request is one that is traced.
    pub fn trace(&self) -> Option<&Arc<InferenceTrace>> {
        self.trace.as_ref()
    }

    /// Has the request traced; before [`Self::set_response_handler`], which tells the responder.
    pub fn set_trace(&mut self, trace: Option<Arc<InferenceTrace>>) {
        self.trace = trace;
    }

    /// Decides where responses go and their memory comes from; once before each sending.
    pub fn set_response_handler(
        &mut self,
        allocator: Arc<dyn ResponseAllocator>,
        sink: Arc<dyn ResponseSink>,
    ) -> &Arc<Responder> {
        let model = Arc::clone(&self.model);
        let mut responder = Responder::new(model, self.id.clone(), allocator, sink);
        responder.trace.clone_from(&self.trace);
        self.order = self.model.order_stage();
        if let Some(order) = &self.order {
            let stage: Arc<OrderStage> = Arc::clone(order);
            responder.add_stage(stage);
        }
        self.responder.insert(Arc::new(responder))
    }

    /// Returns the responder.
    ///
    /// # Panics
    /// If [`Self::set_response_handler`] was never called: the engine refuses such a request.
    pub fn responder(&self) -> &Arc<Responder> {
        self.responder
            .as_ref()
            .expect("INVARIANT: the engine took only requests with a responder")
    }

    /// Takes the request's place in the order of responses, if its model keeps one, and notes
    /// where it is executed, if a model waits for it.
    pub(crate) fn note_dispatched(&self, instance: InstanceIndex) {
        if let Some(order) = &self.order {
            order.take_place();
        }
        if let Some(call) = &self.call {
            call.note_dispatched(instance);
        }
    }

    /// Returns the call that this request is, if another model sent it.
    pub(crate) fn call(&self) -> Option<&Arc<CallRecord>> {
        self.call.as_ref()
    }

    pub(crate) fn set_call(&mut self, call: Arc<CallRecord>) {
        self.call = Some(call);
    }

    pub(crate) fn has_responder(&self) -> bool {
        self.responder.is_some()
    }

    /// Returns whether the client gave the request up.
    pub fn is_cancelled(&self) -> bool {
        self.responder
            .as_ref()
            .is_some_and(|responder| responder.is_cancelled())
    }

    /// Adds a hook for the release; the last added runs first and gets the request.
    pub fn add_release_hook(&mut self, hook: ReleaseHook) {
        self.release_hooks.push(hook);
    }

    /// Ends the backend's ownership: the newest release hook gets the request, without one it is
    /// dropped.
    pub fn release(mut self: Box<Self>) {
        if let Some(trace) = self.trace.take() {
            trace.record(Activity::RequestEnd);
        }
        if let Some(hook) = self.release_hooks.pop() {
            hook(self);
        }
    }

    /// Ends this round of an iterative sequence: the request is queued again, with its flags
    /// cleared, and comes back to a backend (S051). To be called while the backend still holds the
    /// permit of the request's batch. Each round counts as an inference; responses sent before and
    /// after are those of one request.
    ///
    /// # Errors
    /// Gives the request back if its model has no iterative sequences (S055), or it was cancelled.
    pub fn reschedule(
        self: Box<Self>,
        timings: &ComputeTimings,
    ) -> std::result::Result<(), (Error, Box<Self>)> {
        let model = Arc::clone(&self.model);
        model.reschedule(self, timings)
    }

    /// Answers with the one final response, counts it and releases the request.
    pub fn finish(
        self: Box<Self>,
        result: Result<Box<InferenceResponse>>,
        timings: &ComputeTimings,
    ) {
        let is_success = result
            .as_ref()
            .is_ok_and(|response| response.error().is_none());
        // Counted before it is sent: a client that has its answer sees it in the statistics.
        self.report(is_success, timings);
        let sent = match result {
            Ok(response) => self.responder().send(Some(response), ResponseFlags::FINAL),
            Err(error) => {
                self.responder().send_error(error);
                Ok(())
            }
        };
        if let Err(error) = sent {
            log::error!("{}{}", self.log_prefix(), error.message());
        }
        self.release();
    }

    /// Counts the request and notes in its trace how it was executed; for backends that do not
    /// [`Self::finish`] it.
    pub fn report(&self, is_success: bool, timings: &ComputeTimings) {
        self.model
            .statistics()
            .report_request(self, is_success, timings);
        if let Some(trace) = &self.trace {
            trace.computed(timings);
        }
    }

    /// Answers a request that never reached its backend, counts the failure and releases it.
    pub fn reject(self: Box<Self>, error: Error, kind: FailureKind) {
        self.model.statistics().report_failure(&self, kind);
        self.responder().send_error(error);
        self.release();
    }
}

impl fmt::Debug for InferenceRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InferenceRequest")
            .field("model", &self.model.name())
            .field("id", &self.id)
            .field("inputs", &self.inputs)
            .field("requested_outputs", &self.requested_outputs)
            .field("batch_size", &self.batch_size)
            .finish_non_exhaustive()
    }
}
