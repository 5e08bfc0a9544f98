// SPDX-License-Identifier: Apache-2.0
//! DLPack: tensors given to and taken from other frameworks without a copy.
//!
//! Memory of the host or of an NVIDIA GPU, contiguous in C order; the unversioned form, which every
//! framework takes.
//!
//! Streams: what another framework gives is asked for in the order of the legacy default stream,
//! which is also the one that copies it to the host. What is given away is ordered before the
//! stream that its reader names, or complete if the reader names none.
#![expect(unsafe_code, reason = "DLPack is a C structure in a capsule")]

use std::ffi::{CStr, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use pyo3::exceptions::{PyBufferError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tritongw_backend_python::host::TensorMemory;
use tritongw_cuda::{DeviceMemory, LEGACY_STREAM};
use tritongw_types::{DataType, Error, Shape, byte_size};

use crate::error::{model_exception, to_exception};

const NAME: &CStr = c"dltensor";
const USED_NAME: &CStr = c"used_dltensor";

/// Number of host memory in `DLDeviceType`.
const CPU: i32 = 1;
/// Number of memory of an NVIDIA GPU.
const CUDA: i32 = 2;
/// Number of pinned host memory.
const CUDA_HOST: i32 = 3;
/// Number of CUDA's managed memory, which a GPU reads as its own.
const CUDA_MANAGED: i32 = 13;

/// Device type and id of host memory.
pub(crate) const ON_HOST: (i32, i32) = (CPU, 0);

/// The stream of a reader that names none.
pub(crate) const DEFAULT_STREAM: i64 = LEGACY_STREAM as i64;
/// What a reader says that does not want to be ordered after anything.
const NO_STREAM: i64 = -1;

const NOT_SUPPORTED: &str = "Provided tensor is not supported. Tensor must be a DLPack capsule\
                             \x20        or have `__dlpack__` and `__dlpack_device__` attributes";
const NOT_CONTIGUOUS: &str = "DLPack tensor is not contiguous. Only contiguous DLPack tensors \
                              that are stored in C-Order are supported.";

#[repr(C)]
#[derive(Clone, Copy)]
struct DlDevice {
    device_type: i32,
    device_id: i32,
}

#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
struct DlDataType {
    code: u8,
    bits: u8,
    lanes: u16,
}

#[repr(C)]
struct DlTensor {
    data: *mut c_void,
    device: DlDevice,
    ndim: i32,
    dtype: DlDataType,
    shape: *mut i64,
    strides: *mut i64,
    byte_offset: u64,
}

#[repr(C)]
struct DlManagedTensor {
    tensor: DlTensor,
    manager_ctx: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Self)>,
}

/// What a tensor given away points to; freed by its deleter.
struct Exported {
    managed: DlManagedTensor,
    shape: Vec<i64>,
    _memory: DlMemory,
}

/// Where the data of a tensor lies.
#[derive(Clone, Debug)]
pub(crate) enum DlMemory {
    Host(TensorMemory),
    Device(DeviceMemory),
}

impl DlMemory {
    /// Returns device type and id.
    pub(crate) fn device(&self) -> (i32, i32) {
        match self {
            Self::Host(_) => ON_HOST,
            Self::Device(memory) => (CUDA, memory.gpu()),
        }
    }

    fn address(&self) -> *mut c_void {
        match self {
            Self::Host(memory) => memory.as_mut_ptr().cast(),
            Self::Device(memory) => ptr::without_provenance_mut(memory.address() as usize),
        }
    }

    /// Sees that the contents are there for a reader: on the stream it names, or on any.
    pub(crate) fn make_readable(&self, py: Python<'_>, stream: Option<i64>) -> PyResult<()> {
        let Self::Device(memory) = self else {
            return Ok(());
        };
        let readable = match stream {
            Some(NO_STREAM) => Ok(()),
            Some(stream) if stream < NO_STREAM => {
                return Err(PyValueError::new_err(format!(
                    "there is no stream {stream}"
                )));
            }
            // SAFETY: by DLPack's contract the number is the handle of a stream of the reader.
            Some(stream) => unsafe { memory.order_before(stream.unsigned_abs()) },
            None => py.detach(|| memory.wait_until_complete()),
        };
        readable.map_err(|error| to_exception(&error))
    }

    /// Checks where a reader would like the data to lie: it is given only where it is.
    pub(crate) fn check_wanted(&self, device: Option<(i32, i32)>) -> PyResult<()> {
        match (self, device) {
            (Self::Device(_), Some(device)) if device != self.device() => Err(
                PyBufferError::new_err("a tensor in GPU memory is given only where it lies"),
            ),
            _ => Ok(()),
        }
    }
}

/// Returns a capsule of a tensor over `memory`.
///
/// # Errors
/// For `BYTES`, which DLPack does not know.
pub(crate) fn export<'py>(
    py: Python<'py>,
    data_type: DataType,
    shape: &Shape,
    memory: DlMemory,
) -> PyResult<Bound<'py, PyAny>> {
    let dtype = dl_data_type(data_type)
        .ok_or_else(|| model_exception("DLPack does not have support for string tensors."))?;
    let ndim = i32::try_from(shape.len()).map_err(|_| model_exception("too many dimensions"))?;
    let (device_type, device_id) = memory.device();
    let tensor = DlTensor {
        data: memory.address(),
        device: DlDevice {
            device_type,
            device_id,
        },
        ndim,
        dtype,
        shape: ptr::null_mut(),
        strides: ptr::null_mut(),
        byte_offset: 0,
    };
    let managed = DlManagedTensor {
        tensor,
        manager_ctx: ptr::null_mut(),
        deleter: Some(delete_exported),
    };
    let exported = Exported {
        managed,
        shape: shape.to_vec(),
        _memory: memory,
    };
    let exported = Box::into_raw(Box::new(exported));
    // SAFETY: `exported` was just made and is freed only by its deleter: by the capsule's
    // destructor, or by whoever takes the tensor out of the capsule. The structure lies at a fixed
    // place, so that it may point to its own parts.
    unsafe {
        (*exported).managed.manager_ctx = exported.cast();
        (*exported).managed.tensor.shape = (*exported).shape.as_mut_ptr();
        let managed = &raw mut (*exported).managed;
        let capsule = ffi::PyCapsule_New(managed.cast(), NAME.as_ptr(), Some(drop_capsule));
        if capsule.is_null() {
            delete_exported(managed);
            return Err(PyErr::fetch(py));
        }
        Ok(Bound::from_owned_ptr(py, capsule))
    }
}

