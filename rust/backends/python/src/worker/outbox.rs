// SPDX-License-Identifier: Apache-2.0
//! Sends frames to the server, from any thread of the worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use smallvec::SmallVec;
use tritongw_engine::ResponseFlags;
use tritongw_engine::clock::monotonic_ns;
use tritongw_types::{Error, Result};

use super::fetched::{Fetched, FetchedOutputs, fetch_outputs, fetched_of};
use super::link::Link;
use super::output_slab::WorkerOutputs;
use crate::host::{BatchReply, HostCall, HostOutput, HostResponse, ModelControl, OutputData};
use crate::shared::call_message::{write_call, write_control};
use crate::shared::channel::{INLINE_LIMIT, PAYLOAD_LIMIT};
use crate::shared::descriptor::{Descriptor, FrameKind};
use crate::shared::memory::SharedMemory;
use crate::shared::message::{SlabRange, TensorSource, write_response, write_tensor};
use crate::shared::ring::{Producer, RingError};
use crate::shared::wake::Waker;
use crate::shared::wire::Writer;

/// Pause before a frame is tried again on a ring that the server has yet to empty.
const FULL_RING_PAUSE: Duration = Duration::from_micros(50);

/// How long the server may be left asleep while the worker executes further batches that take no
/// longer than this: one wake-up then serves them all.
const GATHER_NS: u64 = 50_000;

/// What a request may send before its client is asked for: a question takes a round trip.
const UNASKED_LIMIT: usize = 1 << 20;
/// What a response weighs beside its data, so that small ones count too.
const RESPONSE_WEIGHT: usize = 16 * 1024;

/// Ranges of the slab that a frame names.
type TakenRanges = SmallVec<[SlabRange; 2]>;

/// The worker's end of the response ring.
#[derive(Debug)]
pub(super) struct Outbox {
    state: Mutex<State>,
    waker: Waker,
}

#[derive(Debug)]
struct State {
    responses: Producer,
    outputs: WorkerOutputs,
    inputs: Arc<SharedMemory>,
    scratch: Vec<u8>,
    gathering: Option<Gathering>,
}

/// Executions whose end the server was not woken for yet.
#[derive(Clone, Copy, Debug)]
struct Gathering {
    since_ns: u64,
    // How long the last of them computed.
    compute_ns: u64,
}

impl Outbox {
    pub(super) fn new(
        responses: Producer,
        outputs: WorkerOutputs,
        inputs: Arc<SharedMemory>,
        waker: Waker,
    ) -> Self {
        let state = State {
            responses,
            outputs,
            inputs,
            scratch: Vec::new(),
            gathering: None,
        };
        Self {
            state: Mutex::new(state),
            waker,
        }
    }

    /// Sends a response; the server may see it only after the next [`Self::flush`].
    fn send_response(
        &self,
        descriptor: Descriptor,
        response: Option<&HostResponse<'_>>,
    ) -> Result<()> {
        let mut taken = SmallVec::new();
        let fetched = match response {
            None => Ok(SmallVec::new()),
            Some(response) => self.fetch(&response.outputs, &mut taken),
        };
        let mut state = self.state.lock();
        let State {
            responses,
            outputs,
            inputs,
            scratch,
            ..
        } = &mut *state;
        // A model may go on writing to an input until it has answered the request.
        let is_last = ResponseFlags(u32::from(descriptor.flags)).is_final();
        let inputs = is_last.then_some(&**inputs);
        let written = fetched.and_then(|fetched| match response {
            None => {
                scratch.clear();
                Ok(descriptor)
            }
            Some(response) => {
                let body = (response, &fetched[..]);
                write_body(body, descriptor, outputs, inputs, scratch, &mut taken)
            }
        });
        written
            .and_then(|descriptor| push(responses, descriptor, scratch))
            .inspect_err(|_| {
                taken.iter().for_each(|&range| outputs.give_back(range));
            })
    }

