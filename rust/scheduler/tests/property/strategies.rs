// SPDX-License-Identifier: Apache-2.0

use std::num::NonZeroU32;
use std::time::Duration;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;
use tritongw_scheduler::{DynamicBatcherConfig, QueuePolicy, TimeoutAction};

/// Something that happens `after` the event before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) after: Duration,
    /// Whether the driver polled at every deadline in between, or was late.
    pub(crate) is_punctual: bool,
    pub(crate) kind: EventKind,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum EventKind {
    Push {
        batch_size: u32,
        priority: u32,
        timeout: Option<Duration>,
        shape: Option<i64>,
        polls: bool,
    },
    Complete(Index),
    Cancel(Index),
    Availability {
        instance: Index,
        is_available: bool,
    },
    Poll,
}

pub(crate) fn event() -> impl Strategy<Value = Event> {
    let kind = prop_oneof![
        8 => (1..6_u32, 0..6_u32, option::of(micros(0..80)), shape(), any::<bool>()).prop_map(
            |(batch_size, priority, timeout, shape, polls)| {
                EventKind::Push { batch_size, priority, timeout, shape, polls }
            }
        ),
        4 => any::<Index>().prop_map(EventKind::Complete),
        1 => any::<Index>().prop_map(EventKind::Cancel),
        1 => (any::<Index>(), any::<bool>()).prop_map(|(instance, is_available)| {
            EventKind::Availability { instance, is_available }
        }),
        1 => Just(EventKind::Poll),
    ];
    (micros(0..40), any::<bool>(), kind).prop_map(|(after, is_punctual, kind)| Event {
        after,
        is_punctual,
        kind,
    })
}

pub(crate) fn config() -> impl Strategy<Value = DynamicBatcherConfig> {
    let batching = (
        0..9_u32,
        prop::bool::weighted(0.9),
        vec(1..9_u32, 0..3),
        micros(0..100),
    );
    let queue = (0..5_u32, policy(), btree_map(1..5_u32, policy(), 0..3));
    let instances = (1..4_usize, 1..3_u32);
    (batching, queue, instances).prop_map(|(batching, queue, instances)| {
        let (max_batch_size, is_batching, preferred_batch_sizes, max_queue_delay) = batching;
        let (priority_levels, default_queue_policy, priority_queue_policies) = queue;
        let (instance_count, max_inflight_per_instance) = instances;
        DynamicBatcherConfig {
            max_batch_size,
            is_batching,
            preferred_batch_sizes,
            max_queue_delay,
            priority_levels,
            default_priority_level: priority_levels.min(2),
            default_queue_policy,
            priority_queue_policies,
            instance_count,
            max_inflight_per_instance,
            ..DynamicBatcherConfig::default()
        }
    })
}

fn policy() -> impl Strategy<Value = QueuePolicy> {
    let action = prop_oneof![Just(TimeoutAction::Reject), Just(TimeoutAction::Delay)];
    (action, option::of(micros(0..150)), any::<bool>(), 0..12_u32).prop_map(
        |(timeout_action, default_timeout, allow_timeout_override, limit)| QueuePolicy {
            timeout_action,
            default_timeout,
            allow_timeout_override,
            max_queue_size: NonZeroU32::new(limit),
        },
    )
}

fn shape() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![6 => Just(None), 2 => Just(Some(3)), 1 => Just(Some(4))]
}

/// Zero about as often as not: without a delay or timeout is the usual case.
fn micros(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    prop_oneof![Just(0), range].prop_map(Duration::from_micros)
}
