// SPDX-License-Identifier: Apache-2.0
//! The HTTP door: the KServe v2 protocol with Triton's extensions, and the metrics port.
//!
//! Owns the connections, the routes and the wire format of requests and responses ([`codec`]); what
//! a request means is the engine's business. **Invariants:** every route passes the gate; nothing
//! is allocated by a client's word before its limit is checked; nothing blocks a network thread
//! but an inline model; a connection that goes takes its request along. Start with
//! [`HttpServer`], then `door.rs` for the way of one request and `network.rs` for the threads.
#![forbid(unsafe_code)]

mod activity;
mod answer;
mod body;
pub mod codec;
mod coding;
mod cuda_registration;
mod door;
mod exchange;
mod framing;
mod gate;
mod generate;
mod header_forward;
mod infer;
mod json;
mod landing;
mod log_settings;
mod metadata;
mod metrics_door;
mod network;
mod offload;
mod orca;
mod panics;
mod raw_request;
mod refusal;
mod reply;
mod repository;
mod response;
mod route;
mod sagemaker;
mod server;
mod shared_memory;
mod statistics;
mod stream;
mod task;
mod trace_setting;
mod vertex_ai;

pub use sagemaker::{SageMakerInference, SageMakerOptions, SageMakerPing};
pub use server::{HttpOptions, HttpServer, MetricsServer};
pub use vertex_ai::VertexAiOptions;
