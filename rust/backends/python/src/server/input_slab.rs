// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;

use bytes::Bytes;
use tritongw_engine::buffer::{RequestBuffer, RequestMemory};
use tritongw_types::{Error, Result};

use crate::host::TensorMemory;
use crate::shared::channel::PAGE_SIZE;
use crate::shared::memory::{Block, SharedMemory};
use crate::shared::message::SlabRange;
use crate::shared::space::Space;

/// Bodies below this are not worth a block of the slab: their tensors travel in the ring.
const MIN_BODY_SIZE: usize = 8 * 1024;

/// What tensors begin at a multiple of: a cache line, enough for every element type.
const ALIGNMENT: usize = 64;

/// The memory in which a model's large requests live, mapped by all of its workers.
///
/// The server alone decides what lies where in it.
#[derive(Debug)]
pub(crate) struct InputSlab {
    space: Arc<Space>,
}

/// A block of the slab and the duty to give it back.
pub(crate) type InputBlock = Block<InputLease>;

#[derive(Debug)]
pub(crate) struct InputLease {
    slab: Arc<InputSlab>,
    offset: usize,
    reserved: usize,
}

impl InputSlab {
    pub(crate) fn new(byte_size: usize) -> Result<Arc<Self>> {
        let memory = SharedMemory::create("tritongw-inputs", byte_size).map_err(|source| {
            let message = format!("failed to map {byte_size} bytes for the requests of a model");
            Error::internal(message).with_source(source)
        })?;
        let space = Space::new(Arc::new(memory));
        Ok(Arc::new(Self { space }))
    }

    pub(crate) fn memory(&self) -> &SharedMemory {
        self.space.memory()
    }

    /// Takes a block whose byte at `data_offset` is aligned; `None` if the slab is used up.
    pub(crate) fn allocate(
        self: &Arc<Self>,
        byte_size: usize,
        data_offset: usize,
    ) -> Option<InputBlock> {
        let lead = data_offset.wrapping_neg() % ALIGNMENT;
        let reserved = byte_size.max(1).checked_add(lead)?;
        let reserved = reserved.checked_next_multiple_of(PAGE_SIZE)?;
        let offset = self.space.take(reserved)?;
        let lease = InputLease {
            slab: Arc::clone(self),
            offset,
            reserved,
        };
        Block::new(self.memory(), offset + lead, byte_size, lease)
    }

    /// Copies data into a new block; returns where it lies, and what keeps it there.
    ///
    /// # Errors
    /// If the slab is used up.
    pub(crate) fn copy_in(self: &Arc<Self>, data: &[u8]) -> Result<(SlabRange, Bytes)> {
        let Some(mut block) = self.allocate(data.len(), 0) else {
            return Err(Error::unavailable(format!(
                "failed to allocate {} bytes of shared memory for a request: all {} bytes are in \
                 use",
                data.len(),
                self.memory().byte_size()
            )));
        };
        block.as_mut_slice().copy_from_slice(data);
        let offset = block.owner.offset as u64;
        let range = SlabRange {
            offset,
            byte_size: data.len() as u64,
            slot: 0,
        };
        Ok((range, Bytes::from_owner(block)))
    }

    /// Returns where `data` lies, if it lies in the slab.
    pub(crate) fn range_of(&self, data: &[u8]) -> Option<SlabRange> {
        let offset = self.memory().offset_of(data)? as u64;
        Some(SlabRange {
            offset,
            byte_size: data.len() as u64,
            slot: 0,
        })
    }

    /// Returns the part of `pieces` that lies at `range`; `None` if none of them reaches over it.
    pub(crate) fn part_of(&self, pieces: &[Bytes], range: SlabRange) -> Option<Bytes> {
        pieces.iter().find_map(|piece| {
            let begin = range.offset.checked_sub(self.range_of(piece)?.offset)?;
            let begin = usize::try_from(begin).ok()?;
            let end = begin.checked_add(usize::try_from(range.byte_size).ok()?)?;
            (end <= piece.len()).then(|| piece.slice(begin..end))
        })
    }

    /// Returns `data` as memory that a model in this process may write to, if it lies in the slab.
    pub(crate) fn tensor_memory(&self, data: &Bytes) -> Option<TensorMemory> {
        let offset = self.memory().offset_of(data)?;
        TensorMemory::shared(self.memory(), offset, data.len(), Arc::new(data.clone()))
    }
}

