// SPDX-License-Identifier: Apache-2.0
use std::fmt;

use bytes::Bytes;
use smallvec::SmallVec;
use tritongw_types::{CName, DataType, Parameter, ParameterValue, Shape};

use super::segments::Segments;
use super::wire::{
    put_fixed64_field, put_length, put_nested, put_text, put_varint, put_varint_field,
};
use crate::framing::PREFIX_LENGTH;

/// Tensors up to this size are copied behind the head: cheaper than one more piece to write.
const COPY_LIMIT: usize = 1024;

/// In which message a `ModelInferResponse` travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// By itself: the answer to `ModelInfer`.
    Unary,
    /// As `infer_response` of a `ModelStreamInferResponse`.
    Stream,
}

/// The field `infer_response` of `ModelStreamInferResponse`.
const INFER_RESPONSE: u32 = 2;

/// Room for what comes before the response: the prefix, and of a stream tag and length.
const FRONT: usize = PREFIX_LENGTH + 6;

/// What a `ModelInferResponse` tells (P139).
#[derive(Clone, Debug)]
pub struct InferResponse<'a> {
    /// Model name.
    pub model_name: &'a str,
    /// Version of the model that answered.
    pub model_version: i64,
    /// Id of the request; empty if it had none.
    pub id: &'a str,
    /// Response parameters.
    pub parameters: &'a [Parameter],
    /// Outputs in order.
    pub outputs: &'a [InferOutput],
}

/// One output and its data.
#[derive(Clone, Debug)]
pub struct InferOutput {
    /// Name.
    pub name: CName,
    /// Element type.
    pub data_type: DataType,
    /// Shape.
    pub shape: Shape,
    /// Data in wire layout.
    pub data: Bytes,
}

/// A message does not fit in what gRPC sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageTooLarge {
    /// Size of the message.
    pub size: usize,
}

impl fmt::Display for MessageTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a message of {} bytes is too large to be sent",
            self.size
        )
    }
}

impl std::error::Error for MessageTooLarge {}

/// Writes a `ModelInferResponse` in its message, with gRPC's prefix. Large tensors become pieces of
/// their own, shared with their owner.
///
/// # Errors
/// If the message would be larger than `max_size` or than the prefix can tell.
pub fn encode_infer_response(
    response: &InferResponse<'_>,
    envelope: Envelope,
    max_size: usize,
) -> Result<Segments, MessageTooLarge> {
    let mut head = Vec::with_capacity(head_capacity(response));
    head.extend_from_slice(&[0; FRONT]);
    put_head(&mut head, response);
    // Where in the head each large tensor belongs.
    let mut inserted: Vec<(usize, &Bytes)> = Vec::new();
    let mut size = 0;
    for output in response.outputs {
        put_length(&mut head, 6, output.data.len());
        if output.data.len() <= COPY_LIMIT {
            head.extend_from_slice(&output.data);
        } else {
            size += output.data.len();
            inserted.push((head.len(), &output.data));
        }
    }
    size += head.len() - FRONT;
    let front = front(size, envelope, max_size)?;
    let start = FRONT - front.len();
    head[start..FRONT].copy_from_slice(&front);
    Ok(interleave(&Bytes::from(head), start, &inserted))
}

/// Returns what comes before a response of `size` bytes.
fn front(
    size: usize,
    envelope: Envelope,
    max_size: usize,
) -> Result<SmallVec<[u8; FRONT]>, MessageTooLarge> {
    let mut field = Vec::new();
    if envelope == Envelope::Stream {
        put_length(&mut field, INFER_RESPONSE, size);
    }
    let size = size + field.len();
    let length = u32::try_from(size).ok().filter(|_| size <= max_size);
    let length = length.ok_or(MessageTooLarge { size })?;
    let mut front = SmallVec::from_slice(&[0]);
    front.extend_from_slice(&length.to_be_bytes());
    front.extend_from_slice(&field);
    Ok(front)
}

fn interleave(head: &Bytes, mut start: usize, inserted: &[(usize, &Bytes)]) -> Segments {
    let mut segments = Segments::default();
    for &(end, data) in inserted {
        segments.push(head.slice(start..end));
        segments.push(data.clone());
        start = end;
    }
    segments.push(head.slice(start..));
    segments
}

/// Returns about how large the head gets, so that it is allocated once.
fn head_capacity(response: &InferResponse<'_>) -> usize {
    let outputs: usize = response
        .outputs
        .iter()
        .map(|output| {
            let copied = if output.data.len() <= COPY_LIMIT {
                output.data.len()
            } else {
                0
            };
            48 + output.name.len() + 10 * output.shape.len() + copied
        })
        .sum();
    64 + response.model_name.len() + response.id.len() + 64 * response.parameters.len() + outputs
}

fn put_head(out: &mut Vec<u8>, response: &InferResponse<'_>) {
    if !response.model_name.is_empty() {
        put_text(out, 1, response.model_name);
    }
    put_text(out, 2, itoa::Buffer::new().format(response.model_version));
    if !response.id.is_empty() {
        put_text(out, 3, response.id);
    }
    for parameter in response.parameters {
        put_nested(out, 4, |entry| put_parameter(entry, parameter));
    }
    for output in response.outputs {
        put_nested(out, 5, |message| put_output(message, output));
    }
}

fn put_output(out: &mut Vec<u8>, output: &InferOutput) {
    put_text(out, 1, &output.name);
    put_text(out, 2, output.data_type.as_str());
    if output.shape.is_empty() {
        return;
    }
    put_nested(out, 3, |packed| {
        for &dim in output.shape.iter() {
            put_varint(packed, dim as u64);
        }
    });
}

fn put_parameter(out: &mut Vec<u8>, parameter: &Parameter) {
    put_text(out, 1, &parameter.name);
    put_nested(out, 2, |choice| match &parameter.value {
        ParameterValue::Bool(value) => put_varint_field(choice, 1, u64::from(*value)),
        ParameterValue::Int(value) => put_varint_field(choice, 2, *value as u64),
        ParameterValue::String(value) => put_text(choice, 3, value),
        ParameterValue::Double(value) => put_fixed64_field(choice, 4, value.to_bits()),
    });
}
