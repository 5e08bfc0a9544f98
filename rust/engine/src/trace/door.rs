// SPDX-License-Identifier: Apache-2.0
//! What a door notes of a request that is traced (T026).

use std::sync::Arc;

use super::{Activity, InferenceTrace, TraceContext, TraceManager};
use crate::clock::monotonic_ns;

/// The moments at which a door receives a request and sends its answer.
#[derive(Clone, Copy, Debug)]
pub struct DoorActivities {
    receive_start: Activity,
    receive_end: Activity,
    send_start: Activity,
    send_end: Activity,
}

impl DoorActivities {
    /// Those of HTTP: receiving begins when the head is there.
    pub const HTTP: Self = Self {
        receive_start: Activity::HttpRecvStart,
        receive_end: Activity::HttpRecvEnd,
        send_start: Activity::HttpSendStart,
        send_end: Activity::HttpSendEnd,
    };
    /// Those of gRPC: receiving begins when the door waits for the message.
    pub const GRPC: Self = Self {
        receive_start: Activity::GrpcWaitreadStart,
        receive_end: Activity::GrpcWaitreadEnd,
        send_start: Activity::GrpcSendStart,
        send_end: Activity::GrpcSendEnd,
    };
}

/// The trace of a request that a door is answering, if it is one that is traced.
#[derive(Debug)]
pub struct DoorTrace {
    activities: DoorActivities,
    /// When receiving began; `None` while nothing is traced.
    start_ns: Option<u64>,
    trace: Option<Arc<InferenceTrace>>,
}

impl DoorTrace {
    /// Notes that receiving begins.
    pub fn begin(traces: &TraceManager, activities: DoorActivities) -> Self {
        Self {
            activities,
            start_ns: traces.is_on().then(monotonic_ns),
            trace: None,
        }
    }

    /// Notes that the request is there, and returns the trace, if this request to `model` gets
    /// one. `header` returns the value of a header by its name.
    pub fn received<'a>(
        &mut self,
        traces: &TraceManager,
        model: &str,
        header: impl Fn(&str) -> Option<&'a [u8]>,
    ) -> Option<Arc<InferenceTrace>> {
        let start_ns = self.start_ns?;
        let context = if traces.reads_context() {
            TraceContext::from_headers(header)
        } else {
            None
        };
        let trace = traces.sample(model, context.as_ref())?;
        trace.record_at(self.activities.receive_start, start_ns);
        trace.record(self.activities.receive_end);
        self.trace = Some(Arc::clone(&trace));
        Some(trace)
    }

    /// Notes that the answer is sent; that lasts until what is returned is dropped.
    pub fn send(self) -> Option<SendTrace> {
        let trace = self.trace?;
        Some(SendTrace::begin(trace, self.activities))
    }
}

/// Notes when it is dropped that something was sent.
#[derive(Debug)]
pub struct SendTrace {
    trace: Arc<InferenceTrace>,
    end: Activity,
}

impl SendTrace {
    /// Notes that sending begins.
    pub fn begin(trace: Arc<InferenceTrace>, activities: DoorActivities) -> Self {
        trace.record(activities.send_start);
        Self {
            trace,
            end: activities.send_end,
        }
    }
}

impl Drop for SendTrace {
    fn drop(&mut self) {
        self.trace.record(self.end);
    }
}
