// SPDX-License-Identifier: Apache-2.0
//! Server and worker as two processes, without Python: this very program is the worker as well.
//!
//! A test calls models whose worker is [`worker_entry`]; what the worker does stands in the input.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tritongw_backend_python::host::{
    BatchReply, HostBatch, HostOutput, HostRequest, HostResponse, ModelTraits, Next, OutputData,
};
use tritongw_backend_python::worker::{Assignment, WorkerSession, connect};
use tritongw_backend_python::{PythonBackend, PythonBackendConfig};
use tritongw_engine::buffer::HeapAllocator;
use tritongw_engine::{
    InferenceRequest, InferenceResponse, InputTensor, ResponseFlags, ResponseSink, Server,
    ServerOptions,
};
use tritongw_types::{DataType, Error, Result, Shape};

/// Longest wait for an answer; only a failing test waits that long.
const LIMIT: Duration = Duration::from_secs(30);

// The worker.

/// Not a test: the worker process, when the server under test starts this program as one. Run as
/// a test it finds no control socket on standard input and does nothing.
#[test]
fn worker_entry() {
    if !std::env::args().any(|argument| argument == "worker_entry") {
        return;
    }
    match connect().expect("a server") {
        Assignment::CompleteConfig(session) => {
            let config = session
                .source()
                .model_config
                .replace(r#""max_batch_size":0"#, r#""max_batch_size":4"#);
            session.report(Ok(Some(config))).expect("the server hears");
        }
        Assignment::Serve(session) => serve(session),
    }
}

fn serve(mut session: WorkerSession) {
    if session.source().model_name == "refuses" {
        session
            .report_start(&Err(Error::internal("no weights")))
            .expect("the server hears");
        return;
    }
    session
        .report_start(&Ok(ModelTraits::default()))
        .expect("the server hears");
    let mut kept = Vec::new();
    let mut half_answered = Vec::new();
    loop {
        match session.try_next().expect("frames are sound") {
            None => session.wait().expect("the server lives"),
            Some(Next::Stop) => return,
            Some(Next::Batch(batch)) => {
                let HostBatch {
                    requests,
                    reply,
                    execution,
                } = batch;
                let mut result = Ok(());
                for (index, request) in requests.iter().enumerate() {
                    result = result.and(obey(index, request, &*reply));
                }
                reply.note_compute_end();
                for reply in half_answered.drain(..) {
                    let reply: Arc<dyn BatchReply> = reply;
                    reply
                        .send(0, None, ResponseFlags::FINAL)
                        .expect("the server hears");
                }
                if text(&requests[0]) == "final-later" {
                    half_answered.push(Arc::clone(&reply));
                }
                if text(&requests[0]).starts_with("keep") {
                    kept.push(requests);
                }
                execution.finish(result).expect("the server hears");
            }
        }
    }
}

fn obey(index: usize, request: &HostRequest, reply: &dyn BatchReply) -> Result<()> {
    let command = text(request).split(' ').next().unwrap_or_default();
    let answer = |data: &[u8], flags| {
        let output = HostOutput {
            name: "OUT",
            data_type: DataType::Uint8,
            shape: Shape::from([data.len() as i64]),
            data: OutputData::Borrowed(data),
        };
        let mut response = HostResponse::default();
        response.outputs.push(output);
        reply.send(index, Some(&response), flags)
    };
    match command {
        "die" => {
            std::process::abort();
        }
        "fail" => Err(Error::internal("the model failed")),
        "model-error" => {
            let error = Some(Error::not_found("nothing here"));
            let response = HostResponse {
                error,
                ..HostResponse::default()
            };
            reply.send(index, Some(&response), ResponseFlags::FINAL)
        }
        "stream" => {
            for part in ["a", "b", "c"] {
                answer(part.as_bytes(), ResponseFlags::NONE)?;
                reply.flush();
            }
            reply.send(index, None, ResponseFlags::FINAL)
        }
        "cancelled" => {
            // The client cancels once it has the first response.
            answer(b"started", ResponseFlags::NONE)?;
            reply.flush();
            while !reply.is_cancelled(index) {
                std::thread::yield_now();
            }
            answer(b"seen", ResponseFlags::FINAL)
        }
        "final-later" => answer(b"answer", ResponseFlags::NONE),
        "wrong-size" => {
            let output = HostOutput {
                name: "OUT",
                data_type: DataType::Fp32,
                shape: Shape::from([3]),
                data: OutputData::Borrowed(b"short"),
            };
            let mut response = HostResponse::default();
            response.outputs.push(output);
            reply.send(index, Some(&response), ResponseFlags::FINAL)
        }
        _ => answer(request.inputs[0].memory.as_slice(), ResponseFlags::FINAL),
    }
}

fn text(request: &HostRequest) -> &str {
    let data = request.inputs[0].memory.as_slice();
    std::str::from_utf8(data.get(..64.min(data.len())).unwrap_or_default()).unwrap_or("binary")
}

// The server.

struct Fixture {
    server: Arc<Server>,
    _repository: TempDir,
}

type Event = (Option<Box<InferenceResponse>>, ResponseFlags);

struct Sink(Sender<Event>);

impl ResponseSink for Sink {
    fn respond(&self, response: Option<Box<InferenceResponse>>, flags: ResponseFlags) {
        // A test that has all it wants does not listen any more.
        let _ = self.0.send((response, flags));
    }
}

struct Answers(Receiver<Event>, Arc<tritongw_engine::Responder>);

impl Answers {
    fn next(&self) -> Event {
        self.0.recv_timeout(LIMIT).expect("an answer in time")
    }

    fn data(&self) -> Vec<u8> {
        let (response, _) = self.next();
        let response = response.expect("a response");
        assert!(response.error().is_none(), "{:?}", response.error());
        let output = response.outputs().next().expect("an output");
        let buffer = output.buffer.as_ref().expect("memory");
        buffer.as_slice().expect("host memory").to_vec()
    }

    fn error(&self) -> Error {
        let (response, flags) = self.next();
        assert!(flags.is_final());
        let response = response.expect("a response");
        response.error().expect("an error").clone()
    }
}

impl Fixture {
    fn new(models: &[(&str, &str)]) -> Self {
        let repository = TempDir::new().expect("a directory");
        for (name, extra) in models {
            let directory = repository.path().join(name);
            fs::create_dir_all(directory.join("1")).expect("a directory");
            let mut config = fs::File::create(directory.join("config.pbtxt")).expect("a file");
            let text = r#"backend: "python"
                input { name: "IN" data_type: TYPE_UINT8 dims: [-1] }
                output { name: "OUT" data_type: TYPE_UINT8 dims: [-1] }
                instance_group { kind: KIND_CPU count: 1 }"#;
            writeln!(config, "{text}\n{extra}").expect("written");
        }
        let program = std::env::current_exe().expect("this program");
        let arguments = ["--exact", "worker_entry", "--nocapture"].map(OsString::from);
        let backend = PythonBackend::new(PythonBackendConfig {
            worker_command: [program.into_os_string()]
                .into_iter()
                .chain(arguments)
                .collect(),
            environment_command: Vec::new(),
            in_process: None,
        });
        let options = ServerOptions {
            model_repositories: vec![repository.path().to_owned()],
            is_auto_complete: models.iter().any(|(name, _)| *name == "completed"),
            ..ServerOptions::default()
        };
        let server = Server::new(options, vec![Arc::new(backend)]).expect("a server");
        Self {
            server,
            _repository: repository,
        }
    }

    fn send(&self, model: &str, data: impl Into<Bytes>) -> Answers {
        let data = data.into();
        let model = self.server.model(model, None).expect("loaded");
        let mut shape = Shape::from([data.len() as i64]);
        if model.config().max_batch_size > 0 {
            shape.push_front(1);
        }
        let mut request = InferenceRequest::new(model);
        request
            .add_input(InputTensor::new("IN", DataType::Uint8, shape, data))
            .expect("the first of its name");
        let (sender, answers) = channel();
        let responder = request
            .set_response_handler(Arc::new(HeapAllocator), Arc::new(Sink(sender)))
            .clone();
        self.server
            .infer(request)
            .map_err(|(error, _)| error)
            .expect("accepted");
        Answers(answers, responder)
    }

    fn is_ready(&self, model: &str) -> bool {
        self.server.model_is_ready(model, None).expect("known")
    }

    fn wait_until_ready(&self, model: &str) {
        while !self.is_ready(model) {
            std::thread::yield_now();
        }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.server.stop(LIMIT);
    }
}

#[test]
fn data_of_every_size_comes_back() {
    let fixture = Fixture::new(&[("m", "")]);
    for size in [1, 100, 4096, 4097, 16_384, 40_000, 3_000_000] {
        let data: Vec<u8> = (0..size).map(|i: u32| (i % 251) as u8 | 0x80).collect();
        assert_eq!(fixture.send("m", data.clone()).data(), data, "{size} bytes");
    }
}

#[test]
fn many_requests_at_once_are_each_answered_with_their_own_data() {
    let fixture = Fixture::new(&[("m", "")]);
    let answers: Vec<_> = (0..500_u32)
        .map(|i| (i, fixture.send("m", i.to_be_bytes().to_vec())))
        .collect();
    for (i, answer) in answers {
        assert_eq!(answer.data(), i.to_be_bytes());
    }
}

#[test]
fn batches_of_many_requests_travel_whole() {
    let batching = "max_batch_size: 64 dynamic_batching { max_queue_delay_microseconds: 20000 }";
    let fixture = Fixture::new(&[("m", batching)]);
    let sent = |i: u8| vec![i | 0x80; 3000];
    let answers: Vec<_> = (0..64).map(|i| (i, fixture.send("m", sent(i)))).collect();
    for (i, answer) in answers {
        assert_eq!(answer.data(), sent(i));
    }
    let statistics = fixture.server.statistics(Some("m"), None).expect("known");
    let (_, snapshot) = &statistics[0];
    assert_eq!(snapshot.inference_count, 64);
    assert!(
        snapshot.execution_count < 64,
        "{} executions",
        snapshot.execution_count
    );
}

#[test]
fn a_body_received_into_the_slab_is_not_copied_again() {
    let fixture = Fixture::new(&[("m", "")]);
    let model = fixture.server.model("m", None).expect("loaded");
    let memory = model.request_memory().expect("a slab");
    assert!(memory.allocate(100, 0).is_none(), "not worth it");
    let mut buffer = memory.allocate(100_000, 0).expect("room");
    buffer.as_mut_slice().fill(0x81);
    let body = buffer.freeze();
    assert_eq!(
        fixture.send("m", body.slice(1..)).data(),
        vec![0x81; 99_999]
    );
}

#[test]
fn memory_that_a_model_keeps_is_not_used_again() {
    let fixture = Fixture::new(&[("m", "")]);
    let data = |tag: u8| [b"keep ".as_slice(), &vec![tag; 50_000]].concat();
    for tag in [b'a', b'b', b'c'] {
        assert_eq!(fixture.send("m", data(tag)).data(), data(tag));
    }
}

#[test]
fn errors_of_a_model_reach_the_client() {
    let fixture = Fixture::new(&[("m", "")]);
    assert_eq!(
        fixture.send("m", "fail").error().message(),
        "the model failed"
    );
    assert_eq!(
        fixture.send("m", "model-error").error().message(),
        "nothing here"
    );
    assert_eq!(
        fixture.send("m", "wrong-size").error().message(),
        "output 'OUT': shape [3] of type FP32 takes 12 bytes, found 5"
    );
    assert_eq!(fixture.send("m", "still here").data(), b"still here");
}

#[test]
fn the_one_response_may_come_before_its_final_flag() {
    let fixture = Fixture::new(&[("m", "")]);
    assert_eq!(fixture.send("m", "final-later").data(), b"answer");
    assert_eq!(fixture.send("m", "next").data(), b"next");
    assert_eq!(fixture.send("m", "one more").data(), b"one more");
    assert!(fixture.is_ready("m"));
}

#[test]
fn a_decoupled_model_streams() {
    let fixture = Fixture::new(&[("m", "model_transaction_policy { decoupled: true }")]);
    let answers = fixture.send("m", "stream");
    for part in ["a", "b", "c"] {
        assert_eq!(answers.data(), part.as_bytes());
    }
    let (response, flags) = answers.next();
    assert!(response.is_none());
    assert!(flags.is_final());
    let error = fixture.send("m", "fail").error();
    assert_eq!(error.message(), "the model failed");
}

#[test]
fn a_model_hears_of_cancellation() {
    let fixture = Fixture::new(&[("m", "model_transaction_policy { decoupled: true }")]);
    let answers = fixture.send("m", "cancelled");
    assert_eq!(answers.data(), b"started");
    answers.1.cancel();
    assert_eq!(answers.data(), b"seen");
}

#[test]
fn a_dead_worker_fails_its_requests_and_comes_back() {
    let fixture = Fixture::new(&[("m", ""), ("other", "")]);
    assert!(fixture.is_ready("m"));
    let error = fixture.send("m", "die").error();
    assert_eq!(error.message(), "Stub process 'm_0_0' is not healthy.");
    assert!(!fixture.is_ready("m"));
    assert!(fixture.is_ready("other"));
    assert_eq!(fixture.send("other", "unmoved").data(), b"unmoved");
    // Waits in the queue until there is a worker again.
    assert_eq!(fixture.send("m", "again").data(), b"again");
    fixture.wait_until_ready("m");
}

#[test]
fn a_worker_that_dies_while_loading_fails_the_load() {
    let fixture = Fixture::new(&[("refuses", "")]);
    let index = fixture.server.index();
    assert_eq!(index.len(), 1);
    assert!(!index[0].is_ready());
    assert!(
        index[0].reason.contains("no weights"),
        "{}",
        index[0].reason
    );
}

#[test]
fn a_configuration_is_completed_by_another_worker() {
    let fixture = Fixture::new(&[("completed", "")]);
    let model = fixture.server.model("completed", None).expect("loaded");
    assert_eq!(model.config().max_batch_size, 4);
}
