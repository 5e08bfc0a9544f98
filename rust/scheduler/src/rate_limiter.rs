// SPDX-License-Identifier: Apache-2.0
//! Which instances may execute, where they share resources (S068-S073).

mod demand;
mod limits;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

pub use demand::{InstanceDemand, ResourceDemand, ResourceScope};
pub use limits::{LimitError, ResourceLimit};

use limits::Limits;
use turns::Turns;

/// Names a registered instance. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LimiterKey(u64);

/// A resource: one device's, or that of all together.
type ResourceKey = (String, ResourceScope);

/// An amount of each resource.
type Amounts = BTreeMap<ResourceKey, u32>;

#[derive(Debug)]
struct Registered {
    amounts: Amounts,
    priority: NonZeroU32,
    /// Executions that hold the amounts now.
    executing: u32,
}

/// Gives the instances of all models their turns and what they hold meanwhile, as a state machine.
///
/// An execution is [asked for](Self::request), [granted](Self::poll) and at last
/// [released](Self::release). Turns go by priority: of two instances that always ask, the one with
/// priority 2 is granted half as often as the one with priority 1. An execution that does not get
/// what it needs keeps its place: nothing that comes after it takes any of the same resources, so
/// that large demands do not starve, while what needs other resources, or none, goes on.
///
/// ```
/// use std::num::NonZeroU32;
/// use tritongw_scheduler::{InstanceDemand, RateLimiter, ResourceDemand, ResourceScope};
///
/// let mut limiter = RateLimiter::new(&[]);
/// let demand = InstanceDemand {
///     resources: vec![ResourceDemand {
///         name: "memory".to_owned(),
///         scope: ResourceScope::Global,
///         count: 1,
///     }],
///     priority: NonZeroU32::MIN,
/// };
/// // Without a limit there is as much as the largest demand.
/// let first = limiter.register(&demand).expect("no limit");
/// let second = limiter.register(&demand).expect("no limit");
/// limiter.request(first);
/// limiter.request(second);
/// assert_eq!(limiter.poll(), [first]);
/// limiter.release(first);
/// assert_eq!(limiter.poll(), [second]);
/// ```
#[derive(Debug)]
pub struct RateLimiter {
    limits: Limits,
    instances: BTreeMap<LimiterKey, Registered>,
    next_key: u64,
    /// What executions hold.
    held: Amounts,
    turns: Turns,
}

impl RateLimiter {
    /// Makes a limiter with these amounts, the first of each resource; without any there is as much
    /// of each as the largest single demand (S069).
    pub fn new(limits: &[ResourceLimit]) -> Self {
        Self {
            limits: Limits::new(limits),
            instances: BTreeMap::new(),
            next_key: 0,
            held: Amounts::new(),
            turns: Turns::default(),
        }
    }

    /// Adds an instance.
    ///
    /// # Errors
    /// If it needs more of a resource than there is, or something of its device that others share
    /// over all of them, or the other way round (S070, S071).
    pub fn register(&mut self, demand: &InstanceDemand) -> Result<LimiterKey, LimitError> {
        let amounts = demand.amounts();
        let known = self.instances.values();
        limits::check_scopes(known.flat_map(|each| each.amounts.keys()), &amounts)?;
        self.limits.check(&amounts)?;
        let key = LimiterKey(self.next_key);
        self.next_key += 1;
        let registered = Registered {
            amounts,
            priority: demand.priority,
            executing: 0,
        };
        self.instances.insert(key, registered);
        Ok(key)
    }

    /// Takes an instance out, with what it holds and asks for.
    pub fn unregister(&mut self, key: LimiterKey) {
        self.turns.forget(key);
        if let Some(gone) = self.instances.remove(&key) {
            for _ in 0..gone.executing {
                give_back(&mut self.held, &gone.amounts);
            }
        }
    }

    /// Asks for one execution of an instance; [`Self::poll`] grants it.
    pub fn request(&mut self, key: LimiterKey) {
        if let Some(instance) = self.instances.get(&key) {
            self.turns.add(key, instance.priority);
        }
    }

    /// Ends one execution of an instance; poll afterwards.
    ///
    /// An instance that goes on asks for the next execution first, so that it is among those that
    /// want what becomes free.
    pub fn release(&mut self, key: LimiterKey) {
        let Some(instance) = self.instances.get_mut(&key) else {
            return;
        };
        if instance.executing > 0 {
            instance.executing -= 1;
            give_back(&mut self.held, &instance.amounts);
        }
    }

    /// Grants what can be, in the order of turns: each key returned is one execution that may
    /// begin.
    pub fn poll(&mut self) -> Vec<LimiterKey> {
        let mut granted = Vec::new();
        let mut claimed = BTreeSet::new();
        for turn in self.turns.in_order() {
            let Some(instance) = self.instances.get(&turn.key) else {
                continue;
            };
            let amounts = &instance.amounts;
            let is_free = |(resource, count): (&ResourceKey, &u32)| {
                !claimed.contains(resource) && self.left(resource) >= *count
            };
            if amounts.iter().all(is_free) {
                self.turns.take(turn);
                self.hold(turn.key);
                granted.push(turn.key);
            } else {
                claimed.extend(amounts.keys().cloned());
            }
        }
        granted
    }

    /// Returns how much of a resource nobody holds.
    fn left(&self, resource: &ResourceKey) -> u32 {
        let demands = self.instances.values();
        let largest = demands.filter_map(|each| each.amounts.get(resource)).max();
        let there = self.limits.amount(resource, largest.copied().unwrap_or(0));
        let held = self.held.get(resource).copied().unwrap_or(0);
        there.saturating_sub(held)
    }

    fn hold(&mut self, key: LimiterKey) {
        let Some(instance) = self.instances.get_mut(&key) else {
            return;
        };
        instance.executing += 1;
        for (resource, count) in &instance.amounts {
            *self.held.entry(resource.clone()).or_default() += count;
        }
    }
}

fn give_back(held: &mut Amounts, amounts: &Amounts) {
    for (resource, count) in amounts {
        if let Some(held) = held.get_mut(resource) {
            *held = held.saturating_sub(*count);
        }
    }
}

#[cfg(test)]
mod tests;
