// SPDX-License-Identifier: Apache-2.0
//! A repository in a temporary directory and a backend that does what a test tells it.
#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    reason = "each test file uses its part"
)]

pub mod file_backend;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tempfile::TempDir;
use tritongw_engine::backend::{
    Backend, BackendInstance, BackendModel, InstanceContext, InstanceControl, ModelContext,
    Placement,
};
use tritongw_engine::batch::{Batch, ExecutionPermit, Requests};
use tritongw_engine::buffer::HeapAllocator;
use tritongw_engine::{
    CallOrigin, ComputeTimings, InferenceRequest, InferenceResponse, InputTensor, ModelCaller,
    Responder, ResponseFlags, ResponseSink, Server, ServerOptions,
};
use tritongw_types::{DataType, Error, Result, Shape};

/// Longest wait for something that must happen; only a failing test takes it.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A batch that reached the backend and waits for the test to answer it.
pub struct Execution {
    pub instance_name: String,
    pub requests: Requests,
    pub batch_size: u32,
    permit: Option<ExecutionPermit>,
}

impl Execution {
    pub fn ids(&self) -> Vec<String> {
        self.requests
            .iter()
            .map(|request| request.id().to_string())
            .collect()
    }

    /// Answers every request with its first input and frees the instance.
    pub fn echo(self) {
        answer_all(self.requests);
        drop(self.permit);
    }
}

impl Execution {
    /// Asks for every request once more, and frees the instance.
    pub fn reschedule(self) {
        let timings = ComputeTimings::until_now(1);
        for request in self.requests {
            if let Err((error, request)) = request.reschedule(&timings) {
                request.finish(Err(error), &timings);
            }
        }
        drop(self.permit);
    }
}

fn answer_all(requests: Requests) {
    let timings = ComputeTimings::until_now(1);
    for request in requests {
        request
            .model()
            .statistics()
            .report_batch(request.batch_size(), &timings);
        let result = echo(&request);
        request.finish(result, &timings);
    }
}

fn echo(request: &InferenceRequest) -> Result<Box<InferenceResponse>> {
    let input = request
        .inputs()
        .next()
        .expect("models of these tests have an input");
    let mut response = request.responder().new_response();
    let shape = input.shape.clone();
    response.add_output_bytes("OUT", input.data_type, shape, input.contiguous()?)?;
    Ok(response)
}

/// How instances of the scripted backend behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// Answer at once, on the enqueuing thread.
    EchoInline,
    /// Answer at once, on the instance's thread.
    EchoDedicated,
    /// Hand each batch to the test, which answers it when it likes.
    Manual,
    /// Panic.
    Panic,
    /// Return an error for the whole batch.
    Fail,
    /// Return without answering.
    Forget,
}

/// The scripted backend.
pub struct ScriptedBackend {
    script: Script,
    executions: Sender<Execution>,
    instances: Arc<Mutex<Vec<Arc<InstanceContext>>>>,
}

/// What a test holds of the backend.
pub struct Handle {
    executions: Mutex<Receiver<Execution>>,
    instances: Arc<Mutex<Vec<Arc<InstanceContext>>>>,
}

impl Handle {
    pub fn next_execution(&self) -> Execution {
        self.executions
            .lock()
            .recv_timeout(PATIENCE)
            .expect("a batch should reach the backend")
    }

    pub fn is_idle(&self) -> bool {
        self.executions.lock().try_recv().is_err()
    }

    pub fn control(&self, index: usize) -> Arc<dyn InstanceControl> {
        Arc::clone(&self.instances.lock()[index].control)
    }

    /// Returns what each instance was told, by name.
    pub fn instances(&self) -> Vec<Arc<InstanceContext>> {
        let mut instances = self.instances.lock().clone();
        instances.sort_by(|left, right| left.name.cmp(&right.name));
        instances
    }
}

impl Backend for ScriptedBackend {
    fn name(&self) -> &str {
        "scripted"
    }

