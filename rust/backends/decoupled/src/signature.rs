// SPDX-License-Identifier: Apache-2.0
//! Checks of configurations, in Triton's words.

use tritongw_config::{InstanceGroupKind, ModelConfig};
use tritongw_engine::backend::InstanceContext;
use tritongw_types::{DataType, Error, Result, Shape};

/// What a backend expects of one tensor: its name and data type.
pub(crate) type Expected = (&'static str, DataType);

/// Checks that a model is decoupled, does not batch, and has these tensors in this order.
pub(crate) fn check(
    backend: &str,
    config: &ModelConfig,
    inputs: &[Expected],
    outputs: &[Expected],
) -> Result<()> {
    if config.max_batch_size != 0 {
        return Err(Error::invalid_arg(format!(
            "{backend} backend only supports models with max_batch_size == 0"
        )));
    }
    if !config.is_decoupled {
        return Err(Error::invalid_arg(format!(
            "{backend} backend only supports decoupled models"
        )));
    }
    let named = config
        .inputs
        .iter()
        .map(|input| (input.name.as_str(), input.data_type));
    check_tensors("input", named, inputs)?;
    let named = config
        .outputs
        .iter()
        .map(|output| (output.name.as_str(), output.data_type));
    check_tensors("output", named, outputs)
}

fn check_tensors<'a>(
    direction: &str,
    found: impl ExactSizeIterator<Item = (&'a str, DataType)>,
    expected: &[Expected],
) -> Result<()> {
    const ORDINALS: [&str; 3] = ["first", "second", "third"];
    if found.len() != expected.len() {
        let plural = if expected.len() == 1 { "" } else { "s" };
        return Err(Error::invalid_arg(format!(
            "expected {} {direction}{plural}, got {}",
            expected.len(),
            found.len()
        )));
    }
    for (((name, data_type), expected), ordinal) in found.zip(expected).zip(ORDINALS) {
        if name != expected.0 {
            return Err(Error::invalid_arg(format!(
                "expected {ordinal} {direction} tensor name to be {}, got {name}",
                expected.0
            )));
        }
        if data_type != expected.1 {
            return Err(Error::invalid_arg(format!(
                "expected {name} datatype to be {}, got {}",
                expected.1,
                data_type.as_config_str()
            )));
        }
    }
    Ok(())
}

/// Checks that an instance is not one of a GPU.
pub(crate) fn check_on_cpu(backend: &str, instance: &InstanceContext) -> Result<()> {
    if instance.kind != InstanceGroupKind::Gpu {
        return Ok(());
    }
    Err(Error::unsupported(format!(
        "instance '{}' has kind KIND_GPU, but the {backend} backend executes on the CPU only",
        instance.name
    )))
}

/// Checks that a tensor has exactly one element.
pub(crate) fn check_single(name: &str, shape: &Shape) -> Result<()> {
    if **shape == [1] {
        return Ok(());
    }
    Err(Error::invalid_arg(format!(
        "expected {name} shape to be [1], got {shape}"
    )))
}
