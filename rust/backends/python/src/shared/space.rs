// SPDX-License-Identifier: Apache-2.0
use std::io;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use super::free_list::FreeList;
use super::memory::SharedMemory;

/// Memory of a slab up to here stays with the process for good.
const KEPT_BYTES: usize = 64 << 20;
/// Memory beyond that stays for at least this long after its last use, and at most twice as long.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// What is given back to the system at once, while nobody else may take or give a range.
const SWEEP_STEP: usize = 16 << 20;

/// Gives out ranges of a slab, low offsets first, and gives the pages that were not used lately
/// back to the system: fresh pages cost more than the copy into them, idle ones are not ours.
#[derive(Debug)]
pub(crate) struct Space {
    memory: Arc<SharedMemory>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: FreeList,
    /// No page at or beyond this offset is in memory.
    touched: usize,
    /// The furthest end in use since the last sweep.
    recent: usize,
    is_swept: bool,
}

impl Space {
    pub(crate) fn new(memory: Arc<SharedMemory>) -> Arc<Self> {
        let state = State {
            free: FreeList::new(memory.byte_size()),
            touched: 0,
            recent: 0,
            is_swept: false,
        };
        Arc::new(Self {
            memory,
            state: Mutex::new(state),
        })
    }

    pub(crate) fn memory(&self) -> &Arc<SharedMemory> {
        &self.memory
    }

    /// Takes `byte_size` bytes, at least one, and returns their offset.
    pub(crate) fn take(self: &Arc<Self>, byte_size: usize) -> Option<usize> {
        let mut state = self.state.lock();
        let offset = state.free.take(byte_size)?;
        let end = offset + byte_size;
        state.touched = state.touched.max(end);
        state.recent = state.recent.max(end);
        if end > KEPT_BYTES && !state.is_swept {
            state.is_swept = true;
            drop(state);
            if let Err(error) = Self::start_sweeper(Arc::downgrade(self)) {
                log::warn!("failed to start a thread that gives memory back: {error}");
                self.state.lock().is_swept = false;
            }
        }
        Some(offset)
    }

    /// Takes back what [`Self::take`] gave.
    pub(crate) fn give_back(&self, offset: usize, byte_size: usize) {
        self.state.lock().free.give_back(offset, byte_size);
    }

    /// Sweeps until what is left is to be kept.
    fn start_sweeper(space: Weak<Self>) -> io::Result<()> {
        let sweep = move || {
            loop {
                thread::sleep(SWEEP_INTERVAL);
                if !space.upgrade().is_some_and(|space| space.sweep()) {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("py-sweeper".to_owned());
        thread.spawn(sweep).map(drop)
    }

    /// Gives back what lies beyond all that was in use since the last sweep; returns whether
    /// there is more to give back later.
    fn sweep(&self) -> bool {
        loop {
            let mut state = self.state.lock();
            let keep = KEPT_BYTES.max(state.recent).max(state.free.end_of_use());
            if state.touched <= keep {
                state.recent = state.free.end_of_use();
                state.is_swept = state.touched > KEPT_BYTES;
                return state.is_swept;
            }
            let start = keep.max(state.touched.saturating_sub(SWEEP_STEP));
            // Nobody holds any of it, and under the lock nobody takes it.
            self.memory.discard(start, state.touched - start);
            state.touched = start;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 4096;

    fn space() -> Arc<Space> {
        let memory = SharedMemory::create("test", 2 * KEPT_BYTES).expect("memory");
        Space::new(Arc::new(memory))
    }

    fn byte_at(space: &Space, offset: usize) -> u8 {
        let mut byte = [0];
        assert!(space.memory.read(offset, &mut byte));
        byte[0]
    }

    #[test]
    fn far_pages_are_given_back_once_they_are_idle() {
        let space = space();
        let near = space.take(KEPT_BYTES).expect("room");
        let far = space.take(PAGE).expect("room");
        assert!(space.memory.write(near, &[1]) && space.memory.write(far, &[1]));
        assert!(space.sweep(), "in use");
        space.give_back(far, PAGE);
        assert!(space.sweep(), "used since the last sweep");
        assert_eq!(byte_at(&space, far), 1);
        assert!(!space.sweep(), "nothing is left to give back");
        assert_eq!(byte_at(&space, far), 0);
        assert_eq!(byte_at(&space, near), 1);
        space.give_back(near, KEPT_BYTES);
    }

    #[test]
    fn a_sweep_takes_any_number_of_steps() {
        let space = space();
        let size = KEPT_BYTES + 3 * SWEEP_STEP + PAGE;
        let all = space.take(size).expect("room");
        assert!(space.memory.write(size - 1, &[1]));
        assert!(space.memory.write(KEPT_BYTES, &[1]));
        space.give_back(all, size);
        assert!(space.sweep());
        assert!(!space.sweep());
        assert_eq!(byte_at(&space, size - 1), 0);
        assert_eq!(byte_at(&space, KEPT_BYTES), 0);
    }
}
