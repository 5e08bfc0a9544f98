// SPDX-License-Identifier: Apache-2.0
//! The thread that takes what a worker sends and answers the requests.

use std::cell::Cell;
use std::sync::Arc;

use tritongw_engine::{CallOrigin, HeldCalls, InputTensor, ResponseFlags};
use tritongw_types::Error;

use super::call_desk::CallDesk;
use super::call_request::CallSpec;
use super::connection::Connection;
use super::input_slab::InputSlab;
use super::open_batch::{ComputeSpan, OpenBatch};
use super::outputs::{OutputSlab, adopted};
use crate::host::{HostOutput, HostResponse, OutputData};
use crate::shared::call_message::{read_call, read_control};
use crate::shared::descriptor::{Descriptor, FrameKind};
use crate::shared::message::{SlabRange, TensorPlace, read_response, read_tensor};
use crate::shared::ring::Consumer;
use crate::shared::wake::Sleeper;
use crate::shared::wire::Reader;

/// Takes a worker's frames until it is dead or breaks the protocol.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) connection: Arc<Connection>,
    pub(crate) calls: Arc<CallDesk>,
    pub(crate) responses: Consumer,
    pub(crate) sleeper: Sleeper,
    pub(crate) outputs: OutputSlab,
    pub(crate) inputs: Arc<InputSlab>,
    /// When the worker had finished its last batch, by its word; 0 before the first, and where
    /// batches overlap.
    pub(crate) free_ns: Cell<u64>,
}

/// How a worker broke the protocol.
type Violation = String;

/// Frames after which network threads are called although more frames are there.
const GATHER_LIMIT: u32 = 16;

impl Receiver {
    /// Runs until the worker is dead; everything it sent before is still delivered.
    ///
    /// # Errors
    /// How the worker broke the protocol: it must not live on.
    pub(crate) fn run(mut self) -> Result<(), Violation> {
        self.connection.adopt_receiver();
        let calls = HeldCalls::begin();
        let mut gathered = 0;
        let mut payload = Vec::new();
        loop {
            let was_dead = self.connection.is_dead();
            let popped = self
                .responses
                .pop(&mut payload)
                .map_err(|error| error.to_string())?;
            match popped {
                Some(descriptor) => {
                    self.take(&descriptor, &mut payload)?;
                    gathered += 1;
                    if gathered >= GATHER_LIMIT {
                        calls.release();
                        gathered = 0;
                    }
                }
                None if was_dead => return Ok(()),
                None => {
                    self.connection.flush();
                    calls.release();
                    gathered = 0;
                    self.sleep()?;
                }
            }
        }
    }

    fn sleep(&self) -> Result<(), Violation> {
        if self.responses.prepare_sleep() {
            let slept = self.sleeper.sleep();
            self.responses.end_sleep();
            slept.map_err(|error| format!("failed to wait for the worker: {error}"))?;
        }
        Ok(())
    }

    fn take(&self, descriptor: &Descriptor, payload: &mut Vec<u8>) -> Result<(), Violation> {
        match descriptor.kind {
            FrameKind::Response => self.respond(descriptor, payload)?,
            FrameKind::Executed => self.executed(descriptor, payload)?,
            FrameKind::Rescheduled => self.reschedule(descriptor)?,
            FrameKind::LetGo => self.let_go(descriptor)?,
            FrameKind::Released => self.connection.release_inputs(descriptor.batch),
            FrameKind::Call => self.call(descriptor, payload)?,
            FrameKind::CallCancel => self.calls.cancel(descriptor.batch),
            FrameKind::CallRead => self.calls.note_read(descriptor.batch, descriptor.count),
            FrameKind::CallReleased => self.calls.release(descriptor.batch, descriptor.index),
            FrameKind::CallRoom => self.calls.send_kept(),
            FrameKind::Control => self.control(descriptor, payload)?,
            FrameKind::Skip | FrameKind::Execute | FrameKind::Stop | FrameKind::Reply => {
                return Err(format!("a worker sends no {:?} frame", descriptor.kind));
            }
        }
        Ok(())
    }

    fn respond(&self, descriptor: &Descriptor, payload: &mut Vec<u8>) -> Result<(), Violation> {
        self.take_body(descriptor, payload)?;
        let response = match payload.as_slice() {
            [] => None,
            payload => Some(self.read(payload, descriptor.batch)?),
        };
        let Some(batch) = self.find(descriptor)? else {
            return Ok(());
        };
        let flags = ResponseFlags(u32::from(descriptor.flags));
        let index = descriptor.index as usize;
        if let Err(error) = batch.answer(index, response.as_ref(), flags, self.span(descriptor)) {
            log::warn!(
                "a response of a Python model was dropped: {}",
                error.message()
            );
        }
        self.connection.close_if_done(descriptor.batch);
        Ok(())
    }

    fn reschedule(&self, descriptor: &Descriptor) -> Result<(), Violation> {
        let Some(batch) = self.find(descriptor)? else {
            return Ok(());
        };
        let index = descriptor.index as usize;
        if let Err(error) = batch.reschedule(index, self.span(descriptor)) {
            log::warn!(
                "a request of a Python model was not rescheduled: {}",
                error.message()
            );
        }
        Ok(())
    }

    fn let_go(&self, descriptor: &Descriptor) -> Result<(), Violation> {
        if let Some(batch) = self.find(descriptor)? {
            batch.let_go(descriptor.index as usize);
            self.connection.close_if_done(descriptor.batch);
        }
        Ok(())
    }

