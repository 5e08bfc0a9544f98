// SPDX-License-Identifier: Apache-2.0
//! A Prometheus summary: count and sum of all values, quantiles of the last minute.

use parking_lot::Mutex;

use crate::quantile_sketch::{Quantile, QuantileSketch};

/// How long a value counts for the quantiles (Triton: `prometheus-cpp`'s defaults).
const MAX_AGE_NS: u64 = 60_000_000_000;
/// Sketches that are begun within that time, one after another.
const AGE_BUCKETS: u64 = 5;

/// Values as they come in; all methods may be called from any thread.
#[derive(Debug)]
pub(crate) struct Summary {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    count: u64,
    sum: f64,
    // The oldest first, which is the one that answers; each takes every value.
    sketches: [QuantileSketch; AGE_BUCKETS as usize],
    // When the oldest is to be begun anew.
    next_rotation_ns: u64,
}

/// A summary at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SummarySnapshot {
    pub(crate) count: u64,
    pub(crate) sum: f64,
    /// In the order asked for; NaN without values.
    pub(crate) quantiles: Vec<f64>,
}

impl Summary {
    pub(crate) fn new(targets: &[Quantile], now_ns: u64) -> Self {
        Self {
            state: Mutex::new(State {
                count: 0,
                sum: 0.0,
                sketches: std::array::from_fn(|_| QuantileSketch::new(targets.to_vec())),
                next_rotation_ns: now_ns + MAX_AGE_NS / AGE_BUCKETS,
            }),
        }
    }

    pub(crate) fn observe(&self, value: f64, now_ns: u64) {
        let mut state = self.state.lock();
        state.rotate(now_ns);
        state.count += 1;
        state.sum += value;
        state
            .sketches
            .iter_mut()
            .for_each(|sketch| sketch.insert(value));
    }

    pub(crate) fn snapshot(&self, targets: &[Quantile], now_ns: u64) -> SummarySnapshot {
        let mut state = self.state.lock();
        state.rotate(now_ns);
        let oldest = &mut state.sketches[0];
        let answer = |target: &Quantile| oldest.query(target.quantile).unwrap_or(f64::NAN);
        SummarySnapshot {
            quantiles: targets.iter().map(answer).collect(),
            count: state.count,
            sum: state.sum,
        }
    }
}

impl State {
    fn rotate(&mut self, now_ns: u64) {
        let step_ns = MAX_AGE_NS / AGE_BUCKETS;
        // After a long silence every sketch is too old, and once each is enough.
        for _ in 0..AGE_BUCKETS {
            if now_ns < self.next_rotation_ns {
                return;
            }
            self.sketches[0].clear();
            self.sketches.rotate_left(1);
            self.next_rotation_ns += step_ns;
        }
        self.next_rotation_ns = self.next_rotation_ns.max(now_ns + step_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: [Quantile; 1] = [Quantile {
        quantile: 0.5,
        error: 0.01,
    }];
    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn quantiles_forget_what_is_old_and_totals_do_not() {
        let summary = Summary::new(&TARGETS, 0);
        summary.observe(10.0, SECOND_NS);
        summary.observe(20.0, 50 * SECOND_NS);
        let at = |seconds: u64| summary.snapshot(&TARGETS, seconds * SECOND_NS);
        assert_eq!(at(59).quantiles, [10.0]);
        let later = at(73);
        assert_eq!(later.quantiles, [20.0]);
        assert_eq!((later.count, later.sum), (2, 30.0));
        let silent = at(1000);
        assert!(silent.quantiles[0].is_nan());
        assert_eq!((silent.count, silent.sum), (2, 30.0));
        summary.observe(5.0, 1001 * SECOND_NS);
        assert_eq!(at(1002).quantiles, [5.0]);
    }
}
