// SPDX-License-Identifier: Apache-2.0
//! What holds of sequences under any sequence of events: no request is lost or answered twice, one
//! of a sequence executes at a time, in arrival order and on one instance.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tritongw_scheduler::{
    Effects, InstanceIndex, SequenceArrival, SequenceBatcher, SequenceBatcherConfig,
    SequenceStrategy, SequenceTicket, Timestamp,
};
use tritongw_types::CorrelationId;

#[derive(Clone, Copy, Debug)]
enum Event {
    Push {
        sequence: u64,
        is_start: bool,
        is_end: bool,
        timeout: Option<u64>,
    },
    /// Ends an execution; the requests whose bit is set come back.
    Complete {
        instance: usize,
        again: u8,
    },
    Cancel(prop::sample::Index),
    Available {
        instance: usize,
        is_available: bool,
    },
    Pass(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..5_u64, any::<bool>(), any::<bool>(), prop::option::of(1..50_u64)).prop_map(
            |(sequence, is_start, is_end, timeout)| Event::Push { sequence, is_start, is_end, timeout }
        ),
        4 => (0..2_usize, any::<u8>())
            .prop_map(|(instance, again)| Event::Complete { instance, again }),
        1 => any::<prop::sample::Index>().prop_map(Event::Cancel),
        1 => (0..2_usize, any::<bool>())
            .prop_map(|(instance, is_available)| Event::Available { instance, is_available }),
        2 => (0..200_u64).prop_map(Event::Pass),
    ]
}

fn config() -> impl Strategy<Value = SequenceBatcherConfig> {
    let delay = || prop_oneof![Just(Duration::ZERO), Just(Duration::from_micros(30))];
    let direct = (delay(), 0.0..1.0_f32).prop_map(|(max_queue_delay, minimum_slot_utilization)| {
        SequenceStrategy::Direct {
            max_queue_delay,
            minimum_slot_utilization,
        }
    });
    let oldest = (0..4_u32, delay()).prop_map(|(max_candidate_sequences, max_queue_delay)| {
        SequenceStrategy::Oldest {
            max_candidate_sequences,
            preferred_batch_sizes: Vec::new(),
            max_queue_delay,
        }
    });
    (0..4_u32, prop_oneof![direct, oldest], any::<bool>()).prop_map(
        |(max_batch_size, strategy, is_iterative)| SequenceBatcherConfig {
            max_batch_size,
            strategy,
            max_sequence_idle: Duration::from_micros(100),
            is_iterative,
            instance_count: 2,
        },
    )
}

struct Driver {
    batcher: SequenceBatcher<u32>,
    effects: Effects<u32>,
    now_us: u64,
    accepted: u32,
    open: BTreeSet<u32>,
    tickets: BTreeMap<u32, SequenceTicket>,
    // Of each accepted request, its sequence, and which of that id: after an end another begins.
    sequences: BTreeMap<u32, (u64, u32)>,
    ends: BTreeMap<u64, u32>,
    executing: BTreeMap<usize, Vec<u32>>,
    last_dispatched: BTreeMap<(u64, u32), u32>,
}

impl Driver {
    fn new(config: SequenceBatcherConfig) -> Self {
        Self {
            batcher: SequenceBatcher::new(config),
            effects: Effects::default(),
            now_us: 0,
            accepted: 0,
            open: BTreeSet::new(),
            tickets: BTreeMap::new(),
            sequences: BTreeMap::new(),
            ends: BTreeMap::new(),
            executing: BTreeMap::new(),
            last_dispatched: BTreeMap::new(),
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.now_us * 1000)
    }