/// Frees an [`Exported`].
///
/// # Safety
/// `managed` lies in an `Exported` that was not freed yet.
unsafe extern "C" fn delete_exported(managed: *mut DlManagedTensor) {
    // SAFETY: `manager_ctx` is the `Exported` itself, which came out of a box; by DLPack's
    // contract the deleter is called once.
    drop(unsafe { Box::from_raw((*managed).manager_ctx.cast::<Exported>()) });
}

/// Frees a tensor that nobody took out of its capsule.
///
/// # Safety
/// Called by the interpreter with a capsule made by [`export`].
unsafe extern "C" fn drop_capsule(capsule: *mut ffi::PyObject) {
    // SAFETY: the capsule is alive here. Whoever took the tensor has renamed the capsule.
    unsafe {
        if ffi::PyCapsule_IsValid(capsule, NAME.as_ptr()) == 1 {
            let managed = ffi::PyCapsule_GetPointer(capsule, NAME.as_ptr());
            delete_exported(managed.cast());
        }
    }
}

/// A tensor taken from another framework.
pub(crate) struct Imported {
    pub(crate) data_type: DataType,
    pub(crate) shape: Shape,
    pub(crate) memory: DlMemory,
}

/// Takes the tensor of a capsule, or of an object that gives one.
///
/// # Errors
/// `TritonModelException` if it is no such thing, not contiguous, of a type that Triton does not
/// know, or in memory that nobody here can read.
pub(crate) fn import(object: &Bound<'_, PyAny>) -> PyResult<Imported> {
    // SAFETY: a check of a live object's type.
    let is_capsule = unsafe { ffi::PyCapsule_IsValid(object.as_ptr(), NAME.as_ptr()) == 1 };
    if is_capsule {
        return import_capsule(object);
    }
    if !object.hasattr("__dlpack__")? || !object.hasattr("__dlpack_device__")? {
        return Err(model_exception(NOT_SUPPORTED));
    }
    let (device_type, _): (i32, i32) = object.call_method0("__dlpack_device__")?.extract()?;
    check_device(device_type)?;
    let arguments = PyDict::new(object.py());
    if is_of_gpu(device_type) {
        arguments.set_item("stream", LEGACY_STREAM)?;
    }
    import_capsule(&object.call_method("__dlpack__", (), Some(&arguments))?)
}

