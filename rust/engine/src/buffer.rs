// SPDX-License-Identifier: Apache-2.0
//! Memory of inputs and outputs: who owns it, where it lies, who gave it.
//!
//! **Invariant:** host memory is always a [`Bytes`] or a `Vec` here, never a bare pointer; a C
//! caller's memory enters as a [`Bytes`] whose owner is that caller's promise.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;
use tritongw_types::{BufferAttributes, CName, Error, MemoryLocation, Result};

/// One piece of an input's data.
#[derive(Clone)]
pub enum InputBuffer {
    /// Host memory; slices of one request body share its owner.
    Host(Bytes),
    /// Memory of a device, named by its address and never read by the engine.
    Device {
        /// Device address.
        address: u64,
        /// Size, location and, if another process may map it, the handle.
        attributes: BufferAttributes,
        /// Keeps the memory alive.
        owner: Arc<dyn Any + Send + Sync>,
    },
}

impl InputBuffer {
    /// Returns the size in bytes.
    pub fn byte_size(&self) -> usize {
        match self {
            Self::Host(bytes) => bytes.len(),
            Self::Device { attributes, .. } => attributes.byte_size,
        }
    }

    /// Returns where the buffer lies.
    pub fn location(&self) -> MemoryLocation {
        match self {
            Self::Host(_) => MemoryLocation::CPU,
            Self::Device { attributes, .. } => attributes.location,
        }
    }

    /// Returns the data if it lies in host memory.
    pub fn as_host(&self) -> Option<&Bytes> {
        match self {
            Self::Host(bytes) => Some(bytes),
            Self::Device { .. } => None,
        }
    }
}

impl fmt::Debug for InputBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InputBuffer")
            .field("byte_size", &self.byte_size())
            .field("location", &self.location())
            .finish()
    }
}

/// Data of one input: its pieces in order. Most inputs have one.
pub type InputData = SmallVec<[InputBuffer; 1]>;

/// Output memory that an allocator other than the heap gave, released when dropped.
pub trait OutputMemory: Send + Sync {
    /// Returns the attributes of the memory.
    fn attributes(&self) -> &BufferAttributes;

    /// Returns the memory for reading if it lies in host memory.
    fn as_slice(&self) -> Option<&[u8]>;

    /// Returns the memory for writing if it lies in host memory.
    fn as_mut_slice(&mut self) -> Option<&mut [u8]>;

    /// Returns whether the client finds the data in this memory, so that the response need not
    /// carry it.
    fn is_with_client(&self) -> bool {
        false
    }

    /// Ends the writing: called once, when the response is sent, before the client learns of it.
    ///
    /// # Errors
    /// If the data cannot be brought to where the client looks for it.
    fn settle(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Memory of one output, from the allocator of its request.
pub enum OutputBuffer {
    /// Heap memory.
    Heap(Vec<u8>),
    /// Memory of the backend that the allocator agreed to take as it is; read-only.
    Adopted(Bytes),
    /// Memory of another allocator: a client's shared memory, a C caller's buffer, a device.
    Custom(Box<dyn OutputMemory>),
}

impl OutputBuffer {
    /// Returns the size in bytes.
    pub fn byte_size(&self) -> usize {
        match self {
            Self::Heap(data) => data.len(),
            Self::Adopted(data) => data.len(),
            Self::Custom(memory) => memory.attributes().byte_size,
        }
    }

    /// Returns where the buffer lies.
    pub fn location(&self) -> MemoryLocation {
        match self {
            Self::Heap(_) | Self::Adopted(_) => MemoryLocation::CPU,
            Self::Custom(memory) => memory.attributes().location,
        }
    }

    /// Returns the data if it lies in host memory.
    pub fn as_slice(&self) -> Option<&[u8]> {
        match self {
            Self::Heap(data) => Some(data),
            Self::Adopted(data) => Some(data),
            Self::Custom(memory) => memory.as_slice(),
        }
    }

    /// Returns the memory for writing; `None` for adopted and for device memory.
    pub fn as_mut_slice(&mut self) -> Option<&mut [u8]> {
        match self {
            Self::Heap(data) => Some(data),
            Self::Adopted(_) => None,
            Self::Custom(memory) => memory.as_mut_slice(),
        }
    }

    /// Returns whether the client finds the data in its own memory.
    pub fn is_with_client(&self) -> bool {
        match self {
            Self::Heap(_) | Self::Adopted(_) => false,
            Self::Custom(memory) => memory.is_with_client(),
        }
    }

    /// Brings custom memory to where the client looks for it.
    pub(crate) fn settle(&mut self) -> Result<()> {
        match self {
            Self::Heap(_) | Self::Adopted(_) => Ok(()),
            Self::Custom(memory) => memory.settle(),
        }
    }

    /// Turns heap and adopted memory into [`Bytes`] without a copy; gives other memory back.
    ///
    /// # Errors
    /// The buffer itself if it belongs to another allocator.
    pub fn into_bytes(self) -> Result<Bytes, Self> {
        match self {
            Self::Heap(data) => Ok(Bytes::from(data)),
            Self::Adopted(data) => Ok(data),
            custom @ Self::Custom(_) => Err(custom),
        }
    }
}

impl fmt::Debug for OutputBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Heap(_) => "Heap",
            Self::Adopted(_) => "Adopted",
            Self::Custom(_) => "Custom",
        };
        f.debug_tuple(kind).field(&self.byte_size()).finish()
    }
}

