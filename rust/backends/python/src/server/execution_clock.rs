// SPDX-License-Identifier: Apache-2.0
//! Since when a worker has been executing what it executes.
//!
//! A worker takes its batches one after another, so a batch's time begins when it was sent, or
//! when the one before it ended, whichever is later. Coroutines overlap: theirs begins when they
//! were sent.

use std::collections::VecDeque;

/// The batches that a worker was sent and has not finished, the oldest first.
#[derive(Debug)]
pub(super) struct ExecutionClock {
    executions: VecDeque<Execution>,
    is_concurrent: bool,
}

#[derive(Debug)]
struct Execution {
    batch: u64,
    // `None` while it waits for the one before it.
    start_ns: Option<u64>,
}

impl ExecutionClock {
    pub(super) fn new(is_concurrent: bool) -> Self {
        Self {
            executions: VecDeque::new(),
            is_concurrent,
        }
    }

    /// Notes that a batch was sent.
    pub(super) fn begin(&mut self, batch: u64, now_ns: u64) {
        let begins = self.is_concurrent || self.executions.is_empty();
        let start_ns = begins.then_some(now_ns);
        self.executions.push_back(Execution { batch, start_ns });
    }

    /// Notes that a batch has ended, or was not sent after all.
    pub(super) fn end(&mut self, batch: u64, now_ns: u64) {
        self.executions.retain(|execution| execution.batch != batch);
        if let Some(oldest) = self.executions.front_mut() {
            oldest.start_ns.get_or_insert(now_ns);
        }
    }

    /// Returns the batch that has been executing for the longest time, and since when.
    pub(super) fn oldest(&self) -> Option<(u64, u64)> {
        let oldest = self.executions.front()?;
        Some((oldest.batch, oldest.start_ns?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_waits_has_not_begun() {
        let mut clock = ExecutionClock::new(false);
        assert_eq!(clock.oldest(), None);
        clock.begin(1, 10);
        clock.begin(2, 11);
        assert_eq!(clock.oldest(), Some((1, 10)));
        clock.end(1, 50);
        assert_eq!(clock.oldest(), Some((2, 50)));
        clock.end(2, 60);
        assert_eq!(clock.oldest(), None);
        clock.begin(3, 70);
        assert_eq!(clock.oldest(), Some((3, 70)));
    }

    #[test]
    fn a_batch_that_overtakes_leaves_the_oldest_its_time() {
        let mut clock = ExecutionClock::new(false);
        clock.begin(1, 10);
        clock.begin(2, 11);
        clock.end(2, 20);
        assert_eq!(clock.oldest(), Some((1, 10)));
    }

    #[test]
    fn batches_that_overlap_begin_when_they_are_sent() {
        let mut clock = ExecutionClock::new(true);
        clock.begin(1, 10);
        clock.begin(2, 11);
        clock.end(1, 50);
        assert_eq!(clock.oldest(), Some((2, 11)));
    }
}