    /// Tells that `execute` has returned; the server may see it only after [`Self::flush`].
    pub(super) fn send_executed(&self, descriptor: Descriptor, result: &Result<()>) -> Result<()> {
        let mut state = self.state.lock();
        let State {
            responses,
            scratch,
            gathering,
            ..
        } = &mut *state;
        let end_ns = descriptor.compute_end_ns;
        *gathering = Some(Gathering {
            since_ns: gathering.map_or(end_ns, |gathering| gathering.since_ns),
            compute_ns: end_ns.saturating_sub(descriptor.compute_start_ns),
        });
        let mut writer = Writer::new(scratch);
        if let Err(error) = result {
            writer.error(&shortened(error));
        }
        push(responses, descriptor, scratch)
    }

    /// Writes a call, its large inputs to the slab; to be sent by [`Self::send`].
    pub(super) fn prepare_call(
        &self,
        call: &HostCall<'_>,
        id: u64,
    ) -> Result<(Descriptor, Vec<u8>)> {
        let mut taken = SmallVec::new();
        let fetched = self.fetch(&call.inputs, &mut taken);
        self.prepare(FrameKind::Call, id, taken, |writer, outputs, taken| {
            let fetched = fetched?;
            write_call(writer, call);
            let mut inputs = call.inputs.iter().enumerate();
            inputs.try_for_each(|(index, input)| {
                let fetched = fetched_of(&fetched, index);
                write_output(writer, input, fetched, outputs, None, taken)
            })
        })
    }

    /// Writes an order about models; to be sent by [`Self::send`].
    pub(super) fn prepare_control(
        &self,
        order: &ModelControl<'_>,
        id: u64,
    ) -> Result<(Descriptor, Vec<u8>)> {
        self.prepare(FrameKind::Control, id, SmallVec::new(), |writer, _, _| {
            write_control(writer, order);
            Ok(())
        })
    }

