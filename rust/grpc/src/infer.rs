// SPDX-License-Identifier: Apache-2.0
//! `ModelInfer`: message to engine request, engine response to message.

use std::num::NonZeroU64;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;
use tritongw_engine::buffer::{HeapAllocator, RequestBuffer, ResponseAllocator};
use tritongw_engine::shared_memory::SharedMemoryAllocator;
use tritongw_engine::{
    InferenceRequest, InferenceResponse, InputTensor, Model, OutputTensor, Responder, Server,
};
use tritongw_types::{CName, DataType, Error, Result};

use crate::call_notes::CallNotes;
use crate::codec::{
    Envelope, InferInput, InferOutput, InferRequest, InferResponse, MessageTooLarge, Segments,
    decode_infer_request, encode_infer_response, peek_model, peek_raw_contents,
};
use crate::metadata_forward::Forward;
use crate::slot::ResponseSlot;
use crate::status::{Code, Status};
use crate::version::parse_version;
use crate::{parameters, tensor_parameters};

/// Returns memory of the model a message of `size` bytes is for, if the model wants it there.
pub(crate) fn memory_of_model(
    server: &Server,
    beginning: &[u8],
    size: usize,
) -> Option<Box<dyn RequestBuffer>> {
    let (name, version) = peek_model(beginning)?;
    let model = server.model(name, parse_version(version).ok()?).ok()?;
    model
        .request_memory()?
        .allocate(size, peek_raw_contents(beginning).unwrap_or(0))
}

/// Runs one inference, of which `notes` are taken. Dropping the future cancels it.
pub(crate) async fn model_infer(
    server: &Server,
    allocator: &Arc<HeapAllocator>,
    forward: Forward<'_>,
    message: Bytes,
    max_message_size: usize,
    notes: &mut CallNotes,
) -> Result<Segments, Status> {
    let inference = Inference::start(server, allocator, forward, &message, notes)?;
    // The inputs keep what they need of it.
    drop(message);
    let mut response = inference.response().await?;
    encode(&mut response, Envelope::Unary, max_message_size)
}

/// An inference under way; cancelled when dropped before its response has come.
struct Inference {
    slot: Arc<ResponseSlot>,
    responder: Option<Arc<Responder>>,
    classified: Classified,
}

impl Inference {
    fn start(
        server: &Server,
        allocator: &Arc<HeapAllocator>,
        forward: Forward<'_>,
        message: &Bytes,
        notes: &mut CallNotes,
    ) -> Result<Self, Status> {
        let call = decode_infer_request(message).map_err(|_| Status::unreadable())?;
        let model = server.model(call.model_name, parse_version(call.model_version)?)?;
        if model.config().is_decoupled {
            return Err(Status::new(
                Code::Unimplemented,
                "ModelInfer RPC doesn't support models with decoupled transaction policy",
            ));
        }
        let outputs = Outputs::of(server, &call)?;
        let trace = notes.received(server, model.name(), forward.headers);
        let mut request = build_request(server, model, &call, message)?;
        notes.identify(&request);
        forward.apply(&mut request)?;
        request.set_trace(trace);
        let slot = Arc::new(ResponseSlot::new());
        let (allocator, classified) = outputs.split(allocator);
        let sink = Arc::clone(&slot);
        let responder = Arc::clone(request.set_response_handler(allocator, sink));
        server.infer(request).map_err(|(error, _)| error)?;
        tritongw_engine::dispatch_soon();
        Ok(Self {
            slot,
            responder: Some(responder),
            classified,
        })
    }

    /// Waits for the response, in which outputs are classified as the call asks.
    async fn response(mut self) -> Result<Box<InferenceResponse>, Status> {
        let response = self.slot.response().await;
        self.responder = None;
        let mut response = response
            .ok_or_else(|| Status::new(Code::Internal, "received an unexpected null response"))?;
        for (output, class_count) in &self.classified {
            response.classify_output(output, *class_count)?;
        }
        Ok(response)
    }
}

impl Drop for Inference {
    fn drop(&mut self) {
        if let Some(responder) = &self.responder {
            responder.cancel();
        }
    }
}

/// Makes the engine's request out of a message.
pub(crate) fn build_request(
    server: &Server,
    model: Arc<Model>,
    call: &InferRequest<'_>,
    message: &Bytes,
) -> Result<Box<InferenceRequest>> {
    let mut request = InferenceRequest::new(model);
    request.set_id(call.id);
    for &(name, value) in &call.parameters {
        parameters::apply(&mut request, name, value)?;
    }
    for output in &call.outputs {
        request.add_requested_output(output.name)?;
    }
    let mut raw_contents = call.raw_input_contents.iter();
    for input in &call.inputs {
        let data_type = DataType::from_protocol_str(input.datatype);
        let shared = shared_memory_data(server, request.model(), call, input)?;
        let data = match &input.contents {
            _ if shared.is_some() => Ok(shared.unwrap_or_default()),
            Some(_) if !call.raw_input_contents.is_empty() => Err(mixed_contents(call, input)),
            Some(contents) => contents
                .to_tensor(data_type, message)
                .map_err(|of_type| wrong_contents(call, input, of_type)),
            None => raw_contents
                .next()
                .cloned()
                .ok_or_else(|| no_contents(call, input)),
        }?;
        let data_type = data_type.ok_or_else(|| unknown_type(&request, input))?;
        request.add_input(InputTensor::new(
            input.name,
            data_type,
            input.shape.clone(),
            data,
        ))?;
    }
    Ok(request)
}

