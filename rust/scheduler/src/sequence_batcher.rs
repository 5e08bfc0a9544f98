// SPDX-License-Identifier: Apache-2.0
//! Sequences of requests, each of which stays on one instance (Triton: `SequenceBatchScheduler`).

mod config;
mod lane;
mod table;

use std::fmt;

use smallvec::SmallVec;
use tritongw_types::CorrelationId;

pub use self::config::{
    Accepted, SequenceArrival, SequenceBatcherConfig, SequenceRefusal, SequenceStrategy,
    SequenceTicket,
};
use self::lane::{Cut, Lane};
use self::table::{Place, Queued, SequenceKey, SequenceTable};
use crate::{Effects, InstanceIndex, Payload, RejectReason, Timestamp};

/// Sequence batcher of one model, as a state machine.
///
/// Driven as a [`DynamicBatcher`](crate::DynamicBatcher) is. A sequence gets a slot of an instance
/// with its first request, or waits in the backlog for one, and keeps it until its last request has
/// been executed. Its requests are executed in arrival order, one at a time; an instance holds one
/// payload at a time.
///
/// ```
/// use std::time::Duration;
/// use tritongw_scheduler::{
///     Effects, SequenceArrival, SequenceBatcher, SequenceBatcherConfig, SequenceStrategy, Timestamp,
/// };
/// use tritongw_types::CorrelationId;
///
/// let mut batcher = SequenceBatcher::new(SequenceBatcherConfig {
///     max_batch_size: 8,
///     strategy: SequenceStrategy::Direct {
///         max_queue_delay: Duration::ZERO,
///         minimum_slot_utilization: 0.0,
///     },
///     max_sequence_idle: Duration::from_secs(1),
///     is_iterative: false,
///     instance_count: 1,
/// });
/// let now = Timestamp::from_nanos(0);
/// for (request, id) in [("a", 7), ("b", 8)] {
///     let correlation_id = CorrelationId::UInt(id);
///     let arrival = SequenceArrival {
///         request, correlation_id, is_start: true, is_end: false, timeout: None, compatibility: None,
///     };
///     batcher.push(now, arrival).expect("it begins a sequence");
/// }
/// let mut effects = Effects::default();
/// batcher.poll(now, &mut effects);
/// assert_eq!(effects.dispatch[0].requests[..], ["a", "b"]);
/// ```
pub struct SequenceBatcher<R> {
    config: SequenceBatcherConfig,
    table: SequenceTable<R>,
    lanes: Vec<Lane>,
    queued_count: usize,
    next_ordinal: u64,
    // The last id given to a sequence without one.
    last_id: u64,
    is_stopping: bool,
}

impl<R> SequenceBatcher<R> {
    /// Makes a batcher without sequences and with all instances free.
    pub fn new(config: SequenceBatcherConfig) -> Self {
        let lane = |_| Lane::new(&config, true);
        Self {
            lanes: (0..config.instance_count).map(lane).collect(),
            table: SequenceTable::new(),
            queued_count: 0,
            next_ordinal: 0,
            last_id: 0,
            is_stopping: false,
            config,
        }
    }

    /// Returns the configuration it was made with.
    pub fn config(&self) -> &SequenceBatcherConfig {
        &self.config
    }

