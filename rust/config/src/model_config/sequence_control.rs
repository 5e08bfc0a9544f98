// SPDX-License-Identifier: Apache-2.0
use std::collections::HashSet;

use tritongw_protocol::pb;
use tritongw_protocol::pb::model_sequence_batching::{Control, control::Kind};
use tritongw_types::{CName, DataType, Error, Result};

/// Values that a control tensor takes for false and for true, in that order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FalseTrueValues {
    /// The tensor is INT32.
    Int32([i32; 2]),
    /// The tensor is FP32.
    Fp32([f32; 2]),
    /// The tensor is BOOL.
    Bool([bool; 2]),
}

/// Tensor that tells the model that something is so.
#[derive(Clone, Debug, PartialEq)]
pub struct BooleanControl {
    /// Name of the tensor.
    pub tensor: CName,
    /// Its values.
    pub values: FalseTrueValues,
}

/// Tensor that tells the model the identifier of the sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct CorrelationIdControl {
    /// Name of the tensor.
    pub tensor: CName,
    /// UINT64, INT64, UINT32, INT32 or BYTES.
    pub data_type: DataType,
}

/// Control tensors of a sequence model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SequenceControls {
    /// Whether the request is the first of its sequence.
    pub start: Option<BooleanControl>,
    /// Whether the request is the last of its sequence.
    pub end: Option<BooleanControl>,
    /// Whether there is a request in this slot of the batch.
    pub ready: Option<BooleanControl>,
    /// Identifier of the sequence.
    pub correlation_id: Option<CorrelationIdControl>,
}

impl FalseTrueValues {
    /// Returns the type of the tensor.
    pub fn data_type(&self) -> DataType {
        match self {
            Self::Int32(_) => DataType::Int32,
            Self::Fp32(_) => DataType::Fp32,
            Self::Bool(_) => DataType::Bool,
        }
    }
}

impl SequenceControls {
    /// Returns names and types of the tensors: one element for each request of a batch.
    pub fn tensors(&self) -> impl Iterator<Item = (&CName, DataType)> {
        let booleans = [&self.start, &self.end, &self.ready].into_iter().flatten();
        let booleans = booleans.map(|control| (&control.tensor, control.values.data_type()));
        let id = self.correlation_id.as_ref();
        booleans.chain(id.map(|control| (&control.tensor, control.data_type)))
    }

    pub(super) fn from_message(batching: &pb::ModelSequenceBatching, model: &str) -> Result<Self> {
        check_names(batching, model)?;
        let boolean = |kind| boolean_control(batching, kind, model);
        Ok(Self {
            start: boolean(Kind::ControlSequenceStart)?,
            end: boolean(Kind::ControlSequenceEnd)?,
            ready: boolean(Kind::ControlSequenceReady)?,
            correlation_id: correlation_id_control(batching, model)?,
        })
    }
}

fn check_names(batching: &pb::ModelSequenceBatching, model: &str) -> Result<()> {
    let mut seen = HashSet::new();
    for control_input in &batching.control_input {
        let name = &control_input.name;
        if name.is_empty() {
            return Err(Error::invalid_arg(format!(
                "sequence batching control tensor must have a name for {model}"
            )));
        }
        if !seen.insert(name) {
            return Err(Error::invalid_arg(format!(
                "sequence batching control tensor '{name}' is specified for multiple control \
                 kinds for {model}"
            )));
        }
    }
    Ok(())
}

/// Returns the tensor and the control of this kind, of which there may be one.
fn find<'a>(
    batching: &'a pb::ModelSequenceBatching,
    kind: Kind,
    model: &str,
) -> Result<Option<(&'a str, &'a Control)>> {
    let controls = batching.control_input.iter().flat_map(|control_input| {
        control_input
            .control
            .iter()
            .map(|control| (control_input.name.as_str(), control))
    });
    let mut controls = controls.filter(|(_, control)| control.kind == kind as i32);
    let first = controls.next();
    if controls.next().is_some() {
        return Err(Error::invalid_arg(format!(
            "sequence batching specifies multiple {} tensors for {model}",
            kind.as_str_name()
        )));
    }
    Ok(first)
}

fn boolean_control(
    batching: &pb::ModelSequenceBatching,
    kind: Kind,
    model: &str,
) -> Result<Option<BooleanControl>> {
    let Some((tensor, control)) = find(batching, kind, model)? else {
        return Ok(None);
    };
    let kind = kind.as_str_name();
    let int32 = control.int32_false_true.as_slice();
    let fp32 = control.fp32_false_true.as_slice();
    let bool = control.bool_false_true.as_slice();
    let values = match (int32.is_empty(), fp32.is_empty(), bool.is_empty()) {
        (true, true, true) => {
            return Err(Error::invalid_arg(format!(
                "sequence batching must specify either 'int32_false_true', 'fp32_false_true' or \
                 'bool_false_true' for {kind} for {model}"
            )));
        }
        (false, true, true) => pair(int32)
            .map(FalseTrueValues::Int32)
            .ok_or("int32_false_true"),
        (true, false, true) => pair(fp32)
            .map(FalseTrueValues::Fp32)
            .ok_or("fp32_false_true"),
        (true, true, false) => pair(bool)
            .map(FalseTrueValues::Bool)
            .ok_or("bool_false_true"),
        _ => {
            return Err(Error::invalid_arg(format!(
                "sequence batching specifies more than one from 'int32_false_true', \
                 'fp32_false_true' and 'bool_false_true' for {kind} for {model}"
            )));
        }
    };
    let values = values.map_err(|field| {
        Error::invalid_arg(format!(
            "sequence batching control '{field}' must have exactly 2 entries for {kind} for {model}"
        ))
    })?;
    Ok(Some(BooleanControl {
        tensor: CName::new(tensor),
        values,
    }))
}

fn pair<T: Copy>(values: &[T]) -> Option<[T; 2]> {
    values.try_into().ok()
}

fn correlation_id_control(
    batching: &pb::ModelSequenceBatching,
    model: &str,
) -> Result<Option<CorrelationIdControl>> {
    let kind = Kind::ControlSequenceCorrid;
    let Some((tensor, control)) = find(batching, kind, model)? else {
        return Ok(None);
    };
    let kind = kind.as_str_name();
    let has_values = !control.int32_false_true.is_empty()
        || !control.fp32_false_true.is_empty()
        || !control.bool_false_true.is_empty();
    if has_values {
        return Err(Error::invalid_arg(format!(
            "sequence batching must not specify either 'int32_false_true', 'fp32_false_true' or \
             'bool_false_true' for {kind} for {model}"
        )));
    }
    let data_type = match control.data_type() {
        pb::DataType::TypeUint64 => DataType::Uint64,
        pb::DataType::TypeInt64 => DataType::Int64,
        pb::DataType::TypeUint32 => DataType::Uint32,
        pb::DataType::TypeInt32 => DataType::Int32,
        pb::DataType::TypeString => DataType::Bytes,
        _ => {
            return Err(Error::invalid_arg(format!(
                "unexpected data type for control {kind} for {model}. Allowed data types are \
                 TYPE_UINT64, TYPE_INT64, TYPE_UINT32, TYPE_INT32 and TYPE_STRING"
            )));
        }
    };
    Ok(Some(CorrelationIdControl {
        tensor: CName::new(tensor),
        data_type,
    }))
}
