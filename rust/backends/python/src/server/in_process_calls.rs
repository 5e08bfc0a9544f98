// SPDX-License-Identifier: Apache-2.0
//! Calls of a model in the server's own interpreter to other models: no process in between, and no
//! copy of what is called for.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::{Condvar, Mutex};
use tritongw_engine::buffer::{HeapAllocator, OutputBuffer};
use tritongw_engine::trace::InferenceTrace;
use tritongw_engine::{
    CallOrigin, InferenceRequest, InferenceResponse, InputTensor, ModelCaller, Responder,
    ResponseFlags, ResponseSink, Resume,
};
use tritongw_types::{Error, Result};

use super::call_request::{CallSpec, carry_out, make_request, not_sent};
use super::call_room::{CallRoom, IGNORED};
use super::open_batch::OpenBatch;
use crate::host::call_limiter::CallLimiter;
use crate::host::{
    CallHandle, CallReceiver, CallResponse, HostCall, HostTensor, ModelCalls, ModelControl,
    TensorMemory, TraceParent,
};
use crate::shared::call_message::ControlOrder;

/// Batches of one instance that are not over, by the numbers that calls know them by.
#[derive(Default)]
pub(crate) struct OpenBatches(Mutex<Numbered>);

#[derive(Default)]
struct Numbered {
    batches: HashMap<u64, Weak<OpenBatch>>,
    last_id: u64,
}

impl OpenBatches {
    /// Gives a batch its number.
    pub(crate) fn add(&self, batch: &Arc<OpenBatch>) -> u64 {
        let mut numbered = self.0.lock();
        numbered.last_id += 1;
        let id = numbered.last_id;
        numbered.batches.insert(id, Arc::downgrade(batch));
        id
    }

    /// Forgets a batch.
    pub(crate) fn remove(&self, id: u64) {
        self.0.lock().batches.remove(&id);
    }

    fn find(&self, id: u64) -> Option<Arc<OpenBatch>> {
        self.0.lock().batches.get(&id)?.upgrade()
    }

    fn origin(&self, id: u64, is_blocking: bool) -> CallOrigin {
        self.find(id)
            .map_or_else(CallOrigin::default, |batch| batch.call_origin(is_blocking))
    }

    fn trace(&self, parent: TraceParent) -> Option<Arc<InferenceTrace>> {
        self.find(parent.batch)?.trace(parent.index as usize)
    }
}

/// The calls of one instance.
pub(crate) struct InProcessCalls {
    instance_name: String,
    caller: ModelCaller,
    limiter: Arc<CallLimiter>,
    arrivals: Arc<Arrivals>,
    batches: Arc<OpenBatches>,
}

/// Wakes whoever waits for a response.
#[derive(Default)]
struct Arrivals {
    lock: Mutex<()>,
    came: Condvar,
}

impl InProcessCalls {
    pub(crate) fn new(
        instance_name: String,
        caller: ModelCaller,
        limit: u32,
        batches: Arc<OpenBatches>,
    ) -> Self {
        Self {
            instance_name,
            caller,
            limiter: Arc::new(CallLimiter::new(limit)),
            arrivals: Arc::default(),
            batches,
        }
    }

    fn prepare(&self, call: &HostCall<'_>) -> Result<Box<InferenceRequest>> {
        let spec = CallSpec {
            model_name: call.model_name,
            model_version: call.model_version,
            is_decoupled: call.is_decoupled,
            id: call.id,
            correlation_id: call.correlation_id.clone(),
            flags: call.flags,
            timeout_us: call.timeout_us,
            priority: call.priority,
            parameters: call.parameters.to_vec(),
            requested_outputs: call.requested_outputs.iter().map(String::as_str).collect(),
            trace: call.trace.and_then(|parent| self.batches.trace(parent)),
        };
        let inputs: Vec<_> = call
            .inputs
            .iter()
            .map(|input| {
                let (data_type, shape) = (input.data_type, input.shape.clone());
                let data = input.data.to_bytes()?;
                Ok(InputTensor::new(input.name, data_type, shape, data))
            })
            .collect::<Result<_>>()?;
        make_request(&self.caller, spec, inputs)
    }
}

impl ModelCalls for InProcessCalls {
    fn call(
        &self,
        call: &HostCall<'_>,
        receiver: Arc<dyn CallReceiver>,
        _is_watched: bool,
    ) -> Box<dyn CallHandle> {
        let sink = Arc::new(InProcessCall {
            receiver,
            arrivals: Arc::clone(&self.arrivals),
            limiter: Arc::clone(&self.limiter),
            batch: call.batch,
            responder: OnceLock::new(),
            room: CallRoom::default(),
        });
        let model_name = call.model_name.to_owned();
        let prepared = self.prepare(call);
        let (caller, batches, batch) = (self.caller.clone(), Arc::clone(&self.batches), call.batch);
        let is_blocking = call.is_blocking;
        let started = Arc::clone(&sink);
        let start = Box::new(move || {
            let sent = prepared.and_then(|request| {
                let of_request = Arc::clone(&started) as Arc<dyn ResponseSink>;
                let origin = batches.origin(batch, is_blocking);
                caller.send(request, &origin, Arc::new(HeapAllocator), of_request)
            });
            match sent {
                Ok(responder) => {
                    let is_first = started.responder.set(responder).is_ok();
                    debug_assert!(is_first, "a call is sent once");
                }
                Err(error) => {
                    started.deliver(CallResponse::failed(not_sent(&model_name, &error)));
                }
            }
        });
        self.limiter.begin(batch, start);
        Box::new(sink)
    }

