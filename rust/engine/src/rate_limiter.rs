// SPDX-License-Identifier: Apache-2.0
//! Gives executions of all models their turns, where they share resources (S068-S073).
//!
//! **Invariant:** the lock is held neither while an execution begins nor while one is dropped.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::Arc;

use parking_lot::Mutex;
use tritongw_config::{RateLimiter as RateLimiterConfig, RateLimiterResource};
use tritongw_scheduler::{
    InstanceDemand, LimiterKey, RateLimiter as Machine, ResourceDemand, ResourceLimit,
    ResourceScope,
};
use tritongw_types::{Error, Result};

/// Begins an execution.
type Begin = Box<dyn FnOnce() + Send>;

/// One server's rate limiter.
pub(crate) struct RateLimiter(Mutex<State>);

struct State {
    machine: Machine,
    // Executions that wait for their turn, by instance.
    waiting: HashMap<LimiterKey, VecDeque<Begin>>,
}

impl RateLimiter {
    /// Makes a limiter with so much of each resource.
    pub(crate) fn new(limits: &[ResourceLimit]) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            machine: Machine::new(limits),
            waiting: HashMap::new(),
        })))
    }

    /// Adds an instance on a device, with what its group says of it.
    ///
    /// # Errors
    /// `InvalidArg` if it could never execute, or contradicts others (S070, S071).
    pub(crate) fn admit(
        self: &Arc<Self>,
        config: Option<&RateLimiterConfig>,
        device_id: i32,
    ) -> Result<Admission> {
        let demand = demand(config, device_id);
        let key = self.0.lock().machine.register(&demand);
        let key = key.map_err(|error| Error::new(error.code(), error.to_string()))?;
        Ok(Admission {
            limiter: Arc::clone(self),
            key,
            priority: demand.priority,
        })
    }

    /// Begins the executions whose turn it is.
    fn poll(&self) {
        for begin in self.granted() {
            begin();
        }
    }

    fn granted(&self) -> Vec<Begin> {
        let mut state = self.0.lock();
        let State { machine, waiting } = &mut *state;
        let next = |key| waiting.get_mut(&key)?.pop_front();
        machine.poll().into_iter().filter_map(next).collect()
    }
}

/// One instance's place among those that share resources; dropped, it leaves.
pub(crate) struct Admission {
    limiter: Arc<RateLimiter>,
    key: LimiterKey,
    priority: NonZeroU32,
}

impl Admission {
    /// Returns the weight by which the instance has its turns.
    pub(crate) fn priority(&self) -> NonZeroU32 {
        self.priority
    }

    /// Begins an execution of the instance when its turn comes, here or on another thread.
    pub(crate) fn request(&self, begin: Begin) {
        {
            let mut state = self.limiter.0.lock();
            state.machine.request(self.key);
            state.waiting.entry(self.key).or_default().push_back(begin);
        }
        self.limiter.poll();
    }

    /// Ends an execution of the instance, for which another one may have been requested before.
    pub(crate) fn release(&self) {
        self.limiter.0.lock().machine.release(self.key);
        self.limiter.poll();
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let given_up = {
            let mut state = self.limiter.0.lock();
            state.machine.unregister(self.key);
            state.waiting.remove(&self.key)
        };
        drop(given_up);
        self.limiter.poll();
    }
}

/// What an instance without settings of its own needs is nothing (S073).
fn demand(config: Option<&RateLimiterConfig>, device_id: i32) -> InstanceDemand {
    let resources = config.map_or(&[][..], |config| &config.resources);
    let resource = |resource: &RateLimiterResource| ResourceDemand {
        name: resource.name.clone(),
        scope: if resource.is_global {
            ResourceScope::Global
        } else {
            ResourceScope::Device(device_id)
        },
        count: resource.count,
    };
    let priority = config.and_then(|config| NonZeroU32::new(config.priority));
    InstanceDemand {
        resources: resources.iter().map(resource).collect(),
        priority: priority.unwrap_or(NonZeroU32::MIN),
    }
}
