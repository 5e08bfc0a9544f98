// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use tritongw_protocol::pb;
use tritongw_types::{Error, Result};

/// What happens to a request whose time in the queue is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeoutAction {
    /// It fails.
    #[default]
    Reject,
    /// It waits until nothing else does.
    Delay,
}

/// What happens to requests that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueuePolicy {
    /// What happens when the timeout is over.
    pub timeout_action: TimeoutAction,
    /// Longest wait, if there is a limit.
    pub default_timeout: Option<Duration>,
    /// Whether a request may ask for a shorter wait.
    pub allow_timeout_override: bool,
    /// Most requests that may wait, if there is a limit.
    pub max_queue_size: Option<NonZeroU32>,
}

/// Requests are merged into batches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DynamicBatching {
    /// Ascending, without repeats; each from 1 to the largest batch.
    pub preferred_batch_sizes: Vec<u32>,
    /// Longest wait for a preferred size.
    pub max_queue_delay: Duration,
    /// Whether responses leave in the order in which requests came.
    pub preserve_ordering: bool,
    /// Number of priorities, 1 being the highest; 0 where there are none.
    pub priority_levels: u32,
    /// Priority of a request that names none; 1 to `priority_levels` where there are any.
    pub default_priority_level: u32,
    /// Policy of levels that have none of their own.
    pub default_queue_policy: QueuePolicy,
    /// Policies by level.
    pub priority_queue_policies: BTreeMap<u32, QueuePolicy>,
}

impl DynamicBatching {
    pub(super) fn from_message(
        batching: &pb::ModelDynamicBatching,
        config: &pb::ModelConfig,
    ) -> Result<Self> {
        let model = &config.name;
        let preferred_batch_sizes = preferred_sizes(
            &batching.preferred_batch_size,
            config,
            "dynamic batching preferred size",
        )?;
        let priority_levels = check_priorities(batching, model)?;
        let default_queue_policy = batching.default_queue_policy.as_ref();
        let default_queue_policy = default_queue_policy.map(queue_policy).unwrap_or_default();
        let priority_queue_policies: BTreeMap<u32, QueuePolicy> = batching
            .priority_queue_policy
            .iter()
            .map(|(level, policy)| Ok((level_number(*level, model)?, queue_policy(policy))))
            .collect::<Result<_>>()?;
        if batching.preserve_ordering {
            let policies = priority_queue_policies.values();
            let mut policies = std::iter::once(&default_queue_policy).chain(policies);
            check_ordering(priority_levels, &mut policies, model)?;
        }
        Ok(Self {
            preferred_batch_sizes,
            max_queue_delay: Duration::from_micros(batching.max_queue_delay_microseconds),
            preserve_ordering: batching.preserve_ordering,
            priority_levels,
            default_priority_level: level_number(batching.default_priority_level, model)?,
            default_queue_policy,
            priority_queue_policies,
        })
    }
}

/// Checks batch sizes against the largest batch; `what` begins the messages.
pub(super) fn preferred_sizes(
    sizes: &[i32],
    config: &pb::ModelConfig,
    what: &str,
) -> Result<Vec<u32>> {
    let model = &config.name;
    let check = |size: &i32| match u32::try_from(*size) {
        Err(_) | Ok(0) => Err(Error::invalid_arg(format!(
            "{what} must be positive for {model}"
        ))),
        Ok(_) if *size > config.max_batch_size => Err(Error::invalid_arg(format!(
            "{what} must be <= max batch size for {model}"
        ))),
        Ok(size) => Ok(size),
    };
    let mut sizes = sizes.iter().map(check).collect::<Result<Vec<u32>>>()?;
    sizes.sort_unstable();
    sizes.dedup();
    Ok(sizes)
}

fn check_priorities(batching: &pb::ModelDynamicBatching, model: &str) -> Result<u32> {
    let levels = batching.priority_levels;
    if levels == 0 {
        return Ok(0);
    }
    let is_level = |level: u64| (1..=levels).contains(&level);
    if !is_level(batching.default_priority_level) {
        return Err(Error::invalid_arg(format!(
            "default priority level must be in range [1, {levels}] for {model}"
        )));
    }
    if !batching
        .priority_queue_policy
        .keys()
        .all(|level| is_level(*level))
    {
        return Err(Error::invalid_arg(format!(
            "priority queue policy must have priority level in range [1, {levels}] for {model}"
        )));
    }
    level_number(levels, model)
}

fn level_number(level: u64, model: &str) -> Result<u32> {
    u32::try_from(level).map_err(|_| {
        Error::invalid_arg(format!(
            "priority level must be <= {} for {model}",
            u32::MAX
        ))
    })
}

/// Neither priorities nor delayed requests go with responses in order.
fn check_ordering(
    priority_levels: u32,
    policies: &mut dyn Iterator<Item = &QueuePolicy>,
    model: &str,
) -> Result<()> {
    if priority_levels > 1 {
        return Err(Error::invalid_arg(format!(
            "Only one priority level is allowed when 'preserve_ordering' is true for {model}"
        )));
    }
    let mut delays = policies.filter(|policy| policy.timeout_action == TimeoutAction::Delay);
    if delays.any(|policy| policy.default_timeout.is_some()) {
        return Err(Error::invalid_arg(format!(
            "Queue policy can not have DELAY as timeout action when 'preserve_ordering' is true \
             for {model}"
        )));
    }
    Ok(())
}

fn queue_policy(policy: &pb::ModelQueuePolicy) -> QueuePolicy {
    let timeout = policy.default_timeout_microseconds;
    QueuePolicy {
        timeout_action: match policy.timeout_action() {
            pb::model_queue_policy::TimeoutAction::Reject => TimeoutAction::Reject,
            pb::model_queue_policy::TimeoutAction::Delay => TimeoutAction::Delay,
        },
        default_timeout: (timeout != 0).then(|| Duration::from_micros(timeout)),
        allow_timeout_override: policy.allow_timeout_override,
        max_queue_size: NonZeroU32::new(policy.max_queue_size),
    }
}
