// SPDX-License-Identifier: Apache-2.0
//! `tritongw._core`: the extension module, and the only crate that knows Python.
//!
//! Owns the console command's `main`, the classes that a `model.py` meets as `pb_utils`, and the
//! host that runs such a model, in a worker process or in the server's own. **Invariant:** PyO3's
//! types stay in here; what crosses to other crates are the values of
//! [`tritongw_backend_python::host`]. No Rust lock is held while Python code runs. Users import
//! `tritongw` and `triton_python_backend_utils`, never this module. Start with `model::PythonModel`.
#![deny(unsafe_code)]

mod array;
mod buffer;
mod bytes_array;
mod call;
mod call_scope;
mod command;
mod config;
mod dlpack;
mod dtype;
mod error;
mod fake_models;
mod host;
mod inbox;
mod log_place;
mod logger;
mod metrics;
mod model;
mod model_control;
mod parameters;
mod ready_probe;
mod request;
mod response;
mod response_iterator;
mod sender;
mod standalone;
mod tensor;
mod thread_state;
mod worker;

use pyo3::prelude::*;

/// For what Rust allocates: requests are made on one thread and freed on another, where the C
/// library's allocator takes locks. Python keeps its own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The Rust core of tritongw; import what you need from ``tritongw`` instead.
#[pymodule(gil_used = false)]
mod _core {
    #[pymodule_export]
    use super::bytes_array::{deserialize_bytes_tensor, serialize_byte_tensor};
    #[pymodule_export]
    use super::command::main;
    #[pymodule_export]
    use super::config::read_model_config;
    #[pymodule_export]
    use super::dtype::{numpy_to_triton_type, triton_to_numpy_type};
    #[pymodule_export]
    use super::error::{TritonError, TritonModelException};
    #[pymodule_export]
    use super::inbox::{Execution, Inbox};
    #[pymodule_export]
    use super::logger::{Logger, log_failure, log_line};
    #[pymodule_export]
    use super::metrics::{Metric, MetricFamily};
    #[pymodule_export]
    use super::model_control::{is_model_ready, load_model, unload_model};
    #[pymodule_export]
    use super::request::{InferenceRequest, InferenceTrace, PreferredMemory};
    #[pymodule_export]
    use super::response::InferenceResponse;
    #[pymodule_export]
    use super::response_iterator::ResponseIterator;
    #[pymodule_export]
    use super::sender::InferenceResponseSender;
    #[pymodule_export]
    use super::standalone::{StandaloneBatch, StandaloneModel};
    #[pymodule_export]
    use super::tensor::{Tensor, get_input_tensor_by_name, get_output_tensor_by_name};
    #[pymodule_export]
    use super::worker::worker_main;
}
