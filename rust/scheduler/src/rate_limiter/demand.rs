// SPDX-License-Identifier: Apache-2.0
use std::num::NonZeroU32;

use super::Amounts;

/// What shares a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceScope {
    /// All instances.
    Global,
    /// The instances on a device.
    Device(i32),
}

/// What an instance must hold of a resource while it executes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceDemand {
    /// Name of the resource.
    pub name: String,
    /// Whose it is.
    pub scope: ResourceScope,
    /// How much.
    pub count: u32,
}

/// What an instance needs, and how often it has its turn (M054).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceDemand {
    /// What it must hold; of a resource named twice the last counts.
    pub resources: Vec<ResourceDemand>,
    /// Weight: 2 has half the turns of 1.
    pub priority: NonZeroU32,
}

impl InstanceDemand {
    pub(super) fn amounts(&self) -> Amounts {
        let mut amounts = Amounts::new();
        for resource in &self.resources {
            let key = (resource.name.clone(), resource.scope);
            amounts.insert(key, resource.count);
        }
        amounts
    }
}
