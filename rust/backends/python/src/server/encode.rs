// SPDX-License-Identifier: Apache-2.0
//! From the engine's requests to what a host takes: frames for a worker, values in this process.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;
use tritongw_config::ModelConfig;
use tritongw_engine::{InferenceRequest, InputTensor};
use tritongw_types::{DataType, Parameter, ParameterValue, Result};

use super::input_slab::InputSlab;
use crate::host::{HostRequest, HostTensor, TensorMemory};
use crate::shared::channel::INLINE_LIMIT;
use crate::shared::message::{RequestHead, TensorSource, write_request, write_tensor};
use crate::shared::wire::Writer;

/// What keeps the inputs of a batch where a worker reads them.
pub(crate) type HeldInputs = SmallVec<[Bytes; 2]>;

/// Writes the payload of an `Execute` frame for these requests.
///
/// # Errors
/// If an input lies in device memory, or the slab is used up.
pub(crate) fn write_batch(
    requests: &[Box<InferenceRequest>],
    config: &ModelConfig,
    slab: &Arc<InputSlab>,
    payload: &mut Vec<u8>,
) -> Result<HeldInputs> {
    let mut held = HeldInputs::new();
    let mut writer = Writer::new(payload);
    for request in requests {
        let parameters = parameters_json(request.parameters());
        let trace_context = trace_context(request).unwrap_or_default();
        let head = RequestHead {
            id: request.id(),
            correlation_id: request.correlation_id(),
            flags: request.flags().0,
            timeout_us: request.timeout_us(),
            priority: request.priority(),
            parameters: &parameters,
            trace_context: &trace_context,
        };
        let input_count = request.inputs().count();
        match request.requested_outputs() {
            [] => {
                let names = config.outputs.iter().map(|output| output.name.as_str());
                write_request(&mut writer, &head, names, input_count);
            }
            names => {
                let names = names.iter().map(|name| name.as_str());
                write_request(&mut writer, &head, names, input_count);
            }
        }
        for input in request.inputs() {
            write_input(&mut writer, input, slab, &mut held)?;
        }
    }
    Ok(held)
}

fn trace_context(request: &InferenceRequest) -> Option<String> {
    request.trace()?.context()
}

fn write_input(
    writer: &mut Writer<'_>,
    input: &InputTensor,
    slab: &Arc<InputSlab>,
    held: &mut HeldInputs,
) -> Result<()> {
    let data = input.contiguous()?;
    let source = if data.len() <= INLINE_LIMIT {
        TensorSource::Inline(&data)
    } else {
        match slab.range_of(&data) {
            Some(range) if is_aligned(range.offset, input.data_type) => {
                held.push(data.clone());
                TensorSource::Slab(range)
            }
            _ => {
                let (range, block) = slab.copy_in(&data)?;
                held.push(block);
                TensorSource::Slab(range)
            }
        }
    };
    write_tensor(writer, &input.name, input.data_type, &input.shape, source);
    Ok(())
}

fn is_aligned(offset: u64, data_type: DataType) -> bool {
    offset.is_multiple_of(data_type.element_size().unwrap_or(1) as u64)
}

/// Returns a request as a host in this process takes it.
///
/// Inputs that lie in the slab are passed as they are; others are copied, for the memory belongs
/// to the door, and a model may write to its inputs.
///
/// # Errors
/// If an input lies in device memory.
pub(crate) fn host_request(
    request: &InferenceRequest,
    config: &ModelConfig,
    slab: &InputSlab,
) -> Result<HostRequest> {
    let inputs = request
        .inputs()
        .map(|input| host_tensor(input, slab))
        .collect::<Result<_>>()?;
    let requested_outputs = match request.requested_outputs() {
        [] => config
            .outputs
            .iter()
            .map(|output| output.name.as_str().to_owned())
            .collect(),
        names => names.iter().map(|name| name.as_str().to_owned()).collect(),
    };
    Ok(HostRequest {
        id: request.id().as_str().to_owned(),
        correlation_id: request.correlation_id().clone(),
        flags: request.flags().0,
        timeout_us: request.timeout_us(),
        priority: request.priority(),
        parameters: parameters_json(request.parameters()),
        trace_context: trace_context(request),
        requested_outputs,
        inputs,
    })
}

fn host_tensor(input: &InputTensor, slab: &InputSlab) -> Result<HostTensor> {
    let data = input.contiguous()?;
    let memory = slab
        .tensor_memory(&data)
        .filter(|memory| memory.is_aligned(input.data_type.element_size().unwrap_or(1)))
        .unwrap_or_else(|| TensorMemory::copy_of(&data));
    Ok(HostTensor {
        name: input.name.as_str().to_owned(),
        data_type: input.data_type,
        shape: input.shape.clone(),
        memory,
    })
}

/// Returns parameters as a JSON object; empty if there are none, which stands for `{}`.
pub fn parameters_json(parameters: &[Parameter]) -> String {
    if parameters.is_empty() {
        return String::new();
    }
    let object: serde_json::Map<_, _> = parameters
        .iter()
        .map(|parameter| {
            (
                parameter.name.as_str().to_owned(),
                json_value(&parameter.value),
            )
        })
        .collect();
    serde_json::Value::Object(object).to_string()
}

fn json_value(value: &ParameterValue) -> serde_json::Value {
    match value {
        ParameterValue::String(text) => text.as_str().into(),
        ParameterValue::Int(number) => (*number).into(),
        ParameterValue::Bool(flag) => (*flag).into(),
        ParameterValue::Double(number) => (*number).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_become_an_object_in_order() {
        let parameter = |name: &str, value| Parameter {
            name: name.into(),
            value,
        };
        let parameters = [
            parameter("i", ParameterValue::Int(1)),
            parameter("b", ParameterValue::Bool(true)),
            parameter("s", ParameterValue::String("x\"".into())),
            parameter("d", ParameterValue::Double(1.5)),
        ];
        assert_eq!(
            parameters_json(&parameters),
            r#"{"i":1,"b":true,"s":"x\"","d":1.5}"#
        );
        assert_eq!(parameters_json(&[]), "");
    }
}
