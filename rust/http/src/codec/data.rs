// SPDX-License-Identifier: Apache-2.0
//! JSON `data` straight into a tensor's bytes (P052, P053, P074).

use tritongw_types::{DataType, Error};

use super::read_error::{
    NOT_A_BOOL, NOT_A_NUMBER, NOT_A_STRING, NOT_AN_ARRAY, NOT_SIGNED, NOT_UNSIGNED, Result,
    unable_to_parse,
};
use crate::json::{Number, Reader, ValueKind};

/// Elements of a tensor as they were read.
#[derive(Debug, Default)]
pub(crate) struct JsonData {
    /// The elements in the wire's layout.
    pub(crate) bytes: Vec<u8>,
    /// How many there are.
    pub(crate) count: usize,
}

/// Returns whether JSON has a form for this type; the 16-bit floats go as binary only.
pub(crate) fn has_json_form(data_type: DataType) -> bool {
    !matches!(data_type, DataType::Fp16 | DataType::Bf16)
}

/// Reads `data`, nested or flat, whose type [has a JSON form](has_json_form).
///
/// `expected` is a hint for the memory to take at first; it is the client's word, so no more is
/// taken than the rest of the text can fill.
pub(super) fn read(
    reader: &mut Reader<'_>,
    data_type: DataType,
    expected: Option<usize>,
) -> Result<JsonData> {
    if reader.kind() != ValueKind::Array {
        return Err(unable_to_parse("data", NOT_AN_ARRAY));
    }
    read_scalars(reader, data_type, expected.unwrap_or_default())
}

/// Reads one element, or an array of them, nested or flat; `expected` and the type are as for
/// [`read`].
pub(crate) fn read_scalars(
    reader: &mut Reader<'_>,
    data_type: DataType,
    expected: usize,
) -> Result<JsonData> {
    let mut data = JsonData::default();
    if let Some(size) = data_type.element_size() {
        // An element and its comma take two bytes at least.
        let most = reader.remaining() / 2 + 1;
        data.bytes.reserve(expected.min(most).saturating_mul(size));
    }
    match data_type {
        DataType::Bool => read_bools(reader, &mut data)?,
        DataType::Bytes => read_strings(reader, &mut data)?,
        _ => read_numbers(reader, &mut data, data_type)?,
    }
    Ok(data)
}

/// Calls `scalar` for each element of an array, or for the one value.
fn for_each(
    reader: &mut Reader<'_>,
    mut scalar: impl FnMut(&mut Reader<'_>) -> Result<()>,
) -> Result<()> {
    if reader.kind() == ValueKind::Array {
        reader.read_flattened(scalar)
    } else {
        scalar(reader)
    }
}

/// Integers are narrowed without a check, as Triton does.
#[expect(
    clippy::cast_possible_truncation,
    reason = "Triton narrows in the same way"
)]
fn read_numbers(reader: &mut Reader<'_>, data: &mut JsonData, data_type: DataType) -> Result<()> {
    let data_bytes = data;
    macro_rules! elements {
        ($problem:expr, $convert:expr) => {
            read_each(reader, data_bytes, $problem, $convert)
        };
    }
    match data_type {
        DataType::Int8 => elements!(NOT_SIGNED, |n| Some((n.as_i64()? as i8).to_le_bytes())),
        DataType::Int16 => elements!(NOT_SIGNED, |n| Some((n.as_i64()? as i16).to_le_bytes())),
        DataType::Int32 => elements!(NOT_SIGNED, |n| Some((n.as_i64()? as i32).to_le_bytes())),
        DataType::Int64 => elements!(NOT_SIGNED, |n| Some(n.as_i64()?.to_le_bytes())),
        DataType::Uint8 => elements!(NOT_UNSIGNED, |n| Some((n.as_u64()? as u8).to_le_bytes())),
        DataType::Uint16 => elements!(NOT_UNSIGNED, |n| Some((n.as_u64()? as u16).to_le_bytes())),
        DataType::Uint32 => elements!(NOT_UNSIGNED, |n| Some((n.as_u64()? as u32).to_le_bytes())),
        DataType::Uint64 => elements!(NOT_UNSIGNED, |n| Some(n.as_u64()?.to_le_bytes())),
        DataType::Fp32 => elements!(NOT_A_NUMBER, |n| Some((n.as_f64() as f32).to_le_bytes())),
        DataType::Fp64 => elements!(NOT_A_NUMBER, |n| Some(n.as_f64().to_le_bytes())),
        DataType::Bool | DataType::Bytes | DataType::Fp16 | DataType::Bf16 => {
            Err(Error::internal(format!("{data_type} elements are no JSON numbers")).into())
        }
    }
}

fn read_each<const SIZE: usize>(
    reader: &mut Reader<'_>,
    data: &mut JsonData,
    problem: &str,
    convert: impl Fn(Number) -> Option<[u8; SIZE]>,
) -> Result<()> {
    for_each(reader, |reader| {
        let element = match reader.kind() {
            ValueKind::Number => convert(reader.read_number()?),
            _ => None,
        };
        let element = element.ok_or_else(|| unable_to_parse("data", problem))?;
        data.bytes.extend_from_slice(&element);
        data.count += 1;
        Ok(())
    })
}

fn read_bools(reader: &mut Reader<'_>, data: &mut JsonData) -> Result<()> {
    for_each(reader, |reader| {
        if reader.kind() != ValueKind::Bool {
            return Err(unable_to_parse("data", NOT_A_BOOL));
        }
        data.bytes.push(u8::from(reader.read_bool()?));
        data.count += 1;
        Ok(())
    })
}

fn read_strings(reader: &mut Reader<'_>, data: &mut JsonData) -> Result<()> {
    for_each(reader, |reader| {
        if reader.kind() != ValueKind::String {
            let message = format!("Unable to parse JSON bytes array: {NOT_A_STRING}");
            return Err(Error::internal(message).into());
        }
        let element = reader.read_string()?;
        let length = u32::try_from(element.len())
            .map_err(|_| unable_to_parse("data", "a string is longer than 4294967295 bytes"))?;
        data.bytes.extend_from_slice(&length.to_le_bytes());
        data.bytes.extend_from_slice(&element);
        data.count += 1;
        Ok(())
    })
}
