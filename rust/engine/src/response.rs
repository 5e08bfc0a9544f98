// SPDX-License-Identifier: Apache-2.0
//! Responses as backends fill them and doors read them.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tritongw_types::{
    CName, DataType, Error, MemoryLocation, Parameter, ParameterValue, Result, Shape,
};

use crate::Model;
use crate::buffer::{OutputBuffer, ResponseAllocator, not_in_host_memory};

/// Flags that accompany a response; numbers are those of `TRITONSERVER_ResponseCompleteFlag`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseFlags(pub u32);

impl ResponseFlags {
    /// More responses follow.
    pub const NONE: Self = Self(0);
    /// The last response of its request.
    pub const FINAL: Self = Self(1);

    /// Returns whether this is the last response.
    pub fn is_final(self) -> bool {
        self.0 & Self::FINAL.0 != 0
    }
}

/// One output of a response.
#[derive(Debug)]
pub struct OutputTensor {
    /// Name.
    pub name: CName,
    /// Element type.
    pub data_type: DataType,
    /// Shape, batch dimension included.
    pub shape: Shape,
    /// Memory, once allocated; an output with no element may have none.
    pub buffer: Option<OutputBuffer>,
}

/// One response: outputs, or an error.
///
/// Lives as long as its holder wants, independent of request and model instance.
pub struct InferenceResponse {
    model: Arc<Model>,
    request_id: CName,
    allocator: Arc<dyn ResponseAllocator>,
    // Boxed, so that the address of an output stays the same while others are added.
    #[expect(
        clippy::vec_box,
        reason = "a C caller holds pointers to single outputs"
    )]
    outputs: Vec<Box<OutputTensor>>,
    parameters: Vec<Parameter>,
    error: Option<Error>,
}

impl InferenceResponse {
    /// Makes an empty response.
    pub(crate) fn new(
        model: Arc<Model>,
        request_id: CName,
        allocator: Arc<dyn ResponseAllocator>,
    ) -> Self {
        Self {
            model,
            request_id,
            allocator,
            outputs: Vec::new(),
            parameters: Vec::new(),
            error: None,
        }
    }

    /// Returns the model that answered.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Returns the id of the request, empty if it had none.
    pub fn request_id(&self) -> &CName {
        &self.request_id
    }

    /// Returns the error, if the request failed.
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// Makes this an error response.
    pub fn set_error(&mut self, error: Error) {
        self.error = Some(error);
    }

    /// Returns the outputs in the order in which the backend added them (P069).
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = &OutputTensor> {
        self.outputs.iter().map(|output| &**output)
    }

    /// Takes the outputs out, in order.
    pub fn take_outputs(&mut self) -> impl ExactSizeIterator<Item = OutputTensor> + use<> {
        std::mem::take(&mut self.outputs)
            .into_iter()
            .map(|output| *output)
    }

    /// Returns the response parameters.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Adds a response parameter.
    pub fn add_parameter(&mut self, name: &str, value: ParameterValue) {
        self.parameters.push(Parameter {
            name: CName::new(name),
            value,
        });
    }

    /// Adds an output whose memory is not yet allocated. `shape` is the backend's; the client
    /// gets it with the output's `reshape` undone.
    pub fn add_output(
        &mut self,
        name: &str,
        data_type: DataType,
        shape: Shape,
    ) -> &mut OutputTensor {
        if self.outputs.is_empty() {
            self.allocator.start();
        }
        let name = CName::new(name);
        let shape = self.model.client_output_shape(&name, shape);
        self.outputs.push(Box::new(OutputTensor {
            name,
            data_type,
            shape,
            buffer: None,
        }));
        self.outputs
            .last_mut()
            .expect("INVARIANT: one was just pushed")
    }

    /// Adds an output with `byte_size` bytes of host memory from the request's allocator.
    ///
    /// # Errors
    /// Those of the allocator, and [`Unsupported`](tritongw_types::ErrorCode::Unsupported) if it gives no host memory.
    pub fn add_output_buffer(
        &mut self,
        name: &str,
        data_type: DataType,
        shape: Shape,
        byte_size: usize,
    ) -> Result<&mut [u8]> {
        let allocator = Arc::clone(&self.allocator);
        let output = self.add_output(name, data_type, shape);
        let buffer = allocator.allocate(&output.name, byte_size, MemoryLocation::CPU)?;
        let memory = output.buffer.insert(buffer).as_mut_slice();
        memory.ok_or_else(|| not_in_host_memory(name))
    }

    /// Adds an output whose data the backend already holds: kept as it is where the allocator
    /// adopts it, copied into the allocator's memory otherwise.
    ///
    /// # Errors
    /// As [`Self::add_output_buffer`].
    pub fn add_output_bytes(
        &mut self,
        name: &str,
        data_type: DataType,
        shape: Shape,
        data: Bytes,
    ) -> Result<()> {
        let allocator = Arc::clone(&self.allocator);
        let output = self.add_output(name, data_type, shape);
        output.buffer = Some(allocator.adopt(&output.name, data)?);
        Ok(())
    }

    pub(crate) fn output_mut(&mut self, name: &str) -> Option<&mut OutputTensor> {
        let mut outputs = self.outputs.iter_mut().map(|output| &mut **output);
        outputs.find(|output| output.name == *name)
    }

    /// Brings outputs to where the client looks for them; what cannot be makes this an error
    /// response.
    pub(crate) fn settle(&mut self) {
        let buffers = self
            .outputs
            .iter_mut()
            .filter_map(|output| output.buffer.as_mut());
        for buffer in buffers {
            if let Err(error) = buffer.settle() {
                self.error = Some(error);
                break;
            }
        }
    }
}

impl fmt::Debug for InferenceResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InferenceResponse")
            .field("request_id", &self.request_id)
            .field("outputs", &self.outputs)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}
