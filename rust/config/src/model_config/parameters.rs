// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::num::ParseIntError;

use tritongw_protocol::pb;
use tritongw_types::{Error, Result};

/// Reads the parameters; they are texts.
pub(super) fn read(message: &pb::ModelConfig) -> BTreeMap<String, String> {
    let parameters = message.parameters.iter();
    parameters
        .map(|(key, value)| (key.clone(), value.string_value.clone()))
        .collect()
}

/// Reads a whole number, such as a delay or a count, out of a model's parameters; 0 if it is not
/// there.
///
/// # Errors
/// `InvalidArg` if it is no number, or a negative one.
pub fn whole_number_parameter(parameters: &BTreeMap<String, String>, name: &str) -> Result<u64> {
    let Some(text) = parameters.get(name) else {
        return Ok(0);
    };
    text.trim().parse().map_err(|source: ParseIntError| {
        let message = format!("parameter '{name}' must be a non-negative integer, got '{text}'");
        Error::invalid_arg(message).with_source(source)
    })
}
