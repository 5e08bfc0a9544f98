// SPDX-License-Identifier: Apache-2.0

use std::fmt;
use std::num::NonZeroU32;

use smallvec::SmallVec;

use crate::batch_former::{BatchFormer, Cut, Decision};
use crate::instances::InstancePool;
use crate::queue::{QueuePolicies, RequestQueue};
use crate::{
    Arrival, DynamicBatcherConfig, Effects, InstanceIndex, Payload, RejectReason, Ticket, Timestamp,
};

/// Default scheduler and dynamic batcher of one model, as a state machine.
///
/// The driver tells it what happens, each time with the time, and carries out the [`Effects`] that
/// it appends. It calls [`Self::poll`] after pushes and again no later than
/// [`Self::next_deadline`]; nothing else makes time pass here.
///
/// A payload goes only to a free instance, so a batch is decided upon as late as possible: whatever
/// arrived while all instances were busy can be in it. Among free instances the least loaded is
/// taken, among equals the one that was freed last.
///
/// ```
/// use tritongw_scheduler::{Arrival, DynamicBatcher, DynamicBatcherConfig, Effects, Timestamp};
///
/// let mut batcher = DynamicBatcher::new(DynamicBatcherConfig {
///     max_batch_size: 8,
///     is_batching: true,
///     ..DynamicBatcherConfig::default()
/// });
/// let now = Timestamp::from_nanos(0);
/// for request in ["a", "b"] {
///     let arrival =
///         Arrival { request, batch_size: 1, priority: 0, timeout: None, compatibility: None };
///     batcher.push(now, arrival).expect("the queue has no limit");
/// }
/// let mut effects = Effects::default();
/// batcher.poll(now, &mut effects);
/// assert_eq!(effects.dispatch[0].requests[..], ["a", "b"]);
/// ```
pub struct DynamicBatcher<R> {
    config: DynamicBatcherConfig,
    queue: RequestQueue<R>,
    former: BatchFormer,
    instances: InstancePool,
    /// When the queue delay of what waits for a larger batch is over; `None` if no instance could
    /// take it then anyway.
    delay_deadline: Option<Timestamp>,
    is_stopping: bool,
}

impl<R> DynamicBatcher<R> {
    /// Makes a batcher with an empty queue and all instances free.
    pub fn new(config: DynamicBatcherConfig) -> Self {
        Self {
            queue: RequestQueue::new(QueuePolicies::new(&config)),
            former: BatchFormer::new(&config),
            instances: InstancePool::new(config.instance_count, config.max_inflight_per_instance),
            delay_deadline: None,
            is_stopping: false,
            config,
        }
    }

    /// Returns the configuration it was made with.
    pub fn config(&self) -> &DynamicBatcherConfig {
        &self.config
    }

    /// Queues a request; never dispatches, so that a driver can push all that has arrived and poll
    /// once.
    ///
    /// Constant time, plus the logarithm of the number of queued timeouts if it has one; allocates
    /// nothing once the queue has been as long before.
    ///
    /// # Errors
    ///
    /// Gives the request back if its level is full or the batcher is stopping.
    pub fn push(
        &mut self,
        now: Timestamp,
        arrival: Arrival<R>,
    ) -> Result<Ticket, (R, RejectReason)> {
        if self.is_stopping {
            return Err((arrival.request, RejectReason::Stopping));
        }
        self.former.note_push(arrival.priority, &self.queue);
        self.queue
            .push(now, arrival)
            .map_err(|request| (request, RejectReason::QueueFull))
    }

    /// Acts on timeouts and gives free instances what they can take now.
    pub fn poll(&mut self, now: Timestamp, effects: &mut Effects<R>) {
        let reject = |request| effects.reject.push((request, RejectReason::Timeout));
        if self.queue.expire(now, reject) {
            self.former.reset();
        }
        self.delay_deadline = None;
        while let Some(instance) = self.instances.next_free() {
            match self.former.decide(now, &self.queue) {
                Decision::Send(cut) => effects.dispatch.push(self.dispatch(instance, cut)),
                Decision::Wait(until) => {
                    self.delay_deadline = Some(until);
                    break;
                }
                Decision::Nothing => break,
            }
        }
    }

