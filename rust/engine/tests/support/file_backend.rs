// SPDX-License-Identifier: Apache-2.0
//! A backend whose models do what the file `weights` in their version's directory says.
//!
//! `<number>` answers with that number, `hold <number>` does so when the test lets it, `fail` and
//! `panic` do not load, `fail once` loads at the second try, and `gate` loads when the test opens
//! the gate.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tempfile::TempDir;
use tritongw_engine::backend::{
    Backend, BackendInstance, BackendModel, InstanceContext, ModelContext, Placement,
};
use tritongw_engine::batch::{Batch, ExecutionPermit, Requests};
use tritongw_engine::{
    CallOrigin, ComputeTimings, InferenceRequest, InputTensor, Model, ModelControlMode, ModelLoad,
    Server, ServerOptions,
};
use tritongw_types::{DataType, Error, Result, Shape};

use super::{PATIENCE, Reply, wait_until};

/// Configuration of the models.
pub const FILE_CONFIG: &str = r#"
backend: "files"
input [ { name: "IN" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "OUT" data_type: TYPE_FP32 dims: [ 1 ] } ]
"#;

/// Returns [`FILE_CONFIG`] with so many instances.
pub fn with_instances(count: u32) -> String {
    format!("{FILE_CONFIG}instance_group [ {{ kind: KIND_CPU count: {count} }} ]\n")
}

/// An execution that waits for the test.
pub struct Held {
    requests: Requests,
    answer: f32,
    instance_name: String,
    permit: Option<ExecutionPermit>,
}

impl Held {
    pub fn instance_name(&self) -> &str {
        &self.instance_name
    }

    pub fn answer(self) {
        answer_all(self.requests, self.answer);
    }

    /// Gives the instance back while its request is still to be answered.
    pub fn give_instance_back(&mut self) {
        self.permit = None;
    }

    /// Calls a model as the execution would.
    pub fn call(&self, server: &FileServer, model: &str) -> Result<Reply> {
        let requests = self.requests.iter().map(|request| &**request);
        let origin = CallOrigin::new(self.permit.as_ref(), requests, false);
        let caller = self.requests[0].model().context().caller();
        let request = server.request(caller.model(model, None)?);
        Reply::to_call(&caller, &origin, request)
    }
}

#[derive(Default)]
struct Shared {
    // What happened, such as `load m 1` and `drop m_0`.
    events: Mutex<Vec<String>>,
    failed_once: Mutex<BTreeSet<PathBuf>>,
    gate_is_open: Mutex<bool>,
    gate: Condvar,
}

impl Shared {
    fn note(&self, event: String) {
        self.events.lock().push(event);
    }
}

struct FileBackend {
    shared: Arc<Shared>,
    held: Sender<Held>,
}

impl Backend for FileBackend {
    fn name(&self) -> &str {
        "files"
    }

    fn load_model(&self, model: &Arc<ModelContext>) -> Result<Arc<dyn BackendModel>> {
        let path = model.version_directory().join("weights");
        let weights = std::fs::read_to_string(&path)
            .map_err(|source| Error::not_found("no weights").with_source(source))?;
        self.shared
            .note(format!("load {} {}", model.name, model.version));
        match weights.as_str() {
            "fail" => return Err(Error::internal("bad weights")),
            "panic" => panic!("as the test asked"),
            "fail once" if self.shared.failed_once.lock().insert(path) => {
                return Err(Error::internal("bad weights"));
            }
            "gate" => {
                let mut is_open = self.shared.gate_is_open.lock();
                while !*is_open {
                    self.shared.gate.wait(&mut is_open);
                }
            }
            _ => {}
        }
        let number = weights
            .rsplit(' ')
            .next()
            .and_then(|text| text.parse().ok());
        Ok(Arc::new(FileModel {
            answer: number.unwrap_or(0.0),
            is_holding: weights.starts_with("hold"),
            shared: Arc::clone(&self.shared),
            held: self.held.clone(),
        }))
    }
}

