// SPDX-License-Identifier: Apache-2.0
use std::ffi::c_int;
use std::marker::PhantomData;
use std::ptr::{NonNull, null_mut};

use smallvec::SmallVec;
use tritongw_types::{DataType, Error, Result, Shape};

use super::buffer::is_aligned;
use super::element::ElementType;
use super::runtime::{Runtime, not_null};
use super::table::{Api, OrtTensorTypeAndShapeInfo, OrtValue};

/// An `OrtValue`, released when dropped.
pub(super) struct RawValue {
    api: &'static Api,
    raw: NonNull<OrtValue>,
}

// SAFETY: a value is a reference-counted tensor without ties to a thread; the allocators that take
// its memory back lock themselves.
unsafe impl Send for RawValue {}
// SAFETY: through a shared reference a value is only read.
unsafe impl Sync for RawValue {}

impl RawValue {
    /// Takes over a value.
    pub(super) fn new(api: &'static Api, raw: NonNull<OrtValue>) -> Self {
        Self { api, raw }
    }

    pub(super) fn as_ptr(&self) -> *mut OrtValue {
        self.raw.as_ptr()
    }

    /// Returns the address of a tensor's elements.
    pub(super) fn data(&self) -> Result<*mut u8> {
        let mut data = null_mut();
        // SAFETY: the value is valid; only the out-pointer is written.
        self.api.check(unsafe {
            (self.api.get_tensor_mutable_data)(self.raw.as_ptr(), &raw mut data)
        })?;
        Ok(data.cast())
    }
}

impl Drop for RawValue {
    fn drop(&mut self) {
        // SAFETY: owned, released once.
        unsafe { (self.api.release_value)(self.raw.as_ptr()) }
    }
}

/// A tensor over memory that it borrows, or one of strings, which it owns.
pub(crate) struct TensorView<'a> {
    value: RawValue,
    memory: PhantomData<&'a [u8]>,
}

impl<'a> TensorView<'a> {
    /// Makes an input over `data`, which must be aligned (`is_aligned`) and of the size that type
    /// and shape tell; ORT refuses less.
    ///
    /// # Errors
    /// Data that is not aligned, and ORT's: memory too small, a type it has not.
    pub(crate) fn over(
        runtime: &Runtime,
        data: &'a [u8],
        data_type: DataType,
        shape: &[i64],
    ) -> Result<Self> {
        if !data.is_empty() && !is_aligned(data, data_type) {
            return Err(Error::internal("the data of an input is not aligned"));
        }
        // An empty slice may point anywhere, even off any alignment.
        let empty = NonNull::<u64>::dangling().as_ptr().cast::<u8>();
        let pointer = if data.is_empty() {
            empty
        } else {
            data.as_ptr().cast_mut()
        };
        // SAFETY: the memory is borrowed as long as the tensor, which is used as an input only:
        // ORT does not write to the memory of inputs.
        unsafe { Self::over_raw(runtime, pointer, data.len(), data_type, shape) }
    }

    /// Makes a tensor over any memory.
    ///
    /// # Safety
    /// `pointer` must be good for `len` bytes as long as the tensor lives, for reading if it is
    /// used as an input and for writing if it is used as an output.
    pub(super) unsafe fn over_raw(
        runtime: &Runtime,
        pointer: *mut u8,
        len: usize,
        data_type: DataType,
        shape: &[i64],
    ) -> Result<Self> {
        let api = runtime.api;
        let element_type = element_type(data_type)?;
        let mut raw = null_mut();
        // SAFETY: memory as promised by the caller; memory info and shape are valid; ORT refuses
        // a shape that is larger than `len`.
        api.check(unsafe {
            (api.create_tensor_with_data_as_ort_value)(
                runtime.memory_info.as_ptr(),
                pointer.cast(),
                len,
                shape.as_ptr(),
                shape.len(),
                element_type,
                &raw mut raw,
            )
        })?;
        Ok(Self {
            value: RawValue::new(api, not_null(raw)?),
            memory: PhantomData,
        })
    }

