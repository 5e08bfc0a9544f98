// SPDX-License-Identifier: Apache-2.0
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

use bytes::Bytes;
use tritongw_types::{Error, Result, Shape, byte_size};

use super::element::ElementType;
use super::runtime::not_null;
use super::session::Session;
use super::value::RawValue;

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
        let raw = self.value.as_ptr();
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
