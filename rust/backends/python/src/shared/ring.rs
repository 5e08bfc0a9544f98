// SPDX-License-Identifier: Apache-2.0
//! A ring of frames in shared memory, from one producer to one consumer.
//!
//! A ring is a head of three words, each on a cache line of its own, and 64-byte cells. A frame is
//! a descriptor cell and, in the cells after it, its payload. **Invariant:** each side keeps its
//! own position in private memory and takes the other's only after checking that it lies within
//! the ring; descriptor and payload are copied out before anything looks at them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use super::descriptor::{CELL_SIZE, Descriptor, FrameKind};
use super::memory::SharedMemory;

/// Where the head's words lie, from the start of the ring.
const TAIL: usize = 0;
const HEAD: usize = 64;
const SLEEPING: usize = 128;
const CELLS: usize = 192;

/// Where a ring lies in its memory, and how long it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingPlace {
    /// Offset of the ring, a multiple of 64.
    pub(crate) offset: usize,
    /// Number of cells.
    pub(crate) cells: usize,
}

impl RingPlace {
    /// Returns the bytes the ring takes up.
    pub(crate) const fn byte_size(self) -> usize {
        CELLS + self.cells * CELL_SIZE
    }

    fn cell_offset(self, position: u64) -> usize {
        self.offset + CELLS + self.index(position) * CELL_SIZE
    }

    fn index(self, position: u64) -> usize {
        // INVARIANT: the remainder is below `cells`, a usize.
        (position % self.cells as u64) as usize
    }

    /// Cells up to the end of the ring, where a frame must not wrap around.
    fn cells_to_end(self, position: u64) -> usize {
        self.cells - self.index(position)
    }
}

/// Why a ring cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RingError {
    /// No room now.
    Full,
    /// The frame would never fit.
    TooLarge,
    /// The other side wrote what no peer of good faith writes.
    Corrupt(&'static str),
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the ring is full"),
            Self::TooLarge => f.write_str("the frame is too large for the ring"),
            Self::Corrupt(what) => write!(f, "the ring is corrupt: {what}"),
        }
    }
}

impl std::error::Error for RingError {}

/// What both ends know of a ring.
#[derive(Debug)]
struct End {
    memory: Arc<SharedMemory>,
    place: RingPlace,
}

impl End {
    fn new(memory: Arc<SharedMemory>, place: RingPlace) -> Option<Self> {
        let end = place.offset.checked_add(place.byte_size())?;
        let fits = place.offset.is_multiple_of(CELL_SIZE) && end <= memory.byte_size();
        (fits && place.cells >= 2).then_some(Self { memory, place })
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        let word = self.memory.atomic_u64(self.place.offset + offset);
        word.expect("INVARIANT: the head lies in the memory, checked in `new`")
    }

    fn sleeping(&self) -> &AtomicU32 {
        let word = self.memory.atomic_u32(self.place.offset + SLEEPING);
        word.expect("INVARIANT: the head lies in the memory, checked in `new`")
    }
}

/// The end that writes.
#[derive(Debug)]
pub(crate) struct Producer {
    end: End,
    tail: u64,
    // The consumer's position when last looked at.
    seen_head: u64,
}

impl Producer {
    /// Takes the writing end of a ring that is still empty; `None` if it does not lie in `memory`.
    pub(crate) fn new(memory: Arc<SharedMemory>, place: RingPlace) -> Option<Self> {
        Some(Self {
            end: End::new(memory, place)?,
            tail: 0,
            seen_head: 0,
        })
    }

    /// Writes a frame; the consumer sees it at once, but is not woken.
    ///
    /// # Errors
    /// [`RingError`]; the ring is as it was.
    pub(crate) fn push(&mut self, descriptor: Descriptor, payload: &[u8]) -> Result<(), RingError> {
        let place = self.end.place;
        let needed = 1 + payload.len().div_ceil(CELL_SIZE);
        // A frame of more than half the ring might never find its cells in one piece.
        if needed > place.cells / 2 {
            return Err(RingError::TooLarge);
        }
        let to_end = place.cells_to_end(self.tail);
        let skipped = if needed > to_end { to_end } else { 0 };
        self.reserve(needed + skipped)?;
        if skipped > 0 {
            self.write(self.tail, &Descriptor::new(FrameKind::Skip, 0).to_bytes());
        }
        let start = self.tail + skipped as u64;
        let payload_size = u32::try_from(payload.len()).map_err(|_| RingError::TooLarge)?;
        self.write(
            start,
            &Descriptor {
                payload_size,
                ..descriptor
            }
            .to_bytes(),
        );
        self.write(start + 1, payload);
        self.tail = start + needed as u64;
        self.end.word(TAIL).store(self.tail, Ordering::Release);
        Ok(())
    }

    /// Returns whether a frame with such a payload would leave room for `spare` frames without one.
    pub(crate) fn has_room_for(&mut self, payload_size: usize, spare: usize) -> bool {
        let needed = 1 + payload_size.div_ceil(CELL_SIZE);
        let to_end = self.end.place.cells_to_end(self.tail);
        let skipped = if needed > to_end { to_end } else { 0 };
        self.reserve(needed + skipped + spare).is_ok()
    }

