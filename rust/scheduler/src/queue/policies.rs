// SPDX-License-Identifier: Apache-2.0

use std::collections::BTreeMap;

use crate::{DynamicBatcherConfig, QueuePolicy};

/// Which level a request joins, and what holds there.
#[derive(Debug)]
pub(crate) struct QueuePolicies {
    levels: u32,
    default_level: u32,
    default_policy: QueuePolicy,
    by_level: BTreeMap<u32, QueuePolicy>,
}

impl QueuePolicies {
    pub(crate) fn new(config: &DynamicBatcherConfig) -> Self {
        let has_levels = config.priority_levels > 0;
        Self {
            levels: config.priority_levels,
            default_level: if has_levels {
                config.default_priority_level
            } else {
                0
            },
            default_policy: config.default_queue_policy.clone(),
            by_level: if has_levels {
                config.priority_queue_policies.clone()
            } else {
                BTreeMap::new()
            },
        }
    }

    /// Returns the level of a request that asks for this priority (Triton:
    /// `InferenceRequest::SetPriority`).
    pub(crate) fn level_of(&self, priority: u32) -> u32 {
        if priority == 0 || priority > self.levels {
            self.default_level
        } else {
            priority
        }
    }

    pub(crate) fn of_level(&self, level: u32) -> &QueuePolicy {
        self.by_level.get(&level).unwrap_or(&self.default_policy)
    }
}
