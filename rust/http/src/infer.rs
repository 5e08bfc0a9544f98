// SPDX-License-Identifier: Apache-2.0
//! Inference over HTTP: body to request, response to body.

use std::sync::Arc;

use bytes::Bytes;
use hyper::{HeaderMap, Response};
use smallvec::{SmallVec, smallvec};
use tritongw_engine::buffer::{InputBuffer, ResponseAllocator};
use tritongw_engine::shared_memory::SharedMemoryAllocator;
use tritongw_engine::{InferenceRequest, InferenceResponse, Model, Server, parameters};
use tritongw_types::{Error, Result};

use crate::body::{ModelMemory, RequestBody};
use crate::codec::{
    EncodedResponse, HeadInput, OutputEncoding, ResponseHead, encode_infer_response,
    inference_header_length, leading_integer, parse_infer_head, split_binary_tensors,
};
use crate::coding::{self, ContentCoding};
use crate::door::Door;
use crate::exchange::Exchange;
use crate::framing::Framing;
use crate::offload::{self, LONG_JSON};
use crate::orca;
use crate::raw_request;
use crate::refusal::Refusal;
use crate::reply::{CancelOnDrop, Reply};
use crate::response::{self, ResponseBody};
use crate::route::Route;

/// Answers an inference request.
pub(crate) async fn answer(
    door: &Door,
    route: &Route<'_>,
    headers: &HeaderMap,
    body: &mut RequestBody<'_>,
    exchange: &mut Exchange,
) -> Result<Response<ResponseBody>, Refusal> {
    let model = door.server.model(&route.model(), route.version()?)?;
    if model.config().is_decoupled {
        return Err(Error::unsupported(
            "HTTP end point doesn't support models with decoupled transaction policy",
        )
        .into());
    }
    body.set_coding(request_coding(door.framing, headers)?);
    let header = door.framing.head_length(headers)?;
    let memory = model.request_memory().map(|memory| ModelMemory {
        memory,
        head_length: header.and_then(leading_integer).unwrap_or(0),
    });
    let bytes = body.receive(door.max_input_size, memory).await?;
    let trace = exchange.received(&door.server, model.name(), headers);
    // Until the answer is there, the next move is the model's.
    let working = body.activity().work();
    let reading = read_request(&door.server, &model, header, bytes);
    let (mut request, encoding) = reading.await?;
    exchange.identify(&request);
    request.set_trace(trace);
    if let Some(forward) = &door.header_forward {
        forward.apply(headers, &mut request)?;
    }
    let allocator = allocator(door, &encoding)?;
    let mut response = execute(door, request, allocator).await?;
    let is_long = offload::is_long_to_write(&response, &encoding);
    let encoded = offload::run(is_long, move || encode(&mut response, &encoding)).await?;
    let mut response = match response_coding(door.framing, headers) {
        None => response::inference(encoded, door.framing),
        Some(coding) => match compress(&encoded, coding, door.framing).await {
            Ok(response) => response,
            Err(error) => {
                let prefix = exchange.log_prefix();
                log::warn!(
                    "{prefix}sent a response plain since it could not be compressed: {error}"
                );
                response::inference(encoded, door.framing)
            }
        },
    };
    drop(working);
    orca::add_load(headers, &door.server, &mut response);
    Ok(response)
}

fn request_coding(framing: Framing, headers: &HeaderMap) -> Result<Option<ContentCoding>, Refusal> {
    match ContentCoding::of_request(headers) {
        Ok(None) => Ok(None),
        Ok(coding) if framing.allows_compression() => Ok(coding),
        _ => Err(Refusal::ContentEncoding(if framing.allows_compression() {
            "gzip, deflate"
        } else {
            "identity"
        })),
    }
}

fn response_coding(framing: Framing, headers: &HeaderMap) -> Option<ContentCoding> {
    framing
        .allows_compression()
        .then(|| ContentCoding::for_response(headers))?
}

