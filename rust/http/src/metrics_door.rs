// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Method, Request, Response, StatusCode};
use tritongw_engine::{Server, metrics};

use crate::activity::Activity;
use crate::network::Service;
use crate::refusal::Refusal;
use crate::response::{self, ResponseBody};

/// Serves the metrics of a server (P024, X047).
#[derive(Debug)]
pub(crate) struct MetricsDoor {
    server: Arc<Server>,
}

impl MetricsDoor {
    pub(crate) fn new(server: Arc<Server>) -> Self {
        Self { server }
    }
}

impl Service for MetricsDoor {
    async fn respond(
        &self,
        request: Request<Incoming>,
        activity: &Arc<Activity>,
    ) -> Response<ResponseBody> {
        activity.step();
        if request.method() != Method::GET {
            return Refusal::WrongVerb.into_response();
        }
        let text = match request.uri().path() {
            "/metrics" | "/metrics/" => metrics::render(&self.server).into(),
            // Triton answers every other path with nothing at all.
            _ => Bytes::new(),
        };
        answer(text)
    }
}

/// Makes the answer from Prometheus text.
pub(crate) fn answer(text: impl Into<Bytes>) -> Response<ResponseBody> {
    let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
    response::text(StatusCode::OK, content_type, text)
}
