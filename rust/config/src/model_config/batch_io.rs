// SPDX-License-Identifier: Apache-2.0
use std::collections::HashSet;

use tritongw_protocol::pb;
use tritongw_types::{CName, DataType, Error, Result};

/// What a [`BatchInput`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchInputKind {
    /// Elements of the source, per request.
    ElementCount,
    /// Running total of the same.
    AccumulatedElementCount,
    /// Running total after a zero.
    AccumulatedElementCountWithZero,
    /// Largest count, as the shape of the tensor.
    MaxElementCountAsShape,
    /// Shapes of the source, one row per batch item.
    ItemShape,
    /// The same shapes in one row.
    ItemShapeFlatten,
}

/// An input that the server makes for each batch.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchInput {
    /// What it holds.
    pub kind: BatchInputKind,
    /// Tensors of the model that take it.
    pub target_names: Vec<CName>,
    /// [`DataType::Int32`] or [`DataType::Fp32`].
    pub data_type: DataType,
    /// The input it is computed from.
    pub source_input: CName,
}

/// By what a [`BatchOutput`] is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchOutputKind {
    /// The shape of the source input of each request.
    ScatterWithInputShape,
}

/// Outputs of a batch that are divided between its requests.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchOutput {
    /// By what they are divided.
    pub kind: BatchOutputKind,
    /// Outputs of the model, each named once.
    pub target_names: Vec<CName>,
    /// The input whose shape decides.
    pub source_input: CName,
}

pub(super) fn from_message(
    message: &pb::ModelConfig,
) -> Result<(Vec<BatchInput>, Vec<BatchOutput>)> {
    let inputs: HashSet<&str> = message.input.iter().map(|io| io.name.as_str()).collect();
    let outputs: HashSet<&str> = message.output.iter().map(|io| io.name.as_str()).collect();
    let read = || {
        let batch_inputs = message
            .batch_input
            .iter()
            .map(|io| batch_input(io, &inputs));
        let batch_inputs = batch_inputs.collect::<Result<_>>()?;
        let batch_outputs = message
            .batch_output
            .iter()
            .map(|io| batch_output(io, &inputs, &outputs));
        Ok((batch_inputs, batch_outputs.collect::<Result<_>>()?))
    };
    read().map_err(|error: Error| error.map_message(|text| format!("{text} for {}", message.name)))
}

fn batch_input(io: &pb::BatchInput, inputs: &HashSet<&str>) -> Result<BatchInput> {
    use pb::batch_input::Kind;

    let Ok(kind) = Kind::try_from(io.kind) else {
        return Err(Error::invalid_arg(format!(
            "unknown batch input kind '{}'",
            io.kind
        )));
    };
    let [source_input] = io.source_input.as_slice() else {
        return Err(Error::invalid_arg(format!(
            "batch input kind '{}' expects 1 source input, got {}",
            kind.as_str_name(),
            io.source_input.len()
        )));
    };
    let data_type = match io.data_type() {
        pb::DataType::TypeInt32 => DataType::Int32,
        pb::DataType::TypeFp32 => DataType::Fp32,
        _ => {
            let text = "batch input data type must be TYPE_INT32 or TYPE_FP32";
            return Err(Error::invalid_arg(text));
        }
    };
    check_source(source_input, inputs)?;
    if io.target_name.is_empty() {
        return Err(Error::invalid_arg(
            "batch input expects at least 1 target name, got 0",
        ));
    }
    Ok(BatchInput {
        kind: match kind {
            Kind::BatchElementCount => BatchInputKind::ElementCount,
            Kind::BatchAccumulatedElementCount => BatchInputKind::AccumulatedElementCount,
            Kind::BatchAccumulatedElementCountWithZero => {
                BatchInputKind::AccumulatedElementCountWithZero
            }
            Kind::BatchMaxElementCountAsShape => BatchInputKind::MaxElementCountAsShape,
            Kind::BatchItemShape => BatchInputKind::ItemShape,
            Kind::BatchItemShapeFlatten => BatchInputKind::ItemShapeFlatten,
        },
        target_names: io.target_name.iter().map(|name| CName::new(name)).collect(),
        data_type,
        source_input: CName::new(source_input),
    })
}

fn batch_output(
    io: &pb::BatchOutput,
    inputs: &HashSet<&str>,
    outputs: &HashSet<&str>,
) -> Result<BatchOutput> {
    let Ok(kind) = pb::batch_output::Kind::try_from(io.kind) else {
        return Err(Error::invalid_arg(format!(
            "unknown batch output kind '{}'",
            io.kind
        )));
    };
    let [source_input] = io.source_input.as_slice() else {
        return Err(Error::invalid_arg(format!(
            "batch output kind '{}' expects 1 source input, got {}",
            kind.as_str_name(),
            io.source_input.len()
        )));
    };
    check_source(source_input, inputs)?;
    let mut seen = HashSet::new();
    for name in &io.target_name {
        if !outputs.contains(name.as_str()) {
            return Err(Error::invalid_arg(format!(
                "unknown target output name '{name}'"
            )));
        }
        if !seen.insert(name) {
            return Err(Error::invalid_arg(format!(
                "target output name '{name}' can only be specified once"
            )));
        }
    }
    Ok(BatchOutput {
        kind: BatchOutputKind::ScatterWithInputShape,
        target_names: io.target_name.iter().map(|name| CName::new(name)).collect(),
        source_input: CName::new(source_input),
    })
}

fn check_source(name: &str, inputs: &HashSet<&str>) -> Result<()> {
    if inputs.contains(name) {
        return Ok(());
    }
    Err(Error::invalid_arg(format!(
        "unknown source input name '{name}'"
    )))
}
