// SPDX-License-Identifier: Apache-2.0
//! The queue of a model: priority levels, each under its policy (Triton: `PriorityQueue`,
//! `PolicyQueue` in `scheduler_utils.cc`).
//!
//! Requests are walked in the order in which they will be served: level by level, in each level
//! first those that have not timed out, then those that were delayed.

mod expiry;
mod policies;
mod slab;

use std::collections::BTreeMap;
use std::ops::Bound;

use self::expiry::ExpiryHeap;
pub(crate) use self::policies::QueuePolicies;
pub(crate) use self::slab::SlotId;
use self::slab::{List, Slab};
use crate::{Arrival, Ticket, TimeoutAction, Timestamp};

/// Empty levels kept for their next request; a client that names many levels cannot hold more.
const EMPTY_LEVELS_KEPT: usize = 32;

/// A queued request.
#[derive(Debug)]
pub(crate) struct Entry<R> {
    pub(crate) request: R,
    pub(crate) batch_size: u32,
    pub(crate) arrival: Timestamp,
    pub(crate) compatibility: Option<Box<[i64]>>,
    sequence: u64,
    level: u32,
    is_delayed: bool,
    /// `None` also once the timeout has been acted upon.
    expiry: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Level {
    fresh: List,
    delayed: List,
}

impl Level {
    fn list(&mut self, is_delayed: bool) -> &mut List {
        if is_delayed {
            &mut self.delayed
        } else {
            &mut self.fresh
        }
    }

    fn first(&self) -> Option<SlotId> {
        self.fresh.head().or(self.delayed.head())
    }

    fn len(&self) -> usize {
        self.fresh.len() + self.delayed.len()
    }
}

#[derive(Debug)]
pub(crate) struct RequestQueue<R> {
    slab: Slab<Entry<R>>,
    levels: BTreeMap<u32, Level>,
    expiries: ExpiryHeap,
    policies: QueuePolicies,
    next_sequence: u64,
}

impl<R> RequestQueue<R> {
    pub(crate) fn new(policies: QueuePolicies) -> Self {
        Self {
            slab: Slab::new(),
            levels: BTreeMap::new(),
            expiries: ExpiryHeap::default(),
            policies,
            next_sequence: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    /// Returns when the next request times out.
    pub(crate) fn earliest_expiry(&self) -> Option<Timestamp> {
        self.expiries.earliest()
    }

    /// Adds a request at the end of its level, or gives it back if the level is full.
    pub(crate) fn push(&mut self, now: Timestamp, arrival: Arrival<R>) -> Result<Ticket, R> {
        let number = self.policies.level_of(arrival.priority);
        let policy = self.policies.of_level(number);
        let level = self.levels.entry(number).or_default();
        if policy
            .max_queue_size
            .is_some_and(|limit| level.len() >= limit.get() as usize)
        {
            return Err(arrival.request);
        }
        let ticket = Ticket {
            sequence: self.next_sequence,
            slot: self.slab.vacant(),
        };
        self.next_sequence += 1;
        let expiry = policy.timeout(arrival.timeout).map(|timeout| now + timeout);
        if let Some(expiry) = expiry {
            self.expiries.insert(expiry, ticket);
        }
        let entry = Entry {
            request: arrival.request,
            batch_size: arrival.batch_size.max(1),
            arrival: now,
            compatibility: arrival.compatibility,
            sequence: ticket.sequence,
            level: number,
            is_delayed: false,
            expiry,
        };
        self.slab.push_back(&mut level.fresh, entry);
        Ok(ticket)
    }

    /// Returns the place of the request that will be served first.
    pub(crate) fn first(&self) -> Option<SlotId> {
        self.levels.values().find_map(Level::first)
    }

    /// Returns the place of the request that will be served after this one.
    pub(crate) fn next_after(&self, slot: SlotId) -> Option<SlotId> {
        let entry = self.entry(slot);
        let in_list = self.slab.next(slot);
        let in_level = || {
            let delayed = self.levels.get(&entry.level)?.delayed.head();
            delayed.filter(|_| !entry.is_delayed)
        };
        let lower = (Bound::Excluded(entry.level), Bound::Unbounded);
        let below = || {
            self.levels
                .range(lower)
                .find_map(|(_, level)| level.first())
        };
        in_list.or_else(in_level).or_else(below)
    }

    /// Returns whether a request pushed with this priority is served before the one at `slot`.
    pub(crate) fn overtakes(&self, priority: u32, slot: SlotId) -> bool {
        let entry = self.entry(slot);
        let level = self.policies.level_of(priority);
        level < entry.level || (level == entry.level && entry.is_delayed)
    }

    pub(crate) fn entry(&self, slot: SlotId) -> &Entry<R> {
        self.slab
            .get(slot)
            .expect("invariant: a slot that is walked to holds a request")
    }

    pub(crate) fn pop_first(&mut self) -> Option<Entry<R>> {
        self.remove(self.first()?)
    }

    /// Takes a request out, if it is still queued.
    pub(crate) fn take(&mut self, ticket: Ticket) -> Option<R> {
        if !is_queued(&self.slab, ticket) {
            return None;
        }
        self.remove(ticket.slot).map(|entry| entry.request)
    }

    /// Acts on every timeout that has been reached: takes requests out through `reject`, or puts
    /// them behind those of their level that still have time. Returns whether there was any.
    pub(crate) fn expire(&mut self, now: Timestamp, mut reject: impl FnMut(R)) -> bool {
        let mut any = false;
        while let Some(ticket) = self.expiries.pop_due(now, |t| is_queued(&self.slab, t)) {
            any = true;
            let slot = ticket.slot;
            let Some(entry) = self.slab.get_mut(slot) else {
                continue;
            };
            entry.expiry = None;
            match self.policies.of_level(entry.level).timeout_action {
                TimeoutAction::Reject => {
                    if let Some(entry) = self.remove(slot) {
                        reject(entry.request);
                    }
                }
                TimeoutAction::Delay => {
                    entry.is_delayed = true;
                    if let Some(level) = self.levels.get_mut(&entry.level) {
                        self.slab
                            .move_to_back(&mut level.fresh, &mut level.delayed, slot);
                    }
                }
            }
        }
        any
    }

    fn remove(&mut self, slot: SlotId) -> Option<Entry<R>> {
        let (number, is_delayed) = self.slab.get(slot).map(|e| (e.level, e.is_delayed))?;
        let level = self.levels.get_mut(&number)?;
        let entry = self.slab.remove(level.list(is_delayed), slot)?;
        if level.len() == 0 && self.levels.len() > EMPTY_LEVELS_KEPT {
            self.levels.remove(&number);
        }
        if entry.expiry.is_some() {
            self.expiries
                .forget_one(|ticket| is_queued(&self.slab, ticket));
        }
        Some(entry)
    }
}

/// Returns whether the request of this ticket is queued: a slot may have gone to another since.
fn is_queued<R>(slab: &Slab<Entry<R>>, ticket: Ticket) -> bool {
    slab.get(ticket.slot)
        .is_some_and(|entry| entry.sequence == ticket.sequence)
}

#[cfg(test)]
mod tests;
