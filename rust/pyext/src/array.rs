// SPDX-License-Identifier: Apache-2.0
//! NumPy arrays over memory of tensors, and the bytes of arrays.

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use tritongw_backend_python::host::TensorMemory;
use tritongw_types::{DataType, Shape};

use crate::buffer::{ArrayBuffer, TensorBuffer};
use crate::bytes_array;
use crate::dtype::Numpy;
use crate::error::model_exception;

/// Returns an array over `memory`, which it keeps alive: no copy, writable.
///
/// # Errors
/// `TritonModelException` for BF16, which NumPy does not know.
pub(crate) fn over_memory<'py>(
    py: Python<'py>,
    data_type: DataType,
    shape: &Shape,
    memory: &TensorMemory,
) -> PyResult<Bound<'py, PyAny>> {
    let numpy = Numpy::get(py)?;
    let dtype = numpy.dtype(data_type).ok_or_else(|| {
        model_exception(
            "Tensor dtype is BF16 and cannot be converted to NumPy. Use to_dlpack() and \
             from_dlpack() instead.",
        )
    })?;
    if data_type == DataType::Bytes {
        return bytes_array::to_array(py, memory.as_slice(), shape);
    }
    let shape = PyTuple::new(py, shape.iter())?;
    let buffer = Bound::new(py, TensorBuffer::new(memory.clone()))?;
    numpy.ndarray.bind(py).call1((shape, dtype, buffer))
}

/// The contents of an array in the wire's layout.
pub(crate) enum ArrayData {
    /// The array's own memory.
    Held(ArrayBuffer),
    /// Serialized elements of a `BYTES` array.
    Serialized(Vec<u8>, Shape),
}

impl ArrayData {
    /// Reads an array; one that is not contiguous is copied.
    pub(crate) fn of(array: &Bound<'_, PyAny>, data_type: DataType) -> PyResult<Self> {
        if data_type == DataType::Bytes {
            let dims: Vec<i64> = array.getattr("shape")?.extract()?;
            return Ok(Self::Serialized(
                bytes_array::to_wire(array)?,
                Shape::from_slice(&dims),
            ));
        }
        ArrayBuffer::new(array)
            .or_else(|_| {
                let numpy = Numpy::get(array.py())?;
                ArrayBuffer::new(&numpy.ascontiguousarray.bind(array.py()).call1((array,))?)
            })
            .map(Self::Held)
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Held(buffer) => buffer.as_slice(),
            Self::Serialized(data, _) => data,
        }
    }

    pub(crate) fn shape(&self) -> Shape {
        match self {
            Self::Held(buffer) => buffer.shape(),
            Self::Serialized(_, shape) => shape.clone(),
        }
    }
}