/// Makes a compressed response. If that fails the response is sent plain (P105).
async fn compress(
    encoded: &EncodedResponse,
    coding: ContentCoding,
    framing: Framing,
) -> std::io::Result<Response<ResponseBody>> {
    let mut pieces: SmallVec<[&[u8]; 4]> = smallvec![&encoded.head[..]];
    pieces.extend(encoded.tensors.iter().map(|tensor| &tensor[..]));
    let packed = coding::pack(coding, &pieces).await?;
    Ok(response::compressed_inference(
        encoded, packed, coding, framing,
    ))
}

/// Makes the engine's request from a body.
async fn read_request(
    server: &Server,
    model: &Arc<Model>,
    header: Option<&[u8]>,
    mut body: Bytes,
) -> Result<(Box<InferenceRequest>, OutputEncoding)> {
    let head_length = inference_header_length(header, body.len())?;
    let mut request = InferenceRequest::new(Arc::clone(model));
    if head_length == 0 {
        let input = raw_request::deduce_input(model.config(), body)
            .map_err(|error| with_prefix(error, &request))?;
        request.add_input(input)?;
        return Ok((request, OutputEncoding::All { is_binary: true }));
    }
    let text = body.split_to(head_length);
    let parse = move || parse_infer_head(&text);
    let mut head = offload::run(head_length > LONG_JSON, parse).await?;
    split_binary_tensors(&mut head.inputs, body, model.name())?;
    request.set_id(&head.id);
    for parameter in &head.parameters {
        let value = parameter.value.as_request_parameter();
        parameters::apply(&mut request, &parameter.name, &value)?;
    }
    let encoding = head.take_output_encoding();
    for HeadInput {
        mut tensor,
        shared_memory,
        ..
    } in head.inputs
    {
        if let Some(reference) = shared_memory {
            let data = server
                .shared_memory()
                .slice(&reference)?
                .read(model.request_memory())?;
            tensor.data = [InputBuffer::Host(data)].into_iter().collect();
        }
        request.add_input(tensor)?;
    }
    for output in encoding.named_outputs() {
        request.add_requested_output(&output.name)?;
    }
    Ok((request, encoding))
}

/// Returns the memory of the outputs: for some it may be the client's.
fn allocator(door: &Door, encoding: &OutputEncoding) -> Result<Arc<dyn ResponseAllocator>> {
    let mut places = SharedMemoryAllocator::default();
    for output in encoding.named_outputs() {
        if let Some(reference) = &output.shared_memory {
            let slice = door.server.shared_memory().slice(reference)?;
            places.place(&output.name, slice);
        }
    }
    Ok(if places.is_empty() {
        door.allocator()
    } else {
        Arc::new(places)
    })
}

/// Sends the request to its model and waits; dropped before the end, it cancels the request.
async fn execute(
    door: &Door,
    mut request: Box<InferenceRequest>,
    allocator: Arc<dyn ResponseAllocator>,
) -> Result<Box<InferenceResponse>> {
    let reply = Arc::new(Reply::new());
    let responder = request.set_response_handler(allocator, Arc::clone(&reply) as _);
    let cancel = CancelOnDrop::new(responder);
    let response = match door.server.infer(request) {
        Ok(()) => {
            tritongw_engine::dispatch_soon();
            reply.response().await
        }
        Err((error, _request)) => {
            cancel.disarm();
            return Err(error);
        }
    };
    cancel.disarm();
    let response = response.ok_or_else(|| Error::internal("the model gave no response"))?;
    match response.error() {
        Some(error) => Err(error.clone()),
        None => Ok(response),
    }
}

fn encode(response: &mut InferenceResponse, encoding: &OutputEncoding) -> Result<EncodedResponse> {
    for output in encoding.named_outputs() {
        if let Some(class_count) = output.class_count {
            response.classify_output(&output.name, class_count)?;
        }
    }
    let outputs = response.take_outputs();
    let head = ResponseHead {
        id: response.request_id(),
        model_name: response.model().name(),
        model_version: response.model().version(),
        parameters: response.parameters(),
    };
    encode_infer_response(&head, outputs, encoding)
}

fn with_prefix(error: Error, request: &InferenceRequest) -> Error {
    error.map_message(|message| format!("{}{message}", request.log_prefix()))
}
