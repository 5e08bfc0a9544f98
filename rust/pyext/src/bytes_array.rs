// SPDX-License-Identifier: Apache-2.0
//! `BYTES` tensors between the wire's layout and NumPy arrays of objects.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};
use tritongw_types::{BytesElements, DataType, Shape};

use crate::dtype::Numpy;

/// Returns an array of `bytes` objects.
///
/// # Errors
/// If the data is no sequence of elements, or not as many as the shape says.
pub(crate) fn to_array<'py>(
    py: Python<'py>,
    data: &[u8],
    shape: &Shape,
) -> PyResult<Bound<'py, PyAny>> {
    let flat = to_flat_array(py, data)?;
    if shape.len() == 1 && flat.len()? as i64 == shape[0] {
        return Ok(flat);
    }
    flat.call_method1("reshape", (PyTuple::new(py, shape.iter())?,))
}

fn to_flat_array<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let elements: Vec<_> = BytesElements::new(data)
        .map(|element| element.map(|element| PyBytes::new(py, element)))
        .collect::<Result<_, _>>()
        .map_err(|error| PyValueError::new_err(error.to_string()))?;
    let numpy = Numpy::get(py)?;
    let list = PyList::new(py, elements)?;
    numpy
        .array
        .bind(py)
        .call1((list, numpy.dtype(DataType::Bytes)))
}

/// Returns an array's elements in the wire's layout; what is neither `bytes` nor `str` goes
/// through `str`.
pub(crate) fn to_wire(array: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let flat = array.call_method0("ravel")?.call_method0("tolist")?;
    let flat = flat.cast::<PyList>()?;
    let mut wire = Vec::new();
    for element in flat.iter() {
        if let Ok(bytes) = element.cast::<PyBytes>() {
            push(&mut wire, bytes.as_bytes())?;
        } else if let Ok(text) = element.cast::<PyString>() {
            push(&mut wire, text.to_str()?.as_bytes())?;
        } else {
            push(&mut wire, element.str()?.to_str()?.as_bytes())?;
        }
    }
    Ok(wire)
}

fn push(wire: &mut Vec<u8>, element: &[u8]) -> PyResult<()> {
    let length = u32::try_from(element.len())
        .map_err(|_| PyValueError::new_err("an element of a BYTES tensor is too long"))?;
    wire.extend_from_slice(&length.to_le_bytes());
    wire.extend_from_slice(element);
    Ok(())
}

/// Serialize an array of ``bytes`` or ``str`` objects: each element after its length in four bytes.
///
/// Like Triton's, gives an empty tuple for an array without elements and ``None`` for an array of
/// another type.
#[pyfunction]
pub(crate) fn serialize_byte_tensor(input_tensor: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    let py = input_tensor.py();
    if input_tensor.getattr("size")?.extract::<usize>()? == 0 {
        return Ok(PyTuple::empty(py).into_any().unbind());
    }
    let kind: String = input_tensor.getattr("dtype")?.getattr("kind")?.extract()?;
    if kind != "O" && kind != "S" {
        return Ok(py.None());
    }
    Ok(PyBytes::new(py, &to_wire(input_tensor)?)
        .into_any()
        .unbind())
}

/// Return the elements of a serialized tensor as a one-dimensional array of ``bytes`` objects.
#[pyfunction]
pub(crate) fn deserialize_bytes_tensor<'py>(
    py: Python<'py>,
    encoded_tensor: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let encoded: PyBackedBytes = py
        .get_type::<PyBytes>()
        .call1((encoded_tensor,))?
        .extract()?;
    to_flat_array(py, &encoded)
}
