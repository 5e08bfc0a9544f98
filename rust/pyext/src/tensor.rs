// SPDX-License-Identifier: Apache-2.0
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use tritongw_backend_python::host::{HostTensor, OutputData, TensorMemory};
use tritongw_cuda::DeviceMemory;
use tritongw_types::{DataType, Shape};

use crate::array::{self, ArrayData};
use crate::dlpack::{self, DlMemory};
use crate::dtype::Numpy;
use crate::error::model_exception;
use crate::request::InferenceRequest;
use crate::response::InferenceResponse;

/// A named tensor: an input of a request, or an output that a model makes from an array.
#[pyclass(frozen, module = "tritongw._core")]
pub(crate) struct Tensor {
    name: String,
    data_type: DataType,
    content: Content,
}

enum Content {
    /// Memory of a request, or of another framework.
    Memory {
        memory: TensorMemory,
        shape: Shape,
        // The objects of a BYTES tensor, made when first asked for.
        objects: PyOnceLock<Py<PyAny>>,
    },
    /// Memory of another framework on a GPU.
    Device { memory: DeviceMemory, shape: Shape },
    /// An array of the model.
    Array(Py<PyAny>),
}

impl Tensor {
    /// Makes an input.
    pub(crate) fn from_host(tensor: HostTensor) -> Self {
        Self::over(tensor.name, tensor.data_type, tensor.shape, tensor.memory)
    }

    fn over(name: String, data_type: DataType, shape: Shape, memory: TensorMemory) -> Self {
        Self {
            name,
            data_type,
            content: Content::Memory {
                memory,
                shape,
                objects: PyOnceLock::new(),
            },
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn data_type(&self) -> DataType {
        self.data_type
    }

    /// Returns the data for sending, as it is now.
    pub(crate) fn data(&self, py: Python<'_>) -> PyResult<TensorData<'_>> {
        match &self.content {
            // The model may have changed the objects that stand for the memory.
            Content::Memory {
                memory,
                shape,
                objects,
            } => match objects.get(py) {
                None => Ok(TensorData::Memory(memory, shape)),
                Some(objects) => {
                    ArrayData::of(objects.bind(py), self.data_type).map(TensorData::Array)
                }
            },
            Content::Device { memory, shape } => Ok(TensorData::Device(memory, shape)),
            Content::Array(array) => {
                ArrayData::of(array.bind(py), self.data_type).map(TensorData::Array)
            }
        }
    }

    /// Returns the data for DLPack, if it is memory that this tensor holds.
    fn dl_memory(&self) -> Option<(DlMemory, &Shape)> {
        match &self.content {
            Content::Memory { memory, shape, .. } => Some((DlMemory::Host(memory.clone()), shape)),
            Content::Device { memory, shape } => Some((DlMemory::Device(memory.clone()), shape)),
            Content::Array(_) => None,
        }
    }

    fn export<'py>(
        &self,
        py: Python<'py>,
        stream: Option<i64>,
        device: Option<(i32, i32)>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if self.data_type == DataType::Bytes {
            return Err(model_exception(
                "DLPack does not have support for string tensors.",
            ));
        }
        if let Some((memory, shape)) = self.dl_memory() {
            memory.check_wanted(device)?;
            memory.make_readable(py, stream)?;
            return dlpack::export(py, self.data_type, shape, memory);
        }
        let array = self.as_numpy(py)?;
        let array = Numpy::get(py)?.ascontiguousarray.bind(py).call1((array,))?;
        array.call_method0("__dlpack__")
    }
}

/// Up to here a copy costs less than keeping track of the memory.
const SMALL: usize = 4096;

/// Data of a tensor, held for sending.
pub(crate) enum TensorData<'a> {
    Memory(&'a TensorMemory, &'a Shape),
    Device(&'a DeviceMemory, &'a Shape),
    Array(ArrayData),
}

impl TensorData<'_> {
    /// Returns the data for a response, whose sending copies it.
    pub(crate) fn for_response(&self) -> OutputData<'_> {
        match self {
            Self::Memory(memory, _) => OutputData::Borrowed(memory.as_slice()),
            Self::Device(memory, _) => OutputData::Device(memory),
            Self::Array(data) => OutputData::Borrowed(data.as_slice()),
        }
    }

    /// Returns whether sending the data waits for a GPU.
    pub(crate) fn lies_on_gpu(&self) -> bool {
        matches!(self, Self::Device(..))
    }

    /// Returns the data for a call to another model: large memory by reference, since it is not the
    /// model's to change any more than that of an array.
    pub(crate) fn for_call(&self) -> OutputData<'_> {
        match self {
            Self::Memory(memory, _) if memory.byte_size() > SMALL => {
                OutputData::Owned((*memory).clone().into())
            }
            _ => self.for_response(),
        }
    }

    pub(crate) fn shape(&self) -> Shape {
        match self {
            Self::Memory(_, shape) | Self::Device(_, shape) => (*shape).clone(),
            Self::Array(data) => data.shape(),
        }
    }
}

