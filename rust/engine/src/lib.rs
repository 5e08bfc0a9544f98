// SPDX-License-Identifier: Apache-2.0
//! The engine: server, models, instances, requests and responses, repository, statistics.
//!
//! Owns every request between a door (HTTP, gRPC, C, Python) and a backend. Its API is
//! synchronous and non-blocking, callable from any thread. **Invariant:** no lock is held while
//! foreign code runs (backends, sinks, allocators, hooks); every accepted request gets exactly one
//! final response. Start with [`Server`], [`InferenceRequest`] and [`backend::Backend`].
#![forbid(unsafe_code)]

mod access_log;
pub mod backend;
mod backend_registry;
pub mod batch;
pub mod batch_io;
pub mod buffer;
mod call_graph;
mod change_tracker;
mod classification;
pub mod clock;
mod custom_metrics;
mod deferral;
mod gathering;
mod gpu_metrics;
mod gpus;
pub mod header_forward;
mod host_metrics;
mod host_policy;
mod instance;
mod instance_slots;
mod instance_update;
mod labels;
mod latency_metrics;
mod lifecycle;
mod load_failure;
mod load_slots;
mod loaded_model;
mod loader;
mod log_settings;
pub mod metrics;
mod metrics_options;
mod model;
mod model_caller;
pub mod model_log;
mod model_reloader;
mod model_scheduler;
mod model_table;
mod model_updater;
mod operation_queue;
mod ordering;
pub mod parameters;
mod quantile_sketch;
mod rate_limiter;
mod readiness;
mod repositories;
mod repository;
mod repository_manager;
mod repository_poller;
mod request;
mod responder;
mod response;
mod response_sink;
mod response_statistics;
mod retirement;
mod scheduling_machine;
mod scheduling_plan;
mod sequence_inputs;
mod server;
mod server_options;
mod services;
pub mod shared_memory;
mod statistics;
mod summary;
mod timer;
pub mod trace;
mod validation;
mod warmup;

pub use access_log::AccessEntry;
pub use backend_registry::BackendEntry;
pub use call_graph::CallOrigin;
pub use custom_metrics::{Metric, MetricFamily, MetricKind, MetricRegistry, MetricUpdate};
pub use deferral::{defer_dispatch_on_this_thread, dispatch_deferred};
pub use gathering::{HeldCalls, Inbox, dispatch_soon, gather_on_this_thread};
pub use gpus::GpuOptions;
pub use host_policy::HostPolicySettings;
pub use instance::ComputeTimings;
pub use log_settings::{LogControl, LogFormat, LogSettings, LogUpdate};
pub use metrics_options::MetricsOptions;
pub use model::Model;
pub use model_caller::ModelCaller;
pub use model_reloader::ReloadOptions;
pub use model_table::{ModelReadyState, ModelVersionIndex};
pub use quantile_sketch::Quantile;
pub use repositories::ModelMapping;
pub use repository::ModelArchive;
pub use repository_manager::{ModelControlMode, ModelLoad, OperationDone};
pub use request::{
    InferenceRequest, InputTensor, ReleaseHook, RequestTimestamps, SequenceFlags, log_prefix,
};
pub use responder::Responder;
pub use response::{InferenceResponse, OutputTensor, ResponseFlags};
pub use response_sink::{ResponseSink, ResponseStage, Resume};
pub use response_statistics::{ResponseOutcome, ResponseStat, ResponseTimings};
pub use server::Server;
pub use server_options::ServerOptions;
pub use statistics::{BatchStat, DurationStat, FailureKind, ModelStatistics, StatisticsSnapshot};
pub use tritongw_scheduler::ResourceLimit;
