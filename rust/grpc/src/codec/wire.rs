// SPDX-License-Identifier: Apache-2.0
//! The protobuf wire format: reading fields one by one, writing them into a `Vec`.

use std::fmt;

/// Groups nested deeper than this are refused, as every protobuf library does.
const MAX_GROUP_DEPTH: u32 = 100;

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH_DELIMITED: u32 = 2;
const START_GROUP: u32 = 3;
const END_GROUP: u32 = 4;
const FIXED32: u32 = 5;

/// The message is no protobuf message of its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedMessage;

impl fmt::Display for MalformedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed protobuf message")
    }
}

impl std::error::Error for MalformedMessage {}

/// One field as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    pub(super) value: Value<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// Walks the fields of a message. Groups are skipped; a field of an unexpected wire type is for
/// the caller to pass over like an unknown one, as the C++ library does.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn next_field(&mut self) -> Result<Option<Field<'a>>, MalformedMessage> {
        while !self.rest.is_empty() {
            let (number, wire_type) = self.tag()?;
            if wire_type == START_GROUP {
                self.skip_group(number)?;
                continue;
            }
            return Ok(Some(Field {
                number,
                value: self.value(wire_type)?,
            }));
        }
        Ok(None)
    }

    /// Returns what is there of the next field's bytes and of all behind them, if it is the field
    /// of this number and holds bytes. Takes nothing.
    pub(super) fn peek_bytes(&self, number: u32) -> Option<&'a [u8]> {
        let mut ahead = Self { rest: self.rest };
        if ahead.tag().ok()? != (number, LENGTH_DELIMITED) {
            return None;
        }
        read_varint(&mut ahead.rest).ok()?;
        Some(ahead.rest)
    }

    fn tag(&mut self) -> Result<(u32, u32), MalformedMessage> {
        let tag = u32::try_from(read_varint(&mut self.rest)?).map_err(|_| MalformedMessage)?;
        let number = tag >> 3;
        if number == 0 {
            Err(MalformedMessage)
        } else {
            Ok((number, tag & 7))
        }
    }

    fn value(&mut self, wire_type: u32) -> Result<Value<'a>, MalformedMessage> {
        Ok(match wire_type {
            VARINT => Value::Varint(read_varint(&mut self.rest)?),
            FIXED64 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            FIXED32 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            LENGTH_DELIMITED => {
                let length =
                    usize::try_from(read_varint(&mut self.rest)?).map_err(|_| MalformedMessage)?;
                let (value, rest) = self.rest.split_at_checked(length).ok_or(MalformedMessage)?;
                self.rest = rest;
                Value::Bytes(value)
            }
            _ => return Err(MalformedMessage),
        })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MalformedMessage> {
        let (value, rest) = self.rest.split_first_chunk::<N>().ok_or(MalformedMessage)?;
        self.rest = rest;
        Ok(*value)
    }

    fn skip_group(&mut self, outermost: u32) -> Result<(), MalformedMessage> {
        let mut open = vec![outermost];
        while let Some(&innermost) = open.last() {
            let (number, wire_type) = self.tag()?;
            match wire_type {
                START_GROUP if open.len() as u32 >= MAX_GROUP_DEPTH => {
                    return Err(MalformedMessage);
                }
                START_GROUP => open.push(number),
                END_GROUP if number == innermost => {
                    open.pop();
                }
                END_GROUP => return Err(MalformedMessage),
                _ => {
                    self.value(wire_type)?;
                }
            }
        }
        Ok(())
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, MalformedMessage>;

    fn next(&mut self) -> Option<Self::Item> {
        let field = self.next_field();
        if field.is_err() {
            self.rest = &[];
        }
        field.transpose()
    }
}

/// Takes a varint off the front of `data`.
pub(super) fn read_varint(data: &mut &[u8]) -> Result<u64, MalformedMessage> {
    let mut value = 0;
    for (i, &byte) in data.iter().take(10).enumerate() {
        // The tenth byte has room for one bit; C++ drops the others.
        value |= u64::from(byte & 0x7f).wrapping_shl(7 * i as u32);
        if byte < 0x80 {
            *data = &data[i + 1..];
            return Ok(value);
        }
    }
    Err(MalformedMessage)
}

/// Counts the varints of a packed field.
pub(super) fn count_varints(packed: &[u8]) -> Result<usize, MalformedMessage> {
    let mut count = 0;
    let mut length = 0;
    for &byte in packed {
        length += 1;
        if byte < 0x80 {
            count += 1;
            length = 0;
        } else if length == 10 {
            return Err(MalformedMessage);
        }
    }
    if length == 0 {
        Ok(count)
    } else {
        Err(MalformedMessage)
    }
}

/// Returns the text of a `string` field, which must be UTF-8.
pub(super) fn text(value: &[u8]) -> Result<&str, MalformedMessage> {
    std::str::from_utf8(value).map_err(|_| MalformedMessage)
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_varint_field(out: &mut Vec<u8>, number: u32, value: u64) {
    put_varint(out, u64::from(number << 3 | VARINT));
    put_varint(out, value);
}

pub(super) fn put_fixed64_field(out: &mut Vec<u8>, number: u32, value: u64) {
    put_varint(out, u64::from(number << 3 | FIXED64));
    out.extend_from_slice(&value.to_le_bytes());
}

/// Writes tag and length of a field whose `length` bytes the caller puts behind it.
pub(super) fn put_length(out: &mut Vec<u8>, number: u32, length: usize) {
    put_varint(out, u64::from(number << 3 | LENGTH_DELIMITED));
    put_varint(out, length as u64);
}

/// Writes a text field.
pub(super) fn put_text(out: &mut Vec<u8>, number: u32, text: &str) {
    put_length(out, number, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// Writes a nested message or a packed list with what `write` puts into it.
pub(super) fn put_nested(out: &mut Vec<u8>, number: u32, write: impl FnOnce(&mut Vec<u8>)) {
    put_length(out, number, 0);
    let start = out.len();
    write(out);
    let length = out.len() - start;
    if length < 0x80 {
        out[start - 1] = length as u8;
        return;
    }
    // Rare: the length takes more than the one byte left for it.
    let mut prefix = Vec::new();
    put_varint(&mut prefix, length as u64);
    out.splice(start - 1..start, prefix);
}
