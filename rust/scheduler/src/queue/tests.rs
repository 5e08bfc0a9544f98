// SPDX-License-Identifier: Apache-2.0

use std::time::Duration;

use super::*;
use crate::{DynamicBatcherConfig, QueuePolicy};

const LEVELS: u32 = 100_000;

fn queue(policy: QueuePolicy) -> RequestQueue<u32> {
    RequestQueue::new(QueuePolicies::new(&DynamicBatcherConfig {
        priority_levels: LEVELS,
        default_priority_level: 7,
        default_queue_policy: policy,
        ..DynamicBatcherConfig::default()
    }))
}

fn arrival(request: u32, priority: u32) -> Arrival<u32> {
    Arrival {
        request,
        batch_size: 1,
        priority,
        timeout: None,
        compatibility: None,
    }
}

fn at(us: u64) -> Timestamp {
    Timestamp::from_nanos(us * 1000)
}

#[test]
fn levels_are_served_in_order_and_unknown_ones_are_the_default() {
    let mut queue = queue(QueuePolicy::default());
    for (request, priority) in [(1, 9), (2, 0), (3, 1), (4, LEVELS + 1), (5, 7), (6, 1)] {
        queue
            .push(at(0), arrival(request, priority))
            .expect("no limit");
    }
    let walked: Vec<_> = std::iter::successors(queue.first(), |slot| queue.next_after(*slot))
        .map(|slot| queue.entry(slot).request)
        .collect();
    let popped: Vec<_> = std::iter::from_fn(|| queue.pop_first())
        .map(|entry| entry.request)
        .collect();
    assert_eq!(walked, [3, 6, 2, 4, 5, 1]);
    assert_eq!(popped, walked);
}

#[test]
fn a_ticket_names_nothing_once_its_slot_is_used_again() {
    let mut queue = queue(QueuePolicy::default());
    let first = queue.push(at(0), arrival(1, 0)).expect("no limit");
    assert_eq!(queue.take(first), Some(1));
    let second = queue.push(at(0), arrival(2, 0)).expect("no limit");
    assert_eq!(first.slot, second.slot);
    assert_eq!(queue.take(first), None);
    assert_eq!(queue.take(second), Some(2));
}

#[test]
fn empty_levels_do_not_pile_up() {
    let mut queue = queue(QueuePolicy::default());
    for priority in 1..=LEVELS {
        let ticket = queue
            .push(at(0), arrival(priority, priority))
            .expect("no limit");
        queue.take(ticket).expect("it was just queued");
    }
    assert!(
        queue.levels.len() <= EMPTY_LEVELS_KEPT + 1,
        "{} levels",
        queue.levels.len()
    );
}

#[test]
fn timeouts_of_requests_that_left_do_not_pile_up() {
    let minute = Some(Duration::from_secs(60));
    let mut queue = queue(QueuePolicy {
        default_timeout: minute,
        ..QueuePolicy::default()
    });
    let kept = queue.push(at(0), arrival(0, 0)).expect("no limit");
    for request in 1..10_000 {
        let ticket = queue.push(at(0), arrival(request, 0)).expect("no limit");
        queue.take(ticket).expect("it was just queued");
    }
    assert!(
        queue.expiries.heap_len() < 200,
        "{} timeouts",
        queue.expiries.heap_len()
    );
    assert_eq!(queue.earliest_expiry(), Some(at(60_000_000)));
    queue.take(kept).expect("it was never taken");
    assert_eq!(queue.earliest_expiry(), None);
}