    /// Fetches a payload that was too large for the ring.
    fn take_body(&self, descriptor: &Descriptor, payload: &mut Vec<u8>) -> Result<(), Violation> {
        if descriptor.body_size > 0 {
            let range = SlabRange {
                offset: descriptor.body_offset,
                byte_size: descriptor.body_size,
                slot: descriptor.body_slot,
            };
            *payload = self
                .outputs
                .copy_out(range)
                .ok_or("a body lies outside the slab")?;
        }
        Ok(())
    }

    /// Sends a call of the worker's model on.
    fn call(&self, descriptor: &Descriptor, payload: &mut Vec<u8>) -> Result<(), Violation> {
        let cut_short = || "a call is cut short".to_owned();
        self.take_body(descriptor, payload)?;
        let mut reader = Reader::new(payload);
        let head = read_call(&mut reader).ok_or_else(cut_short)?;
        let mut inputs = Vec::with_capacity(head.input_count);
        for _ in 0..head.input_count {
            let input = self.read_output(&mut reader, payload, head.batch)?;
            let data = input.data.to_bytes().map_err(|error| error.to_string())?;
            let (name, data_type) = (input.name, input.data_type);
            inputs.push(InputTensor::new(name, data_type, input.shape, data));
        }
        let batch = self.connection.batch(head.batch);
        let origin = batch.map_or_else(CallOrigin::default, |batch| {
            batch.call_origin(head.is_blocking)
        });
        let trace = head.trace.and_then(|parent| {
            let batch = self.connection.batch(parent.batch)?;
            batch.trace(parent.index as usize)
        });
        let spec = CallSpec {
            model_name: head.model_name,
            model_version: head.model_version,
            is_decoupled: head.is_decoupled,
            id: head.id,
            correlation_id: head.correlation_id,
            flags: head.flags,
            timeout_us: head.timeout_us,
            priority: head.priority,
            parameters: head.parameters,
            requested_outputs: head.requested_outputs,
            trace,
        };
        self.calls.call(descriptor.batch, spec, inputs, &origin);
        Ok(())
    }

    /// Carries out what the worker's model asks of the repository.
    fn control(&self, descriptor: &Descriptor, payload: &mut Vec<u8>) -> Result<(), Violation> {
        self.take_body(descriptor, payload)?;
        let order = read_control(&mut Reader::new(payload)).ok_or("an order is cut short")?;
        self.calls.control(descriptor.batch, order);
        Ok(())
    }

    /// Returns the batch a frame is about; `None` if it has been answered and forgotten.
    fn find(&self, descriptor: &Descriptor) -> Result<Option<Arc<OpenBatch>>, Violation> {
        let batch = self.connection.batch(descriptor.batch);
        if batch.is_none() && !self.connection.was_sent(descriptor.batch) {
            return Err(format!("a {:?} frame belongs to no batch", descriptor.kind));
        }
        Ok(batch)
    }

    fn read<'a>(&'a self, payload: &'a [u8], batch: u64) -> Result<HostResponse<'a>, Violation> {
        let cut_short = || "a response is cut short".to_owned();
        let mut reader = Reader::new(payload);
        let head = read_response(&mut reader).ok_or_else(cut_short)?;
        let mut response = HostResponse {
            error: head.error,
            parameters: head.parameters,
            ..HostResponse::default()
        };
        for _ in 0..head.output_count {
            let output = self.read_output(&mut reader, payload, batch)?;
            response.outputs.push(output);
        }
        Ok(response)
    }

    /// Reads a tensor that the worker sent for a batch.
    fn read_output<'a>(
        &'a self,
        reader: &mut Reader<'a>,
        payload: &'a [u8],
        batch: u64,
    ) -> Result<HostOutput<'a>, Violation> {
        let tensor = read_tensor(reader).ok_or("a tensor is cut short")?;
        let data = match tensor.place {
            TensorPlace::Inline { offset, byte_size } => {
                let data = payload.get(offset..offset + byte_size);
                OutputData::Borrowed(data.ok_or("a tensor is cut short")?)
            }
            TensorPlace::Slab(range) => {
                let data = self.outputs.output(tensor.data_type, range);
                data.ok_or("a tensor lies outside the slab")?
            }
            TensorPlace::Passed(range) => {
                let input = self.connection.passed_input(batch, &self.inputs, range);
                let data = input.or_else(|| self.calls.passed_output(range));
                let data = data.ok_or("a tensor lies in nothing that the worker holds")?;
                adopted(tensor.data_type, data)
            }
        };
        Ok(HostOutput {
            name: tensor.name,
            data_type: tensor.data_type,
            shape: tensor.shape,
            data,
        })
    }

    fn span(&self, descriptor: &Descriptor) -> ComputeSpan {
        ComputeSpan {
            start_ns: descriptor.compute_start_ns,
            end_ns: descriptor.compute_end_ns,
            free_ns: self.free_ns.get(),
        }
    }

    fn executed(&self, descriptor: &Descriptor, payload: &[u8]) -> Result<(), Violation> {
        let Some(batch) = self.find(descriptor)? else {
            return Ok(());
        };
        let result = match payload {
            [] => Ok(()),
            payload => Err(read_error(payload)?),
        };
        self.connection.note_executed(descriptor.batch);
        batch.executed(result, self.span(descriptor));
        if !self.connection.traits().is_concurrent {
            self.free_ns.set(descriptor.compute_end_ns);
        }
        self.connection.close_if_done(descriptor.batch);
        Ok(())
    }
}

fn read_error(payload: &[u8]) -> Result<Error, Violation> {
    let error = Reader::new(payload).error();
    error.ok_or_else(|| "an error is cut short".to_owned())
}
