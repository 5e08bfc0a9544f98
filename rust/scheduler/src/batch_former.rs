// SPDX-License-Identifier: Apache-2.0
//! Which requests at the front of the queue go together, and whether to wait for more (Triton:
//! `DynamicBatchScheduler::GetDynamicBatch`).

use std::time::Duration;

use crate::queue::{Entry, RequestQueue, SlotId};
use crate::{DispatchReason, DynamicBatcherConfig, Timestamp};

/// The first `count` requests of the queue, as a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) count: usize,
    pub(crate) batch_size: u32,
    pub(crate) reason: DispatchReason,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Decision {
    /// The queue is empty.
    Nothing,
    /// More may come until then.
    Wait(Timestamp),
    Send(Cut),
}

/// The requests looked at so far, from the front of the queue.
///
/// Outlives a decision only if that was to wait; then it has seen the whole queue, and the next
/// decision looks only at what came after. So a queue of n waiting requests costs n looks, not n².
#[derive(Clone, Copy, Debug)]
struct Scan {
    first: SlotId,
    last: SlotId,
    count: usize,
    batch_size: u32,
    oldest: Timestamp,
}

#[derive(Debug)]
pub(crate) struct BatchFormer {
    /// 1 if the model does not batch.
    max_batch_size: u32,
    is_batching: bool,
    /// Ascending, not empty.
    preferred: Vec<u32>,
    max_queue_delay: Duration,
    scan: Option<Scan>,
}

impl BatchFormer {
    pub(crate) fn new(config: &DynamicBatcherConfig) -> Self {
        let max_batch_size = config.max_batch_size.max(1);
        let in_range = |size: &u32| (1..=max_batch_size).contains(size);
        let mut preferred: Vec<u32> = config
            .preferred_batch_sizes
            .iter()
            .copied()
            .filter(in_range)
            .collect();
        preferred.sort_unstable();
        if preferred.is_empty() {
            preferred.push(max_batch_size);
        }
        Self {
            max_batch_size,
            is_batching: config.is_batching && config.max_batch_size > 0,
            preferred,
            max_queue_delay: config.max_queue_delay,
            scan: None,
        }
    }

    /// Forgets what was looked at; called whenever a request leaves the queue or moves in it.
    pub(crate) fn reset(&mut self) {
        self.scan = None;
    }

    /// Notes a request that is about to be pushed.
    pub(crate) fn note_push<R>(&mut self, priority: u32, queue: &RequestQueue<R>) {
        if self
            .scan
            .is_some_and(|scan| queue.overtakes(priority, scan.last))
        {
            self.scan = None;
        }
    }

    /// Decides what a free instance gets.
    pub(crate) fn decide<R>(&mut self, now: Timestamp, queue: &RequestQueue<R>) -> Decision {
        if !self.is_batching {
            return unbatched(queue);
        }
        let Some(mut scan) = self.scan.take().or_else(|| Scan::start(queue)) else {
            return Decision::Nothing;
        };
        let (best, blocked) = self.look_ahead(&mut scan, queue);

        let ripe_at = scan.oldest + self.max_queue_delay;
        let waits = !self.max_queue_delay.is_zero();
        let is_ripe = waits && now >= ripe_at;
        // Triton: a preferred size is taken only while the oldest request is within its delay;
        // beyond that the largest batch goes that can be had.
        if let Some(best) = best.filter(|_| !is_ripe) {
            return Decision::Send(best);
        }
        let reason = if self.is_preferred(scan.batch_size) {
            DispatchReason::Preferred
        } else if let Some(reason) = blocked {
            reason
        } else if scan.batch_size >= self.largest_preferred() {
            DispatchReason::Full
        } else if is_ripe {
            DispatchReason::Delay
        } else if !waits {
            DispatchReason::Immediate
        } else {
            self.scan = Some(scan);
            return Decision::Wait(ripe_at);
        };
        Decision::Send(scan.cut(reason))
    }

    /// Takes further requests into the scan until one does not fit or there is none. Returns the
    /// cut to prefer over the whole scan, and what stopped it from growing.
    fn look_ahead<R>(
        &self,
        scan: &mut Scan,
        queue: &RequestQueue<R>,
    ) -> (Option<Cut>, Option<DispatchReason>) {
        let compatibility = &queue.entry(scan.first).compatibility;
        let mut best = None;
        loop {
            if self.is_preferred(scan.batch_size) {
                best = Some(scan.cut(DispatchReason::Preferred));
            }
            let Some(slot) = queue.next_after(scan.last) else {
                return (best, None);
            };
            let entry = queue.entry(slot);
            let grown = scan.batch_size.saturating_add(entry.batch_size);
            // Triton: a batch that would outgrow every preferred size is sent as it was before,
            // but the look-ahead goes on for the case that the delay has been exceeded.
            if grown > self.largest_preferred() && best.is_none() {
                best = Some(scan.cut(DispatchReason::Full));
            }
            if grown > self.max_batch_size {
                return (best, Some(DispatchReason::Full));
            }
            if entry.compatibility != *compatibility {
                return (best, Some(DispatchReason::Incompatible));
            }
            scan.include(slot, entry);
        }
    }

    fn is_preferred(&self, batch_size: u32) -> bool {
        self.preferred.binary_search(&batch_size).is_ok()
    }

    fn largest_preferred(&self) -> u32 {
        self.preferred
            .last()
            .copied()
            .unwrap_or(self.max_batch_size)
    }
}

/// Each request is its own execution (S001).
fn unbatched<R>(queue: &RequestQueue<R>) -> Decision {
    queue.first().map_or(Decision::Nothing, |slot| {
        let batch_size = queue.entry(slot).batch_size;
        Decision::Send(Cut {
            count: 1,
            batch_size,
            reason: DispatchReason::Unbatched,
        })
    })
}

impl Scan {
    fn start<R>(queue: &RequestQueue<R>) -> Option<Self> {
        let first = queue.first()?;
        let entry = queue.entry(first);
        let (batch_size, oldest) = (entry.batch_size, entry.arrival);
        Some(Self {
            first,
            last: first,
            count: 1,
            batch_size,
            oldest,
        })
    }

    fn include<R>(&mut self, slot: SlotId, entry: &Entry<R>) {
        self.last = slot;
        self.count += 1;
        self.batch_size += entry.batch_size;
        self.oldest = self.oldest.min(entry.arrival);
    }

    fn cut(&self, reason: DispatchReason) -> Cut {
        Cut {
            count: self.count,
            batch_size: self.batch_size,
            reason,
        }
    }
}
