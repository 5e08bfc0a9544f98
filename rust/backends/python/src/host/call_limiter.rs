// SPDX-License-Identifier: Apache-2.0
use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;

/// Begins a call.
type Start = Box<dyn FnOnce() + Send>;

/// Bounds how many calls of one execution are under way (Y061, Y070); more wait their turn.
///
/// Executions do not share a bound: one may be called by what another waits for.
pub(crate) struct CallLimiter {
    limit: usize,
    // By batch, while there are calls.
    lines: Mutex<HashMap<u64, Line>>,
}

#[derive(Default)]
struct Line {
    underway: usize,
    waiting: VecDeque<Start>,
    // Whether a thread is starting calls: one that ends at once must not start the next within.
    is_starting: bool,
}

impl CallLimiter {
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            limit: limit.max(1) as usize,
            lines: Mutex::default(),
        }
    }

    /// Begins a call of a batch's execution, now or later; [`Self::end`] must follow.
    pub(crate) fn begin(&self, batch: u64, start: Start) {
        let mut lines = self.lines.lock();
        lines.entry(batch).or_default().waiting.push_back(start);
        drop(lines);
        self.start_waiting(batch);
    }

    /// Notes that a call has ended.
    pub(crate) fn end(&self, batch: u64) {
        if let Some(line) = self.lines.lock().get_mut(&batch) {
            line.underway = line.underway.saturating_sub(1);
        }
        self.start_waiting(batch);
    }

    fn start_waiting(&self, batch: u64) {
        let mut is_first = true;
        while let Some(start) = self.next(batch, is_first) {
            is_first = false;
            start();
        }
    }

    /// Returns what is to be started now; `is_first` says that the caller has started nothing yet.
    fn next(&self, batch: u64, is_first: bool) -> Option<Start> {
        let mut lines = self.lines.lock();
        let line = lines.get_mut(&batch)?;
        if is_first && std::mem::replace(&mut line.is_starting, true) {
            return None;
        }
        if line.underway < self.limit
            && let Some(start) = line.waiting.pop_front()
        {
            line.underway += 1;
            return Some(start);
        }
        line.is_starting = false;
        if line.underway == 0 {
            lines.remove(&batch); // Nothing waits either.
        }
        None
    }
}

impl std::fmt::Debug for CallLimiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallLimiter")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn calls_beyond_the_limit_wait_their_turn() {
        let limiter = CallLimiter::new(2);
        let started = Arc::new(Mutex::new(Vec::new()));
        for number in 0..4 {
            let started = Arc::clone(&started);
            limiter.begin(1, Box::new(move || started.lock().push(number)));
        }
        assert_eq!(*started.lock(), [0, 1]);
        limiter.begin(2, Box::new(|| ()));
        limiter.end(1);
        assert_eq!(*started.lock(), [0, 1, 2]);
        limiter.end(1);
        limiter.end(1);
        assert_eq!(*started.lock(), [0, 1, 2, 3]);
        limiter.end(1);
        limiter.end(1);
        limiter.end(2);
        assert!(limiter.lines.lock().is_empty());
    }

    #[test]
    fn calls_that_end_at_once_take_no_stack() {
        let limiter = Arc::new(CallLimiter::new(1));
        let count = Arc::new(Mutex::new(0));
        let hold = Arc::clone(&limiter);
        limiter.begin(1, Box::new(|| ()));
        for _ in 0..100_000 {
            let (limiter, count) = (Arc::clone(&hold), Arc::clone(&count));
            hold.begin(
                1,
                Box::new(move || {
                    *count.lock() += 1;
                    limiter.end(1);
                }),
            );
        }
        assert_eq!(*count.lock(), 0);
        limiter.end(1);
        assert_eq!(*count.lock(), 100_000);
    }
}
