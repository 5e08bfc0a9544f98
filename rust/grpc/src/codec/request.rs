// SPDX-License-Identifier: Apache-2.0
use bytes::Bytes;
use smallvec::SmallVec;
use tritongw_types::Shape;

use super::contents::TypedContents;
use super::wire::{Field, Fields, MalformedMessage, Value, read_varint, text};

/// Parameters of a request or a tensor. Triton sets no limit; finding duplicates takes time by the
/// square of the number.
const MAX_PARAMETERS: usize = 4096;

/// `ModelInferRequest`, borrowed from its message (P134).
#[derive(Clone, Debug, Default)]
pub struct InferRequest<'a> {
    /// Model name.
    pub model_name: &'a str,
    /// Version as text; empty lets the server choose.
    pub model_version: &'a str,
    /// Request id; empty if none was given.
    pub id: &'a str,
    /// Request parameters.
    pub parameters: Parameters<'a>,
    /// Inputs in order.
    pub inputs: SmallVec<[InferInput<'a>; 2]>,
    /// Requested outputs in order; none means all.
    pub outputs: SmallVec<[RequestedOutput<'a>; 2]>,
    /// Raw tensors in order, slices of the message (P138).
    pub raw_input_contents: SmallVec<[Bytes; 2]>,
}

/// `InferInputTensor` (P135).
#[derive(Clone, Debug, Default)]
pub struct InferInput<'a> {
    /// Name.
    pub name: &'a str,
    /// Protocol name of the data type.
    pub datatype: &'a str,
    /// Shape.
    pub shape: Shape,
    /// Parameters of the tensor.
    pub parameters: Parameters<'a>,
    /// Typed elements, if the field is there at all.
    pub contents: Option<Box<TypedContents<'a>>>,
}

/// `InferRequestedOutputTensor`.
#[derive(Clone, Debug, Default)]
pub struct RequestedOutput<'a> {
    /// Name.
    pub name: &'a str,
    /// Parameters of the output.
    pub parameters: Parameters<'a>,
}

/// `InferParameter` (P136).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum InferParameter<'a> {
    /// No choice was made, or one of a later protocol.
    #[default]
    Unset,
    /// `bool_param`.
    Bool(bool),
    /// `int64_param`.
    Int64(i64),
    /// `string_param`.
    String(&'a str),
    /// `double_param`.
    Double(f64),
    /// `uint64_param`.
    Uint64(u64),
}

/// Parameters in the order of the wire, each name once.
pub type Parameters<'a> = SmallVec<[(&'a str, InferParameter<'a>); 0]>;

/// Reads a `ModelInferRequest` in one pass. Nothing of the tensors is copied.
///
/// # Errors
/// If the bytes are no such message.
pub fn decode_infer_request(message: &Bytes) -> Result<InferRequest<'_>, MalformedMessage> {
    let mut request = InferRequest::default();
    for field in Fields::new(message) {
        let Field {
            number,
            value: Value::Bytes(value),
        } = field?
        else {
            continue;
        };
        match number {
            1 => request.model_name = text(value)?,
            2 => request.model_version = text(value)?,
            3 => request.id = text(value)?,
            4 => decode_parameter(value, &mut request.parameters)?,
            5 => request.inputs.push(decode_input(value)?),
            6 => request.outputs.push(decode_output(value)?),
            7 => request.raw_input_contents.push(message.slice_ref(value)),
            _ => {}
        }
    }
    Ok(request)
}

/// Returns model name and version from the beginning of a `ModelInferRequest`, if they are there:
/// clients write fields in order, so they come before the tensors.
pub fn peek_model(beginning: &[u8]) -> Option<(&str, &str)> {
    let mut model = None;
    for field in Fields::new(beginning).map_while(Result::ok) {
        match field {
            Field {
                number: 1,
                value: Value::Bytes(name),
            } => model = Some((text(name).ok()?, "")),
            Field {
                number: 2,
                value: Value::Bytes(version),
            } => model.as_mut()?.1 = text(version).ok()?,
            _ => break,
        }
    }
    model
}

/// Returns where the first raw tensor begins in a `ModelInferRequest` of which this is the
/// beginning, if it says so.
pub fn peek_raw_contents(beginning: &[u8]) -> Option<usize> {
    let mut fields = Fields::new(beginning);
    loop {
        if let Some(contents) = fields.peek_bytes(7) {
            return Some(beginning.len() - contents.len());
        }
        fields.next()?.ok()?;
    }
}

fn decode_input(message: &[u8]) -> Result<InferInput<'_>, MalformedMessage> {
    let mut input = InferInput::default();
    for field in Fields::new(message) {
        let Field { number, value } = field?;
        match (number, value) {
            (1, Value::Bytes(value)) => input.name = text(value)?,
            (2, Value::Bytes(value)) => input.datatype = text(value)?,
            (3, Value::Varint(dim)) => input.shape.push(dim as i64),
            (3, Value::Bytes(mut packed)) => {
                while !packed.is_empty() {
                    input.shape.push(read_varint(&mut packed)? as i64);
                }
            }
            (4, Value::Bytes(value)) => decode_parameter(value, &mut input.parameters)?,
            (5, Value::Bytes(value)) => input.contents.get_or_insert_default().merge(value)?,
            _ => {}
        }
    }
    Ok(input)
}

fn decode_output(message: &[u8]) -> Result<RequestedOutput<'_>, MalformedMessage> {
    let mut output = RequestedOutput::default();
    for field in Fields::new(message) {
        let Field {
            number,
            value: Value::Bytes(value),
        } = field?
        else {
            continue;
        };
        match number {
            1 => output.name = text(value)?,
            2 => decode_parameter(value, &mut output.parameters)?,
            _ => {}
        }
    }
    Ok(output)
}

/// Reads one entry of a parameter map; a later entry replaces an earlier one of its name.
///
/// # Errors
/// If it is no such entry, or one too many.
fn decode_parameter<'a>(
    entry: &'a [u8],
    parameters: &mut Parameters<'a>,
) -> Result<(), MalformedMessage> {
    let mut name = "";
    let mut parameter = InferParameter::Unset;
    for field in Fields::new(entry) {
        match field? {
            Field {
                number: 1,
                value: Value::Bytes(value),
            } => name = text(value)?,
            Field {
                number: 2,
                value: Value::Bytes(value),
            } => {
                merge_choice(value, &mut parameter)?;
            }
            _ => {}
        }
    }
    let is_full = parameters.len() >= MAX_PARAMETERS;
    match parameters.iter_mut().find(|(known, _)| *known == name) {
        Some((_, known)) => *known = parameter,
        None if is_full => return Err(MalformedMessage),
        None => parameters.push((name, parameter)),
    }
    Ok(())
}

fn merge_choice<'a>(
    message: &'a [u8],
    parameter: &mut InferParameter<'a>,
) -> Result<(), MalformedMessage> {
    for field in Fields::new(message) {
        let Field { number, value } = field?;
        *parameter = match (number, value) {
            (1, Value::Varint(value)) => InferParameter::Bool(value != 0),
            (2, Value::Varint(value)) => InferParameter::Int64(value as i64),
            (3, Value::Bytes(value)) => InferParameter::String(text(value)?),
            (4, Value::Fixed64(value)) => InferParameter::Double(f64::from_bits(value)),
            (5, Value::Varint(value)) => InferParameter::Uint64(value),
            _ => continue,
        };
    }
    Ok(())
}
