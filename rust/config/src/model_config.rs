// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use tritongw_protocol::pb;
use tritongw_types::{CName, Error, Result, Shape};

use crate::json;
use crate::platform;

mod agent;
mod batch_io;
mod dynamic_batching;
mod ensemble;
mod ensemble_graph;
mod instance_group;
mod metrics;
mod optimization;
mod parameters;
mod reshape;
mod scheduling;
mod sequence_batching;
mod sequence_control;
mod tensor;
mod version_policy;
mod warmup;

pub use agent::RepositoryAgentConfig;
pub use batch_io::{BatchInput, BatchInputKind, BatchOutput, BatchOutputKind};
pub use dynamic_batching::{DynamicBatching, QueuePolicy, TimeoutAction};
pub use ensemble::{Ensemble, EnsembleStep};
pub use instance_group::{
    InstanceGroup, InstanceGroupKind, RateLimiter, RateLimiterResource, SecondaryDevice,
};
pub use metrics::MetricControl;
pub use optimization::{
    Cuda, CudaGraphShapes, CudaGraphSpec, ExecutionAccelerator, ModelPriority, Optimization,
};
pub use parameters::whole_number_parameter;
pub use scheduling::Scheduling;
pub use sequence_batching::{
    InitialState, InitialStateData, SequenceBatching, SequenceState, SequenceStrategy,
};
pub use sequence_control::{
    BooleanControl, CorrelationIdControl, FalseTrueValues, SequenceControls,
};
pub use tensor::{ModelInput, ModelOutput, TensorFormat};
pub use version_policy::VersionPolicy;
pub use warmup::{WarmupData, WarmupInput, WarmupSample};

/// Configuration of a model that has passed every check.
///
/// Made by [`ModelConfig::from_message`] only; the message it was made from is kept to be printed
/// and to be handed to backends.
#[derive(Clone, Debug)]
pub struct ModelConfig {
    /// Name of the model, not empty.
    pub name: CName,
    /// Framework and format, may be empty.
    pub platform: String,
    /// Name of the backend, empty only for an ensemble.
    pub backend: String,
    /// Library of the backend, empty for the usual one.
    pub runtime: String,
    /// Versions to load.
    pub version_policy: VersionPolicy,
    /// Largest batch; 0 where tensors have no batch dimension.
    pub max_batch_size: u32,
    /// Tensors that the model takes.
    pub inputs: Vec<ModelInput>,
    /// Tensors that the model gives.
    pub outputs: Vec<ModelOutput>,
    /// Inputs made by the server for each batch.
    pub batch_inputs: Vec<BatchInput>,
    /// Outputs divided between the requests of a batch.
    pub batch_outputs: Vec<BatchOutput>,
    /// How requests come to be executed.
    pub scheduling: Scheduling,
    /// Instances; empty only for an ensemble.
    pub instance_groups: Vec<InstanceGroup>,
    /// File in the directory of a version, may be empty.
    pub default_model_filename: String,
    /// The same by CUDA compute capability.
    pub cc_model_filenames: BTreeMap<String, String>,
    /// Options of the backend.
    pub parameters: BTreeMap<String, String>,
    /// Hints for the framework.
    pub optimization: Optimization,
    /// Labels added to metrics.
    pub metric_tags: BTreeMap<String, String>,
    /// Settings of metric families.
    pub metrics: Vec<MetricControl>,
    /// Whether a request may have any number of responses.
    pub is_decoupled: bool,
    /// Whether responses are kept and given again.
    pub response_cache_enabled: bool,
    /// Requests executed before the model is ready.
    pub warmup: Vec<WarmupSample>,
    /// Libraries of custom operators (`model_operations.op_library_filename`).
    pub op_library_filenames: Vec<String>,
    /// Agents that prepare the model's files, in order.
    pub repository_agents: Vec<RepositoryAgentConfig>,
    message: pb::ModelConfig,
}

