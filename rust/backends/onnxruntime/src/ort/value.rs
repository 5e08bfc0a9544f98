// SPDX-License-Identifier: Apache-2.0
use std::ffi::c_int;
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;
use tritongw_types::{DataType, Error, Result, Shape, byte_size};

use super::buffer::is_aligned;
use super::element::ElementType;
use super::runtime::{Runtime, not_null};
use super::session::Session;
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

    fn data(&self) -> Result<*mut u8> {
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
    fn type_and_shape(&self) -> Result<(ElementType, Shape)> {
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

/// A tensor that an execution gave.
pub(crate) struct OutputValue {
    value: RawValue,
    element_type: ElementType,
    shape: Shape,
    // The graph gives an input out unchanged: ORT then hands back the input's own tensor, whose
    // memory ends with the request.
    is_input: bool,
    // Its memory belongs to an allocator of the session.
    session: Arc<Session>,
}

impl OutputValue {
    pub(super) fn new(value: RawValue, is_input: bool, session: Arc<Session>) -> Result<Self> {
        let (element_type, shape) = value.type_and_shape()?;
        Ok(Self {
            value,
            element_type,
            shape,
            is_input,
            session,
        })
    }

    /// Returns the element type.
    pub(crate) fn element_type(&self) -> ElementType {
        self.element_type
    }

    /// Returns the shape.
    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Returns the memory of a tensor of fixed-size elements, which keeps the tensor: no copy,
    /// unless the memory belongs to an input.
    ///
    /// # Errors
    /// A tensor of strings or of a type that Triton has not, and a size that overflows.
    pub(crate) fn into_bytes(self) -> Result<Bytes> {
        let data_type = self.element_type.data_type();
        let byte_size = match data_type.map(|data_type| byte_size(data_type, &self.shape)) {
            Some(Ok(Some(byte_size))) => byte_size,
            Some(Err(source)) => {
                let message = format!("shape {}: {source}", self.shape);
                return Err(Error::internal(message).with_source(source));
            }
            Some(Ok(None)) | None => {
                return Err(Error::internal("the output has no elements of fixed size"));
            }
        };
        if byte_size == 0 {
            return Ok(Bytes::new());
        }
        let is_input = self.is_input;
        let data = not_null(self.value.data()?)?;
        let memory = TensorMemory {
            _value: self,
            data,
            byte_size,
        };
        if is_input {
            return Ok(Bytes::copy_from_slice(memory.as_ref()));
        }
        Ok(Bytes::from_owner(memory))
    }

    /// Returns a tensor's strings.
    ///
    /// # Errors
    /// A tensor that has none.
    pub(crate) fn strings(&self) -> Result<Strings> {
        let count = self
            .shape
            .element_count()
            .map_err(|source| Error::internal(format!("shape {}: {source}", self.shape)))?;
        let api = self.session.api();
        let raw = self.value.raw.as_ptr();
        let mut byte_size = 0;
        // SAFETY: the value is valid; ORT refuses one that has no strings.
        api.check(unsafe { (api.get_string_tensor_data_length)(raw, &raw mut byte_size) })?;
        let mut data = vec![0_u8; byte_size];
        let mut offsets = vec![0_usize; count];
        // SAFETY: both buffers are as long as said; ORT refuses a wrong count.
        api.check(unsafe {
            (api.get_string_tensor_content)(
                raw,
                data.as_mut_ptr().cast(),
                data.len(),
                offsets.as_mut_ptr(),
                offsets.len(),
            )
        })?;
        offsets.push(byte_size);
        Ok(Strings { data, offsets })
    }
}

impl std::fmt::Debug for OutputValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutputValue").finish_non_exhaustive()
    }
}

/// The memory of an output, owned by its tensor.
struct TensorMemory {
    _value: OutputValue,
    data: NonNull<u8>,
    byte_size: usize,
}

// SAFETY: the memory belongs to the value, which may go to another thread, and is never written
// once the execution has ended.
unsafe impl Send for TensorMemory {}

impl AsRef<[u8]> for TensorMemory {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: address and size of the tensor that this owns. Memory of an input is only read
        // while the input is bound: `into_bytes` copies it.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), self.byte_size) }
    }
}

/// Strings of a tensor, end to end.
#[derive(Debug)]
pub(crate) struct Strings {
    data: Vec<u8>,
    // Where each begins, and the end of the last.
    offsets: Vec<usize>,
}

impl Strings {
    /// Writes some of them as elements of a `BYTES` tensor (P074).
    ///
    /// # Errors
    /// A string longer than its length prefix can tell.
    pub(crate) fn encode(&self, range: Range<usize>) -> Result<Vec<u8>> {
        let bounds = &self.offsets[range.start..=range.end];
        let byte_size = bounds[bounds.len() - 1] - bounds[0] + 4 * range.len();
        let mut encoded = Vec::with_capacity(byte_size);
        for window in bounds.windows(2) {
            let string = &self.data[window[0]..window[1]];
            let length = u32::try_from(string.len()).map_err(|source| {
                Error::internal("the model gave a string above 4 GiB").with_source(source)
            })?;
            encoded.extend_from_slice(&length.to_le_bytes());
            encoded.extend_from_slice(string);
        }
        Ok(encoded)
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