struct FileModel {
    answer: f32,
    is_holding: bool,
    shared: Arc<Shared>,
    held: Sender<Held>,
}

impl BackendModel for FileModel {
    fn create_instance(&self, instance: &Arc<InstanceContext>) -> Result<Box<dyn BackendInstance>> {
        self.shared.note(format!("create {}", instance.name));
        Ok(Box::new(FileInstance {
            name: instance.name.clone(),
            answer: self.answer,
            is_holding: self.is_holding,
            shared: Arc::clone(&self.shared),
            held: self.held.clone(),
        }))
    }
}

struct FileInstance {
    name: String,
    answer: f32,
    is_holding: bool,
    shared: Arc<Shared>,
    held: Sender<Held>,
}

impl BackendInstance for FileInstance {
    fn placement(&self) -> Placement {
        if self.is_holding {
            Placement::Async { max_inflight: 1 }
        } else {
            Placement::Dedicated
        }
    }

    fn execute(&mut self, batch: &mut Batch) -> Result<()> {
        if !self.is_holding {
            answer_all(batch.take_requests(), self.answer);
            return Ok(());
        }
        let held = Held {
            answer: self.answer,
            instance_name: self.name.clone(),
            permit: batch.take_permit(),
            requests: batch.take_requests(),
        };
        self.held.send(held).expect("the test holds the receiver");
        Ok(())
    }
}

impl Drop for FileInstance {
    fn drop(&mut self) {
        self.shared.note(format!("drop {}", self.name));
    }
}

fn answer_all(requests: Requests, answer: f32) {
    let timings = ComputeTimings::until_now(1);
    for request in requests {
        let mut response = request.responder().new_response();
        let data = Bytes::copy_from_slice(&answer.to_le_bytes());
        let shape = Shape::from_slice(&[1]);
        let added = response.add_output_bytes("OUT", DataType::Fp32, shape, data);
        request.finish(added.map(|()| response), &timings);
    }
}

/// A server over one repository of such models, and the test's side of it.
pub struct FileServer {
    pub server: Arc<Server>,
    pub repository: TempDir,
    shared: Arc<Shared>,
    held: Mutex<Receiver<Held>>,
}

impl FileServer {
    /// Serves these models in explicit mode, none loaded.
    pub fn explicit(models: &[(&str, &str)]) -> Self {
        let options = ServerOptions {
            control_mode: ModelControlMode::Explicit,
            ..ServerOptions::default()
        };
        Self::start(models, options)
    }

    /// Serves these models, each a name and its weights.
    pub fn start(models: &[(&str, &str)], options: ServerOptions) -> Self {
        let repository = TempDir::new().expect("a temporary directory");
        for (name, weights) in models {
            write_config(repository.path(), name, FILE_CONFIG);
            write_weights(repository.path(), name, 1, weights);
        }
        let mut options = options;
        options
            .model_repositories
            .push(repository.path().to_owned());
        let shared = Arc::new(Shared::default());
        let (held, receiver) = channel();
        let backend = FileBackend {
            shared: Arc::clone(&shared),
            held,
        };
        let server = Server::new(options, vec![Arc::new(backend)]).expect("readable");
        Self {
            server,
            repository,
            shared,
            held: Mutex::new(receiver),
        }
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.repository.path().join(relative)
    }

    pub fn write_config(&self, model: &str, config: &str) {
        write_config(self.repository.path(), model, config);
    }

    pub fn write_weights(&self, model: &str, version: i64, weights: &str) {
        write_weights(self.repository.path(), model, version, weights);
    }

    /// Begins a load and returns where its outcome comes.
    pub fn begin_load(&self, load: ModelLoad) -> Receiver<Result<()>> {
        let (done, outcome) = channel();
        let done = move |result| done.send(result).expect("the test waits");
        self.server.load_model(load, Box::new(done));
        outcome
    }

    pub fn load(&self, model: &str) -> Result<()> {
        let load = ModelLoad {
            name: model.to_owned(),
            ..ModelLoad::default()
        };
        self.load_with(load)
    }

