// SPDX-License-Identifier: Apache-2.0
use tritongw_protocol::pb;
use tritongw_protocol::pb::model_config::SchedulingChoice;
use tritongw_types::{Error, Result};

/// Takes over what a backend may complete: the largest batch, inputs, outputs, the scheduling
/// choice where there is none yet, and the decoupled flag.
///
/// Everything else in `completed` is ignored. The result is to be normalised again.
///
/// # Errors
/// `completed` has another scheduling choice than `current`.
pub fn merge_backend_completion(
    current: &pb::ModelConfig,
    completed: pb::ModelConfig,
) -> Result<pb::ModelConfig> {
    let mut merged = current.clone();
    merged.max_batch_size = completed.max_batch_size;
    merged.input = completed.input;
    merged.output = completed.output;

    let from = choice_number(current.scheduling_choice.as_ref());
    let to = choice_number(completed.scheduling_choice.as_ref());
    if from == 0 {
        merged.scheduling_choice = completed.scheduling_choice;
    } else if from != to {
        return Err(Error::internal(format!(
            "Cannot update scheduling choice from {from} to {to} when auto-completing."
        )));
    }

    if completed.model_transaction_policy.is_some() {
        merged.model_transaction_policy = completed.model_transaction_policy;
    }
    Ok(merged)
}

/// Returns the field number of the choice, by which Triton names it; 0 for none.
fn choice_number(choice: Option<&SchedulingChoice>) -> u32 {
    match choice {
        None => 0,
        Some(SchedulingChoice::DynamicBatching(_)) => 11,
        Some(SchedulingChoice::SequenceBatching(_)) => 13,
        Some(SchedulingChoice::EnsembleScheduling(_)) => 15,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_choice(choice: Option<SchedulingChoice>) -> pb::ModelConfig {
        pb::ModelConfig {
            scheduling_choice: choice,
            ..Default::default()
        }
    }

    fn dynamic(max_queue_delay_microseconds: u64) -> Option<SchedulingChoice> {
        Some(SchedulingChoice::DynamicBatching(
            pb::ModelDynamicBatching {
                max_queue_delay_microseconds,
                ..Default::default()
            },
        ))
    }

    #[test]
    fn takes_signature_and_batch_size_and_nothing_else() {
        let current = pb::ModelConfig {
            name: "m".to_owned(),
            backend: "python".to_owned(),
            ..Default::default()
        };
        let input = pb::ModelInput {
            name: "I".to_owned(),
            ..Default::default()
        };
        let output = pb::ModelOutput {
            name: "O".to_owned(),
            ..Default::default()
        };
        let completed = pb::ModelConfig {
            name: "other".to_owned(),
            backend: "other".to_owned(),
            max_batch_size: 4,
            input: vec![input.clone()],
            output: vec![output.clone()],
            model_transaction_policy: Some(pb::ModelTransactionPolicy { decoupled: true }),
            default_model_filename: "other.py".to_owned(),
            ..Default::default()
        };
        let expected = pb::ModelConfig {
            max_batch_size: 4,
            input: vec![input],
            output: vec![output],
            model_transaction_policy: Some(pb::ModelTransactionPolicy { decoupled: true }),
            ..current.clone()
        };
        assert_eq!(
            merge_backend_completion(&current, completed).expect("allowed"),
            expected
        );
    }

    #[test]
    fn scheduling_is_chosen_once() {
        let merge = |current, completed| {
            merge_backend_completion(&with_choice(current), with_choice(completed))
                .map(|config| config.scheduling_choice)
        };
        assert_eq!(merge(None, dynamic(5)).expect("none before"), dynamic(5));
        assert_eq!(
            merge(dynamic(1), dynamic(5)).expect("the same choice"),
            dynamic(1)
        );
        let sequence = Some(SchedulingChoice::SequenceBatching(Default::default()));
        let error = merge(dynamic(1), sequence).expect_err("another choice");
        assert_eq!(
            error.to_string(),
            "Internal: Cannot update scheduling choice from 11 to 13 when auto-completing."
        );
    }

    #[test]
    fn a_completion_without_transaction_policy_keeps_the_flag() {
        let current = pb::ModelConfig {
            model_transaction_policy: Some(pb::ModelTransactionPolicy { decoupled: true }),
            ..Default::default()
        };
        let merged = merge_backend_completion(&current, pb::ModelConfig::default());
        assert_eq!(merged.expect("allowed"), current);
    }
}
