// SPDX-License-Identifier: Apache-2.0
//! Drives a batcher and the reference side by side, and compares after every event.

use std::collections::BTreeMap;

use tritongw_scheduler::{
    Arrival, DynamicBatcher, DynamicBatcherConfig, Effects, InstanceIndex, Payload, RejectReason,
    Ticket, Timestamp,
};

use super::reference::Reference;
use super::strategies::{Event, EventKind};

pub(crate) struct Driver {
    batcher: DynamicBatcher<u32>,
    reference: Reference,
    now: Timestamp,
    tickets: Vec<(u32, Ticket)>,
    /// How often each request has been answered, by id.
    answers: BTreeMap<u32, u32>,
    /// Instances once for each payload that they hold.
    executing: Vec<usize>,
    is_available: Vec<bool>,
    effects: Effects<u32>,
}

impl Driver {
    pub(crate) fn new(config: DynamicBatcherConfig) -> Self {
        Self {
            is_available: vec![true; config.instance_count],
            reference: Reference::new(config.clone()),
            batcher: DynamicBatcher::new(config),
            now: Timestamp::from_nanos(0),
            tickets: Vec::new(),
            answers: BTreeMap::new(),
            executing: Vec::new(),
            effects: Effects::default(),
        }
    }

    pub(crate) fn carry_out(&mut self, event: Event) {
        let until = self.now + event.after;
        while event.is_punctual && self.batcher.next_deadline().is_some_and(|at| at < until) {
            self.poll_at_deadline();
        }
        self.now = until;
        match event.kind {
            EventKind::Push {
                batch_size,
                priority,
                timeout,
                shape,
                polls,
            } => {
                let batch_size = batch_size.min(self.batcher.config().max_batch_size.max(1));
                let request = u32::try_from(self.answers.len()).expect("few requests");
                let compatibility = shape.map(|dim| Box::from([dim]));
                let arrival = Arrival {
                    request,
                    batch_size,
                    priority,
                    timeout,
                    compatibility,
                };
                self.push(arrival);
                if polls {
                    self.poll();
                }
            }
            EventKind::Complete(pick) if !self.executing.is_empty() => {
                self.complete(pick.index(self.executing.len()));
            }
            EventKind::Cancel(pick) if !self.tickets.is_empty() => {
                let (id, ticket) = self.tickets[pick.index(self.tickets.len())];
                self.cancel(id, ticket);
            }
            EventKind::Availability {
                instance,
                is_available,
            } => {
                let instance = instance.index(self.is_available.len());
                self.is_available[instance] = is_available;
                self.batcher
                    .set_instance_available(InstanceIndex(instance), is_available);
                self.poll();
            }
            EventKind::Complete(_) | EventKind::Cancel(_) | EventKind::Poll => self.poll(),
        }
    }

    /// Lets every instance finish, and time pass from deadline to deadline, until nothing is left.
    pub(crate) fn drain(&mut self) {
        self.batcher.stop();
        for instance in 0..self.is_available.len() {
            self.is_available[instance] = true;
            self.batcher
                .set_instance_available(InstanceIndex(instance), true);
        }
        self.poll();
        while self.batcher.queued_count() + self.batcher.executing_count() > 0 {
            if self.executing.is_empty() {
                self.poll_at_deadline();
            } else {
                self.complete(0);
            }
        }
        assert_eq!(self.batcher.next_deadline(), None);
    }

    pub(crate) fn check_every_request_was_answered(&self) {
        assert!(
            self.answers.values().all(|answers| *answers == 1),
            "{:?}",
            self.answers
        );
    }

    fn push(&mut self, arrival: Arrival<u32>) {
        let id = arrival.request;
        self.answers.insert(id, 0);
        let has_room = self.reference.push(self.now, &arrival);
        match self.batcher.push(self.now, arrival) {
            Ok(ticket) => {
                assert!(has_room, "request {id} went beyond the limit");
                self.tickets.push((id, ticket));
            }
            Err(rejected) => {
                assert!(!has_room, "request {id} was refused in spite of room");
                assert_eq!(rejected, (id, RejectReason::QueueFull));
                self.answer(id);
            }
        }
    }

    fn poll_at_deadline(&mut self) {
        let deadline = self
            .batcher
            .next_deadline()
            .expect("something waits, nothing executes");
        self.now = self.now.max(deadline);
        self.poll();
    }

    fn poll(&mut self) {
        self.batcher.poll(self.now, &mut self.effects);
        self.check_effects(&[]);
    }

    fn complete(&mut self, position: usize) {
        let instance = self.executing.swap_remove(position);
        self.batcher
            .complete(self.now, InstanceIndex(instance), &mut self.effects);
        self.check_effects(&[]);
    }

    fn cancel(&mut self, id: u32, ticket: Ticket) {
        let was_queued = self.reference.cancel(id);
        assert_eq!(
            self.batcher.cancel(self.now, ticket, &mut self.effects),
            was_queued
        );
        if was_queued {
            self.check_effects(&[(id, RejectReason::Cancelled)]);
        }
    }

    fn check_effects(&mut self, expected: &[(u32, RejectReason)]) {
        let effects = std::mem::take(&mut self.effects);
        let late = self.reference.expire(self.now).into_iter();
        let mut rejected = expected.to_vec();
        rejected.extend(late.map(|id| (id, RejectReason::Timeout)));
        assert_eq!(effects.reject, rejected);
        rejected.iter().for_each(|(id, _)| self.answer(*id));

        for payload in effects.dispatch {
            self.check_payload(&payload);
            payload.requests.iter().for_each(|id| self.answer(*id));
            self.executing.push(payload.instance.0);
        }
        if self.has_free_instance() {
            assert!(
                self.reference.next_batch(self.now).is_none(),
                "a batch was left behind"
            );
        }
        assert_eq!(self.batcher.queued_count(), self.reference.queue.len());
        assert_eq!(self.batcher.executing_count(), self.executing.len());
        assert!(
            self.batcher
                .next_deadline()
                .is_none_or(|deadline| deadline > self.now)
        );
    }

    fn check_payload(&mut self, payload: &Payload<u32>) {
        let batch = self
            .reference
            .next_batch(self.now)
            .expect("this one should wait");
        let ids: Vec<_> = batch.iter().map(|waiting| waiting.id).collect();
        assert_eq!(payload.requests.as_slice(), ids);
        assert_eq!(
            payload.batch_size,
            batch.iter().map(|w| w.batch_size).sum::<u32>()
        );
        assert!(payload.batch_size <= self.batcher.config().max_batch_size.max(1));
        assert!(batch.iter().all(|waiting| waiting.shape == batch[0].shape));
        let lowest = batch.iter().map(|waiting| waiting.level).max();
        let passed_over = self.reference.queue.iter().any(|w| Some(w.level) < lowest);
        assert!(!passed_over, "{ids:?} went before a higher priority");
        assert!(
            self.takes_more(payload.instance.0),
            "{:?} has no room",
            payload.instance
        );
    }

    fn answer(&mut self, id: u32) {
        *self.answers.get_mut(&id).expect("it was pushed") += 1;
    }

    fn has_free_instance(&self) -> bool {
        (0..self.is_available.len()).any(|instance| self.takes_more(instance))
    }

    fn takes_more(&self, instance: usize) -> bool {
        let held = self
            .executing
            .iter()
            .filter(|busy| **busy == instance)
            .count();
        let limit = self.batcher.config().max_inflight_per_instance as usize;
        self.is_available[instance] && held < limit
    }
}
