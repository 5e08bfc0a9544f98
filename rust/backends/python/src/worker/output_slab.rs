// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tritongw_types::{Error, Result};

use crate::shared::channel::{OUTPUT_SLOTS, PAGE_SIZE, ReleaseFlags};
use crate::shared::memory::{Block, SharedMemory};
use crate::shared::message::SlabRange;
use crate::shared::space::Space;

/// The worker's memory for large outputs: it alone decides what lies where, and the server says by
/// a flag when it is done with a range.
#[derive(Debug)]
pub(super) struct WorkerOutputs {
    space: Arc<Space>,
    flags: ReleaseFlags,
    free_slots: Vec<u32>,
    in_use: Vec<InUse>,
}

#[derive(Debug)]
struct InUse {
    slot: u32,
    offset: usize,
    reserved: usize,
}

impl WorkerOutputs {
    pub(super) fn new(memory: Arc<SharedMemory>, flags: ReleaseFlags) -> Self {
        let slots = u32::try_from(OUTPUT_SLOTS).expect("INVARIANT: a small constant");
        Self {
            space: Space::new(memory),
            flags,
            free_slots: (0..slots).rev().collect(),
            in_use: Vec::new(),
        }
    }

    /// Copies data to memory that the server reads, and later releases.
    ///
    /// # Errors
    /// If the slab is used up.
    pub(super) fn copy_in(&mut self, data: &[u8]) -> Result<SlabRange> {
        let range = self.reserve(data.len())?;
        let is_inside = self.space.memory().write(range.offset as usize, data);
        debug_assert!(is_inside, "the free list knows the size of the memory");
        Ok(range)
    }

    /// Takes memory that is to be filled, through [`Self::block`], before the server reads it.
    ///
    /// # Errors
    /// If the slab is used up.
    pub(super) fn reserve(&mut self, byte_size: usize) -> Result<SlabRange> {
        self.collect_released();
        let reserved = byte_size.max(1).next_multiple_of(PAGE_SIZE);
        let found = self
            .free_slots
            .pop()
            .and_then(|slot| match self.space.take(reserved) {
                Some(offset) => Some((slot, offset)),
                None => {
                    self.free_slots.push(slot);
                    None
                }
            });
        let Some((slot, offset)) = found else {
            return Err(Error::unavailable(format!(
                "failed to allocate {} bytes of shared memory for an output: {} outputs of the \
                 {} bytes are in use",
                byte_size,
                self.in_use.len(),
                self.space.memory().byte_size()
            )));
        };
        if let Some(flag) = self.flags.get(slot as usize) {
            flag.store(0, Ordering::Relaxed);
        }
        self.in_use.push(InUse {
            slot,
            offset,
            reserved,
        });
        Ok(SlabRange {
            offset: offset as u64,
            byte_size: byte_size as u64,
            slot,
        })
    }

    /// Returns the memory of a range that was just reserved; whoever reserved it alone may ask.
    pub(super) fn block(&self, range: SlabRange) -> Option<Block<Arc<SharedMemory>>> {
        let memory = self.space.memory();
        let (offset, byte_size) = (range.offset as usize, range.byte_size as usize);
        Block::new(memory, offset, byte_size, Arc::clone(memory))
    }

    /// Takes back what was never sent.
    pub(super) fn give_back(&self, range: SlabRange) {
        if let Some(flag) = self.flags.get(range.slot as usize) {
            flag.store(1, Ordering::Release);
        }
    }

    fn collect_released(&mut self) {
        let Self {
            space,
            flags,
            free_slots,
            in_use,
        } = self;
        in_use.retain(|range| {
            let flag = flags.get(range.slot as usize);
            if flag.is_some_and(|flag| flag.load(Ordering::Acquire) == 0) {
                return true;
            }
            space.give_back(range.offset, range.reserved);
            free_slots.push(range.slot);
            false
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::channel::ServerChannel;

    fn outputs() -> WorkerOutputs {
        let channel = ServerChannel::new(4 * PAGE_SIZE).expect("memory");
        WorkerOutputs::new(channel.output_slab, channel.release_flags)
    }

    #[test]
    fn released_ranges_are_used_again() {
        let mut outputs = outputs();
        let first = outputs.copy_in(&[1; 3 * PAGE_SIZE]).expect("room");
        let second = outputs.copy_in(&[2; PAGE_SIZE]).expect("room");
        assert_ne!(first.slot, second.slot);
        let error = outputs.copy_in(&[3]).expect_err("used up");
        assert_eq!(
            error.message(),
            "failed to allocate 1 bytes of shared memory for an output: 2 outputs of the 16384 \
             bytes are in use"
        );
        outputs.give_back(first);
        let third = outputs.copy_in(&[4; 100]).expect("room again");
        assert_eq!(third.offset, first.offset);
        let mut seen = [0; 100];
        assert!(outputs.space.memory().read(0, &mut seen));
        assert_eq!(seen, [4; 100]);
    }
}
