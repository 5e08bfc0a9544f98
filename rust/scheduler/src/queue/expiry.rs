// SPDX-License-Identifier: Apache-2.0
//! Which queued request times out next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::{Ticket, Timestamp};

/// Heap of timeouts that lets go of dispatched and cancelled requests lazily.
///
/// **Invariant:** the top is the timeout of a request that is still queued, so that it is a true
/// deadline; below it, at most about half are stale.
#[derive(Debug, Default)]
pub(crate) struct ExpiryHeap {
    heap: BinaryHeap<Reverse<(Timestamp, Ticket)>>,
    live: usize,
}

/// Stale timeouts that are not worth a sweep.
const SWEEP_FLOOR: usize = 64;

impl ExpiryHeap {
    pub(crate) fn insert(&mut self, expiry: Timestamp, ticket: Ticket) {
        self.heap.push(Reverse((expiry, ticket)));
        self.live += 1;
    }

    pub(crate) fn earliest(&self) -> Option<Timestamp> {
        self.heap.peek().map(|Reverse((expiry, _))| *expiry)
    }

    #[cfg(test)]
    pub(crate) fn heap_len(&self) -> usize {
        self.heap.len()
    }

    /// Takes out the next timeout that has been reached, oldest first.
    pub(crate) fn pop_due(
        &mut self,
        now: Timestamp,
        is_live: impl Fn(Ticket) -> bool,
    ) -> Option<Ticket> {
        if self.earliest()? > now {
            return None;
        }
        let Reverse((_, ticket)) = self.heap.pop()?;
        self.live -= 1;
        self.drop_stale(is_live);
        Some(ticket)
    }

    /// Notes that a request with a timeout has left; `is_live` already denies its ticket.
    pub(crate) fn forget_one(&mut self, is_live: impl Fn(Ticket) -> bool) {
        self.live -= 1;
        if self.heap.len() > 2 * self.live + SWEEP_FLOOR {
            self.heap.retain(|Reverse((_, ticket))| is_live(*ticket));
        }
        self.drop_stale(is_live);
    }

    fn drop_stale(&mut self, is_live: impl Fn(Ticket) -> bool) {
        while self
            .heap
            .peek()
            .is_some_and(|Reverse((_, ticket))| !is_live(*ticket))
        {
            self.heap.pop();
        }
    }
}
