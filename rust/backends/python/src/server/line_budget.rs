// SPDX-License-Identifier: Apache-2.0
//! How many lines of a worker are logged; what is too many is counted.

use std::time::Duration;

use tritongw_engine::clock::monotonic_ns;

/// Lines that are logged of what is written within [`WINDOW_NS`].
pub(super) const MAX_LINES: u64 = 1_000;
const WINDOW_NS: u64 = 1_000_000_000;

/// Counts lines in windows of a second.
#[derive(Debug)]
pub(super) struct LineBudget {
    window_start_ns: u64,
    n_logged: u64,
    n_dropped: u64,
}

impl LineBudget {
    pub(super) fn new() -> Self {
        Self {
            window_start_ns: monotonic_ns(),
            n_logged: 0,
            n_dropped: 0,
        }
    }

    /// Returns whether a line of this moment is logged; what was dropped before is to be told
    /// first, see [`Self::take_due`].
    pub(super) fn admit(&mut self, now_ns: u64) -> bool {
        if now_ns >= self.window_end_ns() {
            self.window_start_ns = now_ns;
            self.n_logged = 0;
        }
        let is_admitted = self.n_logged < MAX_LINES;
        if is_admitted {
            self.n_logged += 1;
        } else {
            self.n_dropped += 1;
        }
        is_admitted
    }

    /// Returns when to tell how many lines were dropped, if any were.
    pub(super) fn due(&self, now_ns: u64) -> Option<Duration> {
        let wait_ns = self.window_end_ns().saturating_sub(now_ns);
        (self.n_dropped > 0).then(|| Duration::from_nanos(wait_ns))
    }

    /// Returns how many lines were dropped, if it is time to tell.
    pub(super) fn take_due(&mut self, now_ns: u64) -> Option<u64> {
        let is_due = self.due(now_ns) == Some(Duration::ZERO);
        is_due.then(|| self.take_dropped()).flatten()
    }

    /// Returns how many lines were dropped, if any were.
    pub(super) fn take_dropped(&mut self) -> Option<u64> {
        let n_dropped = std::mem::take(&mut self.n_dropped);
        (n_dropped > 0).then_some(n_dropped)
    }

    #[cfg(test)]
    pub(super) fn n_logged(&self) -> u64 {
        self.n_logged
    }

    fn window_end_ns(&self) -> u64 {
        self.window_start_ns.saturating_add(WINDOW_NS)
    }
}

#[cfg(test)]
mod tests {
    use super::{LineBudget, MAX_LINES, WINDOW_NS};

    #[test]
    fn lines_beyond_the_limit_are_counted_until_the_next_window() {
        let mut budget = LineBudget::new();
        let now = budget.window_start_ns;
        assert!((0..MAX_LINES).all(|_| budget.admit(now)));
        assert!((0..5).all(|_| !budget.admit(now + WINDOW_NS - 1)));
        assert_eq!(budget.take_due(now + WINDOW_NS - 1), None);
        assert!(budget.due(now).is_some());
        assert_eq!(budget.take_due(now + WINDOW_NS), Some(5));
        assert!(budget.admit(now + WINDOW_NS));
        assert_eq!((budget.take_dropped(), budget.n_logged), (None, 1));
        assert_eq!(budget.due(now), None);
    }
}