/// What a call asks for beside the request itself: where outputs go, and what becomes of them.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    places: SharedMemoryAllocator,
    classified: Classified,
}

/// Outputs of which a client wants the best classes, and how many.
pub(crate) type Classified = SmallVec<[(CName, NonZeroU64); 0]>;

impl Outputs {
    /// Reads the parameters of the requested outputs.
    pub(crate) fn of(server: &Server, call: &InferRequest<'_>) -> Result<Self> {
        let mut outputs = Self::default();
        for output in &call.outputs {
            let name = CName::new(output.name);
            if let Some(class_count) = tensor_parameters::class_count(&output.parameters)? {
                outputs.classified.push((name, class_count));
            } else if let Some(reference) =
                tensor_parameters::shared_memory(output.name, &output.parameters)?
            {
                let slice = server.shared_memory().slice(&reference)?;
                outputs.places.place(&name, slice);
            }
        }
        Ok(outputs)
    }
}

impl Outputs {
    /// Returns who gives the outputs' memory, and what becomes of them.
    pub(crate) fn split(
        self,
        heap: &Arc<HeapAllocator>,
    ) -> (Arc<dyn ResponseAllocator>, Classified) {
        let allocator: Arc<dyn ResponseAllocator> = if self.places.is_empty() {
            Arc::clone(heap) as _
        } else {
            Arc::new(self.places)
        };
        (allocator, self.classified)
    }
}

/// Returns the data of an input that lies in shared memory, if it does.
fn shared_memory_data(
    server: &Server,
    model: &Model,
    call: &InferRequest<'_>,
    input: &InferInput<'_>,
) -> Result<Option<Bytes>> {
    let reference = tensor_parameters::shared_memory(input.name, &input.parameters)?;
    let Some(reference) = reference else {
        return Ok(None);
    };
    if input.contents.is_some() {
        return Err(Error::invalid_arg(format!(
            "unexpected 'content' provided when using shared memory for input tensor '{}' for \
             model '{}'",
            input.name, call.model_name
        )));
    }
    let slice = server.shared_memory().slice(&reference)?;
    slice.read(model.request_memory()).map(Some)
}

fn mixed_contents(call: &InferRequest<'_>, input: &InferInput<'_>) -> Error {
    Error::invalid_arg(format!(
        "contents field must not be specified when using raw_input_contents for '{}' for model \
         '{}'",
        input.name, call.model_name
    ))
}

fn wrong_contents(call: &InferRequest<'_>, input: &InferInput<'_>, of_type: DataType) -> Error {
    let expected = DataType::from_protocol_str(input.datatype);
    Error::invalid_arg(format!(
        "unexpected explicit tensor data for input tensor '{}' for model '{}' of type '{of_type}', \
         expected datatype '{}'",
        input.name,
        call.model_name,
        expected.map_or(INVALID_TYPE, DataType::as_str)
    ))
}

fn no_contents(call: &InferRequest<'_>, input: &InferInput<'_>) -> Error {
    Error::invalid_arg(format!(
        "unable to find data for input tensor '{}' for model '{}' in request.",
        input.name, call.model_name
    ))
}

/// How Triton prints a data type that is none.
const INVALID_TYPE: &str = "<invalid>";

/// What the engine says of a wrong data type, said here since it knows only those that exist.
fn unknown_type(request: &InferenceRequest, input: &InferInput<'_>) -> Error {
    let model = request.model();
    let name = input.name;
    Error::invalid_arg(match model.config().input(name) {
        Some(config) => format!(
            "{}inference input '{name}' data-type is '{INVALID_TYPE}', but model '{}' expects '{}'",
            request.log_prefix(),
            model.name(),
            config.data_type
        ),
        None => format!(
            "unexpected inference input '{name}' for model '{}'",
            model.name()
        ),
    })
}

/// Writes a response into its message.
///
/// # Errors
/// Its error; or that it is larger than a message may be, or does not lie in host memory.
pub(crate) fn encode(
    response: &mut InferenceResponse,
    envelope: Envelope,
    max_message_size: usize,
) -> Result<Segments, Status> {
    if let Some(error) = response.error() {
        return Err(Status::from(error.clone()));
    }
    let outputs = response
        .take_outputs()
        .map(output)
        .collect::<Result<Vec<_>>>()?;
    let message = InferResponse {
        model_name: response.model().name(),
        model_version: response.model().version(),
        id: response.request_id(),
        parameters: response.parameters(),
        outputs: &outputs,
    };
    let encoded = encode_infer_response(&message, envelope, max_message_size);
    encoded.map_err(|MessageTooLarge { size }| {
        let message =
            format!("SERVER: Sent message larger than max ({size} vs. {max_message_size})");
        Status::new(Code::ResourceExhausted, message)
    })
}

fn output(output: OutputTensor) -> Result<InferOutput> {
    let OutputTensor {
        name,
        data_type,
        shape,
        buffer,
    } = output;
    let buffer = buffer.filter(|buffer| !buffer.is_with_client());
    let data = match buffer.map(|buffer| buffer.into_bytes()) {
        None => Bytes::new(),
        Some(Ok(data)) => data,
        Some(Err(_)) => {
            return Err(Error::internal(format!(
                "output '{name}' does not lie in host memory"
            )));
        }
    };
    Ok(InferOutput {
        name,
        data_type,
        shape,
        data,
    })
}
