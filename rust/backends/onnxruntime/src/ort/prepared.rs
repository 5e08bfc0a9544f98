// SPDX-License-Identifier: Apache-2.0
use smallvec::SmallVec;
use tritongw_engine::InferenceResponse;
use tritongw_types::{DataType, Error, Result, Shape, byte_size};

use super::buffer::is_aligned;
use super::runtime::Runtime;
use super::value::WritableTensor;

/// A response whose outputs have their memory already, and tensors over it for ORT to write to:
/// results land where the door wants them, without a copy.
pub(crate) struct PreparedResponse {
    // INVARIANT: dropped before the response whose memory they point to.
    tensors: SmallVec<[WritableTensor; 4]>,
    response: Box<InferenceResponse>,
}

impl PreparedResponse {
    /// Wraps an empty response.
    pub(crate) fn new(response: Box<InferenceResponse>) -> Self {
        Self {
            tensors: SmallVec::new(),
            response,
        }
    }

    /// Allocates an output of the response; `false` if ORT cannot write to its memory.
    ///
    /// # Errors
    /// Those of the response's allocator and of ORT.
    pub(crate) fn allocate(
        &mut self,
        runtime: &Runtime,
        name: &str,
        data_type: DataType,
        shape: Shape,
    ) -> Result<bool> {
        let size = byte_size(data_type, &shape)
            .map_err(|source| Error::internal(format!("output '{name}': {source}")))?;
        let Some(size) = size.filter(|&size| size > 0) else {
            return Ok(false);
        };
        let dims = shape.clone();
        let memory = self
            .response
            .add_output_buffer(name, data_type, shape, size)?;
        if !is_aligned(memory, data_type) || memory.len() != size {
            return Ok(false);
        }
        // SAFETY: the memory belongs to an output buffer of the response, which `self` owns and
        // touches no more until `finish` has dropped the tensors: neither moving the response nor
        // adding outputs moves a buffer's memory.
        let tensor = unsafe { WritableTensor::over(runtime, memory, data_type, &dims) }?;
        self.tensors.push(tensor);
        Ok(true)
    }

    /// Returns a tensor for each output, in the order of their allocation.
    pub(crate) fn tensors(&self) -> &[WritableTensor] {
        &self.tensors
    }

    /// Returns the response, its outputs written.
    pub(crate) fn finish(self) -> Box<InferenceResponse> {
        let Self { tensors, response } = self;
        drop(tensors);
        response
    }
}

impl std::fmt::Debug for PreparedResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PreparedResponse")
            .field("response", &self.response)
            .finish_non_exhaustive()
    }
}
