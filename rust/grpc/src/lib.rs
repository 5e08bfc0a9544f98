// SPDX-License-Identifier: Apache-2.0
//! The gRPC door: `inference.GRPCInferenceService` and `grpc.health.v1.Health` over HTTP/2.
//!
//! Owns the network threads of the gRPC port and everything between a socket and an
//! [`InferenceRequest`](tritongw_engine::InferenceRequest). gRPC itself is five bytes before each
//! message and a status in the trailers, so it is spoken on hyper directly: a general framework
//! would copy each tensor once on its way in and once on its way out. **Invariant:** every size a
//! client announces is checked before memory is taken for it; a tensor that arrives in one frame
//! is never copied. Start with [`GrpcServer`], then `service` and `infer`.
#![forbid(unsafe_code)]

mod body;
mod call_notes;
pub mod codec;
mod compression;
mod connection;
mod control;
mod deadline;
mod drain;
mod framing;
#[cfg(test)]
mod fuzz;
mod gate;
mod infer;
mod keepalive;
mod listener;
mod log_settings;
mod metadata;
mod metadata_forward;
mod method;
mod network;
mod panic_guard;
mod parameters;
mod ping_policy;
mod policed_io;
mod receive;
mod reflection;
mod repository;
mod server;
mod service;
mod shared_memory;
mod slot;
mod statistics;
mod status;
mod stream;
mod task;
mod tensor_parameters;
mod tls;
mod trace_setting;
mod version;

pub use compression::CompressionLevel;
pub use gate::RESTRICTED_HEADER_PREFIX;
pub use keepalive::KeepaliveOptions;
pub use server::{GrpcOptions, GrpcServer};
pub use tls::TlsOptions;