    /// Makes a tensor of strings; they are copied, NUL bytes included.
    ///
    /// # Errors
    /// [`InvalidArg`](tritongw_types::ErrorCode::InvalidArg) if there are more or fewer strings
    /// than the shape tells, and those of `strings`.
    pub(crate) fn strings<'s>(
        runtime: &Runtime,
        shape: &Shape,
        strings: impl Iterator<Item = Result<&'s [u8]>>,
    ) -> Result<Self> {
        let api = runtime.api;
        let mut raw = null_mut();
        // SAFETY: allocator and shape are valid; ORT checks the dimensions.
        api.check(unsafe {
            (api.create_tensor_as_ort_value)(
                runtime.allocator.as_ptr(),
                shape.as_ptr(),
                shape.len(),
                element_type(DataType::Bytes)?,
                &raw mut raw,
            )
        })?;
        let value = RawValue::new(api, not_null(raw)?);
        let expected = shape
            .element_count()
            .map_err(|source| Error::invalid_arg(format!("invalid shape {shape}: {source}")))?;
        let mut count = 0;
        for string in strings {
            let string = string?;
            count += 1;
            if count > expected {
                break;
            }
            value.set_string(count - 1, string)?;
        }
        if count != expected {
            return Err(Error::invalid_arg(format!(
                "expected {expected} strings for shape {shape}, got {count}"
            )));
        }
        Ok(Self {
            value,
            memory: PhantomData,
        })
    }

    pub(super) fn as_ptr(&self) -> *mut OrtValue {
        self.value.raw.as_ptr()
    }
}

impl RawValue {
    pub(super) fn type_and_shape(&self) -> Result<(ElementType, Shape)> {
        let api = self.api;
        let mut raw = null_mut();
        // SAFETY: the value is valid; ORT refuses one that is no tensor.
        api.check(unsafe { (api.get_tensor_type_and_shape)(self.raw.as_ptr(), &raw mut raw) })?;
        let raw = not_null(raw)?;
        // SAFETY: made just before, read, and released once.
        unsafe {
            let result = tensor_type_and_shape(api, raw.as_ptr());
            (api.release_tensor_type_and_shape_info)(raw.as_ptr());
            result
        }
    }

    fn set_string(&self, index: usize, string: &[u8]) -> Result<()> {
        let mut buffer = null_mut();
        // SAFETY: a string tensor; ORT checks the index.
        self.api.check(unsafe {
            (self.api.get_resized_string_tensor_element_buffer)(
                self.raw.as_ptr(),
                index,
                string.len(),
                &raw mut buffer,
            )
        })?;
        if !string.is_empty() {
            // SAFETY: the buffer has just been made of this length, and nobody else has it.
            unsafe {
                buffer
                    .cast::<u8>()
                    .copy_from_nonoverlapping(string.as_ptr(), string.len())
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for TensorView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TensorView").finish_non_exhaustive()
    }
}

/// A tensor over memory that ORT may write to.
pub(crate) struct WritableTensor(TensorView<'static>);

impl WritableTensor {
    /// Makes a tensor over `memory`.
    ///
    /// # Safety
    /// The memory must stay valid, and be touched by nobody else, as long as the tensor lives.
    pub(super) unsafe fn over(
        runtime: &Runtime,
        memory: &mut [u8],
        data_type: DataType,
        shape: &[i64],
    ) -> Result<Self> {
        let (pointer, len) = (memory.as_mut_ptr(), memory.len());
        // SAFETY: good for reading and writing, for as long as the caller promises.
        unsafe { TensorView::over_raw(runtime, pointer, len, data_type, shape) }.map(Self)
    }

    pub(super) fn as_ptr(&self) -> *mut OrtValue {
        self.0.as_ptr()
    }
}

impl std::fmt::Debug for WritableTensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WritableTensor").finish_non_exhaustive()
    }
}

fn element_type(data_type: DataType) -> Result<c_int> {
    let element_type = ElementType::from_data_type(data_type);
    element_type
        .map(|element_type| element_type.0)
        .ok_or_else(|| Error::unsupported(format!("onnx runtime has no data type {data_type}")))
}

/// # Safety
/// `info` must be valid.
pub(super) unsafe fn tensor_type_and_shape(
    api: &Api,
    info: *const OrtTensorTypeAndShapeInfo,
) -> Result<(ElementType, Shape)> {
    let (mut element_type, mut rank) = (0, 0);
    // SAFETY: the info is valid, here and below; only the out-pointers are written.
    api.check(unsafe { (api.get_tensor_element_type)(info, &raw mut element_type) })?;
    // SAFETY: as above.
    api.check(unsafe { (api.get_dimensions_count)(info, &raw mut rank) })?;
    let mut dims: SmallVec<[i64; 8]> = SmallVec::from_elem(0, rank);
    // SAFETY: as above; there is room for as many dimensions as said.
    api.check(unsafe { (api.get_dimensions)(info, dims.as_mut_ptr(), rank) })?;
    Ok((ElementType(element_type), Shape::from_slice(&dims)))
}
