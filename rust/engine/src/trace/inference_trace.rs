// SPDX-License-Identifier: Apache-2.0
//! The trace of one request while it is under way.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tritongw_types::{CName, DataType, Shape};

use super::activity::{Activity, TensorActivity};
use super::context::SpanIds;
use super::manager::Output;
use super::record::{TensorEvent, TraceEvent, TraceRecord};
use super::sampler::Sampler;
use super::settings::TraceLevels;
use super::tensor_text::tensor_text;
use crate::clock::{monotonic_ns, unix_ns};
use crate::instance::ComputeTimings;
use crate::request::{InferenceRequest, InputTensor};
use crate::response::InferenceResponse;

/// The trace of one request that was chosen to be traced.
///
/// Shared by all who have something to note: door, request, responder. When the last of them lets
/// go, the trace is over and goes where traces go; one of a request that another request sent goes
/// together with that one's.
pub struct InferenceTrace {
    levels: TraceLevels,
    record: Mutex<TraceRecord>,
    children: Mutex<Vec<TraceRecord>>,
    origin: Origin,
    last_id: Arc<AtomicU64>,
}

/// Who gets the record.
enum Origin {
    Client {
        sampler: Arc<Sampler>,
        output: Arc<Output>,
    },
    Parent(Arc<InferenceTrace>),
}

impl InferenceTrace {
    /// Begins the trace of a client's request.
    pub(super) fn root(
        sampler: Arc<Sampler>,
        output: Arc<Output>,
        last_id: Arc<AtomicU64>,
        spans: Option<SpanIds>,
    ) -> Arc<Self> {
        let levels = sampler.settings().levels;
        Arc::new(Self {
            levels,
            record: Mutex::new(new_record(&last_id, 0, spans)),
            children: Mutex::default(),
            origin: Origin::Client { sampler, output },
            last_id,
        })
    }

    /// Begins the trace of a request that is sent while this one is executed (T030).
    pub fn spawn_child(self: &Arc<Self>) -> Arc<Self> {
        let (id, spans) = {
            let record = self.record.lock();
            (record.id, record.spans.as_ref().map(SpanIds::child))
        };
        Arc::new(Self {
            levels: self.levels,
            record: Mutex::new(new_record(&self.last_id, id, spans)),
            children: Mutex::default(),
            origin: Origin::Parent(Arc::clone(self)),
            last_id: Arc::clone(&self.last_id),
        })
    }

    /// Returns the number of the trace.
    pub fn id(&self) -> u64 {
        self.record.lock().id
    }

    /// Returns the context for what the model calls, as JSON; `None` unless traces go to a
    /// collector (T036).
    pub fn context(&self) -> Option<String> {
        self.record.lock().spans.as_ref().map(SpanIds::to_json)
    }

    /// Notes that something happens now.
    pub fn record(&self, activity: Activity) {
        self.record_at(activity, monotonic_ns());
    }

    /// Notes when something happened.
    pub fn record_at(&self, activity: Activity, ns: u64) {
        if self.levels.timestamps {
            let event = TraceEvent::Timestamp { activity, ns };
            self.record.lock().events.push(event);
        }
    }

    /// Notes something that a backend names itself (T029).
    pub fn record_custom(&self, name: &str, ns: u64) {
        if self.levels.timestamps {
            let name = name.to_owned();
            let event = TraceEvent::Custom { name, ns };
            self.record.lock().events.push(event);
        }
    }

    /// Notes what the request is, and that the engine took it.
    pub(crate) fn begin(&self, request: &InferenceRequest) {
        let mut record = self.record.lock();
        record.model_name = request.model().name().clone();
        record.model_version = request.model().version();
        record.request_id = request.id().clone();
        drop(record);
        self.record_at(
            Activity::RequestStart,
            request.timestamps().request_start_ns,
        );
    }

    /// Notes that the request was queued, and with what.
    pub(crate) fn queued(&self, request: &InferenceRequest) {
        self.record_at(Activity::QueueStart, request.timestamps().queue_start_ns);
        if self.levels.tensors {
            for input in request.original_inputs() {
                self.record_input(TensorActivity::QueueInput, input);
            }
        }
    }

    /// Notes that the request was queued for another round; its inputs are known.
    pub(crate) fn queued_again(&self, request: &InferenceRequest) {
        self.record_at(Activity::QueueStart, request.timestamps().queue_start_ns);
    }

    /// Notes what the scheduler added for the backend.
    pub(crate) fn dispatched(&self, request: &InferenceRequest) {
        if self.levels.tensors {
            for input in request.inputs().skip(request.original_inputs().len()) {
                self.record_input(TensorActivity::BackendInput, input);
            }
        }
    }

    /// Notes how the execution went.
    pub(crate) fn computed(&self, timings: &ComputeTimings) {
        self.record_at(Activity::ComputeStart, timings.exec_start_ns);
        self.record_at(Activity::ComputeInputEnd, timings.compute_start_ns);
        self.record_at(Activity::ComputeOutputStart, timings.compute_end_ns);
        self.record_at(Activity::ComputeEnd, timings.exec_end_ns);
    }

    /// Notes a response on its way to the door.
    pub(crate) fn responded(&self, response: Option<&InferenceResponse>) {
        if self.levels.tensors {
            for output in response.into_iter().flat_map(InferenceResponse::outputs) {
                let buffer = output.buffer.as_ref();
                let data = buffer.map_or(Some(&[][..]), |buffer| buffer.as_slice());
                let text = data.map(|data| tensor_text(output.data_type, data));
                let activity = TensorActivity::BackendOutput;
                self.record_tensor(
                    activity,
                    &output.name,
                    output.data_type,
                    &output.shape,
                    text,
                );
            }
        }
        if response.is_some() {
            self.record(Activity::InferResponseComplete);
        }
    }

    fn record_input(&self, activity: TensorActivity, input: &InputTensor) {
        let data = input.contiguous().ok();
        let text = data.map(|data| tensor_text(input.data_type, &data));
        self.record_tensor(activity, &input.name, input.data_type, &input.shape, text);
    }

    fn record_tensor(
        &self,
        activity: TensorActivity,
        name: &CName,
        data_type: DataType,
        shape: &Shape,
        text: Option<String>,
    ) {
        let event = TensorEvent {
            activity,
            name: name.clone(),
            data_type,
            shape: shape.clone(),
            data: text.unwrap_or_default(),
        };
        let event = TraceEvent::Tensor(Box::new(event));
        self.record.lock().events.push(event);
    }
}

fn new_record(last_id: &AtomicU64, parent_id: u64, spans: Option<SpanIds>) -> TraceRecord {
    TraceRecord {
        id: last_id.fetch_add(1, Ordering::Relaxed) + 1,
        parent_id,
        model_name: CName::default(),
        model_version: 0,
        request_id: CName::default(),
        events: Vec::with_capacity(16),
        spans,
        unix_offset_ns: unix_ns().saturating_sub(monotonic_ns()),
    }
}

impl Drop for InferenceTrace {
    fn drop(&mut self) {
        let mut records = std::mem::take(self.children.get_mut());
        let record = self.record.get_mut();
        records.push(TraceRecord {
            events: std::mem::take(&mut record.events),
            ..record.clone()
        });
        match &self.origin {
            Origin::Parent(parent) => parent.children.lock().append(&mut records),
            Origin::Client { sampler, output } => {
                let is_last = sampler.finish();
                output.take(records, sampler.settings().log_frequency, is_last);
            }
        }
    }
}

impl fmt::Debug for InferenceTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InferenceTrace")
            .field("levels", &self.levels)
            .field("record", &self.record)
            .finish_non_exhaustive()
    }
}
