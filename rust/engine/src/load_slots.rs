// SPDX-License-Identifier: Apache-2.0

use parking_lot::{Condvar, Mutex};

/// Bounds how many model versions are loaded at once, over all models (C033).
pub(crate) struct LoadSlots {
    free: Mutex<usize>,
    freed: Condvar,
}

/// One slot; dropping it frees it.
pub(crate) struct LoadSlot<'a>(&'a LoadSlots);

impl LoadSlots {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            free: Mutex::new(count.max(1)),
            freed: Condvar::new(),
        }
    }

    /// Waits for a slot.
    pub(crate) fn acquire(&self) -> LoadSlot<'_> {
        let mut free = self.free.lock();
        while *free == 0 {
            self.freed.wait(&mut free);
        }
        *free -= 1;
        LoadSlot(self)
    }
}

impl Drop for LoadSlot<'_> {
    fn drop(&mut self) {
        *self.0.free.lock() += 1;
        self.0.freed.notify_one();
    }
}
