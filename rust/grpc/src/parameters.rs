// SPDX-License-Identifier: Apache-2.0
//! Request parameters (P140-P144): which are the server's, and which the model's.
//!
//! Triton: `SetInferenceRequestMetadata` in `infer_handler.cc`; its texts name the fields of
//! `InferParameter`, so they are this door's own.

use tritongw_engine::{InferenceRequest, SequenceFlags};
use tritongw_types::{CName, CorrelationId, Error, ParameterValue, Result};

use crate::codec::{InferParameter, Parameters};

const EMPTY_FINAL_RESPONSE: &str = "triton_enable_empty_final_response";

/// Applies one parameter: sets the field of the request it stands for, or passes it to the model.
pub(crate) fn apply(
    request: &mut InferenceRequest,
    name: &str,
    value: InferParameter<'_>,
) -> Result<()> {
    match name {
        "sequence_id" => request.set_correlation_id(correlation_id(name, value)?),
        "sequence_start" => set_flag(request, SequenceFlags::START, name, value)?,
        "sequence_end" => set_flag(request, SequenceFlags::END, name, value)?,
        "priority" => request.set_priority(priority(name, value)?),
        "timeout" => request.set_timeout_us(timeout(name, value)?),
        // Only of use on a stream; a unary call always has one response.
        EMPTY_FINAL_RESPONSE => drop(boolean(name, value)?),
        _ if name.starts_with("triton_") => {
            return Err(Error::invalid_arg(format!(
                "parameter keys starting with 'triton_' are reserved for Triton usage. Only the \
                 following keys starting with 'triton_' are allowed: {EMPTY_FINAL_RESPONSE}"
            )));
        }
        _ => request.add_parameter(name, custom(name, value)?),
    }
    Ok(())
}

/// Returns whether the client wants to hear of the end of a decoupled request that comes without a
/// response (P152).
pub(crate) fn wants_empty_final(parameters: &Parameters<'_>) -> bool {
    parameters
        .iter()
        .any(|(name, value)| *name == EMPTY_FINAL_RESPONSE && *value == InferParameter::Bool(true))
}

fn correlation_id(name: &str, value: InferParameter<'_>) -> Result<CorrelationId> {
    match value {
        InferParameter::Int64(id) => Ok(CorrelationId::UInt(id.cast_unsigned())),
        InferParameter::String(id) => Ok(CorrelationId::String(CName::new(id))),
        _ => Err(wrong_type(name, "int64_param or string_param")),
    }
}

fn set_flag(
    request: &mut InferenceRequest,
    flag: SequenceFlags,
    name: &str,
    value: InferParameter<'_>,
) -> Result<()> {
    if boolean(name, value)? {
        request.set_flags(request.flags().with(flag));
    }
    Ok(())
}

fn boolean(name: &str, value: InferParameter<'_>) -> Result<bool> {
    match value {
        InferParameter::Bool(flag) => Ok(flag),
        _ => Err(wrong_type(name, "bool_param")),
    }
}

fn priority(name: &str, value: InferParameter<'_>) -> Result<u64> {
    match value {
        InferParameter::Int64(priority) => u64::try_from(priority).map_err(|_| {
            Error::invalid_arg(format!("invalid value for '{name}', expected value >= 0."))
        }),
        InferParameter::Uint64(priority) => Ok(priority),
        _ => Err(wrong_type(name, "int64_param or uint64_param")),
    }
}

/// Returns the timeout in microseconds. Triton: a negative one wraps to hundreds of millennia.
fn timeout(name: &str, value: InferParameter<'_>) -> Result<u64> {
    match value {
        InferParameter::Int64(timeout_us) => Ok(timeout_us.cast_unsigned()),
        _ => Err(wrong_type(name, "int64_param")),
    }
}

fn custom(name: &str, value: InferParameter<'_>) -> Result<ParameterValue> {
    match value {
        InferParameter::String(text) => Ok(ParameterValue::String(CName::new(text))),
        InferParameter::Int64(number) => Ok(ParameterValue::Int(number)),
        InferParameter::Bool(flag) => Ok(ParameterValue::Bool(flag)),
        InferParameter::Double(number) => Ok(ParameterValue::Double(number)),
        InferParameter::Uint64(_) | InferParameter::Unset => {
            Err(wrong_type(name, "int64_param, bool_param, or string_param"))
        }
    }
}

fn wrong_type(name: &str, expected: &str) -> Error {
    Error::invalid_arg(format!(
        "invalid value type for '{name}' parameter, expected {expected}."
    ))
}