impl Drop for InputLease {
    fn drop(&mut self) {
        self.slab.space.give_back(self.offset, self.reserved);
    }
}

/// Lets doors receive large bodies into the slab.
#[derive(Debug)]
pub(crate) struct SlabRequestMemory(pub(crate) Arc<InputSlab>);

impl RequestMemory for SlabRequestMemory {
    fn allocate(&self, byte_size: usize, data_offset: usize) -> Option<Box<dyn RequestBuffer>> {
        if byte_size < MIN_BODY_SIZE {
            return None;
        }
        Some(Box::new(Filling(self.0.allocate(byte_size, data_offset)?)))
    }
}

struct Filling(InputBlock);

impl RequestBuffer for Filling {
    fn as_mut_slice(&mut self) -> &mut [u8] {
        self.0.as_mut_slice()
    }

    fn freeze(self: Box<Self>) -> Bytes {
        Bytes::from_owner(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_lie_in_the_slab_and_come_back_to_it() {
        let slab = InputSlab::new(64 * 1024).expect("memory");
        let memory = SlabRequestMemory(Arc::clone(&slab));
        assert!(
            memory.allocate(MIN_BODY_SIZE - 1, 0).is_none(),
            "too small to be worth it"
        );
        let mut buffer = memory.allocate(40 * 1024, 0).expect("room");
        buffer.as_mut_slice().fill(7);
        assert!(memory.allocate(40 * 1024, 0).is_none(), "used up");
        let body = buffer.freeze();
        let part = body.slice(8192..8200);
        drop(body);
        assert_eq!(slab.range_of(&part).map(|range| range.offset), Some(8192));
        assert!(slab.range_of(&[0; 8]).is_none(), "not of the slab");
        assert!(
            memory.allocate(40 * 1024, 0).is_none(),
            "a slice holds the whole body"
        );
        drop(part);
        assert!(memory.allocate(40 * 1024, 0).is_some());
    }

    #[test]
    fn tensors_behind_a_head_are_aligned() {
        let memory = SlabRequestMemory(InputSlab::new(4 * PAGE_SIZE).expect("memory"));
        for head_length in [0, 1, 162, 64, 4095] {
            let mut buffer = memory.allocate(3 * PAGE_SIZE, head_length).expect("room");
            buffer.as_mut_slice().fill(1);
            let body = buffer.freeze();
            assert_eq!(body.len(), 3 * PAGE_SIZE);
            let tensors = body.slice(head_length..);
            assert!(
                (tensors.as_ptr() as usize).is_multiple_of(ALIGNMENT),
                "{head_length}"
            );
        }
    }

    #[test]
    fn parts_are_taken_of_pieces_that_reach_over_them() {
        let slab = InputSlab::new(4 * PAGE_SIZE).expect("memory");
        let (first, one) = slab.copy_in(&[1; 100]).expect("room");
        let (second, two) = slab.copy_in(&[2; 100]).expect("room");
        let part = |pieces: &[Bytes], offset, byte_size| {
            let range = SlabRange {
                offset,
                byte_size,
                slot: 0,
            };
            slab.part_of(pieces, range)
        };
        let both = [one.clone(), two];
        assert_eq!(part(&both, first.offset, 100), Some(one));
        let middle = part(&both, second.offset + 40, 20).expect("inside");
        assert_eq!(
            slab.range_of(&middle).map(|range| range.offset),
            Some(second.offset + 40)
        );
        assert_eq!(
            part(&both[..1], second.offset, 100),
            None,
            "of another batch"
        );
        assert_eq!(part(&both, second.offset + 1, 100), None, "too long");
        assert_eq!(part(&both, u64::MAX, 1), None);
        assert_eq!(part(&both, first.offset, u64::MAX), None);
    }

    #[test]
    fn a_used_up_slab_is_an_error_with_numbers() {
        let slab = InputSlab::new(4096).expect("memory");
        let (range, block) = slab.copy_in(b"abc").expect("room");
        assert_eq!((range.offset, range.byte_size), (0, 3));
        assert_eq!(&block[..], b"abc");
        let error = slab.copy_in(&[0; 5]).expect_err("used up");
        assert_eq!(
            error.message(),
            "failed to allocate 5 bytes of shared memory for a request: all 4096 bytes are in use"
        );
    }
}