    /// Notes that an instance has finished one payload, then polls.
    pub fn complete(&mut self, now: Timestamp, instance: InstanceIndex, effects: &mut Effects<R>) {
        self.release(instance);
        self.poll(now, effects);
    }

    /// Notes that an instance has finished one payload; poll afterwards.
    pub(crate) fn release(&mut self, instance: InstanceIndex) {
        self.instances.release(instance);
    }

    /// Takes a request out of the queue and rejects it as cancelled, then polls, since what remains
    /// may have become a batch.
    ///
    /// Returns `false`, and does nothing, if it is no longer queued.
    pub fn cancel(&mut self, now: Timestamp, ticket: Ticket, effects: &mut Effects<R>) -> bool {
        let Some(request) = self.queue.take(ticket) else {
            return false;
        };
        effects.reject.push((request, RejectReason::Cancelled));
        self.former.reset();
        self.poll(now, effects);
        true
    }

    /// Returns when to poll next at the latest, if nothing else happens before.
    ///
    /// Holds for the state after the last poll (or `complete`, or `cancel` that found its request),
    /// and is later than that. `None`: only a new event can change anything.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        [self.delay_deadline, self.queue.earliest_expiry()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Takes an instance out of service, or back into it; poll afterwards.
    ///
    /// What it was given before must still be completed, by whoever answers those requests.
    pub fn set_instance_available(&mut self, instance: InstanceIndex, available: bool) {
        self.instances.set_available(instance, available);
    }

    /// Adds an instance, out of service until [`Self::set_instance_available`] says otherwise.
    pub fn add_instance(&mut self) -> InstanceIndex {
        self.config.instance_count += 1;
        self.instances.add()
    }

    /// Gives an instance its turns by priority, where several are free: with 2 half as many as with
    /// 1. Instances without one go by which was freed last.
    pub fn set_instance_priority(&mut self, instance: InstanceIndex, priority: NonZeroU32) {
        self.instances.set_priority(instance, priority.get());
    }

    /// Changes how many payloads an instance may hold; those given out are not affected.
    pub fn set_max_inflight_per_instance(&mut self, max_inflight: u32) {
        self.config.max_inflight_per_instance = max_inflight;
        self.instances.set_max_in_flight(max_inflight);
    }

    /// Takes everything out of the queue and rejects it as [`RejectReason::Stopping`], in the order
    /// in which it would have been served.
    ///
    /// For a model that cannot serve any more; a driver that knows why answers with that instead.
    pub fn drain_queued(&mut self, effects: &mut Effects<R>) {
        let queued = std::iter::from_fn(|| self.queue.pop_first());
        effects
            .reject
            .extend(queued.map(|entry| (entry.request, RejectReason::Stopping)));
        self.former.reset();
        self.delay_deadline = None;
    }

    /// Refuses every later push; what is queued is still served, delays and timeouts included.
    pub fn stop(&mut self) {
        self.is_stopping = true;
    }

    /// Returns the number of requests that wait.
    pub fn queued_count(&self) -> usize {
        self.queue.len()
    }

    /// Returns the number of payloads given out and not yet completed.
    pub fn executing_count(&self) -> usize {
        self.instances.in_flight()
    }

    /// Returns the number of payloads that one instance has not yet completed.
    pub fn executing_count_on(&self, instance: InstanceIndex) -> usize {
        self.instances.in_flight_on(instance)
    }

    fn dispatch(&mut self, instance: InstanceIndex, cut: Cut) -> Payload<R> {
        self.instances.occupy(instance);
        let front = std::iter::from_fn(|| self.queue.pop_first()).take(cut.count);
        let mut requests = SmallVec::with_capacity(cut.count);
        requests.extend(front.map(|entry| entry.request));
        Payload {
            instance,
            requests,
            batch_size: cut.batch_size,
            null_slots: SmallVec::new(),
            reason: cut.reason,
        }
    }
}

impl<R> fmt::Debug for DynamicBatcher<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicBatcher")
            .field("config", &self.config)
            .field("queued", &self.queued_count())
            .field("instances", &self.instances)
            .field("next_deadline", &self.next_deadline())
            .field("is_stopping", &self.is_stopping)
            .finish_non_exhaustive()
    }
}
