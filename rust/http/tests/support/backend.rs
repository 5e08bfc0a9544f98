// SPDX-License-Identifier: Apache-2.0
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tritongw_engine::backend::{
    Backend, BackendInstance, BackendModel, InstanceContext, ModelContext, Placement,
};
use tritongw_engine::batch::Batch;
use tritongw_engine::buffer::{RequestBuffer, RequestMemory};
use tritongw_engine::clock::monotonic_ns;
use tritongw_engine::{ComputeTimings, InferenceRequest, InferenceResponse};
use tritongw_types::{DataType, Error, ParameterValue, Result, Shape};

/// Does what the parameter `behaviour` of a model says:
///
/// - `echo`: each input is an output; request parameters become response parameters;
/// - `inline`: the same, on the thread that enqueued; `OUT` is that thread's name;
/// - `memory`: the same as `echo`, with bodies received in memory of the model;
/// - `panic_memory`: panics when asked for memory;
/// - `fail`, `panic`: what they say;
/// - `hold`: gives the request to [`Held`];
/// - `gate`: holds the network thread itself until [`Held::open_gate`].
pub(crate) struct FakeBackend {
    held: mpsc::Sender<Box<InferenceRequest>>,
    gate: Arc<Gate>,
    frozen: Arc<AtomicUsize>,
}

/// Where a `gate` model stands.
#[derive(Debug)]
struct Gate {
    arrived: mpsc::Sender<()>,
    opened: Mutex<mpsc::Receiver<()>>,
}

/// Requests that a `hold` model has taken, and the gate of a `gate` model.
#[derive(Debug)]
pub(crate) struct Held {
    at_gate: Mutex<mpsc::Receiver<()>>,
    gate: mpsc::Sender<()>,
    requests: Mutex<mpsc::Receiver<Box<InferenceRequest>>>,
    frozen: Arc<AtomicUsize>,
}

impl Held {
    /// Returns the next request.
    pub(crate) fn take(&self) -> Box<InferenceRequest> {
        self.requests
            .lock()
            .recv_timeout(Duration::from_secs(30))
            .expect("a request")
    }

    /// Answers a request as an `echo` model would.
    pub(crate) fn answer(request: Box<InferenceRequest>) {
        let timings = ComputeTimings::until_now(monotonic_ns());
        let response = echo(&request);
        request.finish(response, &timings);
    }

    /// Waits until a `gate` model holds its thread.
    pub(crate) fn wait_at_gate(&self) {
        let arrived = self.at_gate.lock().recv_timeout(Duration::from_secs(30));
        arrived.expect("a request for the gate");
    }

    /// Lets one request through a `gate` model.
    pub(crate) fn open_gate(&self) {
        self.gate.send(()).expect("the model is there");
    }

    /// Returns how many bodies were received in a model's memory.
    pub(crate) fn frozen(&self) -> usize {
        self.frozen.load(Ordering::SeqCst)
    }
}

impl FakeBackend {
    pub(crate) fn new() -> (Self, Held) {
        let (held, requests) = mpsc::channel();
        let (opener, opened) = mpsc::channel();
        let (arrived, at_gate) = mpsc::channel();
        let frozen = Arc::new(AtomicUsize::new(0));
        let receiver = Held {
            at_gate: Mutex::new(at_gate),
            gate: opener,
            requests: Mutex::new(requests),
            frozen: Arc::clone(&frozen),
        };
        let opened = Mutex::new(opened);
        let gate = Arc::new(Gate { arrived, opened });
        (Self { held, gate, frozen }, receiver)
    }
}

impl Backend for FakeBackend {
    fn name(&self) -> &str {
        "fake"
    }

    fn load_model(&self, model: &Arc<ModelContext>) -> Result<Arc<dyn BackendModel>> {
        let behaviour = model
            .config
            .parameters
            .get("behaviour")
            .cloned()
            .unwrap_or_default();
        Ok(Arc::new(FakeModel {
            behaviour,
            held: self.held.clone(),
            gate: Arc::clone(&self.gate),
            frozen: Arc::clone(&self.frozen),
        }))
    }
}

struct FakeModel {
    behaviour: String,
    held: mpsc::Sender<Box<InferenceRequest>>,
    gate: Arc<Gate>,
    frozen: Arc<AtomicUsize>,
}

