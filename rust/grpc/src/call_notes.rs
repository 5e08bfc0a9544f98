// SPDX-License-Identifier: Apache-2.0
//! What is noted of requests while they are answered: their traces, and lines of the access log,
//! one for a call, and one for each request of a stream.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Response};
use tritongw_engine::trace::{DoorActivities, DoorTrace, InferenceTrace};
use tritongw_engine::{AccessEntry, InferenceRequest, Server, log_prefix};
use tritongw_types::{CName, Error};

use crate::body::GrpcBody;
use crate::status::Status;

/// What is noted of a call with one request.
#[derive(Debug)]
pub(crate) struct CallNotes {
    trace: DoorTrace,
    access: Option<Box<AccessEntry>>,
    // None until it is known which inference it is, if it is one.
    request_id: Option<CName>,
}

impl CallNotes {
    /// Notes that the head of a call is there.
    pub(crate) fn begin(server: &Server, access: Option<AccessEntry>) -> Self {
        Self {
            trace: DoorTrace::begin(server.traces(), DoorActivities::GRPC),
            access: access.map(Box::new),
            request_id: None,
        }
    }

    /// Notes that the message is there, and returns the trace, if this request to `model` gets
    /// one.
    pub(crate) fn received(
        &mut self,
        server: &Server,
        model: &str,
        headers: &HeaderMap,
    ) -> Option<Arc<InferenceTrace>> {
        let header = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
        self.trace.received(server.traces(), model, header)
    }

    /// Notes which inference it is.
    pub(crate) fn identify(&mut self, request: &InferenceRequest) {
        self.request_id = Some(request.id().clone());
        if let Some(access) = &mut self.access {
            access.note_inference(request);
        }
    }

    /// Returns what stands before lines of the log about this call (P039).
    pub(crate) fn log_prefix(&self) -> String {
        self.request_id
            .as_ref()
            .map_or_else(String::new, log_prefix)
    }

    /// Notes that the answer, which has this code, is sent, and has its body note when that is
    /// done.
    pub(crate) fn send(self, code: u8, answer: &mut Response<GrpcBody>) {
        let body = answer.body_mut();
        body.traced_by(self.trace.send());
        if let Some(access) = self.access {
            access.note_status(code.into());
            body.logged_by(access);
        }
    }
}

/// Notes in the access log that a call has come.
pub(crate) fn begin_access(peer: Option<SocketAddr>, head: &Parts) -> AccessEntry {
    StreamAccess::new(peer, head).begin()
}

/// What the requests of a stream have in common.
#[derive(Debug)]
pub(crate) struct StreamAccess {
    peer: Option<SocketAddr>,
    path: String,
}

impl StreamAccess {
    pub(crate) fn new(peer: Option<SocketAddr>, head: &Parts) -> Self {
        Self {
            peer,
            path: head.uri.path().to_owned(),
        }
    }

    /// Notes that a request has come.
    pub(crate) fn begin(&self) -> AccessEntry {
        AccessEntry::begin("gRPC", self.peer, "POST", &self.path)
    }
}

/// A request of a stream, which is told when the last of its responses was handed over. Shared by
/// the reader, which may refuse it, and the sink.
#[derive(Clone, Debug, Default)]
pub(crate) struct StreamEntry(Option<Arc<AccessEntry>>);

impl StreamEntry {
    /// Begins the entry of a request.
    pub(crate) fn begin(access: Option<&StreamAccess>, request: &InferenceRequest) -> Self {
        Self(access.map(|access| {
            let mut entry = access.begin();
            entry.note_inference(request);
            Arc::new(entry)
        }))
    }

    /// Returns the entry, or a new one of a request that could not be read.
    pub(crate) fn or_begin(self, access: Option<&StreamAccess>) -> Self {
        let begin = |access: &StreamAccess| Arc::new(access.begin());
        Self(self.0.or_else(|| access.map(begin)))
    }

    /// Notes an error that it was answered with.
    pub(crate) fn note_error(&self, error: &Error) {
        if let Some(entry) = &self.0 {
            entry.note_status(Status::from(error.clone()).code().into());
        }
    }
}
