// SPDX-License-Identifier: Apache-2.0
//! Traces of single requests: which are traced, what is noted of them, where that goes.
//!
//! A door asks [`TraceManager::sample`] for each request; one that is chosen carries its
//! [`InferenceTrace`] along, and whoever moves it on notes what happens. **Invariant:** nothing is
//! allocated for a request that is not traced, and no request waits for a disk or a collector.

mod activity;
mod context;
mod door;
mod file;
mod inference_trace;
mod json;
mod manager;
mod record;
mod sampler;
mod settings;
mod tensor_text;

pub use activity::{Activity, TensorActivity};
pub use context::{SpanIds, TraceContext};
pub use door::{DoorActivities, DoorTrace, SendTrace};
pub use inference_trace::InferenceTrace;
pub use manager::{TraceExporter, TraceManager, TraceMode, TraceOptions};
pub use record::{TensorEvent, TraceEvent, TraceRecord};
pub use settings::{TraceLevels, TraceSettings, TraceUpdate};
