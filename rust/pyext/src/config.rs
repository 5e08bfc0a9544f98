// SPDX-License-Identifier: Apache-2.0
//! A model's configuration as a server would read it, for those who have no server.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use tritongw_config::{
    ModelConfig, NormalizeOptions, guess_backend, json, merge_backend_completion,
    name_after_directory, normalize, text,
};
use tritongw_types::{Error, Result};

/// Return the complete configuration of a Python model, as JSON.
///
/// ``source`` is a file's name for messages; if that ends in ``.pbtxt`` the text is in protobuf's
/// text format, else it is JSON. ``completion`` is what ``auto_complete_config`` gave.
#[pyfunction]
#[pyo3(signature = (name, source, text, completion = None))]
pub(crate) fn read_model_config(
    name: &str,
    source: &str,
    text: &str,
    completion: Option<&str>,
) -> PyResult<String> {
    read(name, source, text, completion)
        .map(|config| config.to_json())
        .map_err(|error| PyValueError::new_err(error.message().to_owned()))
}

fn read(name: &str, source: &str, text: &str, completion: Option<&str>) -> Result<ModelConfig> {
    let mut message = if source.ends_with(".pbtxt") {
        text::parse(source, text).map_err(Error::from)?
    } else {
        json::parse(text)?
    };
    name_after_directory(&mut message, name)?;
    guess_backend(&mut message, name, &["model.py"])?;
    normalize(&mut message, &NormalizeOptions::default())?;
    if let Some(completion) = completion {
        message = merge_backend_completion(&message, json::parse(completion)?)?;
        normalize(&mut message, &NormalizeOptions::default())?;
    }
    ModelConfig::from_message(message)
}
