// SPDX-License-Identifier: Apache-2.0
use bytes::Bytes;
use smallvec::SmallVec;
use tritongw_types::DataType;

use super::wire::{Field, Fields, MalformedMessage, Value, count_varints, read_varint};

/// Lists of `InferTensorContents`, field numbers 1 to 8.
const LIST_COUNT: usize = 8;

/// `InferTensorContents`: checked and counted when the message is read, turned into the tensor's
/// wire layout when its data type is known (P137).
#[derive(Clone, Debug, Default)]
pub struct TypedContents<'a> {
    // More than one if the field was sent more than once: protobuf merges them.
    messages: SmallVec<[&'a [u8]; 1]>,
    counts: [usize; LIST_COUNT],
}

impl<'a> TypedContents<'a> {
    /// Checks and counts the elements of one more message.
    pub(super) fn merge(&mut self, message: &'a [u8]) -> Result<(), MalformedMessage> {
        for field in Fields::new(message) {
            let Field { number, value } = field?;
            let added = match (number, value) {
                (1..=5, Value::Varint(_)) | (6, Value::Fixed32(_)) | (7, Value::Fixed64(_)) => 1,
                (8, Value::Bytes(_)) => 1,
                (1..=5, Value::Bytes(packed)) => count_varints(packed)?,
                (6, Value::Bytes(packed)) => count_fixed(packed, 4)?,
                (7, Value::Bytes(packed)) => count_fixed(packed, 8)?,
                _ => continue,
            };
            self.counts[number as usize - 1] += added;
        }
        self.messages.push(message);
        Ok(())
    }

    /// Returns the tensor in its wire layout: little-endian, `BYTES` elements with their lengths.
    /// A single packed list of floats is returned as a slice of `message`.
    ///
    /// Values too wide for an 8- or 16-bit type lose their upper bits. Triton: `infer_handler.cc`
    /// picks the least significant bytes.
    ///
    /// # Errors
    /// The type of the first list that holds elements and does not go with `data_type`.
    pub fn to_tensor(
        &self,
        data_type: Option<DataType>,
        message: &Bytes,
    ) -> Result<Bytes, DataType> {
        for (i, &count) in self.counts.iter().enumerate() {
            let number = i as u32 + 1;
            if count != 0 && data_type.and_then(list_of) != Some(number) {
                return Err(type_of(number));
            }
        }
        let Some(data_type) = data_type else {
            return Ok(Bytes::new());
        };
        let Some(number) = list_of(data_type) else {
            return Ok(Bytes::new());
        };
        if let Some(packed) = self.single_packed(number) {
            return Ok(message.slice_ref(packed));
        }
        Ok(Bytes::from(self.gather(number, data_type)))
    }

    /// Returns the one packed list of `FP32` or `FP64` elements: already in wire layout.
    fn single_packed(&self, number: u32) -> Option<&'a [u8]> {
        if number != 6 && number != 7 {
            return None;
        }
        let mut lists = self.values(number);
        match (lists.next()?, lists.next()) {
            (Value::Bytes(packed), None) => Some(packed),
            _ => None,
        }
    }

    fn gather(&self, number: u32, data_type: DataType) -> Vec<u8> {
        let count = self.counts[number as usize - 1];
        let width = data_type.element_size();
        // BYTES grows as it must; 4 is the length before each element.
        let mut tensor = Vec::with_capacity(count.saturating_mul(width.unwrap_or(4)));
        for value in self.values(number) {
            match value {
                Value::Varint(value) => put_integer(&mut tensor, value, data_type),
                Value::Fixed32(value) => tensor.extend_from_slice(&value.to_le_bytes()),
                Value::Fixed64(value) => tensor.extend_from_slice(&value.to_le_bytes()),
                Value::Bytes(element) if data_type == DataType::Bytes => {
                    // A message is below 2 GiB, so is its element.
                    tensor.extend_from_slice(&(element.len() as u32).to_le_bytes());
                    tensor.extend_from_slice(element);
                }
                Value::Bytes(packed) if number >= 6 => tensor.extend_from_slice(packed),
                Value::Bytes(packed) => put_packed(&mut tensor, packed, data_type),
            }
        }
        tensor
    }

    /// Walks the values of one list; `merge` has checked that all are well formed.
    fn values(&self, number: u32) -> impl Iterator<Item = Value<'a>> {
        self.messages
            .iter()
            .flat_map(|message| Fields::new(message))
            .map_while(Result::ok)
            .filter(move |field| field.number == number && fits(number, field.value))
            .map(|field| field.value)
    }
}

/// Returns whether a value has a wire type its list can have; others are passed over.
fn fits(number: u32, value: Value<'_>) -> bool {
    match value {
        Value::Bytes(_) => true,
        Value::Varint(_) => number <= 5,
        Value::Fixed32(_) => number == 6,
        Value::Fixed64(_) => number == 7,
    }
}

fn count_fixed(packed: &[u8], width: usize) -> Result<usize, MalformedMessage> {
    if packed.len().is_multiple_of(width) {
        Ok(packed.len() / width)
    } else {
        Err(MalformedMessage)
    }
}

fn put_packed(tensor: &mut Vec<u8>, mut packed: &[u8], data_type: DataType) {
    while let Ok(value) = read_varint(&mut packed) {
        put_integer(tensor, value, data_type);
    }
}

fn put_integer(tensor: &mut Vec<u8>, value: u64, data_type: DataType) {
    match data_type {
        DataType::Bool => tensor.push(u8::from(value != 0)),
        DataType::Int8 | DataType::Uint8 => tensor.push(value as u8),
        DataType::Int16 | DataType::Uint16 => {
            tensor.extend_from_slice(&(value as u16).to_le_bytes());
        }
        DataType::Int32 | DataType::Uint32 => {
            tensor.extend_from_slice(&(value as u32).to_le_bytes());
        }
        _ => tensor.extend_from_slice(&value.to_le_bytes()),
    }
}

/// Returns the field number of the list that holds elements of `data_type`; half floats have none.
fn list_of(data_type: DataType) -> Option<u32> {
    Some(match data_type {
        DataType::Bool => 1,
        DataType::Int8 | DataType::Int16 | DataType::Int32 => 2,
        DataType::Int64 => 3,
        DataType::Uint8 | DataType::Uint16 | DataType::Uint32 => 4,
        DataType::Uint64 => 5,
        DataType::Fp32 => 6,
        DataType::Fp64 => 7,
        DataType::Bytes => 8,
        DataType::Fp16 | DataType::Bf16 => return None,
    })
}

/// Returns the type Triton names when it refuses a list.
fn type_of(number: u32) -> DataType {
    match number {
        1 => DataType::Bool,
        2 => DataType::Int32,
        3 => DataType::Int64,
        4 => DataType::Uint32,
        5 => DataType::Uint64,
        6 => DataType::Fp32,
        7 => DataType::Fp64,
        _ => DataType::Bytes,
    }
}