/// Gives the memory that outputs are written to; every door brings its own.
///
/// Called from whichever thread a backend answers on, with no engine lock held.
pub trait ResponseAllocator: Send + Sync {
    /// Called once before the outputs of a response are allocated.
    fn start(&self) {}

    /// Returns where an output would be placed, before its memory is taken.
    ///
    /// # Errors
    /// If the allocator cannot serve this output at all.
    fn query(
        &self,
        output: &CName,
        byte_size: Option<usize>,
        preferred: MemoryLocation,
    ) -> Result<MemoryLocation> {
        let _ = (output, byte_size, preferred);
        Ok(MemoryLocation::CPU)
    }

    /// Returns `byte_size` bytes for `output`, where possible at `preferred`.
    ///
    /// # Errors
    /// If there is no memory, or the client's memory is too small.
    fn allocate(
        &self,
        output: &CName,
        byte_size: usize,
        preferred: MemoryLocation,
    ) -> Result<OutputBuffer>;

    /// Takes data that the backend already holds: as it is where that suits the allocator,
    /// otherwise copied into memory that [`Self::allocate`] gives.
    ///
    /// # Errors
    /// Those of [`Self::allocate`], and [`ErrorCode::Unsupported`] if it gives no host memory.
    ///
    /// [`ErrorCode::Unsupported`]: tritongw_types::ErrorCode::Unsupported
    fn adopt(&self, output: &CName, data: Bytes) -> Result<OutputBuffer> {
        let mut buffer = self.allocate(output, data.len(), MemoryLocation::CPU)?;
        buffer
            .as_mut_slice()
            .ok_or_else(|| not_in_host_memory(output))?
            .copy_from_slice(&data);
        Ok(buffer)
    }
}

/// What a backend hears that writes to host memory where the allocator gave none.
pub(crate) fn not_in_host_memory(output: &str) -> Error {
    Error::unsupported(format!("output '{output}' must be written to host memory"))
}

/// Allocates outputs on the heap and adopts backend memory: right for every door that copies or
/// writes the response out itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeapAllocator;

impl ResponseAllocator for HeapAllocator {
    fn allocate(
        &self,
        output: &CName,
        byte_size: usize,
        _: MemoryLocation,
    ) -> Result<OutputBuffer> {
        let mut data = Vec::new();
        data.try_reserve_exact(byte_size).map_err(|source| {
            let message = format!("failed to allocate {byte_size} bytes for output '{output}'");
            Error::internal(message).with_source(source)
        })?;
        data.resize(byte_size, 0);
        Ok(OutputBuffer::Heap(data))
    }

    fn adopt(&self, _: &CName, data: Bytes) -> Result<OutputBuffer> {
        Ok(OutputBuffer::Adopted(data))
    }
}

/// Memory in which a model wants large request bodies received, so that its inputs need no copy
/// (DESIGN: "socket to model").
pub trait RequestMemory: Send + Sync {
    /// Returns a buffer of exactly `byte_size` bytes, or `None` if it is too small to be worth it
    /// or the memory is used up; the door then uses the heap. What will lie from `data_offset` on
    /// are the tensors: that byte is aligned for every element type.
    fn allocate(&self, byte_size: usize, data_offset: usize) -> Option<Box<dyn RequestBuffer>>;
}

/// A buffer that a door fills once and then shares.
pub trait RequestBuffer: Send {
    /// Returns the memory to fill.
    fn as_mut_slice(&mut self) -> &mut [u8];

    /// Ends filling; the memory is returned to its owner when the last slice is dropped.
    fn freeze(self: Box<Self>) -> Bytes;
}
