// SPDX-License-Identifier: Apache-2.0
//! The server's end of a worker's calls to other models: sends them on, and their responses back.
//!
//! **Invariant:** nothing in here waits. A response that finds no room in the ring is kept
//! (`reply_ring.rs`), and how many there may be is bounded by what called models are told of their
//! caller's room.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tritongw_engine::buffer::OutputBuffer;
use tritongw_engine::{
    CallOrigin, InferenceResponse, InputTensor, ModelCaller, Responder, ResponseFlags,
    ResponseSink, Resume,
};
use tritongw_types::{Error, Parameter, ParameterValue, Result};

use super::call_request::{CallSpec, carry_out, make_request, not_sent};
use super::call_room::{CallRoom, IGNORED};
use super::input_slab::InputSlab;
use super::reply_ring::ReplyRing;
use super::slab_allocator::SlabAllocator;
use crate::shared::call_message::ControlOrder;
use crate::shared::channel::{INLINE_LIMIT, PAYLOAD_LIMIT, ReplyChannel};
use crate::shared::descriptor::{Descriptor, FrameKind};
use crate::shared::message::{SlabRange, TensorSource, write_response, write_tensor};
use crate::shared::ring::Producer;
use crate::shared::wake::Waker;
use crate::shared::wire::Writer;

/// What keeps the outputs of a response where the worker reads them.
type HeldOutputs = SmallVec<[Bytes; 1]>;

/// An output of a called model in host memory.
struct HeldOutput(OutputBuffer);

impl AsRef<[u8]> for HeldOutput {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice().unwrap_or_default()
    }
}

/// The calls of one worker.
pub(crate) struct CallDesk {
    instance_name: Arc<str>,
    caller: ModelCaller,
    slab: Arc<InputSlab>,
    ring: Mutex<ReplyRing>,
    waker: Waker,
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    open: HashMap<u64, Arc<CallSink>>,
    // By call and number of the response.
    held: HashMap<(u64, u32), HeldOutputs>,
    is_closed: bool,
}

impl CallDesk {
    pub(crate) fn new(
        instance_name: Arc<str>,
        caller: ModelCaller,
        slab: Arc<InputSlab>,
        replies: Producer,
        waker: Waker,
        channel: ReplyChannel,
    ) -> Arc<Self> {
        let ring = ReplyRing::new(replies, channel);
        Arc::new(Self {
            instance_name,
            caller,
            slab,
            ring: Mutex::new(ring),
            waker,
            calls: Mutex::default(),
        })
    }

    /// Sends a call on. Whatever comes of it, the worker hears of it.
    pub(crate) fn call(
        self: &Arc<Self>,
        id: u64,
        spec: CallSpec<'_>,
        inputs: Vec<InputTensor>,
        origin: &CallOrigin,
    ) {
        let sink = Arc::new(CallSink {
            desk: Arc::downgrade(self),
            id,
            responder: OnceLock::new(),
            room: CallRoom::default(),
            sent: AtomicU32::new(0),
            is_closed: AtomicBool::new(false),
        });
        if !self.open(&sink) {
            return;
        }
        let model_name = spec.model_name;
        let sent = make_request(&self.caller, spec, inputs).and_then(|request| {
            let allocator = Arc::new(SlabAllocator::new(&self.slab));
            let of_request = Arc::clone(&sink) as Arc<dyn ResponseSink>;
            self.caller.send(request, origin, allocator, of_request)
        });
        match sent {
            Ok(responder) => {
                let is_first = sink.responder.set(responder).is_ok();
                debug_assert!(is_first, "a call is sent once");
                if sink.is_closed.load(Ordering::Acquire) {
                    sink.cancel(); // Given up before it was known by whom.
                }
            }
            Err(error) => {
                self.finish(id);
                self.reply_result(id, Err(not_sent(model_name, &error)));
            }
        }
    }

    fn open(&self, sink: &Arc<CallSink>) -> bool {
        let mut calls = self.calls.lock();
        if !calls.is_closed {
            calls.open.insert(sink.id, Arc::clone(sink));
        }
        !calls.is_closed
    }

