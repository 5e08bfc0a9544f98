// SPDX-License-Identifier: Apache-2.0
//! Data types between Triton and NumPy.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use tritongw_types::DataType;

use crate::error::{TritonModelException, model_exception};

/// NumPy's objects that are needed for every tensor, looked up once.
pub(crate) struct Numpy {
    pub(crate) ndarray: Py<PyType>,
    pub(crate) array: Py<PyAny>,
    pub(crate) ascontiguousarray: Py<PyAny>,
    // Instances of numpy.dtype, which are singletons, and the scalar types they come from.
    dtypes: Vec<(DataType, Py<PyAny>, Py<PyAny>)>,
}

static NUMPY: PyOnceLock<Numpy> = PyOnceLock::new();

impl Numpy {
    pub(crate) fn get(py: Python<'_>) -> PyResult<&Self> {
        NUMPY.get_or_try_init(py, || Self::load(py))
    }

    fn load(py: Python<'_>) -> PyResult<Self> {
        let numpy = py.import("numpy")?;
        let dtype = numpy.getattr("dtype")?;
        let mut dtypes = Vec::new();
        for data_type in DataType::ALL {
            if let Some(name) = scalar_name(data_type) {
                let scalar = numpy.getattr(name)?;
                dtypes.push((
                    data_type,
                    dtype.call1((&scalar,))?.unbind(),
                    scalar.unbind(),
                ));
            }
        }
        Ok(Self {
            ndarray: numpy.getattr("ndarray")?.cast_into::<PyType>()?.unbind(),
            array: numpy.getattr("array")?.unbind(),
            ascontiguousarray: numpy.getattr("ascontiguousarray")?.unbind(),
            dtypes,
        })
    }

    /// Returns the dtype of that type; NumPy has none for BF16.
    pub(crate) fn dtype(&self, data_type: DataType) -> Option<&Py<PyAny>> {
        self.find(data_type).map(|(_, dtype, _)| dtype)
    }

    fn find(&self, data_type: DataType) -> Option<&(DataType, Py<PyAny>, Py<PyAny>)> {
        self.dtypes.iter().find(|entry| entry.0 == data_type)
    }

    /// Returns the type of an array of that dtype.
    pub(crate) fn data_type(&self, dtype: &Bound<'_, PyAny>) -> PyResult<DataType> {
        if let Some(entry) = self.dtypes.iter().find(|entry| entry.1.is(dtype)) {
            return Ok(entry.0);
        }
        // Other names of the same types ("longlong"), and texts of fixed length.
        for (data_type, known, _) in &self.dtypes {
            if dtype.eq(known)? {
                return Ok(*data_type);
            }
        }
        let kind: String = dtype.getattr("kind")?.extract()?;
        if kind == "S" || kind == "U" {
            return Ok(DataType::Bytes);
        }
        Err(model_exception("NumPy dtype is not supported."))
    }
}

/// Name of the scalar type in the module `numpy`.
fn scalar_name(data_type: DataType) -> Option<&'static str> {
    Some(match data_type {
        DataType::Bool => "bool_",
        DataType::Uint8 => "uint8",
        DataType::Uint16 => "uint16",
        DataType::Uint32 => "uint32",
        DataType::Uint64 => "uint64",
        DataType::Int8 => "int8",
        DataType::Int16 => "int16",
        DataType::Int32 => "int32",
        DataType::Int64 => "int64",
        DataType::Fp16 => "float16",
        DataType::Fp32 => "float32",
        DataType::Fp64 => "float64",
        DataType::Bytes => "object_",
        DataType::Bf16 => return None,
    })
}

/// Return the NumPy scalar type of the data type with this number, or ``None``.
#[pyfunction]
pub(crate) fn triton_to_numpy_type(py: Python<'_>, data_type: u8) -> PyResult<Option<Py<PyAny>>> {
    let numpy = Numpy::get(py)?;
    let found = DataType::ALL
        .into_iter()
        .find(|known| *known as u8 == data_type);
    let entry = found.and_then(|data_type| numpy.find(data_type));
    Ok(entry.map(|(_, _, scalar)| scalar.clone_ref(py)))
}

/// Return the number of the data type that a NumPy scalar type or dtype stands for, or ``None``.
#[pyfunction]
pub(crate) fn numpy_to_triton_type(data_type: &Bound<'_, PyAny>) -> PyResult<Option<u8>> {
    let py = data_type.py();
    let dtype = py.import("numpy")?.getattr("dtype")?.call1((data_type,))?;
    match Numpy::get(py)?.data_type(&dtype) {
        Ok(data_type) => Ok(Some(data_type as u8)),
        Err(error) if error.is_instance_of::<TritonModelException>(py) => Ok(None),
        Err(error) => Err(error),
    }
}