    fn carry_out(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Push {
                sequence,
                is_start,
                is_end,
                timeout,
            } => {
                let request = self.accepted;
                let arrival = SequenceArrival {
                    request,
                    correlation_id: CorrelationId::UInt(sequence + 1),
                    is_start,
                    is_end,
                    timeout: timeout.map(Duration::from_micros),
                    compatibility: None,
                };
                if let Ok(accepted) = self.batcher.push(now, arrival) {
                    self.accepted += 1;
                    self.open.insert(request);
                    self.tickets.insert(request, accepted.ticket);
                    let ends = self.ends.entry(sequence).or_default();
                    self.sequences.insert(request, (sequence, *ends));
                    *ends += u32::from(is_end);
                }
                self.batcher.poll(now, &mut self.effects);
            }
            Event::Complete { instance, again } => self.complete(instance, again),
            Event::Cancel(index) => {
                let tickets: Vec<_> = self.tickets.values().copied().collect();
                if !tickets.is_empty() {
                    let ticket = tickets[index.index(tickets.len())];
                    self.batcher.cancel(now, ticket, &mut self.effects);
                }
            }
            Event::Available {
                instance,
                is_available,
            } => {
                let instance = InstanceIndex(instance);
                self.batcher.set_instance_available(instance, is_available);
                self.batcher.poll(now, &mut self.effects);
            }
            Event::Pass(us) => {
                self.now_us += us;
                self.batcher.poll(self.now(), &mut self.effects);
            }
        }
        self.take_effects();
    }

    fn complete(&mut self, instance: usize, again: u8) {
        let Some(executed) = self.executing.remove(&instance) else {
            return;
        };
        let now = self.now();
        for (bit, request) in executed.into_iter().enumerate() {
            let comes_back = again >> (bit % 8) & 1 == 1;
            let ticket = self.tickets[&request];
            let result = comes_back.then(|| self.batcher.reschedule(now, ticket, request, None));
            match result {
                Some(Ok(ticket)) => {
                    self.tickets.insert(request, ticket);
                }
                _ => assert!(self.open.remove(&request), "{request} ended twice"),
            }
        }
        let instance = InstanceIndex(instance);
        self.batcher.complete(now, instance, &mut self.effects);
    }

    fn take_effects(&mut self) {
        let config = self.batcher.config().clone();
        for (request, _) in self.effects.reject.drain(..) {
            assert!(self.open.remove(&request), "{request} ended twice");
        }
        for payload in self.effects.dispatch.drain(..) {
            let slots = payload.requests.len() + payload.null_slots.len();
            assert_eq!(slots, payload.batch_size as usize);
            assert!(slots <= config.max_batch_size.max(1) as usize);
            assert!(!payload.requests.is_empty());
            for request in &payload.requests {
                assert!(self.open.contains(request), "{request} ended before");
                if !config.is_iterative {
                    let sequence = self.sequences[request];
                    let earlier = self.last_dispatched.insert(sequence, *request);
                    assert!(earlier < Some(*request), "{request} before its turn");
                }
            }
            let requests = payload.requests.to_vec();
            let before = self.executing.insert(payload.instance.0, requests);
            assert_eq!(before, None, "one payload at a time");
        }
        let is_ahead = |deadline| deadline > self.now();
        assert!(self.batcher.next_deadline().is_none_or(is_ahead));
        assert_eq!(self.batcher.executing_count(), self.executing.len());
        let executing: usize = self.executing.values().map(Vec::len).sum();
        assert_eq!(self.batcher.queued_count() + executing, self.open.len());
    }

    /// Lets everything end; polling at deadlines and completing must be enough.
    fn drain(&mut self) {
        for instance in 0..2 {
            self.carry_out(Event::Available {
                instance,
                is_available: true,
            });
        }
        while !self.open.is_empty() || self.batcher.sequence_count() > 0 {
            let executing: Vec<_> = self.executing.keys().copied().collect();
            for instance in executing {
                self.carry_out(Event::Complete { instance, again: 0 });
            }
            if self.executing.is_empty() && self.batcher.sequence_count() > 0 {
                let deadline = self.batcher.next_deadline();
                let deadline_us = deadline.expect("something to wait for").as_nanos() / 1000;
                self.carry_out(Event::Pass(deadline_us - self.now_us));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn every_request_of_a_sequence_is_executed_in_turn_or_rejected(
        config in config(),
        events in vec(event(), 1..100),
    ) {
        let mut driver = Driver::new(config);
        for event in events {
            driver.carry_out(event);
        }
        driver.drain();
        prop_assert!(driver.open.is_empty());
    }
}
