// SPDX-License-Identifier: Apache-2.0
//! Python's buffer protocol, both ways: memory of a tensor for NumPy, memory of an array for us.
#![expect(unsafe_code, reason = "the buffer protocol hands out raw pointers")]

use std::ffi::c_int;
use std::mem::MaybeUninit;

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use tritongw_backend_python::host::TensorMemory;
use tritongw_types::Shape;

/// Owns the memory under an array made by `Tensor.as_numpy`.
#[pyclass(frozen, module = "tritongw._core")]
#[derive(Debug)]
pub(crate) struct TensorBuffer {
    memory: TensorMemory,
}

impl TensorBuffer {
    pub(crate) fn new(memory: TensorMemory) -> Self {
        Self { memory }
    }
}

#[pymethods]
impl TensorBuffer {
    /// Gives out the bytes, writable.
    ///
    /// # Safety
    /// Called by the interpreter, with a `view` to fill.
    unsafe fn __getbuffer__(
        slf: &Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let (address, byte_size) = {
            let memory = &slf.get().memory;
            (memory.as_mut_ptr(), memory.byte_size())
        };
        let byte_size = isize::try_from(byte_size)
            .map_err(|_| PyBufferError::new_err("the memory is too large"))?;
        // SAFETY: the interpreter gives a `view` to fill, which takes a reference of its own to
        // the object; the memory stays where it is as long as the object, which is frozen, lives.
        let result = unsafe {
            ffi::PyBuffer_FillInfo(view, slf.as_ptr(), address.cast(), byte_size, 0, flags)
        };
        if result == 0 {
            Ok(())
        } else {
            Err(PyErr::fetch(slf.py()))
        }
    }
}

/// A contiguous array's memory, held for reading.
pub(crate) struct ArrayBuffer {
    // Boxed: exporters may keep pointers into the structure itself.
    view: Box<ffi::Py_buffer>,
}

impl ArrayBuffer {
    /// Takes hold of an object's memory.
    ///
    /// # Errors
    /// `BufferError` if it is not contiguous in C order, or the object has no buffer.
    pub(crate) fn new(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut view = Box::new(MaybeUninit::<ffi::Py_buffer>::uninit());
        // SAFETY: the view is there to be filled, and is looked at only if that succeeded.
        let result = unsafe {
            ffi::PyObject_GetBuffer(object.as_ptr(), view.as_mut_ptr(), ffi::PyBUF_C_CONTIGUOUS)
        };
        if result != 0 {
            return Err(PyErr::fetch(object.py()));
        }
        // SAFETY: filled, as the result says.
        let view = unsafe { view.assume_init() };
        Ok(Self { view })
    }

    /// Returns the bytes.
    ///
    /// The model may write to its array from another thread meanwhile, as it may while NumPy
    /// itself copies it; that makes a mix of bytes, not a dangling pointer.
    pub(crate) fn as_slice(&self) -> &[u8] {
        if self.view.buf.is_null() || self.view.len <= 0 {
            return &[];
        }
        // SAFETY: the exporter keeps `len` contiguous bytes at `buf` until the view is released.
        unsafe { std::slice::from_raw_parts(self.view.buf.cast(), self.view.len.unsigned_abs()) }
    }

    /// Returns the shape.
    pub(crate) fn shape(&self) -> Shape {
        let rank = usize::try_from(self.view.ndim).unwrap_or_default();
        if rank == 0 || self.view.shape.is_null() {
            return Shape::default();
        }
        // SAFETY: with PyBUF_ND, which was asked for, `shape` has `ndim` entries.
        let dims = unsafe { std::slice::from_raw_parts(self.view.shape, rank) };
        dims.iter().map(|&dim| dim as i64).collect()
    }
}

impl Drop for ArrayBuffer {
    fn drop(&mut self) {
        Python::attach(|_| {
            // SAFETY: the view was filled in `new`, is released once, and a thread that drops it
            // is attached.
            unsafe { ffi::PyBuffer_Release(&mut *self.view) };
        });
    }
}
