// SPDX-License-Identifier: Apache-2.0
//! From an HTTP/2 request to its answer: gate, deadline, message, method.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::{HeaderMap, Request, Response};
use tritongw_engine::Server;
use tritongw_engine::buffer::{HeapAllocator, RequestBuffer};
use tritongw_engine::header_forward::HeaderForward;
use tritongw_types::RestrictedApis;

use crate::body::{GrpcBody, answer, http_refusal, streaming_answer};
use crate::call_notes::{CallNotes, StreamAccess, begin_access};
use crate::codec::Segments;
use crate::compression::{CompressionLevel, Encoding};
use crate::deadline::timeout_of;
use crate::drain::Drain;
use crate::gate::{Refusal, admit};
use crate::metadata_forward::Forward;
use crate::method::Method;
use crate::panic_guard::guarded;
use crate::receive::receive_message;
use crate::reflection::{DescriptorIndex, ReflectionCall};
use crate::server::GrpcOptions;
use crate::status::Status;
use crate::stream::{StreamCall, StreamLimits, StreamShared};
use crate::{control, infer, repository};

/// Bytes of responses that may wait on one stream: a client that reads more slowly than its models
/// answer holds them back (users would otherwise see the server's memory grow).
const STREAM_QUEUE_SIZE: usize = 16 << 20;

/// What the calls of one network thread share.
pub(crate) struct Service {
    shared: Arc<StreamShared>,
    compression_level: CompressionLevel,
    restricted: RestrictedApis,
    logs_access: bool,
    reflection: Arc<DescriptorIndex>,
}

impl Service {
    pub(crate) fn new(
        server: Arc<Server>,
        drain: Arc<Drain>,
        header_forward: Option<Arc<HeaderForward>>,
        reflection: Arc<DescriptorIndex>,
        options: &GrpcOptions,
    ) -> Self {
        let limits = StreamLimits {
            queued_bytes: STREAM_QUEUE_SIZE,
            queued_per_request: options.max_response_pool_size.max(1),
            open_requests: options.max_concurrent_streams as usize,
        };
        let shared = StreamShared {
            server,
            drain,
            allocator: Arc::new(HeapAllocator),
            header_forward,
            max_message_size: options.max_message_size,
            limits,
        };
        Self {
            shared: Arc::new(shared),
            compression_level: options.compression_level,
            restricted: options.restricted_protocols.clone(),
            logs_access: options.logs_access,
            reflection,
        }
    }

    /// Answers one HTTP/2 request, whatever it is.
    pub(crate) async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: Option<SocketAddr>,
    ) -> Result<Response<GrpcBody>, Infallible> {
        let (head, body) = request.into_parts();
        let StreamShared { server, drain, .. } = &*self.shared;
        let _inflight = drain.requests.enter();
        let is_stopping = drain.is_stopping() || server.is_exiting();
        Ok(match admit(&head, &self.restricted, is_stopping) {
            Ok(Method::ModelStreamInfer) => {
                let access = self.logs_access.then(|| StreamAccess::new(peer, &head));
                self.stream(head.headers, access, body)
            }
            Ok(Method::Reflection) => self.reflect(&head.headers, body),
            Ok(method) => {
                let access = self.logs_access.then(|| begin_access(peer, &head));
                let mut notes = CallNotes::begin(server, access);
                let call = self.call(method, &head.headers, body, &mut notes);
                let result = guarded(call)
                    .await
                    .unwrap_or_else(|panicked| Err(panicked.report(&notes.log_prefix())));
                let code = result.as_ref().map_or_else(Status::code, |_| 0);
                let mut answer = answer(result, self.encoding(method, &head.headers));
                notes.send(code, &mut answer);
                answer
            }
            Err(Refusal::Call(status)) => answer(Err(status), Encoding::Identity),
            Err(Refusal::Http(status)) => http_refusal(status),
        })
    }

    /// Starts a call with many messages in both directions.
    fn stream(
        &self,
        headers: HeaderMap,
        access: Option<StreamAccess>,
        body: Incoming,
    ) -> Response<GrpcBody> {
        let encoding = match Encoding::of(&headers) {
            Ok(encoding) => encoding,
            Err(status) => return answer(Err(status), Encoding::Identity),
        };
        let answered_in = self.encoding(Method::ModelStreamInfer, &headers);
        let timeout = timeout_of(&headers);
        let inflight = self.shared.drain.enter_stream();
        let source = StreamCall::start(&self.shared, headers, encoding, access, body);
        streaming_answer(source, answered_in, timeout, inflight)
    }

    /// Starts a call that asks what the server offers.
    fn reflect(&self, headers: &HeaderMap, body: Incoming) -> Response<GrpcBody> {
        let encoding = match Encoding::of(headers) {
            Ok(encoding) => encoding,
            Err(status) => return answer(Err(status), Encoding::Identity),
        };
        let source = ReflectionCall::new(&self.reflection, encoding, body);
        let inflight = self.shared.drain.enter_stream();
        streaming_answer(source, Encoding::Identity, timeout_of(headers), inflight)
    }

    /// Returns how to compress the answer to a call (C056: only inference).
    fn encoding(&self, method: Method, headers: &HeaderMap) -> Encoding {
        if method.is_inference() {
            Encoding::of_responses(self.compression_level, headers)
        } else {
            Encoding::Identity
        }
    }

    async fn call(
        &self,
        method: Method,
        headers: &HeaderMap,
        body: Incoming,
        notes: &mut CallNotes,
    ) -> Result<Segments, Status> {
        let encoding = Encoding::of(headers)?;
        let work = async {
            let message = self.receive(method, encoding, body).await?;
            match method {
                Method::ModelInfer => self.model_infer(headers, message, notes).await,
                Method::RepositoryModelLoad => repository::load(&self.shared.server, message).await,
                Method::RepositoryModelUnload => {
                    repository::unload(&self.shared.server, message).await
                }
                Method::ModelReady => control::model_ready(&self.shared.server, message).await,
                _ => control::call(&self.shared.server, method, message),
            }
        };
        match timeout_of(headers) {
            None => work.await,
            Some(timeout) => {
                let timed = tokio::time::timeout(timeout, work).await;
                timed.unwrap_or_else(|_| Err(Status::deadline_exceeded()))
            }
        }
    }

    async fn model_infer(
        &self,
        headers: &HeaderMap,
        message: Bytes,
        notes: &mut CallNotes,
    ) -> Result<Segments, Status> {
        let StreamShared {
            server,
            allocator,
            header_forward,
            max_message_size,
            ..
        } = &*self.shared;
        let forward = Forward {
            pattern: header_forward.as_deref(),
            headers,
        };
        let limit = *max_message_size;
        infer::model_infer(server, allocator, forward, message, limit, notes).await
    }

    fn receive(
        &self,
        method: Method,
        encoding: Encoding,
        body: Incoming,
    ) -> impl Future<Output = Result<Bytes, Status>> {
        let memory = move |beginning: &[u8], size| -> Option<Box<dyn RequestBuffer>> {
            if method != Method::ModelInfer {
                return None;
            }
            infer::memory_of_model(&self.shared.server, beginning, size)
        };
        let limit = self.shared.max_message_size;
        async move { receive_message(body, encoding, limit, &memory).await }
    }
}
