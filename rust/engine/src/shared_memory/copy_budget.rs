// SPDX-License-Identifier: Apache-2.0

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::host_metrics::total_memory_bytes;

/// Used where the machine does not tell its memory.
const FALLBACK_LIMIT: u64 = 1 << 30;

/// Bounds the memory that copies of shared memory inputs take together.
///
/// A body is limited by the door; a region may be of any size, and cost its client nothing where
/// nobody ever wrote to it.
#[derive(Debug)]
pub(super) struct CopyBudget {
    limit: u64,
    used: AtomicU64,
}

/// Bytes taken from a budget until dropped.
#[derive(Debug)]
pub(super) struct CopyShare {
    budget: Arc<CopyBudget>,
    byte_size: u64,
}

impl CopyBudget {
    pub(super) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicU64::new(0),
        })
    }

    /// Returns a budget of half the machine's memory.
    pub(super) fn of_machine() -> Arc<Self> {
        Self::new(total_memory_bytes().map_or(FALLBACK_LIMIT, |total| total / 2))
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Takes bytes; `None` if too few are left.
    pub(super) fn take(self: &Arc<Self>, byte_size: u64) -> Option<CopyShare> {
        let add = |used: u64| {
            used.checked_add(byte_size)
                .filter(|total| *total <= self.limit)
        };
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .ok()?;
        Some(CopyShare {
            budget: Arc::clone(self),
            byte_size,
        })
    }
}

impl Drop for CopyShare {
    fn drop(&mut self) {
        self.budget
            .used
            .fetch_sub(self.byte_size, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_can_be_taken_again() {
        let budget = CopyBudget::new(10);
        let first = budget.take(6).expect("room");
        assert!(budget.take(5).is_none());
        assert!(budget.take(u64::MAX).is_none());
        let second = budget.take(4).expect("room");
        assert!(budget.take(1).is_none());
        drop(first);
        assert!(budget.take(6).is_some());
        drop(second);
        assert!(budget.take(10).is_some());
    }
}
