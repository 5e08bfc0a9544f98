// SPDX-License-Identifier: Apache-2.0
use std::collections::HashSet;
use std::path::{Component, Path};

use tritongw_protocol::pb;
use tritongw_types::{CName, DataType, Error, ErrorCode, Result, Shape};

use super::reshape::TensorShape;
use crate::platform::TENSORRT_PLAN;

/// Layout of an image tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorFormat {
    /// Not an image.
    None,
    /// Height, width, channels.
    Nhwc,
    /// Channels, height, width.
    Nchw,
}

/// A tensor that the model takes.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInput {
    /// Name, unique among the inputs.
    pub name: CName,
    /// Element type.
    pub data_type: DataType,
    /// Layout.
    pub format: TensorFormat,
    /// Dimensions without the batch dimension, -1 where variable.
    pub dims: Shape,
    /// Dimensions that the backend sees instead; empty means the batch dimension only.
    pub reshape: Option<Shape>,
    /// Whether the tensor holds a shape.
    pub is_shape_tensor: bool,
    /// Whether requests of different shapes may share a batch.
    pub allow_ragged_batch: bool,
    /// Whether a request may leave the tensor out.
    pub is_optional: bool,
    /// Whether the tensor is in a vectorised layout.
    pub is_non_linear_format_io: bool,
}

/// A tensor that the model gives.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelOutput {
    /// Name, unique among the outputs.
    pub name: CName,
    /// Element type.
    pub data_type: DataType,
    /// Dimensions without the batch dimension, -1 where variable.
    pub dims: Shape,
    /// Dimensions that the backend gives instead; empty means the batch dimension only.
    pub reshape: Option<Shape>,
    /// File of class labels, inside the model's directory.
    pub label_filename: Option<String>,
    /// Whether the tensor holds a shape.
    pub is_shape_tensor: bool,
    /// Whether the tensor is in a vectorised layout.
    pub is_non_linear_format_io: bool,
}

pub(super) fn inputs_from_message(message: &pb::ModelConfig) -> Result<Vec<ModelInput>> {
    let model = &message.name;
    let mut seen = HashSet::new();
    let inputs = message.input.iter().map(|io| {
        let input = input(io, message)?;
        check_unique(&mut seen, &io.name, "input")?;
        Ok(input)
    });
    inputs
        .collect::<Result<_>>()
        .map_err(|error| for_model(error, model))
}

pub(super) fn outputs_from_message(message: &pb::ModelConfig) -> Result<Vec<ModelOutput>> {
    let model = &message.name;
    let mut seen = HashSet::new();
    let outputs = message.output.iter().map(|io| {
        let output = output(io, message)?;
        check_unique(&mut seen, &io.name, "output")?;
        Ok(output)
    });
    let outputs: Vec<ModelOutput> = outputs
        .collect::<Result<_>>()
        .map_err(|error| for_model(error, model))?;
    outputs
        .iter()
        .try_for_each(|output| check_label_path(output, model))?;
    Ok(outputs)
}

fn input(io: &pb::ModelInput, config: &pb::ModelConfig) -> Result<ModelInput> {
    let subject = subject("input", &io.name)?;
    let data_type = data_type(io.data_type, &subject)?;
    let (dims, reshape) = TensorShape {
        subject: &subject,
        name: &io.name,
        dims: &io.dims,
        reshape: io.reshape.as_ref(),
        is_batching: config.max_batch_size > 0,
    }
    .check()?;
    let format = match io.format() {
        pb::model_input::Format::None => TensorFormat::None,
        pb::model_input::Format::Nhwc => TensorFormat::Nhwc,
        pb::model_input::Format::Nchw => TensorFormat::Nchw,
    };
    if format != TensorFormat::None && dims.len() != 3 {
        return Err(Error::invalid_arg("model input NHWC/NCHW require 3 dims"));
    }
    check_shape_tensor(io.is_shape_tensor, config)?;
    check_non_linear(io.is_non_linear_format_io, config, "input", &dims)?;
    Ok(ModelInput {
        name: CName::new(&io.name),
        data_type,
        format,
        dims,
        reshape,
        is_shape_tensor: io.is_shape_tensor,
        allow_ragged_batch: io.allow_ragged_batch,
        is_optional: io.optional,
        is_non_linear_format_io: io.is_non_linear_format_io,
    })
}

