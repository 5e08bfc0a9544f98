// SPDX-License-Identifier: Apache-2.0
//! What the door notes of a request that is traced (T026).

use std::sync::Arc;

use hyper::{HeaderMap, Response};
use tritongw_engine::clock::monotonic_ns;
use tritongw_engine::trace::{Activity, InferenceTrace, TraceContext, TraceManager};

use crate::response::ResponseBody;

/// The trace of the request that is being answered, if it is one that is traced.
#[derive(Debug)]
pub(crate) struct RequestTrace {
    /// When the head was there; `None` while nothing is traced.
    start_ns: Option<u64>,
    trace: Option<Arc<InferenceTrace>>,
}

impl RequestTrace {
    /// Notes that the head of a request is there.
    pub(crate) fn begin(traces: &TraceManager) -> Self {
        Self {
            start_ns: traces.is_on().then(monotonic_ns),
            trace: None,
        }
    }

    /// Notes that the body is there too, and returns the trace, if this request to `model` gets
    /// one.
    pub(crate) fn received(
        &mut self,
        traces: &TraceManager,
        model: &str,
        headers: &HeaderMap,
    ) -> Option<Arc<InferenceTrace>> {
        let start_ns = self.start_ns?;
        let context = if traces.reads_context() {
            context(headers)
        } else {
            None
        };
        let trace = traces.sample(model, context.as_ref())?;
        trace.record_at(Activity::HttpRecvStart, start_ns);
        trace.record(Activity::HttpRecvEnd);
        self.trace = Some(Arc::clone(&trace));
        Some(trace)
    }

    /// Notes that the answer is sent, and has its body note when that is done.
    pub(crate) fn send(self, response: &mut Response<ResponseBody>) {
        if let Some(trace) = self.trace {
            trace.record(Activity::HttpSendStart);
            response.body_mut().traced_by(SendTrace(trace));
        }
    }
}

/// Notes when it is dropped that the body it belongs to was sent.
#[derive(Debug)]
pub(crate) struct SendTrace(Arc<InferenceTrace>);

impl Drop for SendTrace {
    fn drop(&mut self) {
        self.0.record(Activity::HttpSendEnd);
    }
}

/// Returns the trace context that a request brings (T035).
fn context(headers: &HeaderMap) -> Option<TraceContext> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    TraceContext::parse(text("traceparent")?, text("tracestate"))
}
