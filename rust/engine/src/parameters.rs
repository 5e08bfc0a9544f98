// SPDX-License-Identifier: Apache-2.0
//! Request parameters as both protocols give them: which are the server's, which the model's
//! (P055, P056, P140-P144).

use tritongw_types::{CName, CorrelationId, Error, ParameterValue, Result};

use crate::request::{InferenceRequest, SequenceFlags};

/// A parameter as a door decoded it.
#[derive(Clone, Debug, PartialEq)]
pub enum RequestParameter<'a> {
    /// Text.
    String(&'a str),
    /// Signed integer.
    Int(i64),
    /// Integer beyond the signed range, or of the unsigned kind.
    UInt(u64),
    /// Truth value.
    Bool(bool),
    /// Floating-point number.
    Double(f64),
}

/// Parameters of a request that the server understands itself (P055, P056).
const SERVER_PARAMETERS: [&str; 7] = [
    "sequence_id",
    "sequence_start",
    "sequence_end",
    "priority",
    "timeout",
    "binary_data_output",
    "headers",
];

/// Returns whether a parameter of this name would be the server's, and can be no model's.
pub fn is_reserved(name: &str) -> bool {
    name.starts_with("triton_") || SERVER_PARAMETERS.contains(&name)
}

/// Applies one parameter to `request`: sets the field it stands for, or passes it to the model.
///
/// # Errors
/// `InvalidArg` if the type does not fit the name, or the name is reserved.
pub fn apply(
    request: &mut InferenceRequest,
    name: &str,
    value: &RequestParameter<'_>,
) -> Result<()> {
    match name {
        "sequence_id" => request.set_correlation_id(correlation_id(value)?),
        "sequence_start" => set_flag(request, SequenceFlags::START, name, value)?,
        "sequence_end" => set_flag(request, SequenceFlags::END, name, value)?,
        "priority" => request.set_priority(unsigned(name, value)?),
        "timeout" => request.set_timeout_us(unsigned(name, value)?),
        _ => request.add_parameter(name, custom(name, value)?),
    }
    Ok(())
}

fn correlation_id(value: &RequestParameter<'_>) -> Result<CorrelationId> {
    match value {
        RequestParameter::Int(id) => Ok(CorrelationId::UInt(id.cast_unsigned())),
        RequestParameter::UInt(id) => Ok(CorrelationId::UInt(*id)),
        RequestParameter::String(id) => Ok(CorrelationId::String(CName::new(id))),
        RequestParameter::Bool(_) | RequestParameter::Double(_) => {
            Err(wrong_type("sequence_id", value, "an int64 or string"))
        }
    }
}

fn set_flag(
    request: &mut InferenceRequest,
    flag: SequenceFlags,
    name: &str,
    value: &RequestParameter<'_>,
) -> Result<()> {
    let RequestParameter::Bool(is_set) = value else {
        return Err(wrong_type(name, value, "a bool"));
    };
    if *is_set {
        request.set_flags(request.flags().with(flag));
    }
    Ok(())
}

fn unsigned(name: &str, value: &RequestParameter<'_>) -> Result<u64> {
    match value {
        RequestParameter::Int(number) => u64::try_from(*number).map_err(|_| {
            Error::invalid_arg(format!("parameter '{name}' must be >= 0, got {number}"))
        }),
        RequestParameter::UInt(number) => Ok(*number),
        _ => Err(wrong_type(name, value, "an int64")),
    }
}

fn custom(name: &str, value: &RequestParameter<'_>) -> Result<ParameterValue> {
    if is_reserved(name) {
        return Err(Error::invalid_arg(format!(
            "parameter keys starting with 'triton_' are reserved for Triton usage. Parameter \
             '{name}' is reserved."
        )));
    }
    Ok(match value {
        RequestParameter::String(text) => ParameterValue::String(CName::new(text)),
        RequestParameter::Int(number) => ParameterValue::Int(*number),
        RequestParameter::Bool(flag) => ParameterValue::Bool(*flag),
        RequestParameter::Double(number) => ParameterValue::Double(*number),
        RequestParameter::UInt(_) => {
            return Err(wrong_type(name, value, "an int64, bool, string or double"));
        }
    })
}

fn wrong_type(name: &str, value: &RequestParameter<'_>, expected: &str) -> Error {
    let got = match value {
        RequestParameter::String(_) => "string_param",
        RequestParameter::Int(_) => "int64_param",
        RequestParameter::UInt(_) => "uint64_param",
        RequestParameter::Bool(_) => "bool_param",
        RequestParameter::Double(_) => "double_param",
    };
    Error::invalid_arg(format!(
        "invalid value type for '{name}' parameter, expected {expected}, got {got}"
    ))
}
