// SPDX-License-Identifier: Apache-2.0
//! One instance with the slots of its sequences, and which of their requests execute together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use smallvec::SmallVec;

use super::config::{SequenceBatcherConfig, SequenceStrategy};
use super::table::{SequenceKey, SequenceTable};
use crate::{
    Arrival, DispatchReason, DynamicBatcher, DynamicBatcherConfig, Effects, InstanceIndex,
    Timestamp,
};

/// The instance of a lane's own batcher, which has but one.
const SOLE: InstanceIndex = InstanceIndex(0);

/// Sequences whose first requests execute now.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) members: Vec<SequenceKey>,
    /// Places of the batch that none of them fills.
    pub(super) null_slots: SmallVec<[usize; 0]>,
    pub(super) reason: DispatchReason,
}

#[derive(Debug)]
pub(super) struct Lane {
    slots: Slots,
    former: Former,
    /// Sequences that execute.
    pub(super) in_flight: Vec<SequenceKey>,
    /// It is out of service for now.
    is_available: bool,
    /// It gets no new sequence, and keeps those it has.
    is_retired: bool,
}

impl Lane {
    pub(super) fn new(config: &SequenceBatcherConfig, is_available: bool) -> Self {
        Self {
            slots: Slots::new(config.slots_per_instance()),
            former: Former::new(config, is_available),
            in_flight: Vec::new(),
            is_available,
            is_retired: false,
        }
    }

    /// Returns the slot that the next sequence would get here.
    pub(super) fn free_slot(&self) -> Option<usize> {
        let is_open = self.is_available && !self.is_retired;
        self.slots.first_free().filter(|_| is_open)
    }

    pub(super) fn hold(&mut self, slot: usize, key: SequenceKey) {
        self.slots.hold(slot, key);
    }

    pub(super) fn free(&mut self, slot: usize) {
        self.slots.free(slot);
    }

    pub(super) fn set_available(&mut self, is_available: bool) {
        self.is_available = is_available;
        self.is_retired &= !is_available;
        if let Former::Oldest(batcher) = &mut self.former {
            batcher.set_instance_available(SOLE, is_available);
        }
    }

    pub(super) fn retire(&mut self) {
        self.is_retired = true;
    }

    /// Returns whether no sequence is bound to the instance.
    pub(super) fn is_vacant(&self) -> bool {
        self.slots.held.is_empty() && self.in_flight.is_empty()
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        match &self.former {
            Former::Direct(direct) => direct.deadline,
            Former::Oldest(batcher) => batcher.next_deadline(),
        }
    }

    /// Notes that a sequence has a request that may execute now.
    pub(super) fn issue<R>(
        &mut self,
        now: Timestamp,
        key: SequenceKey,
        table: &mut SequenceTable<R>,
    ) {
        let Former::Oldest(batcher) = &mut self.former else {
            return;
        };
        let Some(sequence) = table.get_mut(key) else {
            return;
        };
        let compatibility = sequence.ready().and_then(|head| head.compatibility.clone());
        let arrival = Arrival {
            request: key,
            batch_size: 1,
            priority: 0,
            timeout: None,
            compatibility,
        };
        // INVARIANT: the lane's batcher has no limit and never stops, so nothing is refused.
        sequence.issued = batcher.push(now, arrival).ok();
    }

    /// Takes back what [`Self::issue`] noted.
    pub(super) fn withdraw<R>(
        &mut self,
        now: Timestamp,
        key: SequenceKey,
        table: &mut SequenceTable<R>,
    ) -> Option<Cut> {
        let ticket = table.get_mut(key)?.issued.take()?;
        let Former::Oldest(batcher) = &mut self.former else {
            return None;
        };
        let mut effects = Effects::default();
        batcher.cancel(now, ticket, &mut effects);
        cut(effects)
    }

    /// Notes that what was in flight is no longer.
    pub(super) fn complete(&mut self) -> Vec<SequenceKey> {
        if let Former::Oldest(batcher) = &mut self.former {
            batcher.release(SOLE);
        }
        std::mem::take(&mut self.in_flight)
    }

    /// Decides what the instance gets, if it is free.
    pub(super) fn form<R>(&mut self, now: Timestamp, table: &SequenceTable<R>) -> Option<Cut> {
        match &mut self.former {
            Former::Direct(direct) => {
                direct.deadline = None;
                let is_free = self.is_available && self.in_flight.is_empty();
                is_free.then(|| direct.form(now, &self.slots, table))?
            }
            Former::Oldest(batcher) => {
                let mut effects = Effects::default();
                batcher.poll(now, &mut effects);
                cut(effects)
            }
        }
    }
}