    fn reserve(&mut self, needed: usize) -> Result<(), RingError> {
        let cells = self.end.place.cells as u64;
        if self.tail + needed as u64 - self.seen_head <= cells {
            return Ok(());
        }
        let head = self.end.word(HEAD).load(Ordering::Acquire);
        if head < self.seen_head || head > self.tail {
            return Err(RingError::Corrupt("the reader's position"));
        }
        self.seen_head = head;
        if self.tail + needed as u64 - head <= cells {
            Ok(())
        } else {
            Err(RingError::Full)
        }
    }

    fn write(&self, position: u64, data: &[u8]) {
        if data.is_empty() {
            return; // The cell after a frame without a payload may lie beyond the ring.
        }
        let is_inside = self
            .end
            .memory
            .write(self.end.place.cell_offset(position), data);
        debug_assert!(is_inside, "a frame never wraps around");
    }

    /// Returns whether the consumer has frames left to take, by its own word.
    pub(crate) fn has_unread(&self) -> bool {
        self.end.word(HEAD).load(Ordering::Acquire) != self.tail
    }

    /// Returns whether the consumer sleeps and has to be woken; afterwards it counts as awake.
    #[must_use]
    pub(crate) fn take_sleeping(&self) -> bool {
        // Pairs with the fence in `Consumer::prepare_sleep`: either this sees the flag, or the
        // consumer sees the frame.
        fence(Ordering::SeqCst);
        let sleeping = self.end.sleeping();
        sleeping.load(Ordering::Relaxed) != 0 && sleeping.swap(0, Ordering::AcqRel) != 0
    }
}

/// The end that reads.
#[derive(Debug)]
pub(crate) struct Consumer {
    end: End,
    head: u64,
}

impl Consumer {
    /// Takes the reading end of a ring that is still empty; `None` if it does not lie in `memory`.
    pub(crate) fn new(memory: Arc<SharedMemory>, place: RingPlace) -> Option<Self> {
        Some(Self {
            end: End::new(memory, place)?,
            head: 0,
        })
    }

    /// Returns whether a frame waits.
    pub(crate) fn is_ready(&self) -> bool {
        self.end.word(TAIL).load(Ordering::Acquire) != self.head
    }

    /// Takes the next frame; its payload replaces what is in `payload`.
    ///
    /// # Errors
    /// [`RingError::Corrupt`]; the ring is of no more use.
    pub(crate) fn pop(&mut self, payload: &mut Vec<u8>) -> Result<Option<Descriptor>, RingError> {
        loop {
            let tail = self.end.word(TAIL).load(Ordering::Acquire);
            let Some(waiting) = tail.checked_sub(self.head) else {
                return Err(RingError::Corrupt("the writer's position"));
            };
            if waiting == 0 {
                return Ok(None);
            }
            if waiting > self.end.place.cells as u64 {
                return Err(RingError::Corrupt("the writer's position"));
            }
            let descriptor = self.read_descriptor()?;
            let to_end = self.end.place.cells_to_end(self.head);
            if descriptor.kind == FrameKind::Skip {
                self.advance(to_end, waiting)?;
                continue;
            }
            let size = descriptor.payload_size as usize;
            let taken = 1 + size.div_ceil(CELL_SIZE);
            if taken > to_end || taken as u64 > waiting {
                return Err(RingError::Corrupt("the size of a frame"));
            }
            payload.resize(size, 0);
            if size > 0
                && !self
                    .end
                    .memory
                    .read(self.end.place.cell_offset(self.head + 1), payload)
            {
                return Err(RingError::Corrupt("the size of a frame"));
            }
            self.advance(taken, waiting)?;
            return Ok(Some(descriptor));
        }
    }

    fn read_descriptor(&self) -> Result<Descriptor, RingError> {
        let mut bytes = [0; CELL_SIZE];
        let is_inside = self
            .end
            .memory
            .read(self.end.place.cell_offset(self.head), &mut bytes);
        debug_assert!(is_inside, "a position always names a cell");
        Descriptor::from_bytes(&bytes).ok_or(RingError::Corrupt("the kind of a frame"))
    }

    fn advance(&mut self, cells: usize, waiting: u64) -> Result<(), RingError> {
        if cells as u64 > waiting {
            return Err(RingError::Corrupt("the writer's position"));
        }
        self.head += cells as u64;
        self.end.word(HEAD).store(self.head, Ordering::Release);
        Ok(())
    }

    /// Says that this side is about to sleep. `false`: a frame has come, do not.
    #[must_use]
    pub(crate) fn prepare_sleep(&self) -> bool {
        self.end.sleeping().store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.is_ready() {
            self.end_sleep();
            return false;
        }
        true
    }

    /// Says that this side is awake.
    pub(crate) fn end_sleep(&self) {
        self.end.sleeping().store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
