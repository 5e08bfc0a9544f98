// SPDX-License-Identifier: Apache-2.0
//! Parameters of requests and responses: a dict of Python, values of ours, JSON text.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyString};
use tritongw_types::{Parameter, ParameterValue};

use crate::error::model_exception;

/// Reads a dict of `str` to `bool`, `int`, `float` or `str`.
///
/// # Errors
/// `TritonModelException` for anything else.
pub(crate) fn from_dict(parameters: &Bound<'_, PyDict>) -> PyResult<Vec<Parameter>> {
    parameters
        .iter()
        .map(|(key, value)| parameter(&key, &value))
        .collect()
}

fn parameter(key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<Parameter> {
    let Ok(name) = key.cast::<PyString>() else {
        let found = key.get_type().name()?;
        return Err(model_exception(format!(
            "Expect parameters keys to have type str, found type {found}"
        )));
    };
    // bool before int, whose kind it is in Python.
    let value = if let Ok(value) = value.cast::<PyBool>() {
        ParameterValue::Bool(value.is_true())
    } else if value.is_instance_of::<PyInt>() {
        ParameterValue::Int(value.extract()?)
    } else if value.is_instance_of::<PyFloat>() {
        ParameterValue::Double(value.extract()?)
    } else if let Ok(value) = value.cast::<PyString>() {
        ParameterValue::String(value.to_str()?.into())
    } else {
        let found = value.get_type().name()?;
        return Err(model_exception(format!(
            "Expect parameters values to have type bool/int/float/str, found type {found}"
        )));
    };
    Ok(Parameter {
        name: name.to_str()?.into(),
        value,
    })
}

/// Returns the dict that such parameters come from.
pub(crate) fn to_dict<'py>(
    py: Python<'py>,
    parameters: &[Parameter],
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for Parameter { name, value } in parameters {
        let name = name.as_str();
        match value {
            ParameterValue::String(text) => dict.set_item(name, text.as_str())?,
            ParameterValue::Int(number) => dict.set_item(name, number)?,
            ParameterValue::Bool(flag) => dict.set_item(name, flag)?,
            ParameterValue::Double(number) => dict.set_item(name, number)?,
        }
    }
    Ok(dict)
}

/// Returns the JSON text that models are given.
pub(crate) fn to_json(parameters: Option<&Bound<'_, PyDict>>) -> PyResult<String> {
    let Some(parameters) = parameters.filter(|parameters| !parameters.is_empty()) else {
        return Ok("{}".to_owned());
    };
    from_dict(parameters)?;
    parameters
        .py()
        .import("json")?
        .call_method1("dumps", (parameters,))?
        .extract()
}
