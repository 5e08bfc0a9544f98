// SPDX-License-Identifier: Apache-2.0
//! A server over a temporary repository of this crate's test models.
#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    reason = "each test file uses its part"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tritongw_backend_onnxruntime::{LibraryLocation, OnnxRuntimeBackend, OnnxRuntimeConfig};
use tritongw_engine::backend::BackendSettings;
use tritongw_engine::buffer::{HeapAllocator, ResponseAllocator};
use tritongw_engine::{
    InferenceRequest, InferenceResponse, InputTensor, OutputTensor, ResponseFlags, ResponseSink,
    Server, ServerOptions, StatisticsSnapshot, defer_dispatch_on_this_thread, dispatch_deferred,
};
use tritongw_types::{DataType, Error, Result, Shape};

/// Longest wait for an answer; only a failing test takes it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns the library to test with.
pub fn library() -> PathBuf {
    if let Some(library) = std::env::var_os("TRITONGW_ONNXRUNTIME_LIBRARY") {
        return library.into();
    }
    let script = "import importlib.util as u; print(u.find_spec('onnxruntime').origin)";
    let output = Command::new("python3").args(["-c", script]).output();
    let origin = output
        .ok()
        .filter(|output| output.status.success())
        .map(|output| output.stdout);
    let origin = origin.expect(
        "these tests need ONNX Runtime: set TRITONGW_ONNXRUNTIME_LIBRARY to its library or \
         package, or let python3 be one that has `onnxruntime` installed",
    );
    let origin = String::from_utf8(origin).expect("a path in UTF-8");
    Path::new(origin.trim())
        .parent()
        .expect("a file of the package")
        .to_owned()
}

pub fn backend() -> OnnxRuntimeBackend {
    let library = LibraryLocation::Path(library());
    OnnxRuntimeBackend::new(OnnxRuntimeConfig { library })
}