    pub fn load_with(&self, load: ModelLoad) -> Result<()> {
        let outcome = self.begin_load(load);
        outcome.recv_timeout(PATIENCE).expect("every load ends")
    }

    pub fn unload(&self, model: &str) -> Result<()> {
        let (done, outcome) = channel();
        let done = move |result| done.send(result).expect("the test waits");
        self.server.unload_model(model, Box::new(done));
        outcome.recv_timeout(PATIENCE).expect("every unload ends")
    }

    /// Returns what happened since the last call.
    pub fn events(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.events.lock())
    }

    /// Returns whether every instance that was made has ended.
    pub fn has_ended_all(&self) -> bool {
        let events = self.shared.events.lock();
        let count = |what: &str| {
            events
                .iter()
                .filter(|event| event.starts_with(what))
                .count()
        };
        count("create") == count("drop")
    }

    /// Waits until a backend has done all this, in any order, and forgets it.
    pub fn wait_for_events(&self, expected: &[&str]) {
        wait_until("events", || {
            self.shared.events.lock().len() >= expected.len()
        });
        let mut events = self.events();
        events.sort();
        assert_eq!(events, expected);
    }

    pub fn open_gate(&self) {
        *self.shared.gate_is_open.lock() = true;
        self.shared.gate.notify_all();
    }

    pub fn next_held(&self) -> Held {
        let held = self.held.lock();
        held.recv_timeout(PATIENCE).expect("an execution")
    }

    /// Returns name, version, state and reason of everything in the index.
    pub fn index(&self) -> Vec<String> {
        let entry = |entry: tritongw_engine::ModelVersionIndex| {
            let version = entry.version.map_or("-".to_owned(), |v| v.to_string());
            let state = entry.state.map_or("-", |state| state.as_str());
            let text = format!("{} {version} {state} {}", entry.name, entry.reason);
            text.trim_end().to_owned()
        };
        self.server.index().into_iter().map(entry).collect()
    }

    pub fn request(&self, model: Arc<Model>) -> Box<InferenceRequest> {
        let mut request = InferenceRequest::new(model);
        let data = Bytes::from_static(&[0; 4]);
        let input = InputTensor::new("IN", DataType::Fp32, Shape::from_slice(&[1]), data);
        request.add_input(input).expect("the first input");
        request
    }

    pub fn send(&self, request: Box<InferenceRequest>) -> Result<Reply> {
        Reply::to(&self.server, request)
    }

    /// Asks a model and returns its answer.
    pub fn infer(&self, model: &str) -> Result<f32> {
        let model = self.server.model(model, None)?;
        self.send(self.request(model))?.number()
    }
}

impl Reply {
    /// Waits for the answer, which must be the only one.
    pub fn number(&self) -> Result<f32> {
        let answer = self.wait();
        assert!(answer.flags.is_final(), "one response");
        if let Some(error) = answer.error() {
            return Err(error.clone());
        }
        let mut response = answer.response.expect("a response");
        let output = response.take_outputs().next().expect("an output");
        let data = output
            .buffer
            .expect("data")
            .into_bytes()
            .expect("host memory");
        assert!(self.now().is_none(), "answered once");
        Ok(f32::from_le_bytes(
            data[..4].try_into().expect("one element"),
        ))
    }
}

pub fn write_config(repository: &Path, model: &str, config: &str) {
    std::fs::create_dir_all(repository.join(model)).expect("a writable directory");
    std::fs::write(repository.join(model).join("config.pbtxt"), config).expect("writable");
}

/// Writes the weights as a new file, so that no clock is too coarse to show it.
pub fn write_weights(repository: &Path, model: &str, version: i64, weights: &str) {
    let directory = repository.join(model).join(version.to_string());
    std::fs::create_dir_all(&directory).expect("a writable directory");
    let fresh = directory.join("fresh");
    std::fs::write(&fresh, weights).expect("writable");
    std::fs::rename(fresh, directory.join("weights")).expect("writable");
}