    fn finish(&self, id: u64) {
        let sink = self.calls.lock().open.remove(&id);
        drop(sink); // After the lock.
    }

    fn find(&self, id: u64) -> Option<Arc<CallSink>> {
        self.calls.lock().open.get(&id).cloned()
    }

    /// Gives a call up.
    pub(crate) fn cancel(&self, id: u64) {
        if let Some(sink) = self.find(id) {
            sink.is_closed.store(true, Ordering::Release);
            sink.cancel();
        }
    }

    /// Notes that the caller has looked at responses.
    pub(crate) fn note_read(&self, id: u64, count: u32) {
        if let Some(sink) = self.find(id) {
            sink.room.note_read(count);
        }
    }

    /// Lets go of the outputs of a response: the worker has.
    pub(crate) fn release(&self, id: u64, index: u32) {
        let held = self.calls.lock().held.remove(&(id, index));
        drop(held); // After the lock: memory is given back to the system here.
    }

    /// Returns the part of a response that lies at `range`; `None` if the worker holds none there.
    pub(crate) fn passed_output(&self, range: SlabRange) -> Option<Bytes> {
        let calls = self.calls.lock();
        let mut held = calls.held.values();
        held.find_map(|pieces| self.slab.part_of(pieces, range))
    }

    /// Sends what was kept, as far as there is room.
    pub(crate) fn send_kept(&self) {
        let mut ring = self.ring.lock();
        ring.send_kept();
        self.wake(&ring);
    }

    /// Carries an order about models out; the worker hears what came of it.
    pub(crate) fn control(self: &Arc<Self>, id: u64, order: ControlOrder<'_>) {
        let desk = Arc::downgrade(self);
        let done = move |result| {
            if let Some(desk) = Weak::upgrade(&desk) {
                desk.reply_result(id, result);
            }
        };
        carry_out(&self.caller, &self.instance_name, order, Box::new(done));
    }

    /// Gives up everything: the worker is gone.
    pub(crate) fn close(&self) {
        let calls = {
            let mut calls = self.calls.lock();
            let is_closed = true;
            std::mem::replace(
                &mut *calls,
                Calls {
                    is_closed,
                    ..Calls::default()
                },
            )
        };
        for sink in calls.open.values() {
            sink.is_closed.store(true, Ordering::Release);
            sink.cancel();
            sink.room.note_read(IGNORED);
        }
    }

    /// Sends a response of a called model.
    fn reply(&self, id: u64, index: u32, response: InferenceResponse, flags: ResponseFlags) {
        let mut payload = self.ring.lock().take_scratch();
        let mut held = HeldOutputs::new();
        let error = response.error().cloned();
        let written = match error {
            Some(error) => Err(error),
            None => self.write(response, &mut payload, &mut held),
        };
        if let Err(error) = written {
            held.clear();
            write_response(&mut Writer::new(&mut payload), Some(&error), &[], 0);
        }
        let mut descriptor = Descriptor::new(FrameKind::Reply, id);
        descriptor.index = index;
        // INVARIANT: the two flags there are fit.
        descriptor.flags = u16::try_from(flags.0).unwrap_or_default();
        self.send(descriptor, payload, held);
    }

    /// Sends flags alone.
    fn reply_flags(&self, id: u64, index: u32, flags: ResponseFlags) {
        let mut descriptor = Descriptor::new(FrameKind::Reply, id);
        descriptor.index = index;
        descriptor.flags = u16::try_from(flags.0).unwrap_or_default();
        self.send(descriptor, Vec::new(), HeldOutputs::new());
    }

    fn reply_result(&self, id: u64, result: Result<bool>) {
        let mut payload = Vec::new();
        let mut writer = Writer::new(&mut payload);
        match result {
            Ok(value) => {
                let value = ParameterValue::Bool(value);
                let name = "result".into();
                write_response(&mut writer, None, &[Parameter { name, value }], 0);
            }
            Err(error) => write_response(&mut writer, Some(&error), &[], 0),
        }
        let mut descriptor = Descriptor::new(FrameKind::Reply, id);
        descriptor.flags = 1;
        self.send(descriptor, payload, HeldOutputs::new());
    }

