// SPDX-License-Identifier: Apache-2.0
//! The server's connection to one worker process: what was sent, and what is still to come back.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::ThreadId;

use bytes::Bytes;
use parking_lot::Mutex;
use tritongw_config::ModelConfig;
use tritongw_engine::batch::Batch;
use tritongw_engine::clock::monotonic_ns;
use tritongw_engine::model_log::join_request_ids;
use tritongw_types::{Error, Result};

use super::encode::{HeldInputs, write_batch};
use super::execution_clock::ExecutionClock;
use super::input_slab::InputSlab;
use super::open_batch::{BatchKind, ComputeSpan, OpenBatch};
use crate::host::ModelTraits;
use crate::shared::channel::{MAX_WAITING_BATCHES, PAYLOAD_LIMIT};
use crate::shared::descriptor::{Descriptor, FrameKind};
use crate::shared::message::SlabRange;
use crate::shared::ring::{Producer, RingError};
use crate::shared::wake::Waker;

/// Sends batches to a worker and keeps account of them until they are answered.
pub(crate) struct Connection {
    instance_name: Arc<str>,
    traits: ModelTraits,
    requests: Mutex<Producer>,
    request_waker: Waker,
    response_waker: Waker,
    underway: Mutex<Underway>,
    is_dead: AtomicBool,
    // The thread that takes this worker's responses; it wakes the worker when it has taken all.
    receiver: OnceLock<ThreadId>,
}

#[derive(Default)]
struct Underway {
    batches: HashMap<u64, Entry>,
    last_id: u64,
    is_closed: bool,
    // Where executions are limited in time.
    clock: Option<ExecutionClock>,
}

struct Entry {
    batch: Arc<OpenBatch>,
    // Until the worker says that nothing in it points there any more.
    held: HeldInputs,
}

/// What all batches of a model have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchContext<'a> {
    pub(crate) config: &'a ModelConfig,
    pub(crate) slab: &'a Arc<InputSlab>,
}

impl Connection {
    pub(crate) fn new(
        instance_name: Arc<str>,
        traits: ModelTraits,
        requests: Producer,
        request_waker: Waker,
        response_waker: Waker,
    ) -> Self {
        Self {
            instance_name,
            traits,
            requests: Mutex::new(requests),
            request_waker,
            response_waker,
            underway: Mutex::default(),
            is_dead: AtomicBool::new(false),
            receiver: OnceLock::new(),
        }
    }

    /// Keeps account of how long executions take, for [`Self::oldest_execution`].
    pub(crate) fn watch_executions(&self) {
        self.underway.lock().clock = Some(ExecutionClock::new(self.traits.is_concurrent));
    }

    /// Returns the batch that has been executing for the longest time, and since when.
    pub(crate) fn oldest_execution(&self) -> Option<(u64, u64)> {
        self.underway.lock().clock.as_ref()?.oldest()
    }

    /// Notes that the worker has executed a batch.
    pub(crate) fn note_executed(&self, id: u64) {
        if let Some(clock) = &mut self.underway.lock().clock {
            clock.end(id, monotonic_ns());
        }
    }

    /// Makes the calling thread the receiver: what it sends waits for [`Self::flush`].
    pub(crate) fn adopt_receiver(&self) {
        let is_first = self.receiver.set(std::thread::current().id()).is_ok();
        debug_assert!(is_first, "a connection has one receiver");
    }

    /// Sends a batch to the worker; the receiver answers it. `scratch` is memory to use again.
    ///
    /// # Errors
    /// The batch is as it was, or its requests have been answered with this error.
    pub(crate) fn submit(
        &self,
        batch: &mut Batch,
        context: BatchContext<'_>,
        scratch: &mut Vec<u8>,
    ) -> Result<()> {
        let mut held = write_batch(batch.requests(), context.config, context.slab, scratch)?;
        let mut descriptor = Descriptor::new(FrameKind::Execute, 0);
        descriptor.count = u32::try_from(batch.requests().len())
            .map_err(|_| Error::internal("a batch has too many requests"))?;
        if scratch.len() > PAYLOAD_LIMIT || !self.has_room_for(scratch.len()) {
            let (range, body) = context.slab.copy_in(scratch)?;
            held.push(body);
            (descriptor.body_offset, descriptor.body_size) = (range.offset, range.byte_size);
            scratch.clear();
        }
        let kind = BatchKind {
            is_decoupled: context.config.is_decoupled,
            is_concurrent: self.traits.is_concurrent,
        };
        let (id, open) = self.open(batch, kind, held)?;
        descriptor.batch = id;
        let pushed = self.push(descriptor, scratch);
        if let Err(error) = pushed {
            self.take(id);
            self.note_executed(id);
            let message = format!("failed to send a batch to '{}'", self.instance_name);
            let error = Error::internal(message).with_source(error);
            open.executed(Err(error.clone()), ComputeSpan::default());
            return Err(error);
        }
        Ok(())
    }

    /// Returns whether a payload may lie in the ring: room is kept for the bare frames of all other
    /// batches that may be under way.
    fn has_room_for(&self, payload_size: usize) -> bool {
        let mut requests = self.requests.lock();
        requests.has_room_for(payload_size, MAX_WAITING_BATCHES)
    }

