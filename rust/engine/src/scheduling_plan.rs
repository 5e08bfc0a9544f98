// SPDX-License-Identifier: Apache-2.0
//! From a model's configuration to the scheduler it asks for (S001-S003, S005).

use tritongw_config::{
    DynamicBatching, ModelConfig, Scheduling, SequenceBatching, SequenceStrategy, TimeoutAction,
};
use tritongw_scheduler::{self as scheduler, DynamicBatcherConfig, SequenceBatcherConfig};
use tritongw_types::{Error, Result};

use crate::scheduling_machine::MachineConfig;
use crate::sequence_inputs::SequenceInputs;

/// What a model's scheduler is made of.
#[derive(Debug)]
pub(crate) struct SchedulingPlan {
    pub(crate) machine: MachineConfig,
    /// Present where requests form sequences.
    pub(crate) sequence_inputs: Option<SequenceInputs>,
    /// Whether responses leave in the order of their requests.
    pub(crate) preserves_ordering: bool,
}

impl SchedulingPlan {
    /// Translates the configuration's choice.
    ///
    /// # Errors
    /// If the model asks for what is not there.
    pub(crate) fn new(config: &ModelConfig) -> Result<Self> {
        match &config.scheduling {
            Scheduling::SequenceBatching(batching) => sequences(config, batching),
            Scheduling::DynamicBatching(batching) => Ok(batches(config, Some(batching))),
            Scheduling::Default | Scheduling::Ensemble(_) => Ok(batches(config, None)),
        }
    }
}

fn batches(config: &ModelConfig, batching: Option<&DynamicBatching>) -> SchedulingPlan {
    let mut batcher = DynamicBatcherConfig {
        max_batch_size: config.max_batch_size,
        ..DynamicBatcherConfig::default()
    };
    if let Some(batching) = batching {
        batcher.is_batching = config.max_batch_size > 0;
        batcher
            .preferred_batch_sizes
            .clone_from(&batching.preferred_batch_sizes);
        batcher.max_queue_delay = batching.max_queue_delay;
        batcher.preserve_ordering = batching.preserve_ordering;
        batcher.priority_levels = batching.priority_levels;
        batcher.default_priority_level = batching.default_priority_level;
        batcher.default_queue_policy = queue_policy(&batching.default_queue_policy);
        batcher.priority_queue_policies = batching
            .priority_queue_policies
            .iter()
            .map(|(level, policy)| (*level, queue_policy(policy)))
            .collect();
    }
    SchedulingPlan {
        preserves_ordering: batcher.preserve_ordering,
        machine: MachineConfig::Batches(batcher),
        sequence_inputs: None,
    }
}

fn queue_policy(policy: &tritongw_config::QueuePolicy) -> scheduler::QueuePolicy {
    scheduler::QueuePolicy {
        timeout_action: match policy.timeout_action {
            TimeoutAction::Reject => scheduler::TimeoutAction::Reject,
            TimeoutAction::Delay => scheduler::TimeoutAction::Delay,
        },
        default_timeout: policy.default_timeout,
        allow_timeout_override: policy.allow_timeout_override,
        max_queue_size: policy.max_queue_size,
    }
}

fn sequences(config: &ModelConfig, batching: &SequenceBatching) -> Result<SchedulingPlan> {
    if !batching.states.is_empty() {
        return Err(Error::unsupported(format!(
            "model '{}' asks for states of its sequences (sequence_batching.state); implicit \
             state is not available in this version",
            config.name
        )));
    }
    let (strategy, preserves_ordering) = match &batching.strategy {
        SequenceStrategy::Direct {
            max_queue_delay,
            minimum_slot_utilization,
        } => {
            let strategy = scheduler::SequenceStrategy::Direct {
                max_queue_delay: *max_queue_delay,
                minimum_slot_utilization: *minimum_slot_utilization,
            };
            (strategy, false)
        }
        SequenceStrategy::Oldest {
            max_candidate_sequences,
            preferred_batch_sizes,
            max_queue_delay,
            preserve_ordering,
        } => {
            let strategy = scheduler::SequenceStrategy::Oldest {
                max_candidate_sequences: *max_candidate_sequences,
                preferred_batch_sizes: preferred_batch_sizes.clone(),
                max_queue_delay: *max_queue_delay,
            };
            (strategy, *preserve_ordering)
        }
    };
    let machine = SequenceBatcherConfig {
        max_batch_size: config.max_batch_size,
        strategy,
        max_sequence_idle: batching.max_sequence_idle,
        is_iterative: batching.is_iterative,
        instance_count: 0,
    };
    let is_batching = config.max_batch_size > 0;
    Ok(SchedulingPlan {
        machine: MachineConfig::Sequences(machine),
        sequence_inputs: Some(SequenceInputs::new(&batching.controls, is_batching)),
        preserves_ordering,
    })
}
