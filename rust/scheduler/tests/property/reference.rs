// SPDX-License-Identifier: Apache-2.0
//! The rules of the queue and of batching, as plainly as they can be written.

use std::time::Duration;

use tritongw_scheduler::{Arrival, DynamicBatcherConfig, QueuePolicy, TimeoutAction, Timestamp};

#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) id: u32,
    pub(crate) level: u32,
    pub(crate) batch_size: u32,
    pub(crate) shape: Option<Box<[i64]>>,
    arrival: Timestamp,
    expiry: Option<Timestamp>,
    /// Ordinal among those that timed out and were delayed.
    delayed: Option<u32>,
}

/// The queue, always in the order in which it is served.
pub(crate) struct Reference {
    config: DynamicBatcherConfig,
    pub(crate) queue: Vec<Waiting>,
    delays: u32,
}

impl Reference {
    pub(crate) fn new(config: DynamicBatcherConfig) -> Self {
        Self {
            config,
            queue: Vec::new(),
            delays: 0,
        }
    }

    /// Returns whether there is room.
    pub(crate) fn push(&mut self, now: Timestamp, arrival: &Arrival<u32>) -> bool {
        let is_in_range = (1..=self.config.priority_levels).contains(&arrival.priority);
        let level = match (self.config.priority_levels, is_in_range) {
            (0, _) => 0,
            (_, true) => arrival.priority,
            (_, false) => self.config.default_priority_level,
        };
        let policy = self.policy(level);
        let queued = self
            .queue
            .iter()
            .filter(|waiting| waiting.level == level)
            .count();
        if policy
            .max_queue_size
            .is_some_and(|limit| queued >= limit.get() as usize)
        {
            return false;
        }
        let own = arrival
            .timeout
            .filter(|own| policy.allow_timeout_override && !own.is_zero());
        let default = policy.default_timeout.filter(|default| !default.is_zero());
        let timeout = default.map(|default| own.map_or(default, |own| own.min(default)));
        self.queue.push(Waiting {
            id: arrival.request,
            level,
            batch_size: arrival.batch_size,
            shape: arrival.compatibility.clone(),
            arrival: now,
            expiry: timeout.map(|timeout| now + timeout),
            delayed: None,
        });
        self.sort();
        true
    }

    pub(crate) fn cancel(&mut self, id: u32) -> bool {
        let before = self.queue.len();
        self.queue.retain(|waiting| waiting.id != id);
        self.queue.len() < before
    }

    /// Returns those that have to be rejected.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Vec<u32> {
        let is_due = |waiting: &Waiting| waiting.expiry.is_some_and(|expiry| expiry <= now);
        let mut due: Vec<_> = self
            .queue
            .iter()
            .filter(|waiting| is_due(waiting))
            .cloned()
            .collect();
        due.sort_by_key(|waiting| (waiting.expiry, waiting.id));
        let mut rejected = Vec::new();
        for late in due {
            if self.policy(late.level).timeout_action == TimeoutAction::Reject {
                self.cancel(late.id);
                rejected.push(late.id);
                continue;
            }
            let ordinal = self.delays;
            self.delays += 1;
            for waiting in self
                .queue
                .iter_mut()
                .filter(|waiting| waiting.id == late.id)
            {
                waiting.expiry = None;
                waiting.delayed = Some(ordinal);
            }
        }
        self.sort();
        rejected
    }

    /// Takes out what a free instance gets now; nothing if it is better to wait.
    pub(crate) fn next_batch(&mut self, now: Timestamp) -> Option<Vec<Waiting>> {
        let count = self.next_count(now)?;
        Some(self.queue.drain(..count).collect())
    }

    fn next_count(&self, now: Timestamp) -> Option<usize> {
        let first = self.queue.first()?;
        let max = self.config.max_batch_size;
        if !self.config.is_batching || max == 0 {
            return Some(1);
        }
        let mut preferred = self.config.preferred_batch_sizes.clone();
        preferred.retain(|size| *size <= max);
        let largest = preferred.iter().copied().max().unwrap_or(max);
        preferred.push(largest);

        let size = |count: usize| {
            self.queue[..count]
                .iter()
                .map(|w| w.batch_size)
                .sum::<u32>()
        };
        let goes = |count: &usize| {
            size(*count) <= max && self.queue[..*count].iter().all(|w| w.shape == first.shape)
        };
        let most = (1..=self.queue.len())
            .take_while(|count| *count == 1 || goes(count))
            .count();
        let oldest = self.queue[..most].iter().map(|w| w.arrival).min()?;
        let delay = self.config.max_queue_delay;
        let is_ripe = delay > Duration::ZERO && now >= oldest + delay;
        if !is_ripe {
            let best = (1..=most)
                .rev()
                .find(|count| preferred.contains(&size(*count)));
            let overshoots = |count: &usize| *count < self.queue.len() && size(count + 1) > largest;
            if let Some(count) = best.or_else(|| (1..=most).find(overshoots)) {
                return Some(count);
            }
        }
        let cannot_grow = most < self.queue.len() || size(most) >= largest;
        (cannot_grow || is_ripe || delay.is_zero()).then_some(most)
    }

    fn policy(&self, level: u32) -> &QueuePolicy {
        let own = self.config.priority_queue_policies.get(&level);
        own.filter(|_| level > 0)
            .unwrap_or(&self.config.default_queue_policy)
    }

    fn sort(&mut self) {
        self.queue
            .sort_by_key(|waiting| (waiting.level, waiting.delayed, waiting.id));
    }
}