    fn wait_until(&self, is_over: &mut dyn FnMut() -> bool) {
        let mut guard = self.arrivals.lock.lock();
        while !is_over() {
            self.arrivals.came.wait(&mut guard);
        }
    }

    fn control(&self, order: &ModelControl<'_>) -> Result<bool> {
        let order = match *order {
            ModelControl::Load {
                name,
                config,
                files,
            } => ControlOrder::Load {
                name,
                config,
                files: files
                    .iter()
                    .map(|(path, data)| (path.as_str(), *data))
                    .collect(),
            },
            ModelControl::Unload { name } => ControlOrder::Unload { name },
            ModelControl::IsReady { name, version } => ControlOrder::IsReady { name, version },
        };
        let (done, outcome) = std::sync::mpsc::sync_channel(1);
        let tell = move |result| {
            // The channel has room for the one message.
            let _ = done.send(result);
        };
        carry_out(&self.caller, &self.instance_name, order, Box::new(tell));
        outcome
            .recv()
            .unwrap_or_else(|_| Err(Error::unavailable("the server is shutting down")))
    }
}

/// A call, and where its responses go.
struct InProcessCall {
    receiver: Arc<dyn CallReceiver>,
    arrivals: Arc<Arrivals>,
    limiter: Arc<CallLimiter>,
    batch: u64,
    responder: OnceLock<Weak<Responder>>,
    room: CallRoom,
}

impl InProcessCall {
    fn deliver(&self, response: CallResponse) {
        let is_final = response.is_final;
        self.receiver.receive(response);
        // Under the lock, so that nobody misses it between a look and a wait.
        drop(self.arrivals.lock.lock());
        self.arrivals.came.notify_all();
        if is_final {
            self.limiter.end(self.batch);
        }
    }
}

impl ResponseSink for InProcessCall {
    fn respond(&self, response: Option<Box<InferenceResponse>>, flags: ResponseFlags) {
        let mut taken = match response {
            Some(response) => taken(*response),
            None => CallResponse::default(),
        };
        taken.is_final = flags.is_final();
        self.room.note_sent();
        self.deliver(taken);
    }

    fn has_room(&self) -> bool {
        self.room.has_room()
    }

    fn when_room(&self, resume: Resume) {
        self.room.when_room(resume);
    }
}

impl CallHandle for Arc<InProcessCall> {
    fn cancel(&self) {
        if let Some(responder) = self.responder.get().and_then(Weak::upgrade) {
            responder.cancel();
        }
    }

    fn note_read(&self) {
        self.room.note_read(1);
    }

    fn ignore(&self) {
        self.room.note_read(IGNORED);
    }
}

/// Takes the outputs over as they are.
fn taken(mut response: InferenceResponse) -> CallResponse {
    if let Some(error) = response.error() {
        return CallResponse {
            error: Some(error.clone()),
            ..CallResponse::default()
        };
    }
    let parameters = response.parameters().to_vec();
    let mut outputs = Vec::new();
    for output in response.take_outputs() {
        let alignment = output.data_type.element_size().unwrap_or(1);
        let memory = match output.buffer {
            None => TensorMemory::copy_of(&[]),
            Some(buffer) => match taken_memory(buffer) {
                Some(memory) if memory.is_aligned(alignment) => memory,
                Some(memory) => TensorMemory::copy_of(memory.as_slice()),
                None => {
                    let name = &output.name;
                    let message = format!("output '{name}' must lie in host memory");
                    return CallResponse::failed(Error::unsupported(message));
                }
            },
        };
        outputs.push(HostTensor {
            name: output.name.as_str().to_owned(),
            data_type: output.data_type,
            shape: output.shape,
            memory,
        });
    }
    CallResponse {
        outputs,
        parameters,
        ..CallResponse::default()
    }
}

fn taken_memory(buffer: OutputBuffer) -> Option<TensorMemory> {
    match buffer {
        OutputBuffer::Heap(data) => Some(TensorMemory::from_vec(data)),
        OutputBuffer::Adopted(data) => Some(TensorMemory::adopt(data)),
        custom @ OutputBuffer::Custom(_) => custom.as_slice().map(TensorMemory::copy_of),
    }
}
