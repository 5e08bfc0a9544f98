// SPDX-License-Identifier: Apache-2.0
//! Checks that a configuration is pairs of `INPUT<i>` and `OUTPUT<i>`, in Triton's words.

use tritongw_config::ModelConfig;
use tritongw_types::{CName, DataType, Error, Result, Shape};

/// An output and the input it repeats.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pair {
    pub(crate) input: CName,
    pub(crate) output: CName,
    pub(crate) data_type: DataType,
    /// What the output is where a request leaves the optional input out: so many zeros, the batch
    /// dimension not included.
    pub(crate) missing: Option<Shape>,
}

/// Returns the pairs of a configuration, in the order of its outputs.
///
/// # Errors
/// `InvalidArg` for names, types or shapes that do not go together.
pub(crate) fn pairs(config: &ModelConfig) -> Result<Vec<Pair>> {
    if config.inputs.len() != config.outputs.len() {
        return Err(Error::invalid_arg(
            "model configuration must have equal input/output pairs",
        ));
    }
    for input in &config.inputs {
        index(&input.name, "input", "INPUT")?;
    }
    config
        .outputs
        .iter()
        .map(|output| pair(config, &output.name))
        .collect()
}

fn pair(config: &ModelConfig, output_name: &CName) -> Result<Pair> {
    let index = index(output_name, "output", "OUTPUT")?;
    let input = config.input(&format!("INPUT{index}"));
    let (Some(input), Some(output)) = (input, config.output(output_name)) else {
        return Err(Error::invalid_arg(
            "expected input and output indices to match",
        ));
    };
    if input.data_type != output.data_type {
        return Err(Error::invalid_arg(format!(
            "expected input and output datatype to match, got {} and {}",
            input.data_type.as_config_str(),
            output.data_type.as_config_str()
        )));
    }
    let input_shape: &Shape = input.reshape.as_ref().unwrap_or(&input.dims);
    let output_shape: &Shape = output.reshape.as_ref().unwrap_or(&output.dims);
    if input_shape != output_shape {
        return Err(Error::invalid_arg(format!(
            "expected input and output shape to match, got {input_shape} and {output_shape}"
        )));
    }
    let zeros = || input_shape.iter().map(|&dim| dim.max(1)).collect();
    Ok(Pair {
        input: input.name.clone(),
        output: output.name.clone(),
        data_type: input.data_type,
        missing: input.is_optional.then(zeros),
    })
}

/// Returns what follows `prefix` in a name.
fn index<'a>(name: &'a CName, direction: &str, prefix: &str) -> Result<&'a str> {
    name.strip_prefix(prefix).ok_or_else(|| {
        Error::invalid_arg(format!(
            "expected {direction} name to follow {prefix}<index> pattern, got '{name}'"
        ))
    })
}
