// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use parking_lot::Mutex;
use tritongw_engine::buffer::HeapAllocator;
use tritongw_engine::header_forward::HeaderForward;
use tritongw_engine::trace::{DoorActivities, DoorTrace, InferenceTrace};
use tritongw_engine::{InferenceRequest, Model, Server, log_prefix};
use tritongw_types::{CName, Error, Result};

use super::encode::{RequestNames, Response};
use super::order::Ticket;
use super::queue::{StreamLimits, StreamQueue};
use super::sink::StreamSink;
use super::writer::StreamWriter;
use crate::call_notes::{StreamAccess, StreamEntry};
use crate::codec::{InferRequest, decode_infer_request};
use crate::compression::Encoding;
use crate::drain::Drain;
use crate::framing::MessageDecoder;
use crate::infer::Outputs;
use crate::metadata_forward::Forward;
use crate::panic_guard::guarded;
use crate::status::{SHUTTING_DOWN, Status};
use crate::version::parse_version;
use crate::{infer, parameters, task};

/// What all streams of a network thread share.
pub(crate) struct StreamShared {
    pub(crate) server: Arc<Server>,
    pub(crate) drain: Arc<Drain>,
    pub(crate) allocator: Arc<HeapAllocator>,
    pub(crate) header_forward: Option<Arc<HeaderForward>>,
    pub(crate) max_message_size: usize,
    pub(crate) limits: StreamLimits,
}

/// The reading half of one call of `ModelStreamInfer`.
pub(crate) struct StreamCall {
    shared: Arc<StreamShared>,
    headers: HeaderMap,
    encoding: Encoding,
    /// Where requests are told in the access log.
    access: Option<StreamAccess>,
    queue: Arc<StreamQueue>,
    /// The id of the request that was read last.
    last_id: Mutex<String>,
}

impl StreamCall {
    /// Starts to read requests; returns the writing half. When that is dropped, everything under
    /// way is cancelled.
    pub(crate) fn start(
        shared: &Arc<StreamShared>,
        headers: HeaderMap,
        encoding: Encoding,
        access: Option<StreamAccess>,
        body: Incoming,
    ) -> StreamWriter {
        let queue = Arc::new(StreamQueue::new(shared.limits));
        let ends_on_error = headers
            .get("triton_grpc_error")
            .is_some_and(|value| value == "true");
        let call = Self {
            shared: Arc::clone(shared),
            headers,
            encoding,
            access,
            queue: Arc::clone(&queue),
            last_id: Mutex::default(),
        };
        let reader = task::spawn(async move {
            let result = guarded(call.read(body)).await;
            let result = result.unwrap_or_else(|panicked| {
                // Of the request that was read last.
                Err(panicked.report(&log_prefix(&CName::new(&call.last_id.lock()))))
            });
            call.queue.end_reading(result);
        });
        StreamWriter::new(queue, reader, shared, ends_on_error)
    }

    /// Reads requests until the client has sent its last one.
    async fn read(&self, mut body: Incoming) -> Result<(), Status> {
        let limit = self.shared.max_message_size;
        let memory =
            |beginning: &[u8], size| infer::memory_of_model(&self.shared.server, beginning, size);
        let mut decoder = MessageDecoder::new(limit);
        let traces = self.shared.server.traces();
        let mut trace = DoorTrace::begin(traces, DoorActivities::GRPC);
        loop {
            self.queue.room_to_read().await;
            if let Some(message) = decoder.next_message(&memory)? {
                self.take(&self.encoding.decode(message, limit)?, &mut trace)?;
                trace = DoorTrace::begin(traces, DoorActivities::GRPC);
                continue;
            }
            match body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(piece) = frame.into_data() {
                        decoder.push(piece);
                    }
                }
                Some(Err(_)) => return Err(Status::cancelled()),
                None if decoder.is_empty() => return Ok(()),
                None => return Err(Status::unreadable()),
            }
        }
    }

    /// Takes one request; what is wrong with it is answered in the stream (P149).
    fn take(&self, message: &Bytes, trace: &mut DoorTrace) -> Result<(), Status> {
        let call = decode_infer_request(message).map_err(|_| Status::unreadable())?;
        call.id.clone_into(&mut self.last_id.lock());
        let model = self.model(&call);
        let is_decoupled = model
            .as_ref()
            .is_ok_and(|model| model.config().is_decoupled);
        let ticket = self.queue.open(is_decoupled);
        // Until it is known which inference it is.
        let mut entry = StreamEntry::default();
        let started = model.map_err(Refusal::from).and_then(|model| {
            let traces = self.shared.server.traces();
            let trace = trace.received(traces, model.name(), |name| {
                self.headers.get(name).map(HeaderValue::as_bytes)
            });
            let mut request = infer::build_request(&self.shared.server, model, &call, message)?;
            request.set_trace(trace.clone());
            entry = StreamEntry::begin(self.access.as_ref(), &request);
            self.infer(ticket, request, &call, trace, entry.clone())
        });
        if let Err(Refusal { error, request }) = started {
            entry.or_begin(self.access.as_ref()).note_error(&error);
            let response = Response::failed(&names(&call), error, None);
            self.queue.respond(ticket, Some(response), true);
            // Only now: as it goes it answers for itself, but it has been answered.
            drop(request);
        }
        Ok(())
    }

    fn model(&self, call: &InferRequest<'_>) -> Result<Arc<Model>> {
        let server = &self.shared.server;
        if self.shared.drain.is_stopping() || server.is_exiting() {
            return Err(Error::unavailable(SHUTTING_DOWN));
        }
        server.model(call.model_name, parse_version(call.model_version)?)
    }

    fn infer(
        &self,
        ticket: Ticket,
        mut request: Box<InferenceRequest>,
        call: &InferRequest<'_>,
        trace: Option<Arc<InferenceTrace>>,
        access: StreamEntry,
    ) -> Result<(), Refusal> {
        let forward = Forward {
            pattern: self.shared.header_forward.as_deref(),
            headers: &self.headers,
        };
        forward.apply(&mut request)?;
        let outputs = Outputs::of(&self.shared.server, call)?;
        let (allocator, classified) = outputs.split(&self.shared.allocator);
        let sink = Arc::new(StreamSink {
            queue: Arc::clone(&self.queue),
            ticket,
            names: names(call),
            is_decoupled: request.model().config().is_decoupled,
            trace,
            access,
            classified,
            wants_empty_final: parameters::wants_empty_final(&call.parameters),
            has_responded: AtomicBool::new(false),
        });
        let responder = Arc::clone(request.set_response_handler(allocator, sink));
        self.queue.watch(ticket, &responder);
        let started = self.shared.server.infer(request);
        started.map_err(|(error, request)| Refusal {
            error,
            request: Some(request),
        })
    }
}

/// Why a request did not start.
struct Refusal {
    error: Error,
    request: Option<Box<InferenceRequest>>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self {
            error,
            request: None,
        }
    }
}

fn names(call: &InferRequest<'_>) -> RequestNames {
    RequestNames {
        id: call.id.to_owned(),
        model_name: call.model_name.to_owned(),
        model_version: call.model_version.to_owned(),
    }
}
