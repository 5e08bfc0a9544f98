// SPDX-License-Identifier: Apache-2.0
//! A safe, small face of ONNX Runtime's C API: everything unsafe of this crate.
//!
//! Own bindings instead of a binding crate: some sixty functions, no global state, names and
//! tensors prepared once so that an execution is one call of `Run`, and an error instead of a
//! panic where the library is missing or too old. Tensors borrow the memory they were made over,
//! so that a lifetime keeps a request's data in place while the library reads it.
#![expect(unsafe_code, reason = "calls a C library")]

mod buffer;
mod element;
mod logging;
mod options;
mod output;
mod prepared;
mod runtime;
mod session;
mod table;
mod value;

pub(crate) use buffer::{AlignedBuffer, is_aligned};
pub(crate) use element::ElementType;
pub(crate) use options::{ExecutionMode, OptimizationLevel, RunOptions, SessionSettings};
pub(crate) use output::{OutputValue, Strings};
pub(crate) use prepared::PreparedResponse;
pub(crate) use runtime::{GlobalThreads, Runtime};
pub(crate) use session::{Session, TensorInfo};
pub(crate) use value::TensorView;
