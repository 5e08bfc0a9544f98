// SPDX-License-Identifier: Apache-2.0
use tritongw_protocol::pb;
use tritongw_protocol::pb::model_config::SchedulingChoice;
use tritongw_types::{Error, Result};

use super::dynamic_batching::DynamicBatching;
use super::ensemble::Ensemble;
use super::sequence_batching::SequenceBatching;
use crate::platform::ENSEMBLE;

/// How requests come to be executed.
#[derive(Clone, Debug, PartialEq)]
pub enum Scheduling {
    /// Each request is an execution of its own.
    Default,
    /// Requests are merged into batches.
    DynamicBatching(DynamicBatching),
    /// Requests of a sequence go to one instance, in order.
    SequenceBatching(Box<SequenceBatching>),
    /// The model is a graph of other models.
    Ensemble(Ensemble),
}

impl Scheduling {
    pub(super) fn from_message(message: &pb::ModelConfig) -> Result<Self> {
        let scheduling = match &message.scheduling_choice {
            None => Self::Default,
            Some(SchedulingChoice::DynamicBatching(batching)) => {
                Self::DynamicBatching(DynamicBatching::from_message(batching, message)?)
            }
            Some(SchedulingChoice::SequenceBatching(batching)) => {
                let batching = SequenceBatching::from_message(batching, message)?;
                Self::SequenceBatching(Box::new(batching))
            }
            Some(SchedulingChoice::EnsembleScheduling(ensemble)) => {
                return Ok(Self::Ensemble(Ensemble::from_message(ensemble, message)?));
            }
        };
        if message.platform == ENSEMBLE {
            return Err(Error::invalid_arg(format!(
                "ensemble scheduling must be set for ensemble {} whose platform is {ENSEMBLE}",
                message.name
            )));
        }
        Ok(scheduling)
    }
}
