// SPDX-License-Identifier: Apache-2.0
//! The `onnxruntime` backend: ONNX models on ONNX Runtime's C library, without Python.
//!
//! Owns the loaded library, one session per instance, the check of a configuration against its
//! graph, and auto-completion. The library is the one of the installed `onnxruntime` wheel; the
//! caller says where it is. **Invariant:** a single request is executed over its own memory and
//! its results are written where its door wants them; only a batch is gathered, once. Everything
//! unsafe lives in the private module `ort`. Start with [`OnnxRuntimeBackend`].
#![deny(unsafe_code)]
#![warn(missing_docs)]

mod backend;
mod complete;
mod inputs;
mod instance;
mod library;
mod model;
mod ort;
mod outputs;
mod parameters;
mod plan;
mod signature;

pub use backend::{OnnxRuntimeBackend, OnnxRuntimeConfig};
pub use library::{LibraryLocation, library_in_package};
