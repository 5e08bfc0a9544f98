// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::num::NonZeroU32;

use tritongw_protocol::pb;
use tritongw_types::{CName, Error, Result};

use super::ensemble_graph;
use crate::platform::ENSEMBLE;

/// One model of an ensemble and how its tensors are connected.
#[derive(Clone, Debug, PartialEq)]
pub struct EnsembleStep {
    /// Name of the model.
    pub model_name: CName,
    /// Version, or the latest.
    pub model_version: Option<i64>,
    /// From the model's inputs to tensors of the ensemble, at least one.
    pub input_map: BTreeMap<String, String>,
    /// From the model's outputs to tensors of the ensemble, at least one.
    pub output_map: BTreeMap<String, String>,
    /// Namespace of the model, may be empty.
    pub model_namespace: String,
}

/// The model is a graph of other models: each tensor is written once, each output is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Ensemble {
    /// At least one.
    pub steps: Vec<EnsembleStep>,
    /// Requests of one step that may be under way at once, if there is a limit.
    pub max_inflight_requests: Option<NonZeroU32>,
}

impl Ensemble {
    pub(super) fn from_message(
        ensemble: &pb::ModelEnsembling,
        config: &pb::ModelConfig,
    ) -> Result<Self> {
        check_other_fields(config)?;
        let model = &config.name;
        if ensemble.step.is_empty() {
            return Err(Error::invalid_arg(format!(
                "must specify 'step' for ensemble '{model}'"
            )));
        }
        let steps = ensemble.step.iter().enumerate();
        let steps = steps.map(|(index, message)| step(message, index, model));
        let steps = steps.collect::<Result<Vec<EnsembleStep>>>()?;
        ensemble_graph::check(&steps, config)?;
        Ok(Self {
            steps,
            max_inflight_requests: NonZeroU32::new(ensemble.max_inflight_requests),
        })
    }
}

fn check_other_fields(config: &pb::ModelConfig) -> Result<()> {
    let model = &config.name;
    let refuse = |text: String| Err(Error::invalid_arg(text));
    if config.platform != ENSEMBLE {
        return refuse(format!(
            "ensemble scheduling cannot be set for model '{model}' whose platform is not {ENSEMBLE}"
        ));
    }
    if !config.instance_group.is_empty() {
        return refuse(format!(
            "instance group should not be specified for ensemble '{model}'"
        ));
    }
    if config.optimization.is_some() {
        return refuse(format!(
            "optimization should not be specified for ensemble '{model}'"
        ));
    }
    if !config.model_warmup.is_empty() {
        return refuse(format!(
            "model_warmup can not be specified for ensemble '{model}'"
        ));
    }
    Ok(())
}

fn step(message: &pb::model_ensembling::Step, index: usize, model: &str) -> Result<EnsembleStep> {
    let missing = if message.model_name.is_empty() {
        Some("model_name")
    } else if message.input_map.is_empty() {
        Some("input_map")
    } else if message.output_map.is_empty() {
        Some("output_map")
    } else {
        None
    };
    if let Some(field) = missing {
        return Err(Error::invalid_arg(format!(
            "must specify '{field}' in step {index} of ensemble '{model}'"
        )));
    }
    Ok(EnsembleStep {
        model_name: CName::new(&message.model_name),
        model_version: (message.model_version != -1).then_some(message.model_version),
        input_map: message.input_map.clone(),
        output_map: message.output_map.clone(),
        model_namespace: message.model_namespace.clone(),
    })
}
