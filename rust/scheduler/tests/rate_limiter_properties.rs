// SPDX-License-Identifier: Apache-2.0
//! What holds of the rate limiter under any sequence of events.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use proptest::collection::vec;
use proptest::prelude::*;
use tritongw_scheduler::{
    InstanceDemand, LimiterKey, RateLimiter, ResourceDemand, ResourceLimit, ResourceScope,
};

const LIMITS: [(&str, u32); 3] = [("A", 1), ("B", 3), ("C", 5)];

#[derive(Clone, Debug)]
enum Event {
    Request(prop::sample::Index),
    Release(prop::sample::Index),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        any::<prop::sample::Index>().prop_map(Event::Request),
        any::<prop::sample::Index>().prop_map(Event::Release),
    ]
}

/// How much of each resource, within the limits, and the priority.
fn demand() -> impl Strategy<Value = ([u32; 3], u32)> {
    let counts = LIMITS.map(|(_, limit)| 0..=limit);
    (counts, 1_u32..4)
}

/// What a test knows of the limiter.
struct Model {
    limiter: RateLimiter,
    demands: BTreeMap<LimiterKey, [u32; 3]>,
    keys: Vec<LimiterKey>,
    requested: usize,
    granted: usize,
    executing: Vec<LimiterKey>,
}

impl Model {
    fn new(demands: &[([u32; 3], u32)]) -> Self {
        let limits = LIMITS.map(|(name, count)| ResourceLimit {
            name: name.to_owned(),
            device: None,
            count,
        });
        let mut limiter = RateLimiter::new(&limits);
        let register = |(counts, priority): &([u32; 3], u32)| {
            let named = LIMITS.iter().zip(counts);
            let resources = named.map(|((name, _), count)| ResourceDemand {
                name: (*name).to_owned(),
                scope: ResourceScope::Global,
                count: *count,
            });
            let demand = InstanceDemand {
                resources: resources.collect(),
                priority: NonZeroU32::new(*priority).expect("not zero"),
            };
            (
                limiter.register(&demand).expect("within the limits"),
                *counts,
            )
        };
        let demands: BTreeMap<_, _> = demands.iter().map(register).collect();
        Self {
            limiter,
            keys: demands.keys().copied().collect(),
            demands,
            requested: 0,
            granted: 0,
            executing: Vec::new(),
        }
    }

    fn poll(&mut self) {
        let granted = self.limiter.poll();
        self.granted += granted.len();
        self.executing.extend(granted);
        for (index, (name, limit)) in LIMITS.iter().enumerate() {
            let held = self.executing.iter().map(|key| self.demands[key][index]);
            assert!(held.sum::<u32>() <= *limit, "more of {name} than there is");
        }
        assert_eq!(self.limiter.poll(), [], "a second poll has nothing to add");
    }

    fn carry_out(&mut self, event: &Event) {
        match event {
            Event::Request(index) => {
                self.limiter.request(*index.get(&self.keys));
                self.requested += 1;
            }
            Event::Release(index) if !self.executing.is_empty() => {
                let key = self
                    .executing
                    .swap_remove(index.index(self.executing.len()));
                self.limiter.release(key);
            }
            Event::Release(_) => {}
        }
        self.poll();
    }

    fn drain(&mut self) {
        while let Some(key) = self.executing.pop() {
            self.limiter.release(key);
            self.poll();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Never more is held than there is, and whoever asks gets their turn once the others end.
    #[test]
    fn resources_suffice_and_nobody_is_forgotten(
        demands in vec(demand(), 1..6),
        events in vec(event(), 1..60),
    ) {
        let mut model = Model::new(&demands);
        for event in &events {
            model.carry_out(event);
        }
        model.drain();
        prop_assert_eq!(model.granted, model.requested);
    }
}
