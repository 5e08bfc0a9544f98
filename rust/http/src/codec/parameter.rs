// SPDX-License-Identifier: Apache-2.0
//! Request parameters (P055, P056).

use tritongw_engine::parameters::RequestParameter;
use tritongw_types::{CName, Error, ParameterValue};

use super::read_error::{ReadError, Result, read_bool, read_string, read_unsigned};
use crate::json::{Number, Reader, ValueKind};

/// One request parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadParameter {
    /// Name.
    pub name: CName,
    /// Value.
    pub value: HeadParameterValue,
}

/// Value of a request parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum HeadParameterValue {
    /// Text.
    String(String),
    /// Integer of the signed range.
    Int(i64),
    /// Integer beyond it.
    UInt(u64),
    /// Truth value.
    Bool(bool),
    /// Any other number.
    Double(f64),
}

impl HeadParameterValue {
    /// Returns the value as a model sees it: beyond the signed range a double.
    #[expect(clippy::cast_precision_loss, reason = "Triton widens in the same way")]
    pub(crate) fn into_parameter(self) -> ParameterValue {
        match self {
            Self::String(text) => ParameterValue::String(CName::new(&text)),
            Self::Int(number) => ParameterValue::Int(number),
            Self::UInt(number) => ParameterValue::Double(number as f64),
            Self::Bool(flag) => ParameterValue::Bool(flag),
            Self::Double(number) => ParameterValue::Double(number),
        }
    }

    /// Returns the value as the engine takes it.
    pub fn as_request_parameter(&self) -> RequestParameter<'_> {
        match self {
            Self::String(text) => RequestParameter::String(text),
            Self::Int(number) => RequestParameter::Int(*number),
            Self::UInt(number) => RequestParameter::UInt(*number),
            Self::Bool(flag) => RequestParameter::Bool(*flag),
            Self::Double(number) => RequestParameter::Double(*number),
        }
    }
}

/// Reads the value of request parameter `name`, whose type the name decides where it is the
/// server's.
pub(super) fn read(reader: &mut Reader<'_>, name: &str) -> Result<HeadParameterValue> {
    match name {
        "sequence_id" => read_sequence_id(reader),
        "sequence_start" | "sequence_end" => read_bool(reader, name).map(HeadParameterValue::Bool),
        "priority" | "timeout" => read_unsigned(reader, name).map(HeadParameterValue::UInt),
        _ if name.starts_with("triton_") => Err(reserved()),
        _ => read_custom(reader, name),
    }
}

/// Says that a name is Triton's own (P056).
pub(crate) fn reserved() -> ReadError {
    Error::invalid_arg(
        "parameter keys starting with 'triton_' are reserved for Triton usage and should not be \
         specified.",
    )
    .into()
}

fn read_sequence_id(reader: &mut Reader<'_>) -> Result<HeadParameterValue> {
    // Anything but an unsigned integer is taken for a string, and named so where it is none.
    if reader.kind() == ValueKind::Number
        && let Some(id) = reader.clone().read_number()?.as_u64()
    {
        reader.skip_value()?;
        return Ok(HeadParameterValue::UInt(id));
    }
    let id = read_string(reader, "sequence_id")?;
    Ok(HeadParameterValue::String(id.into_owned()))
}

/// Reads a parameter of a name that means nothing to the server.
pub(crate) fn read_custom(reader: &mut Reader<'_>, name: &str) -> Result<HeadParameterValue> {
    Ok(match reader.kind() {
        ValueKind::String => HeadParameterValue::String(read_string(reader, name)?.into_owned()),
        ValueKind::Bool => HeadParameterValue::Bool(reader.read_bool()?),
        ValueKind::Number => match reader.read_number()? {
            Number::Int(value) => HeadParameterValue::Int(value),
            // Beyond the signed range a model sees a double.
            number => HeadParameterValue::Double(number.as_f64()),
        },
        ValueKind::Object | ValueKind::Array | ValueKind::Null | ValueKind::Invalid => {
            return Err(ReadError::Invalid(Error::invalid_arg(format!(
                "parameter '{name}' has invalid type. It should be either 'int', 'bool', or \
                 'string'."
            ))));
        }
    })
}
