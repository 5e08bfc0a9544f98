// SPDX-License-Identifier: Apache-2.0
//! From the requests of a batch to the tensors of an execution.

use std::ffi::CStr;

use smallvec::SmallVec;
use tritongw_engine::batch_io::{batch_input, element_total};
use tritongw_engine::{InferenceRequest, InputTensor};
use tritongw_types::{BytesElements, DataType, Error, Result, Shape};

use crate::ort::{AlignedBuffer, Runtime, TensorView, is_aligned};
use crate::plan::{InputPlan, Plan};

/// Names and tensors of an execution's inputs.
pub(crate) type BoundInputs<'a> = SmallVec<[(&'a CStr, TensorView<'a>); 4]>;

/// Makes a tensor of each input: over the request's own memory if there is one request and its
/// data is one aligned piece, otherwise over `buffers` ([`Plan::buffer_count`]), into which the data
/// is gathered. Inputs of the batch as a whole are made here (M040-M045).
///
/// All requests of a batch have the same inputs; the scheduler sees to that.
///
/// # Errors
/// Data in device memory, a request without an input that the first has, and those of ORT.
pub(crate) fn bind<'a>(
    runtime: &Runtime,
    plan: &'a Plan,
    buffers: &'a mut [AlignedBuffer],
    requests: &'a [Box<InferenceRequest>],
) -> Result<BoundInputs<'a>> {
    let Some(first) = requests.first() else {
        return Ok(BoundInputs::new());
    };
    for input in first.inputs() {
        let index = plan.input_index(&input.name)?;
        if plan.inputs[index].data_type != DataType::Bytes && own_memory(requests, input).is_none()
        {
            gather(&mut buffers[index], &input.name, requests)?;
        }
    }
    let (gathered, made) = buffers.split_at_mut(plan.inputs.len());
    let batch_shapes = make_batch_inputs(plan, made, requests)?;
    let (gathered, made): (&'a [AlignedBuffer], &'a [AlignedBuffer]) = (gathered, made);
    let mut bound = BoundInputs::new();
    for input in first.inputs() {
        let index = plan.input_index(&input.name)?;
        let input_plan = &plan.inputs[index];
        let shape = batch_shape(plan, input_plan, requests, input)?;
        let tensor = if input_plan.data_type == DataType::Bytes {
            strings(runtime, &input.name, &shape, requests)?
        } else {
            let data = own_memory(requests, input).unwrap_or_else(|| gathered[index].as_slice());
            TensorView::over(runtime, data, input_plan.data_type, &shape)?
        };
        bound.push((input_plan.name.as_c_str(), tensor));
    }
    for (config, (buffer, shape)) in plan.batch_inputs.iter().zip(made.iter().zip(&batch_shapes)) {
        for name in &config.target_names {
            let data = buffer.as_slice();
            let tensor = TensorView::over(runtime, data, config.data_type, shape)?;
            bound.push((name.as_c_str(), tensor));
        }
    }
    Ok(bound)
}

/// Computes the inputs of the batch as a whole and returns their shapes.
fn make_batch_inputs(
    plan: &Plan,
    buffers: &mut [AlignedBuffer],
    requests: &[Box<InferenceRequest>],
) -> Result<SmallVec<[Shape; 2]>> {
    let configs = plan.batch_inputs.iter().zip(buffers);
    let shapes = configs.map(|(config, buffer)| {
        let tensor = batch_input(config, requests)?;
        buffer.fill(std::iter::once(&tensor.data[..]));
        Ok(tensor.shape)
    });
    shapes.collect()
}

/// Returns the data of an input that ORT may read where it lies.
fn own_memory<'a>(requests: &[Box<InferenceRequest>], input: &'a InputTensor) -> Option<&'a [u8]> {
    let ([_], [buffer]) = (requests, input.data.as_slice()) else {
        return None;
    };
    buffer
        .as_host()
        .map(|data| &data[..])
        .filter(|data| is_aligned(data, input.data_type))
}

/// Returns the shape of all requests' tensors laid end to end: along the batch dimension, or in the
/// only one where they may differ in shape.
fn batch_shape(
    plan: &Plan,
    input_plan: &InputPlan,
    requests: &[Box<InferenceRequest>],
    input: &InputTensor,
) -> Result<Shape> {
    if input_plan.is_ragged {
        return Ok(Shape::from([element_total(&input.name, requests)?]));
    }
    if input_plan.is_scalar {
        return Ok(Shape::default());
    }
    let mut shape = input.shape.clone();
    if plan.is_batching
        && let Some(batch) = shape.as_mut_slice().first_mut()
    {
        *batch = requests
            .iter()
            .map(|request| i64::from(request.batch_size()))
            .sum();
    }
    Ok(shape)
}

fn gather(
    buffer: &mut AlignedBuffer,
    name: &str,
    requests: &[Box<InferenceRequest>],
) -> Result<()> {
    let mut pieces: SmallVec<[&[u8]; 16]> = SmallVec::new();
    for request in requests {
        for piece in &input_of(request, name)?.data {
            let data = piece.as_host().ok_or_else(|| {
                Error::unsupported(format!("input '{name}' must lie in host memory"))
            })?;
            pieces.push(data);
        }
    }
    buffer.fill(pieces.iter().copied());
    Ok(())
}

fn strings(
    runtime: &Runtime,
    name: &str,
    shape: &Shape,
    requests: &[Box<InferenceRequest>],
) -> Result<TensorView<'static>> {
    let inputs = requests
        .iter()
        .map(|request| input_of(request, name)?.contiguous());
    let pieces: SmallVec<[_; 4]> = inputs.collect::<Result<_>>()?;
    let elements = pieces.iter().flat_map(|piece| BytesElements::new(piece));
    let elements = elements.map(|element| {
        element.map_err(|source| {
            Error::invalid_arg(format!("input '{name}': {source}")).with_source(source)
        })
    });
    TensorView::strings(runtime, shape, elements)
}

fn input_of<'a>(request: &'a InferenceRequest, name: &str) -> Result<&'a InputTensor> {
    request.input(name).ok_or_else(|| {
        Error::internal(format!(
            "input '{name}' is missing in a request of the batch"
        ))
    })
}
