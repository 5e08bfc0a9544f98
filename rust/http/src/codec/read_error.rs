// SPDX-License-Identifier: Apache-2.0
use std::borrow::Cow;

use tritongw_types::Error;

use crate::json::{Reader, SyntaxError, ValueKind};

/// Why a head was refused: it is no JSON, or its JSON is no inference request.
#[derive(Debug)]
pub(crate) enum ReadError {
    Syntax(SyntaxError),
    Invalid(Error),
}

impl From<SyntaxError> for ReadError {
    fn from(error: SyntaxError) -> Self {
        Self::Syntax(error)
    }
}

impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        Self::Invalid(error)
    }
}

pub(crate) type Result<T, E = ReadError> = std::result::Result<T, E>;

/// What Triton says of a value of the wrong type, after the field's name (P059).
pub(super) const NOT_A_STRING: &str = "attempt to access JSON non-string as string";
pub(super) const NOT_AN_ARRAY: &str = "attempt to access JSON non-array as array";
pub(super) const NOT_A_BOOL: &str = "attempt to access JSON non-boolean as boolean";
pub(super) const NOT_A_NUMBER: &str = "attempt to access JSON non-number as double";
pub(super) const NOT_SIGNED: &str = "attempt to access JSON non-signed-integer as signed-integer";
pub(super) const NOT_UNSIGNED: &str =
    "attempt to access JSON non-unsigned-integer as unsigned-integer";

pub(super) fn unable_to_parse(field: &str, problem: &str) -> ReadError {
    Error::internal(format!("Unable to parse '{field}': {problem}")).into()
}

pub(super) fn missing_member(field: &str) -> ReadError {
    unable_to_parse(
        field,
        &format!("attempt to access non-existing object member '{field}'"),
    )
}

/// Reads a string; bytes that are not UTF-8 become replacement characters.
pub(crate) fn read_string<'a>(reader: &mut Reader<'a>, field: &str) -> Result<Cow<'a, str>> {
    if reader.kind() != ValueKind::String {
        return Err(unable_to_parse(field, NOT_A_STRING));
    }
    Ok(match reader.read_string()? {
        Cow::Borrowed(text) => String::from_utf8_lossy(text),
        Cow::Owned(text) => Cow::Owned(String::from_utf8_lossy(&text).into_owned()),
    })
}

pub(super) fn read_bool(reader: &mut Reader<'_>, field: &str) -> Result<bool> {
    if reader.kind() != ValueKind::Bool {
        return Err(unable_to_parse(field, NOT_A_BOOL));
    }
    Ok(reader.read_bool()?)
}

pub(super) fn read_unsigned(reader: &mut Reader<'_>, field: &str) -> Result<u64> {
    let number = match reader.kind() {
        ValueKind::Number => reader.read_number()?.as_u64(),
        _ => None,
    };
    number.ok_or_else(|| unable_to_parse(field, NOT_UNSIGNED))
}
