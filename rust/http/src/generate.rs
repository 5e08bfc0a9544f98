// SPDX-License-Identifier: Apache-2.0
//! Text generation over HTTP: flat JSON in, one JSON object or a stream of events out (P010, P011,
//! P112-P119).

mod events;
mod render;
mod request;
mod response_queue;

use std::sync::Arc;

use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};
use tritongw_types::{Error, Result};

use crate::body::RequestBody;
use crate::door::Door;
use crate::exchange::Exchange;
use crate::orca;
use crate::refusal::Refusal;
use crate::response::{self, ResponseBody};
use crate::route::Route;

pub(crate) use events::EventStream;
use events::Responses;
use render::Rendered;
use response_queue::ResponseQueue;

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");

/// Answers with the one response of a model, as JSON (P115).
pub(crate) async fn answer(
    door: &Door,
    route: &Route<'_>,
    headers: &HeaderMap,
    body: &mut RequestBody<'_>,
    exchange: &mut Exchange,
) -> Result<Response<ResponseBody>, Refusal> {
    let mut responses = send(door, route, headers, body, exchange).await?;
    let _working = body.activity().work();
    let first = responses.next().await;
    let is_only = first.is_some() && responses.next().await.is_none();
    let status = first.as_ref().map_or(StatusCode::OK, Rendered::status);
    // Triton: the first response decides the status even where it is not the answer.
    let text = match first {
        Some(first) if is_only => first.into_json(),
        _ => Rendered::from(not_one_response()).into_json(),
    };
    let json = HeaderValue::from_static("application/json");
    let mut response = response::text(status, json, text);
    orca::add_load(headers, &door.server, &mut response);
    Ok(response)
}

/// Answers with all responses of a model, as server-sent events; the first decides the status
/// (P116, G4.13).
pub(crate) async fn answer_stream(
    door: &Door,
    route: &Route<'_>,
    headers: &HeaderMap,
    body: &mut RequestBody<'_>,
    exchange: &mut Exchange,
) -> Result<Response<ResponseBody>, Refusal> {
    let mut responses = send(door, route, headers, body, exchange).await?;
    let first = {
        let _working = body.activity().work();
        responses.next().await
    };
    let status = first.as_ref().map_or(StatusCode::OK, Rendered::status);
    let mut response = response::events(status, EventStream::new(first, responses));
    response.headers_mut().insert(CONTENT_TYPE, EVENT_STREAM);
    orca::add_load(headers, &door.server, &mut response);
    Ok(response)
}

/// Sends the request that the body holds to its model.
async fn send(
    door: &Door,
    route: &Route<'_>,
    headers: &HeaderMap,
    body: &mut RequestBody<'_>,
    exchange: &mut Exchange,
) -> Result<Responses, Refusal> {
    let model = door.server.model(&route.model(), route.version()?)?;
    check_encoding(headers)?;
    let text = body.receive(door.max_input_size, None).await?;
    let trace = exchange.received(&door.server, model.name(), headers);
    let mut request = request::read(&model, &text)?;
    exchange.identify(&request);
    request.set_trace(trace);
    if let Some(forward) = &door.header_forward {
        forward.apply(headers, &mut request)?;
    }
    let queue = Arc::new(ResponseQueue::new());
    let responder = request.set_response_handler(door.allocator(), Arc::clone(&queue) as _);
    queue.cancels(responder);
    let responses = Responses::new(queue, responder);
    if let Err((error, _request)) = door.server.infer(request) {
        return Err(error.into());
    }
    tritongw_engine::dispatch_soon();
    Ok(responses)
}

/// Refuses compressed bodies (P106).
fn check_encoding(headers: &HeaderMap) -> Result<()> {
    match headers.get(CONTENT_ENCODING) {
        Some(encoding) if encoding != "identity" => Err(Error::invalid_arg(
            "Unsupported content-encoding, only 'identity' is supported.",
        )),
        _ => Ok(()),
    }
}

fn not_one_response() -> Error {
    Error::internal(
        "generate expects model to produce exactly 1 response, use generate stream for model that \
         generates various number of responses",
    )
}
