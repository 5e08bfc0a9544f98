// SPDX-License-Identifier: Apache-2.0
//! How much there is of each resource.

use std::collections::BTreeMap;
use std::fmt;

use tritongw_types::ErrorCode;

use super::{Amounts, ResourceKey, ResourceScope};

/// How much there is of a resource (C088).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceLimit {
    /// Name of the resource.
    pub name: String,
    /// The device whose resource it is; `None` is each device.
    pub device: Option<i32>,
    /// How much.
    pub count: u32,
}

/// Why an instance cannot be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitError {
    /// It could never execute (S071).
    TooSmall {
        /// The resource.
        name: String,
        /// How much there is.
        limit: u32,
        /// How much the instance needs.
        needed: u32,
    },
    /// The resource would be one of a device and one of all together (S070).
    TwoScopes {
        /// The resource.
        name: String,
    },
}

impl LimitError {
    /// Returns the code of the load that fails by it.
    pub const fn code(&self) -> ErrorCode {
        ErrorCode::InvalidArg
    }
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall {
                name,
                limit,
                needed,
            } => write!(
                f,
                "Resource count for \"{name}\" is limited to {limit} which will prevent scheduling \
                 of one or more model instances, the minimum required count is {needed}"
            ),
            Self::TwoScopes { name } => write!(
                f,
                "Resource \"{name}\" is present as both global and device-specific resource in the \
                 model configuration."
            ),
        }
    }
}

impl std::error::Error for LimitError {}

/// The limits by name and device.
#[derive(Debug)]
pub(super) struct Limits(BTreeMap<String, BTreeMap<Option<i32>, u32>>);

impl Limits {
    pub(super) fn new(limits: &[ResourceLimit]) -> Self {
        let mut by_name: BTreeMap<String, BTreeMap<_, _>> = BTreeMap::new();
        for limit in limits {
            let devices = by_name.entry(limit.name.clone()).or_default();
            devices.entry(limit.device).or_insert(limit.count);
        }
        Self(by_name)
    }

    /// Returns how much there is of a resource of which instances need at most `largest`. Where
    /// anything is said of limits there is nothing of what is not said (Triton 2.51).
    pub(super) fn amount(&self, resource: &ResourceKey, largest: u32) -> u32 {
        if self.0.is_empty() {
            return largest;
        }
        self.explicit(resource).unwrap_or(0)
    }

    /// Returns the limit of a resource, if it has one: of one that all share the largest that is
    /// given for any device, of a device's its own before that of each device.
    fn explicit(&self, (name, scope): &ResourceKey) -> Option<u32> {
        let devices = self.0.get(name)?;
        match scope {
            ResourceScope::Global => devices.values().max().copied(),
            ResourceScope::Device(device) => {
                let own = devices.get(&Some(*device));
                own.or_else(|| devices.get(&None)).copied()
            }
        }
    }

    /// Checks that an instance can execute at all.
    pub(super) fn check(&self, amounts: &Amounts) -> Result<(), LimitError> {
        for (resource, &needed) in amounts {
            let limit = self.amount(resource, needed);
            if limit < needed {
                return Err(LimitError::TooSmall {
                    name: resource.0.clone(),
                    limit,
                    needed,
                });
            }
        }
        Ok(())
    }
}

/// Checks that no resource is one of a device here and one of all there.
pub(super) fn check_scopes<'a>(
    known: impl Iterator<Item = &'a ResourceKey>,
    added: &'a Amounts,
) -> Result<(), LimitError> {
    let is_global = |scope: &ResourceScope| *scope == ResourceScope::Global;
    for (name, scope) in known.chain(added.keys()) {
        let contradicts = |(other, other_scope): &ResourceKey| {
            other == name && is_global(other_scope) != is_global(scope)
        };
        if added.keys().any(contradicts) {
            let name = name.clone();
            return Err(LimitError::TwoScopes { name });
        }
    }
    Ok(())
}
