// SPDX-License-Identifier: Apache-2.0
//! The sequences under way: their requests, their slots, what they wait for.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use tritongw_types::CorrelationId;

use crate::{InstanceIndex, Ticket, Timestamp};

/// Names a sequence from its first request to its end; later ones have greater keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SequenceKey(u64);

/// A request that waits for its turn in its sequence.
#[derive(Debug)]
pub(super) struct Queued<R> {
    pub(super) request: R,
    pub(super) ordinal: u64,
    pub(super) arrival: Timestamp,
    pub(super) compatibility: Option<Box<[i64]>>,
}

/// Where a sequence is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) instance: InstanceIndex,
    pub(super) slot: usize,
}

#[derive(Debug)]
pub(super) struct Sequence<R> {
    correlation_id: CorrelationId,
    pub(super) queue: VecDeque<Queued<R>>,
    /// `None` while it waits in the backlog.
    pub(super) place: Option<Place>,
    pub(super) is_executing: bool,
    /// Nothing more comes: it goes when what it has is executed.
    pub(super) is_ended: bool,
    /// The request that executes has come back for another round.
    pub(super) is_continued: bool,
    /// Place of its first request among those of its instance, where these have an order.
    pub(super) issued: Option<Ticket>,
    deadline: Option<Timestamp>,
}

impl<R> Sequence<R> {
    /// Returns the request that may execute now.
    pub(super) fn ready(&self) -> Option<&Queued<R>> {
        self.queue.front().filter(|_| !self.is_executing)
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.deadline
    }
}

/// All sequences of a model.
#[derive(Debug)]
pub(super) struct SequenceTable<R> {
    sequences: BTreeMap<SequenceKey, Sequence<R>>,
    // Those that take further requests.
    open: HashMap<CorrelationId, SequenceKey>,
    // Those without a slot, in arrival order (S030).
    backlog: BTreeSet<SequenceKey>,
    // When to look at a sequence: it is idle too long, or has waited too long for a slot.
    deadlines: BTreeSet<(Timestamp, SequenceKey)>,
    next_key: u64,
}

impl<R> SequenceTable<R> {
    pub(super) fn new() -> Self {
        Self {
            sequences: BTreeMap::new(),
            open: HashMap::new(),
            backlog: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            next_key: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.sequences.len()
    }

    /// Returns the sequence that takes further requests of this id.
    pub(super) fn find(&self, id: &CorrelationId) -> Option<SequenceKey> {
        self.open.get(id).copied()
    }

    /// Begins a sequence, in the backlog.
    pub(super) fn begin(&mut self, id: CorrelationId) -> SequenceKey {
        let key = SequenceKey(self.next_key);
        self.next_key += 1;
        self.open.insert(id.clone(), key);
        self.backlog.insert(key);
        let sequence = Sequence {
            correlation_id: id,
            queue: VecDeque::new(),
            place: None,
            is_executing: false,
            is_ended: false,
            is_continued: false,
            issued: None,
            deadline: None,
        };
        self.sequences.insert(key, sequence);
        key
    }

    pub(super) fn get(&self, key: SequenceKey) -> Option<&Sequence<R>> {
        self.sequences.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: SequenceKey) -> Option<&mut Sequence<R>> {
        self.sequences.get_mut(&key)
    }

    pub(super) fn keys(&self) -> Vec<SequenceKey> {
        self.sequences.keys().copied().collect()
    }

    /// Returns the sequence that has waited for a slot the longest.
    pub(super) fn first_in_backlog(&self) -> Option<SequenceKey> {
        self.backlog.first().copied()
    }

    /// Gives a sequence of the backlog its slot.
    pub(super) fn place(&mut self, key: SequenceKey, place: Place) {
        self.backlog.remove(&key);
        self.set_deadline(key, None);
        if let Some(sequence) = self.sequences.get_mut(&key) {
            sequence.place = Some(place);
        }
    }

    /// Sees that a sequence takes no further request: one of its id begins another.
    pub(super) fn end(&mut self, key: SequenceKey) {
        let Some(sequence) = self.sequences.get_mut(&key) else {
            return;
        };
        sequence.is_ended = true;
        if self.open.get(&sequence.correlation_id) == Some(&key) {
            self.open.remove(&sequence.correlation_id);
        }
    }

    /// Forgets a sequence.
    pub(super) fn remove(&mut self, key: SequenceKey) -> Option<Sequence<R>> {
        self.end(key);
        self.set_deadline(key, None);
        self.backlog.remove(&key);
        self.sequences.remove(&key)
    }

    pub(super) fn set_deadline(&mut self, key: SequenceKey, deadline: Option<Timestamp>) {
        let Some(sequence) = self.sequences.get_mut(&key) else {
            return;
        };
        if let Some(earlier) = std::mem::replace(&mut sequence.deadline, deadline) {
            self.deadlines.remove(&(earlier, key));
        }
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, key));
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Returns a sequence whose deadline has been reached.
    pub(super) fn due(&self, now: Timestamp) -> Option<SequenceKey> {
        let (deadline, key) = self.deadlines.first()?;
        (*deadline <= now).then_some(*key)
    }
}
