// SPDX-License-Identifier: Apache-2.0
//! Auto-completion of a configuration from the graph (M114, B014).

use serde_json::{Map, Value, json};
use tritongw_config::{ModelConfig, Scheduling};
use tritongw_types::{DataType, Error, Result};

use crate::ort::TensorInfo;
use crate::signature::{Signature, sequence_controls};

/// Returns whether there is anything to complete: not if inputs and outputs are both given.
pub(crate) fn is_needed(config: &ModelConfig) -> bool {
    let has_inputs = !config.inputs.is_empty() || !config.batch_inputs.is_empty();
    !has_inputs || config.outputs.is_empty()
}

/// Returns the configuration (JSON) with batching, inputs and outputs taken from the graph where
/// it says nothing of them.
///
/// # Errors
/// The configuration asks for batches and the graph cannot batch.
pub(crate) fn complete(
    config: &ModelConfig,
    signature: &Signature,
    default_max_batch_size: u32,
) -> Result<String> {
    let mut completed = parse(config)?;
    let max_batch_size = max_batch_size(config, signature, default_max_batch_size)?;
    completed.insert("max_batch_size".to_owned(), json!(max_batch_size));
    if max_batch_size > 1 && matches!(config.scheduling, Scheduling::Default) {
        completed.insert("dynamic_batching".to_owned(), json!({}));
    }
    if config.inputs.is_empty() && config.batch_inputs.is_empty() {
        let is_control = |info: &&TensorInfo| {
            sequence_controls(config).any(|(name, _)| name.as_str() == info.name_text())
        };
        let inputs = signature.inputs.iter().filter(|info| !is_control(info));
        completed.insert("input".to_owned(), tensors(inputs, max_batch_size > 0));
    }
    if config.outputs.is_empty() {
        completed.insert(
            "output".to_owned(),
            tensors(signature.outputs.iter(), max_batch_size > 0),
        );
    }
    Ok(Value::Object(completed).to_string())
}

fn parse(config: &ModelConfig) -> Result<Map<String, Value>> {
    match serde_json::from_str(&config.to_json()) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Error::internal("the model configuration is no JSON object")),
        Err(source) => {
            Err(Error::internal("the model configuration is no JSON").with_source(source))
        }
    }
}

fn max_batch_size(config: &ModelConfig, signature: &Signature, default: u32) -> Result<u32> {
    let mut tensors = signature.inputs.iter().chain(&signature.outputs);
    let can_batch = tensors.all(|info| info.dims.first() == Some(&-1));
    match (can_batch, config.max_batch_size) {
        (true, 0) => {
            log::warn!(
                "autofilled max_batch_size to {default} for model '{}' since batching is \
                 supporrted but no max_batch_size is specified in model configuration. Must \
                 specify max_batch_size to utilize autofill with a larger max batch size",
                config.name
            );
            Ok(default)
        }
        (false, 1..) => Err(Error::invalid_arg(format!(
            "autofill failed for model '{}': model does not support batching while non-zero \
             max_batch_size is specified",
            config.name
        ))),
        (_, given) => Ok(given),
    }
}

fn tensors<'a>(infos: impl Iterator<Item = &'a TensorInfo>, is_batching: bool) -> Value {
    infos.map(|info| tensor(info, is_batching)).collect()
}

fn tensor(info: &TensorInfo, is_batching: bool) -> Value {
    let data_type = info
        .element_type
        .data_type()
        .map_or("TYPE_INVALID", DataType::as_config_str);
    let dims = &info.dims[usize::from(is_batching)..];
    let name = info.name_text();
    match (dims, is_batching) {
        // A configuration needs at least one dimension: a scalar is [1].
        ([], true) => {
            json!({"name": name, "data_type": data_type, "dims": [1], "reshape": {"shape": []}})
        }
        ([], false) => json!({"name": name, "data_type": data_type, "dims": [1]}),
        (dims, _) => json!({"name": name, "data_type": data_type, "dims": dims}),
    }
}