fn output(io: &pb::ModelOutput, config: &pb::ModelConfig) -> Result<ModelOutput> {
    let subject = subject("output", &io.name)?;
    let data_type = data_type(io.data_type, &subject)?;
    let (dims, reshape) = TensorShape {
        subject: &subject,
        name: &io.name,
        dims: &io.dims,
        reshape: io.reshape.as_ref(),
        is_batching: config.max_batch_size > 0,
    }
    .check()?;
    check_shape_tensor(io.is_shape_tensor, config)?;
    check_non_linear(io.is_non_linear_format_io, config, "output", &dims)?;
    Ok(ModelOutput {
        name: CName::new(&io.name),
        data_type,
        dims,
        reshape,
        label_filename: (!io.label_filename.is_empty()).then(|| io.label_filename.clone()),
        is_shape_tensor: io.is_shape_tensor,
        is_non_linear_format_io: io.is_non_linear_format_io,
    })
}

/// Returns the words that begin a message about the tensor.
fn subject(direction: &str, name: &str) -> Result<String> {
    if name.is_empty() {
        return Err(Error::invalid_arg(format!(
            "model {direction} must specify 'name'"
        )));
    }
    Ok(format!("model {direction} '{name}' "))
}

/// Reads an element type; `subject` begins the message about one that is missing or unknown.
pub(super) fn data_type(number: i32, subject: &str) -> Result<DataType> {
    let data_type = u32::try_from(number).ok().and_then(DataType::from_number);
    data_type.ok_or_else(|| Error::invalid_arg(format!("{subject}must specify 'data_type'")))
}

fn check_unique<'a>(seen: &mut HashSet<&'a str>, name: &'a str, direction: &str) -> Result<()> {
    if seen.insert(name) {
        return Ok(());
    }
    Err(Error::invalid_arg(format!(
        "model {direction} '{name}' is specified more than once"
    )))
}

fn check_shape_tensor(is_shape_tensor: bool, config: &pb::ModelConfig) -> Result<()> {
    if is_shape_tensor && config.platform != TENSORRT_PLAN {
        let text = "shape tensors are only supported for TensorRT platform";
        return Err(Error::invalid_arg(text));
    }
    Ok(())
}

fn check_non_linear(
    is_non_linear: bool,
    config: &pb::ModelConfig,
    direction: &str,
    dims: &Shape,
) -> Result<()> {
    if !is_non_linear {
        return Ok(());
    }
    if config.platform != TENSORRT_PLAN {
        let text = "Non-linear IO format is only supported for the TensorRT platform";
        return Err(Error::invalid_arg(text));
    }
    if dims.len() != 3 {
        return Err(Error::invalid_arg(format!(
            "Non-linear IO format {direction} requires 3 dims"
        )));
    }
    Ok(())
}

/// Refuses a label file that lies outside the model's directory.
fn check_label_path(output: &ModelOutput, model: &str) -> Result<()> {
    let Some(label) = &output.label_filename else {
        return Ok(());
    };
    let mut depth = 0_usize;
    for component in Path::new(label).components() {
        let next = match component {
            Component::Normal(_) => Some(depth + 1),
            Component::CurDir => Some(depth),
            Component::ParentDir => depth.checked_sub(1),
            Component::RootDir | Component::Prefix(_) => None,
        };
        let Some(next) = next else {
            let name = &output.name;
            return Err(Error::new(
                ErrorCode::Unsupported,
                format!(
                    "label file path '{label}' for output '{name}' in model '{model}' is outside \
                     model directory"
                ),
            ));
        };
        depth = next;
    }
    Ok(())
}

fn for_model(error: Error, model: &str) -> Error {
    error.map_message(|message| format!("{message} for {model}"))
}
