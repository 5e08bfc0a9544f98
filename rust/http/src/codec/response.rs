// SPDX-License-Identifier: Apache-2.0
use bytes::Bytes;
use smallvec::SmallVec;
use tritongw_engine::OutputTensor;
use tritongw_engine::buffer::OutputBuffer;
use tritongw_types::{
    BytesElements, DataType, Error, Parameter, ParameterValue, Result, bytes_element_count,
};

use super::output::OutputEncoding;
use crate::json::Writer;

/// What a response says beside its outputs.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// Id of the request, empty if it had none.
    pub id: &'a str,
    /// Model that answered.
    pub model_name: &'a str,
    /// Its version.
    pub model_version: i64,
    /// Response parameters.
    pub parameters: &'a [Parameter],
}

/// A response ready to be written: the head, then the binary tensors as they are.
#[derive(Clone, Debug)]
pub struct EncodedResponse {
    /// JSON.
    pub head: Bytes,
    /// Binary tensors in order, none empty.
    pub tensors: SmallVec<[Bytes; 2]>,
}

/// Encodes a response (P063-P069, P076-P078); binary outputs are moved, not copied.
///
/// # Errors
/// `InvalidArg` for an output that has no JSON form but was not asked for as binary; `Unsupported`
/// for one outside host memory; `Internal` if its data does not fit its type.
pub fn encode_infer_response(
    response: &ResponseHead<'_>,
    outputs: impl ExactSizeIterator<Item = OutputTensor>,
    encoding: &OutputEncoding,
) -> Result<EncodedResponse> {
    let mut writer = Writer::with_capacity(256);
    let mut tensors = SmallVec::new();
    writer.begin_object();
    write_head(&mut writer, response);
    writer.key("outputs");
    writer.begin_array();
    for output in outputs {
        if is_with_client(&output) {
            begin_output(&mut writer, &output);
            writer.end_object();
        } else if encoding.is_binary(&output.name) {
            tensors.extend(write_binary_output(&mut writer, output)?);
        } else {
            write_json_output(&mut writer, &output)?;
        }
    }
    writer.end_array();
    writer.end_object();
    Ok(EncodedResponse {
        head: writer.into_bytes().into(),
        tensors,
    })
}

fn write_head(writer: &mut Writer, response: &ResponseHead<'_>) {
    if !response.id.is_empty() {
        writer.key("id");
        writer.string(response.id);
    }
    writer.key("model_name");
    writer.string(response.model_name);
    writer.key("model_version");
    writer.quoted_integer(response.model_version);
    if !response.parameters.is_empty() {
        writer.key("parameters");
        writer.begin_object();
        for parameter in response.parameters {
            writer.key(&parameter.name);
            write_parameter(writer, &parameter.value);
        }
        writer.end_object();
    }
}

pub(crate) fn write_parameter(writer: &mut Writer, value: &ParameterValue) {
    match value {
        ParameterValue::String(text) => writer.string(text),
        ParameterValue::Int(value) => writer.integer(*value),
        ParameterValue::Bool(value) => writer.bool(*value),
        ParameterValue::Double(value) => writer.double(*value),
    }
}

/// Returns whether the data has gone to the client's shared memory, and so needs no form here.
fn is_with_client(output: &OutputTensor) -> bool {
    output
        .buffer
        .as_ref()
        .is_some_and(OutputBuffer::is_with_client)
}

fn begin_output(writer: &mut Writer, output: &OutputTensor) {
    writer.begin_object();
    writer.key("name");
    writer.string(&output.name);
    writer.key("datatype");
    writer.string(output.data_type.as_str());
    writer.key("shape");
    writer.begin_array();
    for dim in output.shape.iter() {
        writer.integer(*dim);
    }
    writer.end_array();
}

/// Returns the data, `None` where there is no byte (P078).
fn write_binary_output(writer: &mut Writer, output: OutputTensor) -> Result<Option<Bytes>> {
    begin_output(writer, &output);
    let data = match output.buffer.map(OutputBuffer::into_bytes) {
        None => Bytes::new(),
        Some(Ok(data)) => data,
        Some(Err(foreign)) => {
            let data = foreign
                .as_slice()
                .ok_or_else(|| not_in_host_memory(&output.name))?;
            Bytes::copy_from_slice(data)
        }
    };
    writer.key("parameters");
    writer.begin_object();
    writer.key("binary_data_size");
    writer.integer(data.len());
    writer.end_object();
    writer.end_object();
    Ok((!data.is_empty()).then_some(data))
}

