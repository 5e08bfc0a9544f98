// SPDX-License-Identifier: Apache-2.0
use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tritongw_engine::trace::TraceRecord;

use crate::spans::SPANS_PER_RECORD;

/// Finished traces that wait to be sent, between the threads that finish them and the one that
/// sends them.
#[derive(Debug)]
pub(crate) struct Queue {
    /// In records, each as many spans as it may have.
    capacity: usize,
    batch_size: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<TraceRecord>,
    dropped: u64,
    is_closed: bool,
}

/// What is to be sent together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) records: Vec<TraceRecord>,
    /// Records that did not fit since the last batch.
    pub(crate) dropped: u64,
    /// Nothing comes after it.
    pub(crate) is_last: bool,
}

impl Queue {
    /// Makes a queue for so many spans, which are taken so many at a time. A trace fits into the
    /// smallest of queues.
    pub(crate) fn new(max_queue_size: usize, max_batch_size: usize) -> Self {
        Self {
            capacity: (max_queue_size / SPANS_PER_RECORD).max(1),
            batch_size: (max_batch_size / SPANS_PER_RECORD).max(1),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Adds what fits.
    pub(crate) fn push(&self, records: Vec<TraceRecord>) {
        let mut state = self.state.lock();
        for record in records {
            if state.waiting.len() < self.capacity && !state.is_closed {
                state.waiting.push_back(record);
            } else {
                state.dropped += 1;
            }
        }
        let is_enough = state.waiting.len() >= self.batch_size;
        drop(state);
        if is_enough {
            self.changed.notify_one();
        }
    }

    /// Waits for a full batch, but not longer than `delay`, and takes what is there, which may be
    /// nothing.
    pub(crate) fn next_batch(&self, delay: Duration) -> Batch {
        let mut state = self.state.lock();
        if state.waiting.len() < self.batch_size && !state.is_closed {
            let is_short =
                |state: &mut State| state.waiting.len() < self.batch_size && !state.is_closed;
            let _ = self.changed.wait_while_for(&mut state, is_short, delay);
        }
        let count = state.waiting.len().min(self.batch_size);
        Batch {
            records: state.waiting.drain(..count).collect(),
            dropped: std::mem::take(&mut state.dropped),
            is_last: state.is_closed && state.waiting.is_empty(),
        }
    }

    /// Returns whether nothing more is taken.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().is_closed
    }

    /// Takes nothing more; what is there is still given out.
    pub(crate) fn close(&self) {
        self.state.lock().is_closed = true;
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use tritongw_types::CName;

    use super::*;

    fn records(count: u64) -> Vec<TraceRecord> {
        let record = |id| TraceRecord {
            id,
            parent_id: 0,
            model_name: CName::default(),
            model_version: 1,
            request_id: CName::default(),
            events: Vec::new(),
            spans: None,
            unix_offset_ns: 0,
        };
        (1..=count).map(record).collect()
    }

    fn take(queue: &Queue, delay: Duration) -> (Vec<u64>, u64, bool) {
        let batch = queue.next_batch(delay);
        let ids = batch.records.iter().map(|record| record.id).collect();
        (ids, batch.dropped, batch.is_last)
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let queue = Queue::new(9, 6);
        queue.push(records(5));
        assert_eq!(take(&queue, Duration::MAX), (vec![1, 2], 2, false));
        assert_eq!(take(&queue, Duration::ZERO), (vec![3], 0, false));
        assert_eq!(take(&queue, Duration::ZERO), (vec![], 0, false));
    }

    #[test]
    fn a_closed_queue_gives_out_the_rest_without_delay() {
        let queue = Queue::new(100, 6);
        queue.push(records(3));
        queue.close();
        queue.push(records(1));
        assert_eq!(take(&queue, Duration::MAX), (vec![1, 2], 1, false));
        assert_eq!(take(&queue, Duration::MAX), (vec![3], 0, true));
    }

    #[test]
    fn the_smallest_queue_holds_a_trace() {
        let queue = Queue::new(1, 1);
        queue.push(records(1));
        assert_eq!(take(&queue, Duration::MAX), (vec![1], 0, false));
    }
}