    /// Returns an id that no sequence under way has, for one that comes without (S053).
    pub fn assign_id(&mut self) -> CorrelationId {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            let id = CorrelationId::UInt(self.last_id);
            if self.table.find(&id).is_none() {
                return id;
            }
        }
    }

    /// Queues a request behind the others of its sequence; never dispatches.
    ///
    /// # Errors
    ///
    /// Gives the request back if it does not begin a sequence and none of its id is under way, or
    /// if it does and the batcher is stopping.
    pub fn push(
        &mut self,
        now: Timestamp,
        arrival: SequenceArrival<R>,
    ) -> Result<Accepted, (R, SequenceRefusal)> {
        if arrival.is_start && self.is_stopping {
            return Err((arrival.request, SequenceRefusal::Stopping));
        }
        let known = self.table.find(&arrival.correlation_id);
        let key = match known {
            Some(key) => key,
            None if arrival.is_start => self.begin(now, arrival.correlation_id),
            None => return Err((arrival.request, SequenceRefusal::NotStarted)),
        };
        let ticket = self.queue(now, key, arrival.request, arrival.compatibility);
        self.update_deadline(key, arrival.timeout.map(|timeout| now + timeout));
        if arrival.is_end {
            self.table.end(key);
        }
        Ok(Accepted {
            ticket,
            is_conflict: known.is_some() && arrival.is_start,
        })
    }

    /// Queues a request that executes now for another round (S051); to be called before
    /// [`Self::complete`]. Never dispatches.
    ///
    /// # Errors
    ///
    /// Gives the request back if the model is not iterative, or the request does not execute.
    pub fn reschedule(
        &mut self,
        now: Timestamp,
        ticket: SequenceTicket,
        request: R,
        compatibility: Option<Box<[i64]>>,
    ) -> Result<SequenceTicket, (R, SequenceRefusal)> {
        let key = ticket.sequence;
        match self.table.get_mut(key) {
            Some(sequence) if self.config.is_iterative && sequence.is_executing => {
                sequence.is_continued = true;
                Ok(self.queue(now, key, request, compatibility))
            }
            _ => Err((request, SequenceRefusal::NotRescheduled)),
        }
    }

    /// Acts on deadlines and gives free instances what they can take now.
    pub fn poll(&mut self, now: Timestamp, effects: &mut Effects<R>) {
        while let Some(key) = self.table.due(now) {
            self.expire(key, effects);
        }
        self.fill_slots(now);
        for index in 0..self.lanes.len() {
            if let Some(cut) = self.lanes[index].form(now, &self.table) {
                self.dispatch(InstanceIndex(index), cut, effects);
            }
        }
    }

    /// Notes that an instance has executed its payload, then polls. Requests that come back have
    /// been given to [`Self::reschedule`] before; an iterative sequence without one ends (S054).
    pub fn complete(&mut self, now: Timestamp, instance: InstanceIndex, effects: &mut Effects<R>) {
        let executed = match self.lanes.get_mut(instance.0) {
            Some(lane) => lane.complete(),
            None => Vec::new(),
        };
        debug_assert!(!executed.is_empty(), "{instance:?} had no payload");
        for key in executed {
            self.settle(now, key);
        }
        self.poll(now, effects);
    }

    /// Rejects everything that waits in the sequence of a request that waits itself, ends the
    /// sequence (S033), then polls.
    ///
    /// Returns `false`, and does nothing, if the request does not wait.
    pub fn cancel(
        &mut self,
        now: Timestamp,
        ticket: SequenceTicket,
        effects: &mut Effects<R>,
    ) -> bool {
        let key = ticket.sequence;
        let is_waiting = self.table.get(key).is_some_and(|sequence| {
            let mut queued = sequence.queue.iter();
            queued.any(|queued| queued.ordinal == ticket.ordinal)
        });
        if is_waiting {
            self.abandon(now, key, RejectReason::Cancelled, effects);
            self.poll(now, effects);
        }
        is_waiting
    }

    /// Returns when to poll next at the latest, if nothing else happens before.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let lanes = self.lanes.iter().filter_map(Lane::next_deadline);
        lanes.chain(self.table.next_deadline()).min()
    }

    /// Takes an instance out of service, or back into it; poll afterwards. Its sequences stay with
    /// it.
    pub fn set_instance_available(&mut self, instance: InstanceIndex, is_available: bool) {
        if let Some(lane) = self.lanes.get_mut(instance.0) {
            lane.set_available(is_available);
        }
    }

    /// Gives an instance no further sequence; those it has go on there (R064).
    pub fn retire_instance(&mut self, instance: InstanceIndex) {
        if let Some(lane) = self.lanes.get_mut(instance.0) {
            lane.retire();
        }
    }

    /// Returns whether an instance has no sequence, and executes nothing.
    pub fn is_vacant(&self, instance: InstanceIndex) -> bool {
        self.lanes.get(instance.0).is_none_or(Lane::is_vacant)
    }

    /// Adds an instance, out of service until [`Self::set_instance_available`] says otherwise.
    pub fn add_instance(&mut self) -> InstanceIndex {
        self.config.instance_count += 1;
        self.lanes.push(Lane::new(&self.config, false));
        InstanceIndex(self.lanes.len() - 1)
    }

    /// Rejects everything that waits as [`RejectReason::Stopping`] and ends all sequences.
    pub fn drain_queued(&mut self, now: Timestamp, effects: &mut Effects<R>) {
        for key in self.table.keys() {
            self.abandon(now, key, RejectReason::Stopping, effects);
        }
    }

    /// Refuses new sequences; those under way go on.
    pub fn stop(&mut self) {
        self.is_stopping = true;
    }

    /// Returns the number of requests that wait.
    pub fn queued_count(&self) -> usize {
        self.queued_count
    }

    /// Returns the number of payloads given out and not yet completed.
    pub fn executing_count(&self) -> usize {
        let busy = self.lanes.iter().filter(|lane| !lane.in_flight.is_empty());
        busy.count()
    }

    /// Returns the number of sequences that have not ended.
    pub fn sequence_count(&self) -> usize {
        self.table.len()
    }

    fn begin(&mut self, now: Timestamp, id: CorrelationId) -> SequenceKey {
        let key = self.table.begin(id);
        self.fill_slots(now);
        key
    }

    fn queue(
        &mut self,
        now: Timestamp,
        key: SequenceKey,
        request: R,
        compatibility: Option<Box<[i64]>>,
    ) -> SequenceTicket {
        let ordinal = self.next_ordinal;
        self.next_ordinal += 1;
        if let Some(sequence) = self.table.get_mut(key) {
            self.queued_count += 1;
            sequence.queue.push_back(Queued {
                request,
                ordinal,
                arrival: now,
                compatibility,
            });
            if sequence.queue.len() == 1 {
                self.issue(now, key);
            }
        }
        SequenceTicket {
            sequence: key,
            ordinal,
        }
    }

    /// A sequence in a slot that has a request is not idle; one in the backlog waits no longer than
    /// the least patient of its requests.
    fn update_deadline(&mut self, key: SequenceKey, expiry: Option<Timestamp>) {
        let Some(sequence) = self.table.get(key) else {
            return;
        };
        let deadline = match sequence.place {
            Some(_) => None,
            None => [sequence.deadline(), expiry].into_iter().flatten().min(),
        };
        self.table.set_deadline(key, deadline);
    }

    /// Lets the first request of a sequence take part in the next batch of its instance, unless
    /// another one of the sequence executes.
    fn issue(&mut self, now: Timestamp, key: SequenceKey) {
        let Some(sequence) = self.table.get(key) else {
            return;
        };
        if let Some(place) = sequence.place
            && sequence.ready().is_some()
        {
            self.lanes[place.instance.0].issue(now, key, &mut self.table);
        }
    }

    /// Gives free slots to the sequences of the backlog: those of the lowest number first, so that
    /// sequences spread over the instances.
    fn fill_slots(&mut self, now: Timestamp) {
        while let Some(key) = self.table.first_in_backlog() {
            let free = self.lanes.iter().enumerate();
            let free = free.filter_map(|(index, lane)| Some((lane.free_slot()?, index)));
            let Some((slot, index)) = free.min() else {
                return;
            };
            let instance = InstanceIndex(index);
            self.lanes[index].hold(slot, key);
            self.table.place(key, Place { instance, slot });
            self.issue(now, key);
        }
    }

    /// Ends a sequence that was idle for too long, or has waited too long for a slot.
    fn expire(&mut self, key: SequenceKey, effects: &mut Effects<R>) {
        if let Some(sequence) = self.remove(key) {
            self.queued_count -= sequence.queue.len();
            let queued = sequence.queue.into_iter();
            effects
                .reject
                .extend(queued.map(|queued| (queued.request, RejectReason::SequenceTimeout)));
        }
    }

    /// Rejects what waits in a sequence and ends it, once what executes has been executed.
    fn abandon(
        &mut self,
        now: Timestamp,
        key: SequenceKey,
        reason: RejectReason,
        effects: &mut Effects<R>,
    ) {
        let place = self.table.get(key).and_then(|sequence| sequence.place);
        if let Some(Place { instance, .. }) = place
            && let Some(cut) = self.lanes[instance.0].withdraw(now, key, &mut self.table)
        {
            self.dispatch(instance, cut, effects);
        }
        self.table.end(key);
        let Some(sequence) = self.table.get_mut(key) else {
            return;
        };
        self.queued_count -= sequence.queue.len();
        let queued = sequence.queue.drain(..);
        effects
            .reject
            .extend(queued.map(|queued| (queued.request, reason)));
        if !sequence.is_executing {
            self.remove(key);
        }
    }

    /// Notes that a request of a sequence has been executed.
    fn settle(&mut self, now: Timestamp, key: SequenceKey) {
        let Some(sequence) = self.table.get_mut(key) else {
            return;
        };
        sequence.is_executing = false;
        let is_continued = std::mem::take(&mut sequence.is_continued);
        if self.config.is_iterative && !is_continued {
            self.table.end(key);
        }
        let Some(sequence) = self.table.get(key) else {
            return;
        };
        if !sequence.queue.is_empty() {
            self.issue(now, key);
        } else if sequence.is_ended {
            self.remove(key);
        } else {
            let idle_until = now + self.config.max_sequence_idle;
            self.table.set_deadline(key, Some(idle_until));
        }
    }

    fn remove(&mut self, key: SequenceKey) -> Option<table::Sequence<R>> {
        let sequence = self.table.remove(key)?;
        if let Some(Place { instance, slot }) = sequence.place {
            self.lanes[instance.0].free(slot);
        }
        Some(sequence)
    }

    fn dispatch(&mut self, instance: InstanceIndex, cut: Cut, effects: &mut Effects<R>) {
        let mut requests = SmallVec::with_capacity(cut.members.len());
        for key in &cut.members {
            let Some(sequence) = self.table.get_mut(*key) else {
                continue;
            };
            sequence.issued = None;
            if let Some(queued) = sequence.queue.pop_front() {
                self.queued_count -= 1;
                sequence.is_executing = true;
                requests.push(queued.request);
            }
        }
        debug_assert_eq!(requests.len(), cut.members.len(), "each has a request");
        let batch_size = requests.len() + cut.null_slots.len();
        self.lanes[instance.0].in_flight = cut.members;
        effects.dispatch.push(Payload {
            instance,
            requests,
            // INVARIANT: no more than the largest batch.
            batch_size: u32::try_from(batch_size).unwrap_or(u32::MAX),
            null_slots: cut.null_slots,
            reason: cut.reason,
        });
    }
}

impl<R> fmt::Debug for SequenceBatcher<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SequenceBatcher")
            .field("config", &self.config)
            .field("sequences", &self.sequence_count())
            .field("queued", &self.queued_count())
            .field("next_deadline", &self.next_deadline())
            .field("is_stopping", &self.is_stopping)
            .finish_non_exhaustive()
    }
}