    fn write(
        &self,
        mut response: InferenceResponse,
        payload: &mut Vec<u8>,
        held: &mut HeldOutputs,
    ) -> Result<()> {
        let mut writer = Writer::new(payload);
        let outputs = response.take_outputs();
        write_response(&mut writer, None, response.parameters(), outputs.len());
        for mut output in outputs {
            let buffer = output.buffer.take();
            let data = buffer
                .as_ref()
                .map_or(Some(&[][..]), |buffer| buffer.as_slice());
            let data = data.ok_or_else(|| {
                Error::unsupported(format!("output '{}' must lie in host memory", output.name))
            })?;
            let range = self.slab.range_of(data);
            let source = match range {
                _ if data.len() <= INLINE_LIMIT => TensorSource::Inline(data),
                Some(range) => TensorSource::Slab(range),
                None => {
                    let (range, block) = self.slab.copy_in(data)?;
                    held.push(block);
                    TensorSource::Slab(range)
                }
            };
            let (name, data_type) = (&output.name, output.data_type);
            write_tensor(&mut writer, name, data_type, &output.shape, source);
            if data.len() > INLINE_LIMIT
                && range.is_some()
                && let Some(buffer) = buffer
            {
                held.push(Bytes::from_owner(HeldOutput(buffer)));
            }
        }
        Ok(())
    }

    fn send(&self, mut descriptor: Descriptor, mut payload: Vec<u8>, mut held: HeldOutputs) {
        if payload.len() > PAYLOAD_LIMIT {
            match self.slab.copy_in(&payload) {
                Ok((range, body)) => {
                    held.push(body);
                    (descriptor.body_offset, descriptor.body_size) =
                        (range.offset, range.byte_size);
                    payload.clear();
                }
                Err(error) => {
                    held.clear();
                    write_response(&mut Writer::new(&mut payload), Some(&error), &[], 0);
                }
            }
        }
        if !held.is_empty() && !self.hold(&descriptor, held) {
            return;
        }
        let mut ring = self.ring.lock();
        ring.send(descriptor, payload);
        self.wake(&ring);
    }

    fn hold(&self, descriptor: &Descriptor, held: HeldOutputs) -> bool {
        let mut calls = self.calls.lock();
        if calls.is_closed {
            return false;
        }
        let key = (descriptor.batch, descriptor.index);
        calls.held.insert(key, held);
        true
    }

    fn wake(&self, ring: &ReplyRing) {
        if ring.take_sleeping() {
            self.waker.wake();
        }
    }
}

impl std::fmt::Debug for CallDesk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallDesk")
            .field("instance_name", &self.instance_name)
            .finish_non_exhaustive()
    }
}

/// Takes the responses to one call.
struct CallSink {
    desk: Weak<CallDesk>,
    id: u64,
    responder: OnceLock<Weak<Responder>>,
    room: CallRoom,
    sent: AtomicU32,
    is_closed: AtomicBool,
}

impl CallSink {
    fn cancel(&self) {
        let responder = self.responder.get().and_then(Weak::upgrade);
        if let Some(responder) = responder {
            responder.cancel();
        }
    }
}

impl ResponseSink for CallSink {
    fn respond(&self, response: Option<Box<InferenceResponse>>, flags: ResponseFlags) {
        let Some(desk) = self.desk.upgrade() else {
            return;
        };
        self.room.note_sent();
        let index = self.sent.fetch_add(1, Ordering::Relaxed);
        if flags.is_final() {
            desk.finish(self.id);
        }
        match response {
            Some(response) => desk.reply(self.id, index, *response, flags),
            None => desk.reply_flags(self.id, index, flags),
        }
    }

    fn has_room(&self) -> bool {
        self.room.has_room()
    }

    fn when_room(&self, resume: Resume) {
        self.room.when_room(resume);
    }
}