fn import_capsule(capsule: &Bound<'_, PyAny>) -> PyResult<Imported> {
    // SAFETY: GetPointer checks that this is a capsule of that name; after the renaming nobody
    // else takes the tensor, and the owner made here frees it once.
    let owner = unsafe {
        let managed = ffi::PyCapsule_GetPointer(capsule.as_ptr(), NAME.as_ptr());
        let Some(managed) = NonNull::new(managed.cast::<DlManagedTensor>()) else {
            drop(PyErr::take(capsule.py()));
            return Err(model_exception(NOT_SUPPORTED));
        };
        if ffi::PyCapsule_SetName(capsule.as_ptr(), USED_NAME.as_ptr()) != 0 {
            return Err(PyErr::fetch(capsule.py()));
        }
        ImportedOwner(managed)
    };
    // SAFETY: the owner holds the structure, which its maker no longer changes.
    let tensor = unsafe { &owner.0.as_ref().tensor };
    check_device(tensor.device.device_type)?;
    let data_type = data_type(tensor.dtype)
        .ok_or_else(|| model_exception("the data type of the DLPack tensor is not supported"))?;
    let rank = usize::try_from(tensor.ndim).unwrap_or_default();
    let shape = Shape::from_slice(dims(tensor.shape, rank));
    if !tensor.strides.is_null() && !is_contiguous(&shape, dims(tensor.strides, rank)) {
        return Err(model_exception(NOT_CONTIGUOUS));
    }
    let size = byte_size(data_type, &shape).map_err(|error| model_exception(error.to_string()))?;
    let size = size.unwrap_or_default();
    let (device, address) = (tensor.device, tensor.data.cast::<u8>());
    let address = address.wrapping_add(tensor.byte_offset as usize);
    let memory = match NonNull::new(address) {
        _ if is_of_gpu(device.device_type) => {
            let (gpu, address) = (device.device_id, address.addr() as u64);
            // SAFETY: as below; what is not asked for in the order of the legacy default stream,
            // a bare capsule, is taken to be complete when it is given.
            let memory =
                unsafe { DeviceMemory::from_raw_parts(gpu, address, size, Arc::new(owner)) };
            DlMemory::Device(memory.map_err(|error| without_driver(&error))?)
        }
        Some(address) if size > 0 => {
            // SAFETY: by DLPack's contract the tensor's elements lie there until its deleter is
            // called, which the owner does.
            let memory = unsafe { TensorMemory::from_raw_parts(address, size, Arc::new(owner)) };
            DlMemory::Host(memory)
        }
        _ => DlMemory::Host(TensorMemory::copy_of(&[])),
    };
    Ok(Imported {
        data_type,
        shape,
        memory,
    })
}

fn check_device(device_type: i32) -> PyResult<()> {
    if matches!(device_type, CPU | CUDA_HOST) || is_of_gpu(device_type) {
        return Ok(());
    }
    Err(model_exception(format!(
        "DLDevice type {device_type} is not support by Python backend."
    )))
}

fn is_of_gpu(device_type: i32) -> bool {
    matches!(device_type, CUDA | CUDA_MANAGED)
}

fn without_driver(error: &Error) -> PyErr {
    model_exception(format!(
        "a tensor in GPU memory cannot be used: {}",
        error.message()
    ))
}

/// Returns the `rank` numbers at `numbers`.
fn dims<'a>(numbers: *const i64, rank: usize) -> &'a [i64] {
    if rank == 0 || numbers.is_null() {
        return &[];
    }
    // SAFETY: by DLPack's contract shape and strides have as many entries as the tensor has
    // dimensions; used only while the tensor's owner lives.
    unsafe { std::slice::from_raw_parts(numbers, rank) }
}

fn is_contiguous(shape: &Shape, strides: &[i64]) -> bool {
    let mut expected = 1_i64;
    for (&dim, &stride) in shape.iter().zip(strides).rev() {
        if dim != 1 && stride != expected {
            return shape.contains(&0);
        }
        expected = expected.saturating_mul(dim);
    }
    true
}

/// Holds a tensor of another framework, and frees it.
struct ImportedOwner(NonNull<DlManagedTensor>);

// SAFETY: DLPack lets the deleter be called from any thread; those of frameworks that need the
// interpreter attach to it themselves.
unsafe impl Send for ImportedOwner {}
// SAFETY: nothing is done through a shared reference after the import.
unsafe impl Sync for ImportedOwner {}

impl Drop for ImportedOwner {
    fn drop(&mut self) {
        // SAFETY: the structure is alive until its deleter is called, here and only here.
        unsafe {
            if let Some(deleter) = self.0.as_ref().deleter {
                deleter(self.0.as_ptr());
            }
        }
    }
}

fn dl_data_type(data_type: DataType) -> Option<DlDataType> {
    // INVARIANT: no element has more than 8 bytes.
    let bits = data_type.element_size()? as u8 * 8;
    let code = match data_type {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => 0,
        DataType::Uint8 | DataType::Uint16 | DataType::Uint32 | DataType::Uint64 => 1,
        DataType::Fp16 | DataType::Fp32 | DataType::Fp64 => 2,
        DataType::Bf16 => 4,
        DataType::Bool => 6,
        DataType::Bytes => return None,
    };
    Some(DlDataType {
        code,
        bits,
        lanes: 1,
    })
}

fn data_type(dtype: DlDataType) -> Option<DataType> {
    DataType::ALL
        .into_iter()
        .find(|data_type| dl_data_type(*data_type) == Some(dtype))
}
