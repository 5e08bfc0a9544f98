// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;

use bytes::Bytes;
use tritongw_engine::buffer::{HeapAllocator, OutputBuffer, OutputMemory, ResponseAllocator};
use tritongw_types::{BufferAttributes, CName, MemoryLocation, Result};

use super::input_slab::{InputBlock, InputSlab};
use crate::shared::channel::INLINE_LIMIT;

/// Lets called models write large outputs to where their caller's worker reads them.
pub(crate) struct SlabAllocator {
    slab: Arc<InputSlab>,
}

impl SlabAllocator {
    pub(crate) fn new(slab: &Arc<InputSlab>) -> Self {
        Self {
            slab: Arc::clone(slab),
        }
    }
}

impl ResponseAllocator for SlabAllocator {
    fn allocate(
        &self,
        output: &CName,
        byte_size: usize,
        preferred: MemoryLocation,
    ) -> Result<OutputBuffer> {
        if byte_size > INLINE_LIMIT
            && let Some(block) = self.slab.allocate(byte_size, 0)
        {
            return Ok(OutputBuffer::Custom(Box::new(SlabOutput {
                attributes: BufferAttributes {
                    byte_size,
                    location: MemoryLocation::CPU,
                    ..BufferAttributes::default()
                },
                block,
            })));
        }
        HeapAllocator.allocate(output, byte_size, preferred)
    }

    fn adopt(&self, _: &CName, data: Bytes) -> Result<OutputBuffer> {
        // What does not lie in the slab is copied there once, when the response is sent.
        Ok(OutputBuffer::Adopted(data))
    }
}

struct SlabOutput {
    attributes: BufferAttributes,
    block: InputBlock,
}

impl OutputMemory for SlabOutput {
    fn attributes(&self) -> &BufferAttributes {
        &self.attributes
    }

    fn as_slice(&self) -> Option<&[u8]> {
        Some(self.block.as_ref())
    }

    fn as_mut_slice(&mut self) -> Option<&mut [u8]> {
        Some(self.block.as_mut_slice())
    }
}
