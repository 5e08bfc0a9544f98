// SPDX-License-Identifier: Apache-2.0
//! Wire messages, generated from `protos/` and checked in.
//!
//! Owns the prost types of the inference service, the model configuration and the gRPC health
//! protocol, and the descriptor set they were made from. **Invariant:** no logic, and nothing here
//! is written by hand: `cargo run -p xtask -- generate` rewrites it, `--check` compares. Start with
//! [`pb::ModelConfig`] and [`pb::ModelInferRequest`].
#![forbid(unsafe_code)]

/// Messages of `model_config.proto` and `grpc_service.proto`, package `inference`.
#[allow(clippy::all, reason = "generated")]
pub mod pb {
    include!("generated/inference.rs");
}

/// Messages of `health.proto`, package `grpc.health.v1`.
#[allow(clippy::all, reason = "generated")]
pub mod health {
    include!("generated/grpc.health.v1.rs");
}

/// The serialised `google.protobuf.FileDescriptorSet` of all three files.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/descriptors.bin");