/// Returns options with these settings of the backend.
pub fn settings(pairs: &[(&str, &str)]) -> ServerOptions {
    let settings: BackendSettings = pairs
        .iter()
        .map(|&(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let backend_settings = BTreeMap::from([("onnxruntime".to_owned(), settings)]);
    ServerOptions {
        backend_settings,
        ..ServerOptions::default()
    }
}

/// Returns the path of a test model or of its data.
pub fn testdata(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(file)
}

/// A model repository to be filled.
pub struct Repository(TempDir);

impl Repository {
    pub fn new() -> Self {
        Self(TempDir::new().expect("a temporary directory"))
    }

    /// Returns the version directory of a model, made if need be.
    pub fn version(&self, model: &str) -> PathBuf {
        let version = self.0.path().join(model).join("1");
        std::fs::create_dir_all(&version).expect("a writable directory");
        version
    }

    pub fn config(self, model: &str, config: &str) -> Self {
        self.version(model);
        let path = self.0.path().join(model).join("config.pbtxt");
        std::fs::write(path, format!("backend: \"onnxruntime\"\n{config}")).expect("writable");
        self
    }

    /// Puts a test model where the backend looks for it.
    pub fn file(self, model: &str, file: &str) -> Self {
        let target = self.version(model).join("model.onnx");
        std::fs::copy(testdata(file), target).expect("the test model is in the tree");
        self
    }

    pub fn serve(self) -> Fixture {
        self.serve_with(ServerOptions::default(), backend())
    }

    pub fn serve_with(self, options: ServerOptions, backend: OnnxRuntimeBackend) -> Fixture {
        let model_repositories = vec![self.0.path().to_owned()];
        let options = ServerOptions {
            model_repositories,
            ..options
        };
        let server = Server::new(options, vec![Arc::new(backend)]).expect("a readable repository");
        Fixture {
            server,
            _repository: self,
        }
    }
}

/// Serves one model `m`: a test model and its configuration.
pub fn serve(file: &str, config: &str) -> Fixture {
    Repository::new()
        .config("m", config)
        .file("m", file)
        .serve()
}

pub struct Fixture {
    pub server: Arc<Server>,
    _repository: Repository,
}

/// A request to model `m`, as far as tests need one.
#[derive(Clone, Debug, Default)]
pub struct Call {
    pub inputs: Vec<InputTensor>,
    pub outputs: Vec<&'static str>,
}

pub fn call(inputs: Vec<InputTensor>) -> Call {
    Call {
        inputs,
        outputs: Vec::new(),
    }
}

impl Call {
    pub fn wanting(mut self, outputs: &[&'static str]) -> Self {
        self.outputs = outputs.to_vec();
        self
    }
}

impl Fixture {
    /// Returns why model `m` is not ready.
    pub fn reason(&self) -> String {
        let index = self.server.index();
        let model = index
            .iter()
            .find(|model| !model.is_ready())
            .expect("a model that failed");
        model.reason.clone()
    }

    pub fn statistics(&self) -> StatisticsSnapshot {
        self.server
            .model("m", None)
            .expect("loaded")
            .statistics()
            .snapshot()
    }

    /// Sends one request and returns its outputs.
    pub fn infer(&self, call: &Call) -> Result<Vec<OutputTensor>> {
        self.infer_into(call, Arc::new(HeapAllocator))
    }

    pub fn infer_into(
        &self,
        call: &Call,
        allocator: Arc<dyn ResponseAllocator>,
    ) -> Result<Vec<OutputTensor>> {
        wait(&self.send(call, allocator)?)
    }

    /// Sends requests that wait for each other, so that they share a batch as far as it goes.
    pub fn infer_together(&self, calls: &[Call]) -> Vec<Result<Vec<OutputTensor>>> {
        std::thread::scope(|scope| {
            let together = scope.spawn(|| {
                defer_dispatch_on_this_thread();
                let allocator = || Arc::new(HeapAllocator);
                let answers: Vec<_> = calls
                    .iter()
                    .map(|call| self.send(call, allocator()))
                    .collect();
                dispatch_deferred();
                answers.into_iter().map(|answer| wait(&answer?)).collect()
            });
            together.join().expect("the thread's assertions hold")
        })
    }

    fn send(
        &self,
        call: &Call,
        allocator: Arc<dyn ResponseAllocator>,
    ) -> Result<Receiver<Box<InferenceResponse>>> {
        let mut request = InferenceRequest::new(self.server.model("m", None)?);
        for input in &call.inputs {
            request.add_input(input.clone())?;
        }
        for output in &call.outputs {
            request.add_requested_output(output)?;
        }
        let (sender, answers) = channel();
        request.set_response_handler(allocator, Arc::new(Sink(sender)));
        self.server.infer(request).map_err(|(error, _)| error)?;
        Ok(answers)
    }
}

fn wait(answers: &Receiver<Box<InferenceResponse>>) -> Result<Vec<OutputTensor>> {
    let mut response = answers
        .recv_timeout(PATIENCE)
        .expect("every request is answered");
    assert!(answers.try_recv().is_err(), "answered twice");
    match response.error() {
        Some(error) => Err(Error::new(error.code(), error.message())),
        None => Ok(response.take_outputs().collect()),
    }
}

struct Sink(std::sync::mpsc::Sender<Box<InferenceResponse>>);

impl ResponseSink for Sink {
    fn respond(&self, response: Option<Box<InferenceResponse>>, flags: ResponseFlags) {
        assert!(flags.is_final(), "one response per request");
        // A test that has given up listens no more.
        let _ = self.0.send(response.expect("a response, not flags alone"));
    }
}

pub fn ints(name: &str, shape: &[i64], values: &[i32]) -> InputTensor {
    tensor(
        name,
        DataType::Int32,
        shape,
        values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    )
}

pub fn floats(name: &str, shape: &[i64], values: &[f32]) -> InputTensor {
    tensor(
        name,
        DataType::Fp32,
        shape,
        values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    )
}

pub fn longs(name: &str, shape: &[i64], values: &[i64]) -> InputTensor {
    tensor(
        name,
        DataType::Int64,
        shape,
        values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    )
}

pub fn tensor(name: &str, data_type: DataType, shape: &[i64], data: Vec<u8>) -> InputTensor {
    InputTensor::new(name, data_type, Shape::from_slice(shape), Bytes::from(data))
}

/// Encodes strings as a `BYTES` tensor's data.
pub fn encode(strings: &[&[u8]]) -> Vec<u8> {
    let length = |string: &[u8]| u32::try_from(string.len()).expect("short").to_le_bytes();
    strings
        .iter()
        .flat_map(|string| [&length(string)[..], string].concat())
        .collect()
}

pub fn data(output: &OutputTensor) -> &[u8] {
    output
        .buffer
        .as_ref()
        .and_then(|buffer| buffer.as_slice())
        .unwrap_or_default()
}

pub fn as_ints(output: &OutputTensor) -> Vec<i32> {
    assert_eq!(output.data_type, DataType::Int32);
    data(output)
        .as_chunks()
        .0
        .iter()
        .map(|bytes| i32::from_le_bytes(*bytes))
        .collect()
}

pub fn as_floats(output: &OutputTensor) -> Vec<f32> {
    assert_eq!(output.data_type, DataType::Fp32);
    data(output)
        .as_chunks()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect()
}

/// Configuration of `add_sub.onnx`.
pub const ADD_SUB: &str = r#"
max_batch_size: 8
input [
  { name: "INPUT0" data_type: TYPE_INT32 dims: [ 16 ] },
  { name: "INPUT1" data_type: TYPE_INT32 dims: [ 16 ] }
]
output [
  { name: "OUTPUT0" data_type: TYPE_INT32 dims: [ 16 ] },
  { name: "OUTPUT1" data_type: TYPE_INT32 dims: [ 16 ] }
]
instance_group [ { kind: KIND_CPU count: 1 } ]
"#;

/// Configuration of `dynamic.onnx`.
pub const DYNAMIC: &str = r#"
max_batch_size: 16
input [ { name: "X" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [
  { name: "SUM" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } },
  { name: "DOUBLED" data_type: TYPE_FP32 dims: [ -1 ] }
]
instance_group [ { kind: KIND_CPU count: 1 } ]
dynamic_batching { }
"#;
