// SPDX-License-Identifier: Apache-2.0
//! Sends traces to an OpenTelemetry collector: OTLP in protobuf, over HTTP (T020-T022, T031-T034).
//!
//! Owns the queue of finished traces and the one thread that sends them. **Invariants:** a request
//! never waits for a collector; the queue is bounded, and what does not fit is dropped and
//! counted. Start with [`OtlpExporter`].
#![forbid(unsafe_code)]

mod exporter;
mod messages;
mod options;
mod queue;
mod spans;

pub use exporter::OtlpExporter;
pub use options::OtlpOptions;
