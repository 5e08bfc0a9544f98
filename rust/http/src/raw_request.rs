// SPDX-License-Identifier: Apache-2.0
//! A body that is one tensor and nothing else (P075, P196).

use bytes::{BufMut, Bytes, BytesMut};
use tritongw_config::{ModelConfig, ModelInput};
use tritongw_engine::InputTensor;
use tritongw_types::{DataType, Error, Result, Shape, byte_size};

/// Makes the one input of a model from `body`; its only variable dimension takes what is there.
///
/// # Errors
/// `InvalidArg`, in Triton's words, if the model has several inputs or the body leaves the shape
/// open.
pub(crate) fn deduce_input(config: &ModelConfig, body: Bytes) -> Result<InputTensor> {
    let [input] = config.inputs.as_slice() else {
        return Err(Error::invalid_arg(format!(
            "Raw request must only have 1 input (found 1) to be deduced but got {} inputs in \
             '{}' model configuration",
            config.inputs.len(),
            config.name
        )));
    };
    let (mut shape, data) = match input.data_type {
        DataType::Bytes => one_string(input, &body)?,
        _ => (fixed_size(config, input, body.len())?, body),
    };
    if config.max_batch_size > 0 {
        shape.push_front(1);
    }
    Ok(InputTensor::new(&input.name, input.data_type, shape, data))
}

/// Takes the body for one element: its length goes before it.
fn one_string(input: &ModelInput, body: &Bytes) -> Result<(Shape, Bytes)> {
    if *input.dims != [1] {
        return Err(Error::invalid_arg(format!(
            "For BYTE datatype raw input '{}', the model must have input shape [1]",
            input.name
        )));
    }
    let length = u32::try_from(body.len()).map_err(|source| {
        let message = format!("raw input '{}' is longer than 4294967295 bytes", input.name);
        Error::invalid_arg(message).with_source(source)
    })?;
    let mut data = BytesMut::with_capacity(4 + body.len());
    data.put_u32_le(length);
    data.put_slice(body);
    Ok((input.dims.clone(), data.freeze()))
}

/// Lets the variable dimension, if there is one, take as many rows as the body holds.
fn fixed_size(config: &ModelConfig, input: &ModelInput, body_length: usize) -> Result<Shape> {
    let mut shape = input.dims.clone();
    let mut axes = (0..shape.len()).filter(|axis| input.dims[*axis] < 0);
    let variable = axes.next();
    if axes.next().is_some() {
        return Err(Error::invalid_arg(format!(
            "The shape of the raw input '{}' can not be deduced because there are more than one \
             variable-sized dimension",
            input.name
        )));
    }
    if let Some(axis) = variable {
        shape.as_mut_slice()[axis] = 1;
        let row_count = body_length
            .checked_div(size_of_tensor(input, &shape)?)
            .unwrap_or(0);
        shape.as_mut_slice()[axis] = i64::try_from(row_count).unwrap_or(i64::MAX);
    }
    let expected = size_of_tensor(input, &shape)?;
    if expected != body_length {
        return Err(Error::invalid_arg(format!(
            "input byte size mismatch for input 'raw_input' for model '{}'. Expected {expected}, \
             got {body_length}",
            config.name
        )));
    }
    Ok(shape)
}

fn size_of_tensor(input: &ModelInput, shape: &Shape) -> Result<usize> {
    let size = byte_size(input.data_type, shape).map_err(|source| {
        let message = format!(
            "the shape of the raw input '{}' can not be deduced",
            input.name
        );
        Error::invalid_arg(message).with_source(source)
    })?;
    Ok(size.unwrap_or_default())
}
