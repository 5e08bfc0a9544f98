// SPDX-License-Identifier: Apache-2.0
//! From an HTTP/2 request to its answer: gate, deadline, message, method.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::{HeaderMap, Request, Response};
use tritongw_engine::Server;
use tritongw_engine::buffer::{HeapAllocator, RequestBuffer};
use tritongw_types::RestrictedApis;

use crate::body::{GrpcBody, answer, http_refusal};
use crate::call_trace::CallTrace;
use crate::codec::Segments;
use crate::compression::Encoding;
use crate::deadline::timeout_of;
use crate::drain::Drain;
use crate::gate::{Refusal, admit};
use crate::method::Method;
use crate::panic_guard::guarded;
use crate::receive::receive_message;
use crate::server::GrpcOptions;
use crate::status::{Code, Status};
use crate::{control, infer, repository};

/// What the calls of one network thread share.
pub(crate) struct Service {
    server: Arc<Server>,
    drain: Arc<Drain>,
    allocator: Arc<HeapAllocator>,
    max_message_size: usize,
    restricted: RestrictedApis,
}

impl Service {
    pub(crate) fn new(server: Arc<Server>, drain: Arc<Drain>, options: &GrpcOptions) -> Self {
        Self {
            server,
            drain,
            allocator: Arc::new(HeapAllocator),
            max_message_size: options.max_message_size,
            restricted: options.restricted_protocols.clone(),
        }
    }

    /// Answers one HTTP/2 request, whatever it is.
    pub(crate) async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<GrpcBody>, Infallible> {
        let (head, body) = request.into_parts();
        let _inflight = self.drain.requests.enter();
        let is_stopping = self.drain.is_stopping() || self.server.is_exiting();
        Ok(match admit(&head, &self.restricted, is_stopping) {
            Ok(method) => {
                let mut trace = CallTrace::begin(self.server.traces());
                let mut answer = answer(self.call(method, &head.headers, body, &mut trace).await);
                trace.send(&mut answer);
                answer
            }
            Err(Refusal::Call(status)) => answer(Err(status)),
            Err(Refusal::Http(status)) => http_refusal(status),
        })
    }

    async fn call(
        &self,
        method: Method,
        headers: &HeaderMap,
        body: Incoming,
        trace: &mut CallTrace,
    ) -> Result<Segments, Status> {
        let encoding = Encoding::of(headers)?;
        let work = guarded(async {
            let message = self.receive(method, encoding, body).await?;
            match method {
                Method::ModelInfer => {
                    let limit = self.max_message_size;
                    infer::model_infer(&self.server, &self.allocator, message, limit, |model| {
                        trace.received(self.server.traces(), model, headers)
                    })
                    .await
                }
                Method::RepositoryModelLoad => repository::load(&self.server, message).await,
                Method::RepositoryModelUnload => repository::unload(&self.server, message).await,
                _ => control::call(&self.server, method, message),
            }
        });
        match timeout_of(headers) {
            None => work.await,
            Some(timeout) => {
                let exceeded = || Status::new(Code::DeadlineExceeded, "Deadline Exceeded");
                tokio::time::timeout(timeout, work)
                    .await
                    .unwrap_or_else(|_| Err(exceeded()))
            }
        }
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
            infer::memory_of_model(&self.server, beginning, size)
        };
        let limit = self.max_message_size;
        async move { receive_message(body, encoding, limit, &memory).await }
    }
}