    fn prepare(
        &self,
        kind: FrameKind,
        id: u64,
        mut taken: TakenRanges,
        write: impl FnOnce(&mut Writer<'_>, &mut WorkerOutputs, &mut TakenRanges) -> Result<()>,
    ) -> Result<(Descriptor, Vec<u8>)> {
        let mut descriptor = Descriptor::new(kind, id);
        let mut payload = Vec::new();
        let outputs = &mut self.state.lock().outputs;
        write(&mut Writer::new(&mut payload), outputs, &mut taken)
            .and_then(|()| move_body(&mut descriptor, outputs, &mut payload, &mut taken))
            .inspect_err(|_| {
                taken.iter().for_each(|&range| outputs.give_back(range));
            })?;
        Ok((descriptor, payload))
    }

    /// Copies what lies in GPUs' memory to the host, large data straight to where the server reads
    /// it. Nothing is locked meanwhile, for a copy waits until the GPU has computed.
    fn fetch(&self, outputs: &[HostOutput<'_>], taken: &mut TakenRanges) -> Result<FetchedOutputs> {
        fetch_outputs(outputs, |byte_size| {
            let outputs = &mut self.state.lock().outputs;
            let range = outputs.reserve(byte_size)?;
            taken.push(range);
            let block = outputs.block(range);
            let block = block.ok_or_else(|| Error::internal("a range outside the slab"))?;
            Ok((range, block))
        })
    }

    /// Sends a frame and sees that the server is awake.
    pub(super) fn send(&self, descriptor: Descriptor, payload: &[u8]) -> Result<()> {
        push(&mut self.state.lock().responses, descriptor, payload)?;
        self.flush();
        Ok(())
    }

    /// Sends a frame that the server may see only after the next [`Self::flush`].
    fn send_quietly(&self, descriptor: Descriptor) -> Result<()> {
        push(&mut self.state.lock().responses, descriptor, &[])
    }

    /// Returns whether the server may be left asleep while one more batch is executed.
    pub(super) fn may_gather(&self) -> bool {
        let gathering = self.state.lock().gathering;
        gathering.is_none_or(|gathering| {
            gathering.compute_ns < GATHER_NS
                && monotonic_ns().saturating_sub(gathering.since_ns) < GATHER_NS
        })
    }

    /// Sees that the server is awake.
    pub(super) fn flush(&self) {
        let is_asleep = {
            let mut state = self.state.lock();
            state.gathering = None;
            state.responses.take_sleeping()
        };
        if is_asleep {
            self.waker.wake();
        }
    }
}

/// Writes a response's payload, and its large parts to the slab; `taken` are the ranges used. What
/// lies in `inputs` is handed on from there.
fn write_body(
    (response, fetched): (&HostResponse<'_>, &[Option<Fetched>]),
    mut descriptor: Descriptor,
    outputs: &mut WorkerOutputs,
    inputs: Option<&SharedMemory>,
    scratch: &mut Vec<u8>,
    taken: &mut TakenRanges,
) -> Result<Descriptor> {
    let mut writer = Writer::new(scratch);
    let error = response.error.as_ref().map(shortened);
    let output_count = if error.is_some() {
        0
    } else {
        response.outputs.len()
    };
    write_response(
        &mut writer,
        error.as_ref(),
        &response.parameters,
        output_count,
    );
    for (index, output) in response.outputs.iter().take(output_count).enumerate() {
        let fetched = fetched_of(fetched, index);
        write_output(&mut writer, output, fetched, outputs, inputs, taken)?;
    }
    move_body(&mut descriptor, outputs, scratch, taken)?;
    Ok(descriptor)
}

fn write_output(
    writer: &mut Writer<'_>,
    output: &HostOutput<'_>,
    fetched: Option<&Fetched>,
    outputs: &mut WorkerOutputs,
    inputs: Option<&SharedMemory>,
    taken: &mut TakenRanges,
) -> Result<()> {
    let data = match (fetched, &output.data) {
        (Some(Fetched::Slab(range)), _) => {
            let source = TensorSource::Slab(*range);
            write_tensor(writer, output.name, output.data_type, &output.shape, source);
            return Ok(());
        }
        (Some(Fetched::Inline(data)), _) => data,
        (None, OutputData::Borrowed(data)) => *data,
        (None, OutputData::Owned(data)) => data,
        (None, OutputData::Device(_)) => {
            return Err(Error::internal("an output was not copied from its GPU"));
        }
    };
    let source = if data.len() <= INLINE_LIMIT {
        TensorSource::Inline(data)
    } else if let Some(offset) = inputs.and_then(|inputs| inputs.offset_of(data)) {
        TensorSource::Passed(SlabRange {
            offset: offset as u64,
            byte_size: data.len() as u64,
            slot: 0,
        })
    } else {
        let range = outputs.copy_in(data)?;
        taken.push(range);
        TensorSource::Slab(range)
    };
    let (name, data_type) = (output.name, output.data_type);
    write_tensor(writer, name, data_type, &output.shape, source);
    Ok(())
}

/// Moves a payload that is too large for the ring to the slab.
fn move_body(
    descriptor: &mut Descriptor,
    outputs: &mut WorkerOutputs,
    payload: &mut Vec<u8>,
    taken: &mut TakenRanges,
) -> Result<()> {
    if payload.len() > PAYLOAD_LIMIT {
        let body = outputs.copy_in(payload)?;
        taken.push(body);
        payload.clear();
        descriptor.body_offset = body.offset;
        descriptor.body_size = body.byte_size;
        descriptor.body_slot = body.slot;
    }
    Ok(())
}

/// Writes a frame, waiting for room if the server is behind.
fn push(responses: &mut Producer, descriptor: Descriptor, payload: &[u8]) -> Result<()> {
    loop {
        match responses.push(descriptor, payload) {
            Ok(()) => return Ok(()),
            // The server is awake: it has frames to take.
            Err(RingError::Full) => std::thread::sleep(FULL_RING_PAUSE),
            Err(error) => {
                return Err(Error::internal("failed to send to the server").with_source(error));
            }
        }
    }
}

/// Cuts a message that would not fit in a frame; one so long tells nobody anything.
fn shortened(error: &Error) -> Error {
    let message = error.message();
    let end = message.floor_char_boundary(PAYLOAD_LIMIT / 2);
    Error::new(error.code(), &message[..end])
}

/// Where the responses of one batch go.
#[derive(Debug)]
pub(super) struct WorkerReply {
    pub(super) outbox: Arc<Outbox>,
    pub(super) link: Arc<Link>,
    pub(super) batch: u64,
    pub(super) compute_start_ns: u64,
    /// 0 while `execute` runs.
    pub(super) compute_end_ns: AtomicU64,
    /// What each request has sent since the server was last asked for room.
    pub(super) unasked: Box<[AtomicUsize]>,
}

impl WorkerReply {
    /// Returns a descriptor about this batch with its times.
    pub(super) fn descriptor(&self, kind: FrameKind) -> Descriptor {
        let compute_end_ns = match self.compute_end_ns.load(Ordering::Relaxed) {
            0 => monotonic_ns(),
            end_ns => end_ns,
        };
        let compute_start_ns = self.compute_start_ns;
        Descriptor {
            compute_start_ns,
            compute_end_ns,
            ..Descriptor::new(kind, self.batch)
        }
    }
}

impl BatchReply for WorkerReply {
    fn id(&self) -> u64 {
        self.batch
    }

    fn send(
        &self,
        index: usize,
        response: Option<&HostResponse<'_>>,
        flags: ResponseFlags,
    ) -> Result<()> {
        let descriptor = Descriptor {
            index: u32::try_from(index).map_err(|_| Error::internal("no such request"))?,
            flags: u16::try_from(flags.0).map_err(|_| Error::internal("no such flags"))?,
            ..self.descriptor(FrameKind::Response)
        };
        let sent = self.outbox.send_response(descriptor, response);
        if let (Some(response), Some(unasked)) = (response, self.unasked.get(index)) {
            unasked.fetch_add(weight(response), Ordering::Relaxed);
        }
        sent
    }

    fn reschedule(&self, index: usize) -> Result<()> {
        let index = u32::try_from(index).map_err(|_| Error::internal("no such request"))?;
        self.outbox.send_quietly(Descriptor {
            index,
            ..self.descriptor(FrameKind::Rescheduled)
        })
    }

    fn let_go(&self, index: usize) {
        let Ok(index) = u32::try_from(index) else {
            return;
        };
        let sent = self.outbox.send_quietly(Descriptor {
            index,
            ..Descriptor::new(FrameKind::LetGo, self.batch)
        });
        if let Err(error) = sent {
            log::error!("failed to let a request go: {}", error.message());
        }
    }

    fn has_room(&self, index: usize) -> bool {
        let unasked = self.unasked.get(index);
        unasked.is_none_or(|unasked| unasked.load(Ordering::Relaxed) < UNASKED_LIMIT)
    }

    fn wait_for_room(&self, index: usize) {
        if self.has_room(index) {
            return;
        }
        if let Some(unasked) = self.unasked.get(index) {
            unasked.store(0, Ordering::Relaxed);
        }
        if let Ok(index) = u32::try_from(index) {
            self.link.wait_for_room(self.batch, index);
        }
    }

    fn flush(&self) {
        self.outbox.flush();
    }

    fn is_cancelled(&self, index: usize) -> bool {
        u32::try_from(index).is_ok_and(|index| self.link.is_cancelled(self.batch, index))
    }

    fn note_compute_end(&self) {
        self.compute_end_ns.store(monotonic_ns(), Ordering::Relaxed);
    }
}

fn weight(response: &HostResponse<'_>) -> usize {
    let outputs = response.outputs.iter();
    let size: usize = outputs.map(|output| output.data.byte_size()).sum();
    size.saturating_add(RESPONSE_WEIGHT)
}

/// Held by everything that points into the server's slab for one batch; the last to let go tells
/// the server.
#[derive(Debug)]
pub(super) struct BatchLease {
    pub(super) outbox: Arc<Outbox>,
    pub(super) batch: u64,
}

impl Drop for BatchLease {
    fn drop(&mut self) {
        if let Err(error) = self
            .outbox
            .send_quietly(Descriptor::new(FrameKind::Released, self.batch))
        {
            log::error!(
                "failed to release the inputs of a batch: {}",
                error.message()
            );
        }
        self.outbox.flush();
    }
}