fn cut(mut effects: Effects<SequenceKey>) -> Option<Cut> {
    let payload = effects.dispatch.pop()?;
    Some(Cut {
        members: payload.requests.into_vec(),
        null_slots: SmallVec::new(),
        reason: payload.reason,
    })
}

#[derive(Debug)]
enum Former {
    Direct(DirectFormer),
    /// Batches the first requests of its sequences as any requests are batched (S036).
    Oldest(Box<DynamicBatcher<SequenceKey>>),
}

impl Former {
    fn new(config: &SequenceBatcherConfig, is_available: bool) -> Self {
        match &config.strategy {
            SequenceStrategy::Direct {
                max_queue_delay,
                minimum_slot_utilization,
            } => Self::Direct(DirectFormer {
                slots: config.slots_per_instance(),
                max_queue_delay: *max_queue_delay,
                minimum_slot_utilization: *minimum_slot_utilization,
                deadline: None,
            }),
            SequenceStrategy::Oldest {
                preferred_batch_sizes,
                max_queue_delay,
                ..
            } => {
                let mut batcher = DynamicBatcher::new(DynamicBatcherConfig {
                    max_batch_size: config.max_batch_size,
                    is_batching: true,
                    preferred_batch_sizes: preferred_batch_sizes.clone(),
                    max_queue_delay: *max_queue_delay,
                    ..DynamicBatcherConfig::default()
                });
                batcher.set_instance_available(SOLE, is_available);
                Self::Oldest(Box::new(batcher))
            }
        }
    }
}

/// Forms batches in which each sequence has its slot (S034, S035).
#[derive(Debug)]
struct DirectFormer {
    slots: usize,
    max_queue_delay: Duration,
    minimum_slot_utilization: f32,
    deadline: Option<Timestamp>,
}

impl DirectFormer {
    fn form<R>(&mut self, now: Timestamp, slots: &Slots, table: &SequenceTable<R>) -> Option<Cut> {
        let ready: Vec<_> = slots
            .held
            .iter()
            .filter_map(|(slot, key)| Some((*slot, *key, table.get(*key)?.ready()?)))
            .collect();
        let oldest = ready.iter().map(|(_, _, head)| head.arrival).min()?;
        let reason = match self.reason(now, ready.len(), oldest) {
            Ok(reason) => reason,
            Err(deadline) => {
                self.deadline = Some(deadline);
                return None;
            }
        };
        let (_, _, first) = ready.first()?;
        let mut cut = Cut {
            members: Vec::with_capacity(ready.len()),
            null_slots: SmallVec::new(),
            reason,
        };
        let mut next = 0;
        for (slot, key, head) in &ready {
            // One whose inputs do not fit those of the first waits for the next batch.
            if head.compatibility == first.compatibility {
                cut.null_slots.extend(next..*slot);
                next = slot + 1;
                cut.members.push(*key);
            }
        }
        Some(cut)
    }

    /// Returns why the batch goes now, or until when it waits.
    fn reason(
        &self,
        now: Timestamp,
        ready: usize,
        oldest: Timestamp,
    ) -> Result<DispatchReason, Timestamp> {
        let waits = !self.max_queue_delay.is_zero() && self.minimum_slot_utilization > 0.0;
        let ripe_at = oldest + self.max_queue_delay;
        if !waits {
            Ok(DispatchReason::Immediate)
        } else if ready as f64 / self.slots as f64 >= f64::from(self.minimum_slot_utilization) {
            Ok(DispatchReason::Utilization)
        } else if now >= ripe_at {
            Ok(DispatchReason::Delay)
        } else {
            Err(ripe_at)
        }
    }
}

/// Slots by number; there may be far more of them than sequences.
#[derive(Debug)]
struct Slots {
    limit: usize,
    held: BTreeMap<usize, SequenceKey>,
    // Below `unused`.
    freed: BTreeSet<usize>,
    // The first that was never held.
    unused: usize,
}

impl Slots {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            held: BTreeMap::new(),
            freed: BTreeSet::new(),
            unused: 0,
        }
    }

    fn first_free(&self) -> Option<usize> {
        let unused = (self.unused < self.limit).then_some(self.unused);
        self.freed.first().copied().or(unused)
    }

    fn hold(&mut self, slot: usize, key: SequenceKey) {
        if !self.freed.remove(&slot) {
            self.unused = self.unused.max(slot + 1);
        }
        self.held.insert(slot, key);
    }

    fn free(&mut self, slot: usize) {
        if self.held.remove(&slot).is_some() {
            self.freed.insert(slot);
        }
    }
}
