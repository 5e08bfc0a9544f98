// SPDX-License-Identifier: Apache-2.0

use parking_lot::Mutex;

/// Smaller buffers come from the heap as quickly as from here.
const MIN_SIZE: usize = 128 << 10;
/// Memory kept for later, all buffers together.
const MAX_KEPT: usize = 64 << 20;

/// Buffers of copies that are no longer needed, kept for the next ones: to touch the pages of new
/// memory takes longer than to fill those of old.
#[derive(Debug, Default)]
pub(super) struct BufferPool(Mutex<Vec<Vec<u8>>>);

impl BufferPool {
    /// Takes a buffer of `byte_size` bytes, whatever they are.
    pub(super) fn take(&self, byte_size: usize) -> Option<Vec<u8>> {
        let mut free = self.0.lock();
        let fits = |buffer: &Vec<u8>| buffer.len() >= byte_size && buffer.len() / 2 <= byte_size;
        let position = free.iter().rposition(fits)?;
        let mut buffer = free.swap_remove(position);
        buffer.truncate(byte_size);
        Some(buffer)
    }

    /// Keeps a buffer, and lets go of older ones where there is no room for all.
    pub(super) fn give_back(&self, buffer: Vec<u8>) {
        if !(MIN_SIZE..=MAX_KEPT).contains(&buffer.capacity()) {
            return;
        }
        let mut free = self.0.lock();
        free.push(buffer);
        let mut kept: usize = free.iter().map(Vec::capacity).sum();
        while kept > MAX_KEPT {
            kept -= free.remove(0).capacity();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_serves_again_where_it_fits() {
        let pool = BufferPool::default();
        let buffer = vec![7; MIN_SIZE];
        let address = buffer.as_ptr();
        pool.give_back(buffer);
        assert!(pool.take(MIN_SIZE + 1).is_none(), "too large for it");
        assert!(pool.take(MIN_SIZE / 2 - 1).is_none(), "a waste of it");
        let again = pool.take(MIN_SIZE).expect("the one");
        assert_eq!((again.as_ptr(), again.len()), (address, MIN_SIZE));
        assert!(pool.take(MIN_SIZE).is_none(), "taken");
    }

    #[test]
    fn little_is_kept() {
        let pool = BufferPool::default();
        pool.give_back(Vec::with_capacity(MIN_SIZE - 1));
        pool.give_back(Vec::with_capacity(MAX_KEPT + 1));
        assert!(pool.0.lock().is_empty());
        for _ in 0..5 {
            pool.give_back(Vec::with_capacity(MAX_KEPT / 4));
        }
        assert_eq!(pool.0.lock().len(), 4);
    }
}