    fn push(&self, descriptor: Descriptor, payload: &[u8]) -> Result<(), RingError> {
        let is_receiver = self.receiver.get() == Some(&std::thread::current().id());
        let is_asleep = {
            let mut requests = self.requests.lock();
            requests.push(descriptor, payload)?;
            !is_receiver && requests.take_sleeping()
        };
        if is_asleep {
            self.request_waker.wake();
        }
        Ok(())
    }

    /// Sees that the worker is awake if there is work for it.
    pub(crate) fn flush(&self) {
        let is_asleep = {
            let requests = self.requests.lock();
            requests.has_unread() && requests.take_sleeping()
        };
        if is_asleep {
            self.request_waker.wake();
        }
    }

    fn open(
        &self,
        batch: &mut Batch,
        kind: BatchKind,
        held: HeldInputs,
    ) -> Result<(u64, Arc<OpenBatch>)> {
        let mut underway = self.underway.lock();
        if underway.is_closed {
            return Err(not_healthy(&self.instance_name));
        }
        underway.last_id += 1;
        let id = underway.last_id;
        if let Some(clock) = &mut underway.clock {
            clock.begin(id, monotonic_ns());
        }
        let open = Arc::new(OpenBatch::take(batch, kind));
        underway.batches.insert(
            id,
            Entry {
                batch: Arc::clone(&open),
                held,
            },
        );
        Ok((id, open))
    }

    /// Tells the worker to finish and leave.
    pub(crate) fn stop_worker(&self) {
        if let Err(error) = self.push(Descriptor::new(FrameKind::Stop, 0), &[]) {
            log::error!("failed to tell '{}' to stop: {error}", self.instance_name);
        }
    }

    /// Returns the batch of that id, if it is under way.
    pub(crate) fn batch(&self, id: u64) -> Option<Arc<OpenBatch>> {
        let underway = self.underway.lock();
        underway
            .batches
            .get(&id)
            .map(|entry| Arc::clone(&entry.batch))
    }

    /// Returns whether the worker still executes something, or has to answer.
    pub(crate) fn is_busy(&self) -> bool {
        let underway = self.underway.lock();
        underway
            .batches
            .values()
            .any(|entry| !entry.batch.is_done())
    }

    /// Returns the ids of the requests that the worker holds, as a line of the log tells them.
    pub(crate) fn request_ids(&self) -> String {
        let batches: Vec<_> = {
            let underway = self.underway.lock();
            let entries = underway.batches.values();
            entries.map(|entry| entry.batch.request_ids()).collect()
        };
        join_request_ids(batches.iter().map(String::as_str))
    }

    /// Returns what the worker's model is.
    pub(crate) fn traits(&self) -> ModelTraits {
        self.traits
    }

    /// Returns whether a batch of that id was ever sent.
    pub(crate) fn was_sent(&self, id: u64) -> bool {
        (1..=self.underway.lock().last_id).contains(&id)
    }

    /// Returns the part of a batch's inputs that lies at `range` of `slab`; `None` if it is not of
    /// that batch, or the worker has let go of them.
    pub(crate) fn passed_input(
        &self,
        id: u64,
        slab: &InputSlab,
        range: SlabRange,
    ) -> Option<Bytes> {
        let underway = self.underway.lock();
        slab.part_of(&underway.batches.get(&id)?.held, range)
    }

    /// Lets go of the inputs of a batch: the worker has.
    pub(crate) fn release_inputs(&self, id: u64) {
        let held = {
            let mut underway = self.underway.lock();
            let entry = underway.batches.get_mut(&id);
            entry.map(|entry| std::mem::take(&mut entry.held))
        };
        drop(held); // After the lock: memory is given back to the system here.
        self.close_if_done(id);
    }

    /// Forgets a batch if nothing more can come for it.
    pub(crate) fn close_if_done(&self, id: u64) {
        let mut underway = self.underway.lock();
        let is_done = underway
            .batches
            .get(&id)
            .is_some_and(|entry| entry.held.is_empty() && entry.batch.is_done());
        if is_done {
            underway.batches.remove(&id);
        }
    }

    fn take(&self, id: u64) -> Option<Entry> {
        self.underway.lock().batches.remove(&id)
    }

    /// Notes that the worker is dead, and lets the receiver find that out.
    pub(crate) fn note_death(&self) {
        self.is_dead.store(true, Ordering::Release);
        self.response_waker.wake();
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Acquire)
    }

    /// Takes no more batches and answers those under way with an error.
    pub(crate) fn close(&self) {
        let batches = {
            let mut underway = self.underway.lock();
            underway.is_closed = true;
            std::mem::take(&mut underway.batches)
        };
        let error = not_healthy(&self.instance_name);
        for entry in batches.into_values() {
            entry
                .batch
                .executed(Err(error.clone()), ComputeSpan::default());
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("instance_name", &self.instance_name)
            .field("is_dead", &self.is_dead)
            .finish_non_exhaustive()
    }
}

/// Triton: `CheckStubHealth` in `python_be.cc`; code INTERNAL.
pub(crate) fn not_healthy(instance_name: &str) -> Error {
    Error::internal(format!("Stub process '{instance_name}' is not healthy."))
}
