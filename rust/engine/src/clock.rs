// SPDX-License-Identifier: Apache-2.0
//! The two clocks of the engine: monotonic nanoseconds for durations, wall time for statistics.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use tritongw_scheduler::Timestamp;

/// Returns `CLOCK_MONOTONIC` in nanoseconds, the clock of Triton's statistics and traces.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or_default();
    seconds
        .wrapping_mul(1_000_000_000)
        .wrapping_add(nanoseconds)
}

/// Returns [`monotonic_ns`] as the schedulers' timestamp.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_nanos(monotonic_ns())
}

/// Returns nanoseconds since the Unix epoch, for traces that leave the machine (T033).
pub(crate) fn unix_ns() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns milliseconds since the Unix epoch, for `last_inference` (T002).
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