    fn load_model(&self, _: &Arc<ModelContext>) -> Result<Arc<dyn BackendModel>> {
        Ok(Arc::new(ScriptedModel {
            script: self.script,
            executions: self.executions.clone(),
            instances: Arc::clone(&self.instances),
        }))
    }
}

struct ScriptedModel {
    script: Script,
    executions: Sender<Execution>,
    instances: Arc<Mutex<Vec<Arc<InstanceContext>>>>,
}

impl BackendModel for ScriptedModel {
    fn create_instance(&self, instance: &Arc<InstanceContext>) -> Result<Box<dyn BackendInstance>> {
        self.instances.lock().push(Arc::clone(instance));
        let executions = self.executions.clone();
        Ok(Box::new(ScriptedInstance {
            name: instance.name.clone(),
            script: self.script,
            executions,
        }))
    }
}

struct ScriptedInstance {
    name: String,
    script: Script,
    executions: Sender<Execution>,
}

impl BackendInstance for ScriptedInstance {
    fn placement(&self) -> Placement {
        match self.script {
            Script::EchoInline => Placement::Inline,
            Script::Manual => Placement::Async { max_inflight: 1 },
            _ => Placement::Dedicated,
        }
    }

    fn execute(&mut self, batch: &mut Batch) -> Result<()> {
        match self.script {
            Script::EchoInline | Script::EchoDedicated => answer_all(batch.take_requests()),
            Script::Manual => {
                let execution = Execution {
                    instance_name: self.name.clone(),
                    batch_size: batch.batch_size(),
                    permit: batch.take_permit(),
                    requests: batch.take_requests(),
                };
                self.executions
                    .send(execution)
                    .expect("the test holds the receiver");
            }
            Script::Panic => panic!("as the test asked"),
            Script::Fail => return Err(Error::internal("the model is out of order")),
            Script::Forget => {}
        }
        Ok(())
    }
}

/// A server over a repository with one model `m` of this configuration.
pub struct Fixture {
    pub server: Arc<Server>,
    pub backend: Handle,
    _repository: TempDir,
}

/// Configuration of most tests: one FP32 input and output of variable length.
pub const CONFIG: &str = r#"
backend: "scripted"
input [ { name: "IN" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "OUT" data_type: TYPE_FP32 dims: [ -1 ] } ]
instance_group [ { kind: KIND_CPU count: 1 } ]
"#;

pub fn serve(script: Script, config: &str) -> Fixture {
    let repository = TempDir::new().expect("a temporary directory");
    write_model(&repository, "m", &["1"], config);
    serve_repository(script, repository)
}

pub fn write_model(repository: &TempDir, name: &str, versions: &[&str], config: &str) {
    let model = repository.path().join(name);
    std::fs::create_dir_all(&model).expect("a writable directory");
    for version in versions {
        std::fs::create_dir_all(model.join(version)).expect("a writable directory");
    }
    std::fs::write(model.join("config.pbtxt"), config).expect("a writable directory");
}

pub fn serve_repository(script: Script, repository: TempDir) -> Fixture {
    serve_with(script, repository, ServerOptions::default())
}

pub fn serve_with(script: Script, repository: TempDir, options: ServerOptions) -> Fixture {
    let (executions, receiver) = channel();
    let instances = Arc::new(Mutex::new(Vec::new()));
    let backend = ScriptedBackend {
        script,
        executions,
        instances: Arc::clone(&instances),
    };
    let options = ServerOptions {
        model_repositories: vec![repository.path().to_owned()],
        ..options
    };
    let server = Server::new(options, vec![Arc::new(backend)]).expect("the repository is readable");
    let backend = Handle {
        executions: Mutex::new(receiver),
        instances,
    };
    Fixture {
        server,
        backend,
        _repository: repository,
    }
}

