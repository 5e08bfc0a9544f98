// SPDX-License-Identifier: Apache-2.0
//! What the door notes of an inference that is traced (T026).

use std::sync::Arc;

use hyper::{HeaderMap, Response};
use tritongw_engine::clock::monotonic_ns;
use tritongw_engine::trace::{Activity, InferenceTrace, TraceContext, TraceManager};

use crate::body::GrpcBody;

/// The trace of a request that is being answered, if it is one that is traced.
#[derive(Debug)]
pub(crate) struct CallTrace {
    /// When the door began to wait for the message; `None` while nothing is traced.
    start_ns: Option<u64>,
    trace: Option<Arc<InferenceTrace>>,
}

impl CallTrace {
    /// Notes that the door begins to wait for a message.
    pub(crate) fn begin(traces: &TraceManager) -> Self {
        Self {
            start_ns: traces.is_on().then(monotonic_ns),
            trace: None,
        }
    }

    /// Notes that the message is there, and returns the trace, if this request to `model` gets
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
        trace.record_at(Activity::GrpcWaitreadStart, start_ns);
        trace.record(Activity::GrpcWaitreadEnd);
        self.trace = Some(Arc::clone(&trace));
        Some(trace)
    }

    /// Notes that the answer is sent, and has its body note when that is done.
    pub(crate) fn send(self, response: &mut Response<GrpcBody>) {
        if let Some(trace) = self.trace {
            response.body_mut().traced_by(SendTrace::begin(trace));
        }
    }
}

/// Notes the beginning and, when dropped, the end of sending.
#[derive(Debug)]
pub(crate) struct SendTrace(Arc<InferenceTrace>);

impl SendTrace {
    pub(crate) fn begin(trace: Arc<InferenceTrace>) -> Self {
        trace.record(Activity::GrpcSendStart);
        Self(trace)
    }
}

impl Drop for SendTrace {
    fn drop(&mut self) {
        self.0.record(Activity::GrpcSendEnd);
    }
}

/// Returns the trace context that a call brings (T035).
fn context(headers: &HeaderMap) -> Option<TraceContext> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    TraceContext::parse(text("traceparent")?, text("tracestate"))
}