impl ModelConfig {
    /// Checks a normalised message (see [`crate::normalize`]) in the order Triton does.
    ///
    /// # Errors
    /// The first rule the message breaks, in Triton's words.
    pub fn from_message(message: pb::ModelConfig) -> Result<Self> {
        let model = message.name.as_str();
        platform::check(&message)?;
        let max_batch_size = u32::try_from(message.max_batch_size).map_err(|_| {
            Error::invalid_arg(format!(
                "'max_batch_size' must be non-negative value for {model}"
            ))
        })?;
        let version_policy = VersionPolicy::from_message(&message)?;
        let scheduling = Scheduling::from_message(&message)?;
        let is_decoupled = message
            .model_transaction_policy
            .is_some_and(|policy| policy.decoupled);
        let response_cache_enabled = message.response_cache.is_some_and(|cache| cache.enable);
        if is_decoupled && response_cache_enabled {
            return Err(Error::invalid_arg(format!(
                "Response Cache does not currently support model {model} with 'decoupled' \
                 transaction policy. Please disable the response cache."
            )));
        }
        let metrics = metrics::from_message(&message)?;
        let inputs = tensor::inputs_from_message(&message)?;
        let outputs = tensor::outputs_from_message(&message)?;
        let (batch_inputs, batch_outputs) = batch_io::from_message(&message)?;
        Ok(Self {
            name: CName::new(model),
            platform: message.platform.clone(),
            backend: message.backend.clone(),
            runtime: message.runtime.clone(),
            version_policy,
            max_batch_size,
            inputs,
            outputs,
            batch_inputs,
            batch_outputs,
            scheduling,
            instance_groups: instance_group::from_message(&message)?,
            default_model_filename: message.default_model_filename.clone(),
            cc_model_filenames: message.cc_model_filenames.clone(),
            parameters: parameters::read(&message),
            optimization: Optimization::from_message(&message),
            metric_tags: message.metric_tags.clone(),
            metrics,
            is_decoupled,
            response_cache_enabled,
            warmup: warmup::from_message(&message)?,
            op_library_filenames: op_library_filenames(&message),
            repository_agents: agent::from_message(&message),
            message,
        })
    }

    /// Returns the message this configuration was made from.
    pub fn message(&self) -> &pb::ModelConfig {
        &self.message
    }

    /// Returns whether nothing but instance groups and version policy differs (R060, R062).
    pub fn equals_but_for_instances(&self, other: &Self) -> bool {
        let comparable = |config: &Self| pb::ModelConfig {
            instance_group: Vec::new(),
            version_policy: None,
            ..config.message.clone()
        };
        comparable(self) == comparable(other)
    }

    /// Returns this configuration with the instance groups and the version policy of another.
    ///
    /// # Errors
    /// As [`Self::from_message`].
    pub fn with_instances_of(&self, other: &Self) -> Result<Self> {
        Self::from_message(pb::ModelConfig {
            instance_group: other.message.instance_group.clone(),
            version_policy: other.message.version_policy.clone(),
            ..self.message.clone()
        })
    }

    /// Returns the canonical JSON, as the config endpoint and backends see it.
    pub fn to_json(&self) -> String {
        json::print(&self.message)
    }

    /// Returns the input with this name.
    pub fn input(&self, name: &str) -> Option<&ModelInput> {
        self.inputs.iter().find(|input| input.name == *name)
    }

    /// Returns the output with this name.
    pub fn output(&self, name: &str) -> Option<&ModelOutput> {
        self.outputs.iter().find(|output| output.name == *name)
    }

    /// Returns the shape of an input as requests and metadata show it: `dims`, after a batch
    /// dimension of -1 where the model batches.
    pub fn full_input_shape(&self, input: &ModelInput) -> Shape {
        self.full_shape(&input.dims)
    }

    /// Returns the shape of an output as responses and metadata show it.
    pub fn full_output_shape(&self, output: &ModelOutput) -> Shape {
        self.full_shape(&output.dims)
    }

    /// Returns what the metadata endpoints call `platform`: the platform, or the backend where
    /// there is none.
    pub fn platform_or_backend(&self) -> &str {
        if self.platform.is_empty() {
            &self.backend
        } else {
            &self.platform
        }
    }

    /// Chooses the versions to load from those in the model's directory, in ascending order.
    ///
    /// # Errors
    /// None is left.
    pub fn versions_to_load(&self, available: &[i64]) -> Result<Vec<i64>> {
        let versions = self.version_policy.select(available);
        if versions.is_empty() {
            return Err(Error::invalid_arg(format!(
                "at least one version must be available under the version policy of model '{}'",
                self.name
            )));
        }
        Ok(versions)
    }

    fn full_shape(&self, dims: &Shape) -> Shape {
        let mut shape = dims.clone();
        if self.max_batch_size > 0 {
            shape.push_front(-1);
        }
        shape
    }
}

fn op_library_filenames(message: &pb::ModelConfig) -> Vec<String> {
    let operations = message.model_operations.as_ref();
    operations
        .map(|operations| operations.op_library_filename.clone())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
