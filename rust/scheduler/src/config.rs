// SPDX-License-Identifier: Apache-2.0

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

/// What a [`DynamicBatcher`](crate::DynamicBatcher) needs to know of a model.
///
/// Made by the engine from a validated model configuration: sizes are within `max_batch_size`,
/// levels within `priority_levels`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynamicBatcherConfig {
    /// Largest sum of request batch sizes in one execution; 0 for a model without a batch
    /// dimension, each of whose requests is its own execution.
    pub max_batch_size: u32,
    /// Whether the model asks for dynamic batching. If not, each request is its own execution on
    /// the first free instance, whatever `max_batch_size` says.
    pub is_batching: bool,
    /// Batch sizes that are sent as soon as they can be formed. Empty means `max_batch_size`, as in
    /// a normalised model configuration (M131).
    pub preferred_batch_sizes: Vec<u32>,
    /// How long the oldest queued request may wait for a preferred size; zero waits for nothing.
    pub max_queue_delay: Duration,
    /// Whether responses leave in arrival order. The batcher itself always serves equal priorities
    /// in arrival order; the driver keeps a [`ResponseOrder`](crate::ResponseOrder) if this is set.
    pub preserve_ordering: bool,
    /// Number of priority levels; 1 is served first. 0 means a single level without a number.
    pub priority_levels: u32,
    /// Level of a request whose priority is 0 or above `priority_levels`.
    pub default_priority_level: u32,
    /// Policy of every level without one of its own.
    pub default_queue_policy: QueuePolicy,
    /// Policies by level; not looked at if `priority_levels` is 0.
    pub priority_queue_policies: BTreeMap<u32, QueuePolicy>,
    /// Number of model instances that take payloads.
    pub instance_count: usize,
    /// Payloads that one instance may hold at a time, normally 1; 0 counts as 1.
    pub max_inflight_per_instance: u32,
}

/// A model without batching, on one instance, with an unlimited queue.
impl Default for DynamicBatcherConfig {
    fn default() -> Self {
        Self {
            max_batch_size: 0,
            is_batching: false,
            preferred_batch_sizes: Vec::new(),
            max_queue_delay: Duration::ZERO,
            preserve_ordering: false,
            priority_levels: 0,
            default_priority_level: 0,
            default_queue_policy: QueuePolicy::default(),
            priority_queue_policies: BTreeMap::new(),
            instance_count: 1,
            max_inflight_per_instance: 1,
        }
    }
}

/// Limits of one priority level's queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueuePolicy {
    /// What becomes of a request that has waited too long.
    pub timeout_action: TimeoutAction,
    /// How long a request may wait; `None` or zero for ever.
    pub default_timeout: Option<Duration>,
    /// Whether a request may ask for less than `default_timeout`. It can never ask for more, and
    /// without a default its own timeout is ignored (Triton: `PolicyQueue::Enqueue`, G5.01).
    pub allow_timeout_override: bool,
    /// Most requests queued at a time, executing ones not counted (G5.02); `None` for no limit.
    pub max_queue_size: Option<NonZeroU32>,
}

impl QueuePolicy {
    /// Returns how long a request that asks for `requested` may wait under this policy.
    pub(crate) fn timeout(&self, requested: Option<Duration>) -> Option<Duration> {
        let default = self.default_timeout.filter(|timeout| !timeout.is_zero())?;
        let requested =
            requested.filter(|timeout| self.allow_timeout_override && !timeout.is_zero());
        Some(requested.map_or(default, |timeout| timeout.min(default)))
    }
}

/// What becomes of a request that has waited longer than its timeout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeoutAction {
    /// It is refused with [`RejectReason::Timeout`](crate::RejectReason::Timeout).
    #[default]
    Reject,
    /// It is served after every request of its level that has not timed out.
    Delay,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_timeout_only_ever_shortens_an_allowed_default() {
        let us = |n| Some(Duration::from_micros(n));
        let table = [
            // default, override allowed, requested, effective
            (None, true, us(5), None),
            (us(0), true, us(5), None),
            (us(10), false, us(5), us(10)),
            (us(10), true, None, us(10)),
            (us(10), true, us(0), us(10)),
            (us(10), true, us(5), us(5)),
            (us(10), true, us(20), us(10)),
        ];
        for (default_timeout, allow_timeout_override, requested, effective) in table {
            let policy = QueuePolicy {
                default_timeout,
                allow_timeout_override,
                ..QueuePolicy::default()
            };
            assert_eq!(
                policy.timeout(requested),
                effective,
                "{policy:?} {requested:?}"
            );
        }
    }
}
