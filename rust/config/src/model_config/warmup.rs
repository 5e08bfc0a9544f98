// SPDX-License-Identifier: Apache-2.0
use tritongw_protocol::pb;
use tritongw_protocol::pb::model_warmup::input::InputDataType;
use tritongw_types::{CName, DataType, Error, Result, Shape};

use super::tensor::data_type;

/// Content of a warm-up tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WarmupData {
    /// Zeros.
    Zero,
    /// Random values.
    Random,
    /// The content of a file in the directory `warmup` of the model.
    File(String),
}

/// A tensor of a warm-up request.
#[derive(Clone, Debug, PartialEq)]
pub struct WarmupInput {
    /// Name of an input, or of a control or state tensor.
    pub name: CName,
    /// Element type.
    pub data_type: DataType,
    /// Dimensions without the batch dimension, none variable.
    pub dims: Shape,
    /// Content.
    pub data: WarmupData,
}

/// A request that is executed before the model is ready.
#[derive(Clone, Debug, PartialEq)]
pub struct WarmupSample {
    /// Name for messages.
    pub name: String,
    /// Requests of batch size 1 that are executed together, at least one.
    pub batch_size: u32,
    /// Tensors.
    pub inputs: Vec<WarmupInput>,
    /// Iterations, at least one.
    pub count: u32,
}

/// Samples of batch size 0 are skipped, whatever else they say.
pub(super) fn from_message(message: &pb::ModelConfig) -> Result<Vec<WarmupSample>> {
    message
        .model_warmup
        .iter()
        .filter(|sample| sample.batch_size > 0)
        .map(sample)
        .collect()
}

fn sample(message: &pb::ModelWarmup) -> Result<WarmupSample> {
    let inputs = message
        .inputs
        .iter()
        .map(|(name, input)| warmup_input(name, input));
    Ok(WarmupSample {
        name: message.name.clone(),
        batch_size: message.batch_size,
        inputs: inputs.collect::<Result<_>>()?,
        count: message.count.max(1),
    })
}

fn warmup_input(name: &str, input: &pb::model_warmup::Input) -> Result<WarmupInput> {
    if input.dims.iter().any(|dim| *dim < 0) {
        return Err(Error::invalid_arg(format!(
            "warmup setting expects all variable-size dimensions are specified for input '{name}'"
        )));
    }
    let Some(data) = &input.input_data_type else {
        return Err(Error::invalid_arg(format!(
            "warmup setting expects input '{name}' to have input_data_type set"
        )));
    };
    Ok(WarmupInput {
        name: CName::new(name),
        data_type: data_type(input.data_type, &format!("warmup setting input '{name}' "))?,
        dims: Shape::from_slice(&input.dims),
        data: match data {
            InputDataType::ZeroData(_) => WarmupData::Zero,
            InputDataType::RandomData(_) => WarmupData::Random,
            InputDataType::InputDataFile(file) => WarmupData::File(file.clone()),
        },
    })
}
