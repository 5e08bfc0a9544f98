// SPDX-License-Identifier: Apache-2.0
//! Reads the responses of called models, whose outputs stay where the server has put them.

use std::any::Any;
use std::sync::Arc;

use tritongw_engine::ResponseFlags;
use tritongw_types::byte_size;

use super::call_handle::tell;
use super::outbox::Outbox;
use crate::host::{CallResponse, HostTensor, TensorMemory};
use crate::shared::descriptor::{Descriptor, FrameKind};
use crate::shared::memory::SharedMemory;
use crate::shared::message::{TensorPlace, read_response, read_tensor};
use crate::shared::wire::Reader;

/// Reads what the server sends; trusts nothing of it.
pub(super) struct ReplyReader {
    outbox: Arc<Outbox>,
    input_slab: Arc<SharedMemory>,
}

impl ReplyReader {
    pub(super) fn new(outbox: Arc<Outbox>, input_slab: Arc<SharedMemory>) -> Self {
        Self { outbox, input_slab }
    }

    /// Returns the response of a frame; `None` if it is malformed.
    pub(super) fn read(&self, descriptor: &Descriptor, payload: &[u8]) -> Option<CallResponse> {
        let is_final = ResponseFlags(u32::from(descriptor.flags)).is_final();
        let body;
        let payload = if descriptor.body_size > 0 {
            let byte_size = usize::try_from(descriptor.body_size).ok()?;
            if byte_size > self.input_slab.byte_size() {
                return None;
            }
            let mut read = vec![0; byte_size];
            let offset = usize::try_from(descriptor.body_offset).ok()?;
            if !self.input_slab.read(offset, &mut read) {
                return None;
            }
            body = read;
            &body
        } else {
            payload
        };
        let mut lease = None;
        if descriptor.body_size > 0 {
            self.lease(descriptor, &mut lease);
        }
        if payload.is_empty() {
            return Some(CallResponse {
                is_final,
                ..CallResponse::default()
            });
        }
        let mut reader = Reader::new(payload);
        let head = read_response(&mut reader)?;
        let inline = TensorMemory::copy_of(if head.output_count > 0 { payload } else { &[] });
        let mut outputs = Vec::with_capacity(head.output_count);
        for _ in 0..head.output_count {
            outputs.push(self.read_output(&mut reader, descriptor, &inline, &mut lease)?);
        }
        Some(CallResponse {
            outputs,
            error: head.error,
            parameters: head.parameters,
            is_final,
        })
    }

    fn read_output(
        &self,
        reader: &mut Reader<'_>,
        descriptor: &Descriptor,
        inline: &TensorMemory,
        lease: &mut Option<Arc<ResponseLease>>,
    ) -> Option<HostTensor> {
        let tensor = read_tensor(reader)?;
        let memory = match tensor.place {
            TensorPlace::Inline { offset, byte_size } => inline.slice(offset, byte_size)?,
            TensorPlace::Passed(_) => return None,
            TensorPlace::Slab(range) => {
                let owner: Arc<dyn Any + Send + Sync> = self.lease(descriptor, lease);
                let offset = usize::try_from(range.offset).ok()?;
                let byte_size = usize::try_from(range.byte_size).ok()?;
                TensorMemory::shared(&self.input_slab, offset, byte_size, owner)?
            }
        };
        let expected = byte_size(tensor.data_type, &tensor.shape).ok()?;
        if expected.is_some_and(|expected| expected != memory.byte_size()) {
            return None;
        }
        let alignment = tensor.data_type.element_size().unwrap_or(1);
        let memory = if memory.is_aligned(alignment) {
            memory
        } else {
            TensorMemory::copy_of(memory.as_slice())
        };
        Some(HostTensor {
            name: tensor.name.to_owned(),
            data_type: tensor.data_type,
            shape: tensor.shape,
            memory,
        })
    }

    fn lease(
        &self,
        descriptor: &Descriptor,
        lease: &mut Option<Arc<ResponseLease>>,
    ) -> Arc<ResponseLease> {
        let lease = lease.get_or_insert_with(|| {
            Arc::new(ResponseLease {
                outbox: Arc::clone(&self.outbox),
                _memory: Arc::clone(&self.input_slab),
                call: descriptor.batch,
                index: descriptor.index,
            })
        });
        Arc::clone(lease)
    }
}

/// Held by everything that points into the server's slab for one response.
struct ResponseLease {
    outbox: Arc<Outbox>,
    _memory: Arc<SharedMemory>,
    call: u64,
    index: u32,
}

impl Drop for ResponseLease {
    fn drop(&mut self) {
        let mut descriptor = Descriptor::new(FrameKind::CallReleased, self.call);
        descriptor.index = self.index;
        tell(&self.outbox, descriptor);
    }
}
