// SPDX-License-Identifier: Apache-2.0
//! What is noted of a request while it is answered.

use std::sync::Arc;

use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Response};
use tritongw_engine::trace::{DoorActivities, DoorTrace, InferenceTrace};
use tritongw_engine::{AccessEntry, InferenceRequest, Server, log_prefix};
use tritongw_types::CName;

use crate::activity::Activity;
use crate::response::ResponseBody;

/// A request and its answer: its trace, its line in the access log, its id.
#[derive(Debug)]
pub(crate) struct Exchange {
    trace: DoorTrace,
    access: Option<Box<AccessEntry>>,
    request_id: CName,
}

impl Exchange {
    /// Notes that the head of a request is there.
    pub(crate) fn begin(
        server: &Server,
        parts: &Parts,
        activity: &Activity,
        logs_access: bool,
    ) -> Self {
        let access = || {
            let (method, path) = (parts.method.as_str(), parts.uri.path());
            Box::new(AccessEntry::begin("HTTP", activity.peer(), method, path))
        };
        Self {
            trace: DoorTrace::begin(server.traces(), DoorActivities::HTTP),
            access: logs_access.then(access),
            request_id: CName::default(),
        }
    }

    /// Notes that the body is there too, and returns the trace, if this request to `model` gets
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
        self.request_id.clone_from(request.id());
        if let Some(access) = &mut self.access {
            access.note_inference(request);
        }
    }

    /// Returns what stands before lines of the log about this request (P039).
    pub(crate) fn log_prefix(&self) -> String {
        log_prefix(&self.request_id)
    }

    /// Notes that the answer is sent, and has its body note when that is done.
    pub(crate) fn send(self, response: &mut Response<ResponseBody>) {
        let status = response.status().as_u16();
        let body = response.body_mut();
        body.traced_by(self.trace.send());
        if let Some(access) = self.access {
            access.note_status(status);
            body.logged_by(access);
        }
    }
}