#[pymethods]
impl Tensor {
    #[new]
    fn new(name: String, numpy_array: Bound<'_, PyAny>) -> PyResult<Self> {
        check_name(&name)?;
        let numpy = Numpy::get(numpy_array.py())?;
        if !numpy_array.is_instance(numpy.ndarray.bind(numpy_array.py()))? {
            let found = numpy_array.get_type().name()?;
            let message = format!("tensor '{name}' must be made from a numpy.ndarray, not {found}");
            return Err(PyTypeError::new_err(message));
        }
        let data_type = numpy.data_type(&numpy_array.getattr("dtype")?)?;
        Ok(Self {
            name,
            data_type,
            content: Content::Array(numpy_array.unbind()),
        })
    }

    /// Return the name.
    #[pyo3(name = "name")]
    fn py_name(&self) -> &str {
        &self.name
    }

    /// Return the number of the data type, as ``triton_string_to_numpy`` and its kin take it.
    fn triton_dtype(&self) -> u8 {
        self.data_type as u8
    }

    /// Return the shape.
    fn shape(&self, py: Python<'_>) -> PyResult<Vec<i64>> {
        match &self.content {
            Content::Memory { shape, .. } | Content::Device { shape, .. } => Ok(shape.to_vec()),
            Content::Array(array) => array.bind(py).getattr("shape")?.extract(),
        }
    }

    /// Return whether the data lies in host memory.
    fn is_cpu(&self) -> bool {
        !matches!(self.content, Content::Device { .. })
    }

    /// Return the data as an array.
    ///
    /// For an input a writable view of the request's memory, valid as long as it is referred to; a
    /// ``BYTES`` tensor gives an array of ``bytes`` objects. A tensor in GPU memory gives none.
    fn as_numpy<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match &self.content {
            Content::Device { .. } => Err(model_exception(
                "Tensor is stored in GPU and cannot be converted to NumPy.",
            )),
            Content::Array(array) => Ok(array.bind(py).clone()),
            Content::Memory {
                memory,
                shape,
                objects,
            } => {
                let make = || array::over_memory(py, self.data_type, shape, memory);
                if self.data_type != DataType::Bytes {
                    return make();
                }
                let objects = objects.get_or_try_init(py, || make().map(Bound::unbind))?;
                Ok(objects.bind(py).clone())
            }
        }
    }

    /// Return the data as a DLPack capsule, where it lies; what a GPU computes is waited for.
    fn to_dlpack<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.export(py, None, None)
    }

    /// Make a tensor over the memory of a DLPack capsule, or of an object that gives one.
    #[staticmethod]
    fn from_dlpack(name: String, tensor: &Bound<'_, PyAny>) -> PyResult<Self> {
        check_name(&name)?;
        let imported = dlpack::import(tensor)?;
        let (data_type, shape) = (imported.data_type, imported.shape);
        Ok(match imported.memory {
            DlMemory::Host(memory) => Self::over(name, data_type, shape, memory),
            DlMemory::Device(memory) => Self {
                name,
                data_type,
                content: Content::Device { memory, shape },
            },
        })
    }

    /// Return the data as a DLPack capsule, where it lies, in the unversioned form.
    ///
    /// On a GPU it is there for the reader's ``stream``, by DLPack's numbers; without one for the
    /// legacy default stream.
    #[pyo3(signature = (*, stream = None, max_version = None, dl_device = None, copy = None))]
    fn __dlpack__<'py>(
        &self,
        py: Python<'py>,
        stream: Option<Py<PyAny>>,
        max_version: Option<Py<PyAny>>,
        dl_device: Option<Py<PyAny>>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        drop((max_version, copy));
        if self.is_cpu() {
            return self.export(py, None, None);
        }
        let device = dl_device.map(|device| device.extract(py)).transpose()?;
        let stream = stream.map(|stream| stream.extract(py)).transpose()?;
        self.export(py, Some(stream.unwrap_or(dlpack::DEFAULT_STREAM)), device)
    }

    /// Return device type and id of the memory.
    fn __dlpack_device__(&self) -> (i32, i32) {
        let memory = self.dl_memory();
        memory.map_or(dlpack::ON_HOST, |(memory, _)| memory.device())
    }
}

fn check_name(name: &str) -> PyResult<()> {
    if name.is_empty() {
        return Err(model_exception("Tensor name cannot be an empty string."));
    }
    Ok(())
}

/// Return the input of that name, or ``None``.
#[pyfunction]
pub(crate) fn get_input_tensor_by_name(
    py: Python<'_>,
    inference_request: &Bound<'_, InferenceRequest>,
    name: &str,
) -> Option<Py<Tensor>> {
    find(py, inference_request.get().tensors(), name)
}

/// Return the output of that name, or ``None``.
#[pyfunction]
pub(crate) fn get_output_tensor_by_name(
    py: Python<'_>,
    inference_response: &Bound<'_, InferenceResponse>,
    name: &str,
) -> Option<Py<Tensor>> {
    find(py, inference_response.get().tensors(), name)
}

fn find(py: Python<'_>, tensors: &[Py<Tensor>], name: &str) -> Option<Py<Tensor>> {
    let found = tensors.iter().find(|tensor| tensor.get().name == name);
    found.map(|tensor| tensor.clone_ref(py))
}