impl BackendModel for FakeModel {
    fn create_instance(&self, _: &Arc<InstanceContext>) -> Result<Box<dyn BackendInstance>> {
        Ok(Box::new(FakeInstance {
            behaviour: self.behaviour.clone(),
            held: self.held.clone(),
            gate: Arc::clone(&self.gate),
        }))
    }

    fn request_memory(&self) -> Option<Arc<dyn RequestMemory>> {
        let memory = FakeMemory {
            panics: self.behaviour == "panic_memory",
            frozen: Arc::clone(&self.frozen),
        };
        self.behaviour
            .ends_with("memory")
            .then(|| Arc::new(memory) as _)
    }
}

struct FakeInstance {
    behaviour: String,
    held: mpsc::Sender<Box<InferenceRequest>>,
    gate: Arc<Gate>,
}

impl BackendInstance for FakeInstance {
    fn placement(&self) -> Placement {
        match self.behaviour.as_str() {
            "inline" | "gate" => Placement::Inline,
            _ => Placement::Dedicated,
        }
    }

    fn execute(&mut self, batch: &mut Batch) -> Result<()> {
        match self.behaviour.as_str() {
            "fail" => return Err(Error::unavailable("the backend is out of order")),
            "panic" => panic!("as the test wants it"),
            "gate" => {
                self.gate.arrived.send(()).expect("the test waits");
                let open = self
                    .gate
                    .opened
                    .lock()
                    .recv_timeout(Duration::from_secs(30));
                open.expect("the test opens the gate");
            }
            _ => {}
        }
        let timings = ComputeTimings::until_now(batch.start_ns());
        batch.requests()[0]
            .model()
            .statistics()
            .report_batch(batch.batch_size(), &timings);
        for request in batch.take_requests() {
            if self.behaviour == "hold" {
                // A test that has ended takes no more.
                let _ended = self.held.send(request);
                continue;
            }
            let response = if self.behaviour == "inline" {
                name_thread(&request)
            } else {
                echo(&request)
            };
            request.finish(response, &timings);
        }
        Ok(())
    }
}

fn echo(request: &InferenceRequest) -> Result<Box<InferenceResponse>> {
    let mut response = request.responder().new_response();
    for input in request.inputs() {
        let name = input.name.replace("IN", "OUT");
        if request.wants_output(&name) {
            let data = input.contiguous()?;
            response.add_output_bytes(&name, input.data_type, input.shape.clone(), data)?;
        }
    }
    for parameter in request.parameters() {
        response.add_parameter(&parameter.name, parameter.value.clone());
    }
    if request.priority() > 0 {
        let priority = i64::try_from(request.priority()).unwrap_or(i64::MAX);
        response.add_parameter("seen_priority", ParameterValue::Int(priority));
    }
    Ok(response)
}

fn name_thread(request: &InferenceRequest) -> Result<Box<InferenceResponse>> {
    let mut response = request.responder().new_response();
    let thread = std::thread::current();
    let name = thread.name().unwrap_or_default();
    let mut data = u32::try_from(name.len())
        .unwrap_or(u32::MAX)
        .to_le_bytes()
        .to_vec();
    data.extend_from_slice(name.as_bytes());
    response.add_output_bytes("OUT", DataType::Bytes, Shape::from([1]), data.into())?;
    Ok(response)
}

/// Memory for bodies of a thousand bytes and more.
struct FakeMemory {
    panics: bool,
    frozen: Arc<AtomicUsize>,
}

impl RequestMemory for FakeMemory {
    fn allocate(&self, byte_size: usize, _: usize) -> Option<Box<dyn RequestBuffer>> {
        assert!(!self.panics, "as the test wants it");
        let buffer = FakeBuffer {
            data: vec![0; byte_size],
            frozen: Arc::clone(&self.frozen),
        };
        (byte_size >= 1000).then(|| Box::new(buffer) as _)
    }
}

struct FakeBuffer {
    data: Vec<u8>,
    frozen: Arc<AtomicUsize>,
}

impl RequestBuffer for FakeBuffer {
    fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.data
    }

    fn freeze(self: Box<Self>) -> Bytes {
        self.frozen.fetch_add(1, Ordering::SeqCst);
        self.data.into()
    }
}

impl fmt::Debug for FakeBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeBackend")
    }
}