/// Waits for something that another thread brings about.
pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let patience_ns = u64::try_from(PATIENCE.as_nanos()).expect("a short time");
    let deadline_ns = tritongw_engine::clock::monotonic_ns() + patience_ns;
    while !condition() {
        let now_ns = tritongw_engine::clock::monotonic_ns();
        assert!(now_ns < deadline_ns, "{what} should have come about");
        std::thread::yield_now();
    }
}

/// Collects the responses of one request.
struct ChannelSink(Sender<Answer>);

/// One response as the client sees it.
#[derive(Debug)]
pub struct Answer {
    pub response: Option<Box<InferenceResponse>>,
    pub flags: ResponseFlags,
}

impl Answer {
    pub fn error(&self) -> Option<&Error> {
        self.response.as_ref().and_then(|response| response.error())
    }
}

impl ResponseSink for ChannelSink {
    fn respond(&self, response: Option<Box<InferenceResponse>>, flags: ResponseFlags) {
        // A test that has stopped listening is no concern of the engine.
        let _ = self.0.send(Answer { response, flags });
    }
}

/// The client's side of a request.
pub struct Reply {
    answers: Receiver<Answer>,
    pub responder: Arc<Responder>,
}

impl Reply {
    /// Sends a request off.
    pub fn to(server: &Server, mut request: Box<InferenceRequest>) -> Result<Self> {
        let (sender, answers) = channel();
        let sink = Arc::new(ChannelSink(sender));
        let responder = Arc::clone(request.set_response_handler(Arc::new(HeapAllocator), sink));
        server.infer(request).map_err(|(error, _)| error)?;
        Ok(Self { answers, responder })
    }

    /// Sends a request off that the execution `origin` makes.
    pub fn to_call(
        caller: &ModelCaller,
        origin: &CallOrigin,
        request: Box<InferenceRequest>,
    ) -> Result<Self> {
        let (sender, answers) = channel();
        let sink = Arc::new(ChannelSink(sender));
        let responder = caller.send(request, origin, Arc::new(HeapAllocator), sink)?;
        let responder = responder.upgrade().expect("not answered yet");
        Ok(Self { answers, responder })
    }

    /// Lets go of the responder, as a door that no longer wants to cancel.
    pub fn give_up_responder(self) -> WithoutResponder {
        WithoutResponder(self.answers)
    }

    pub fn wait(&self) -> Answer {
        self.answers
            .recv_timeout(PATIENCE)
            .expect("every accepted request is answered")
    }

    /// Returns an answer that must be there already.
    pub fn now(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }
}

/// A reply whose client holds no responder.
pub struct WithoutResponder(Receiver<Answer>);

impl WithoutResponder {
    pub fn wait(&self) -> Answer {
        self.0
            .recv_timeout(PATIENCE)
            .expect("every accepted request is answered")
    }
}

impl Fixture {
    /// Makes a request to `m` with `values` as its only input, of this shape.
    pub fn request(&self, id: &str, shape: &[i64], values: &[f32]) -> Box<InferenceRequest> {
        let model = self.server.model("m", None).expect("the model is loaded");
        let mut request = InferenceRequest::new(model);
        request.set_id(id);
        let data: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let shape = Shape::from_slice(shape);
        let input = InputTensor::new("IN", DataType::Fp32, shape, Bytes::from(data));
        request.add_input(input).expect("the first input");
        request
    }

    /// Sends a request off.
    pub fn send(&self, request: Box<InferenceRequest>) -> Result<Reply> {
        Reply::to(&self.server, request)
    }

    /// Sends a request with one element.
    pub fn send_one(&self, id: &str) -> Result<Reply> {
        let is_batching = self.server.model("m", None)?.config().max_batch_size > 0;
        let shape: &[i64] = if is_batching { &[1, 1] } else { &[1] };
        self.send(self.request(id, shape, &[1.0]))
    }

    pub fn statistics(&self) -> tritongw_engine::StatisticsSnapshot {
        self.server
            .model("m", None)
            .expect("the model is loaded")
            .statistics()
            .snapshot()
    }
}
