// SPDX-License-Identifier: Apache-2.0

use bytes::Bytes;
use smallvec::SmallVec;
use std::sync::Arc;
use tritongw_types::{BufferAttributes, CName, MemoryLocation, Result};

use super::manager::SharedMemorySlice;
use crate::buffer::{HeapAllocator, OutputBuffer, OutputMemory, ResponseAllocator};

/// Gives outputs their place in the client's shared memory where the request names one, and on the
/// heap where it does not.
#[derive(Debug, Default)]
pub struct SharedMemoryAllocator {
    slices: SmallVec<[(CName, Arc<SharedMemorySlice>); 2]>,
    heap: HeapAllocator,
}

impl SharedMemoryAllocator {
    /// Adds the place of one output.
    pub fn place(&mut self, output: &CName, slice: SharedMemorySlice) {
        self.slices.push((output.clone(), Arc::new(slice)));
    }

    /// Returns whether no output has its place in shared memory.
    pub fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    /// Returns whether the output goes to shared memory.
    pub fn places(&self, output: &str) -> bool {
        self.slice(output).is_some()
    }

    fn slice(&self, output: &str) -> Option<&Arc<SharedMemorySlice>> {
        self.slices
            .iter()
            .find(|(name, _)| name == output)
            .map(|(_, slice)| slice)
    }
}

impl ResponseAllocator for SharedMemoryAllocator {
    fn allocate(
        &self,
        output: &CName,
        byte_size: usize,
        preferred: MemoryLocation,
    ) -> Result<OutputBuffer> {
        let Some(slice) = self.slice(output) else {
            return self.heap.allocate(output, byte_size, preferred);
        };
        slice.check_room(output, byte_size)?;
        let staged = self.heap.allocate(output, byte_size, preferred)?;
        Ok(OutputBuffer::Custom(Box::new(SharedMemoryOutput {
            name: output.clone(),
            slice: Arc::clone(slice),
            staged: Some(staged),
            attributes: attributes(byte_size),
        })))
    }

    fn adopt(&self, output: &CName, data: Bytes) -> Result<OutputBuffer> {
        let Some(slice) = self.slice(output) else {
            return self.heap.adopt(output, data);
        };
        slice.write(output, &data)?;
        Ok(OutputBuffer::Custom(Box::new(SharedMemoryOutput {
            name: output.clone(),
            slice: Arc::clone(slice),
            staged: None,
            attributes: attributes(data.len()),
        })))
    }
}

fn attributes(byte_size: usize) -> BufferAttributes {
    BufferAttributes {
        byte_size,
        ..BufferAttributes::default()
    }
}

/// An output on its way to shared memory: staged in private memory, which the backend fills.
struct SharedMemoryOutput {
    name: CName,
    slice: Arc<SharedMemorySlice>,
    // Taken when it has been written.
    staged: Option<OutputBuffer>,
    attributes: BufferAttributes,
}

impl OutputMemory for SharedMemoryOutput {
    fn attributes(&self) -> &BufferAttributes {
        &self.attributes
    }

    fn as_slice(&self) -> Option<&[u8]> {
        self.staged.as_ref()?.as_slice()
    }

    fn as_mut_slice(&mut self) -> Option<&mut [u8]> {
        self.staged.as_mut()?.as_mut_slice()
    }

    fn is_with_client(&self) -> bool {
        true
    }

    fn settle(&mut self) -> Result<()> {
        let Some(staged) = self.staged.take() else {
            return Ok(());
        };
        self.slice
            .write(&self.name, staged.as_slice().unwrap_or_default())
    }
}