fn write_json_output(writer: &mut Writer, output: &OutputTensor) -> Result<()> {
    let data = checked_data(output)?;
    begin_output(writer, output);
    writer.key("data");
    writer.begin_array();
    write_elements(writer, output, data)?;
    writer.end_array();
    writer.end_object();
    Ok(())
}

/// Writes an output flat, and bare where it has one element (P114).
pub(crate) fn write_generated(writer: &mut Writer, output: &OutputTensor) -> Result<()> {
    let data = checked_data(output)?;
    if output.shape.element_count() == Ok(1) {
        return write_elements(writer, output, data);
    }
    writer.begin_array();
    write_elements(writer, output, data)?;
    writer.end_array();
    Ok(())
}

/// Returns the data, which is what the shape says.
fn checked_data(output: &OutputTensor) -> Result<&[u8]> {
    let data = match &output.buffer {
        None => &[],
        Some(buffer) => buffer
            .as_slice()
            .ok_or_else(|| not_in_host_memory(&output.name))?,
    };
    check_size(output, data)?;
    Ok(data)
}

fn write_elements(writer: &mut Writer, output: &OutputTensor, data: &[u8]) -> Result<()> {
    match output.data_type {
        DataType::Fp16 | DataType::Bf16 => {
            return Err(Error::invalid_arg(format!(
                "sending {} data via JSON is not supported. Please use the binary data format \
                 for output",
                output.data_type
            )));
        }
        DataType::Bool => data.iter().for_each(|element| writer.bool(*element != 0)),
        DataType::Uint8 => each(data, |element| writer.integer(u8::from_le_bytes(element))),
        DataType::Uint16 => each(data, |element| writer.integer(u16::from_le_bytes(element))),
        DataType::Uint32 => each(data, |element| writer.integer(u32::from_le_bytes(element))),
        DataType::Uint64 => each(data, |element| writer.integer(u64::from_le_bytes(element))),
        DataType::Int8 => each(data, |element| writer.integer(i8::from_le_bytes(element))),
        DataType::Int16 => each(data, |element| writer.integer(i16::from_le_bytes(element))),
        DataType::Int32 => each(data, |element| writer.integer(i32::from_le_bytes(element))),
        DataType::Int64 => each(data, |element| writer.integer(i64::from_le_bytes(element))),
        // Widened, then printed as a double: 0.1 becomes 0.10000000149011612, as in Triton.
        DataType::Fp32 => each(data, |element| {
            writer.double(f32::from_le_bytes(element).into())
        }),
        DataType::Fp64 => each(data, |element| writer.double(f64::from_le_bytes(element))),
        DataType::Bytes => write_strings(writer, output, data)?,
    }
    Ok(())
}

fn each<const SIZE: usize>(data: &[u8], write: impl FnMut([u8; SIZE])) {
    let (elements, _) = data.as_chunks::<SIZE>();
    elements.iter().copied().for_each(write);
}

/// Writes `BYTES` elements as strings. Triton writes bytes that are not UTF-8 as they are, which no
/// JSON reader takes; here they are refused with a hint.
fn write_strings(writer: &mut Writer, output: &OutputTensor, data: &[u8]) -> Result<()> {
    for element in BytesElements::new(data) {
        let element = element.map_err(|source| wrong_data(output).with_source(source))?;
        let text = std::str::from_utf8(element).map_err(|source| {
            Error::invalid_arg(format!(
                "output '{}' has an element that is not UTF-8 text and cannot be sent via JSON. \
                 Please use the binary data format for this output",
                output.name
            ))
            .with_source(source)
        })?;
        writer.string(text);
    }
    Ok(())
}

/// Checks that the data is what the shape says, so that `data` has as many elements.
fn check_size(output: &OutputTensor, data: &[u8]) -> Result<()> {
    let expected = output
        .shape
        .element_count()
        .map_err(|source| wrong_data(output).with_source(source))?;
    let got = match output.data_type.element_size() {
        Some(size) if data.len().is_multiple_of(size) => data.len() / size,
        Some(_) => return Err(wrong_data(output)),
        None => {
            bytes_element_count(data).map_err(|source| wrong_data(output).with_source(source))?
        }
    };
    if got == expected {
        Ok(())
    } else {
        Err(wrong_data(output))
    }
}

fn wrong_data(output: &OutputTensor) -> Error {
    Error::internal(format!(
        "the data of output '{}' does not match its shape {} and data type {}",
        output.name, output.shape, output.data_type
    ))
}

fn not_in_host_memory(output: &str) -> Error {
    Error::unsupported(format!("output '{output}' is not in host memory"))
}
