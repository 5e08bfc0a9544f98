// SPDX-License-Identifier: Apache-2.0
//! What a trace holds once it is over.

use tritongw_types::{CName, DataType, Shape};

use super::activity::{Activity, TensorActivity};
use super::context::SpanIds;

/// One thing a trace noted, in the order in which it was noted.
#[derive(Clone, Debug)]
pub enum TraceEvent {
    /// A moment.
    Timestamp {
        /// What happened.
        activity: Activity,
        /// When, in [`monotonic_ns`](crate::clock::monotonic_ns).
        ns: u64,
    },
    /// A moment that a backend named itself (T029).
    Custom {
        /// What happened.
        name: String,
        /// When, in [`monotonic_ns`](crate::clock::monotonic_ns).
        ns: u64,
    },
    /// A tensor with its data as text.
    Tensor(Box<TensorEvent>),
}

/// A tensor in a trace.
#[derive(Clone, Debug)]
pub struct TensorEvent {
    /// What it is.
    pub activity: TensorActivity,
    /// Name.
    pub name: CName,
    /// Element type.
    pub data_type: DataType,
    /// Shape, batch dimension included.
    pub shape: Shape,
    /// Elements in row-major order, separated by commas; empty if they lie in device memory.
    pub data: String,
}

/// A finished trace of one request.
#[derive(Clone, Debug)]
pub struct TraceRecord {
    /// Number of the trace, from 1 on.
    pub id: u64,
    /// Number of the trace of the request that caused this one, 0 if a client did (T030).
    pub parent_id: u64,
    /// Model, empty if the request never reached one.
    pub model_name: CName,
    /// Version of the model.
    pub model_version: i64,
    /// Id of the request, empty if it had none.
    pub request_id: CName,
    /// What was noted.
    pub events: Vec<TraceEvent>,
    /// Identity in a distributed trace; only in OpenTelemetry mode.
    pub spans: Option<SpanIds>,
    /// What to add to the monotonic clock to get nanoseconds since the Unix epoch.
    pub unix_offset_ns: u64,
}

impl TraceRecord {
    /// Returns about how much memory the record takes.
    pub(super) fn byte_size(&self) -> usize {
        let of_event = |event: &TraceEvent| match event {
            TraceEvent::Timestamp { .. } => 0,
            TraceEvent::Custom { name, .. } => name.len(),
            TraceEvent::Tensor(tensor) => size_of::<TensorEvent>() + tensor.data.len(),
        };
        let events: usize = self.events.iter().map(of_event).sum();
        size_of::<Self>() + self.events.len() * size_of::<TraceEvent>() + events
    }
}
