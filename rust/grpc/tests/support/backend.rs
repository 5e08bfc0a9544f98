// SPDX-License-Identifier: Apache-2.0
//! A backend that returns its inputs, its parameters as well, or does what its model's name says.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;
use tritongw_engine::backend::{
    Backend, BackendInstance, BackendModel, InstanceContext, ModelContext, Placement,
};
use tritongw_engine::batch::{Batch, ExecutionPermit};
use tritongw_engine::buffer::{RequestBuffer, RequestMemory};
use tritongw_engine::{
    ComputeTimings, InferenceRequest, InferenceResponse, Responder, ResponseFlags,
};
use tritongw_types::{Error, Result};

/// A request to a model whose name ends in `hold`, until the test answers it.
pub struct Held {
    pub request: Box<InferenceRequest>,
    _permit: Option<ExecutionPermit>,
}

impl Held {
    pub fn answer(self) {
        answer(self.request);
    }

    pub fn id(&self) -> &str {
        self.request.id()
    }

    pub fn responder(&self) -> &Arc<Responder> {
        self.request.responder()
    }

    /// Answers with the request's inputs; more responses follow.
    pub fn answer_once(&self) {
        let response = echo(&self.request).expect("the request is right");
        let sent = self.responder().send(Some(response), ResponseFlags::NONE);
        sent.expect("the final response was not sent");
    }

    /// Ends the request without a response.
    pub fn end(&self) {
        let sent = self.responder().send(None, ResponseFlags::FINAL);
        sent.expect("the final response was not sent");
    }
}

pub struct ProbeBackend {
    held: Sender<Held>,
}

impl ProbeBackend {
    pub fn new() -> (Self, Receiver<Held>) {
        let (held, receiver) = channel();
        (Self { held }, receiver)
    }
}

impl Backend for ProbeBackend {
    fn name(&self) -> &str {
        "probe"
    }

    fn load_model(&self, model: &Arc<ModelContext>) -> Result<Arc<dyn BackendModel>> {
        let name = model.name.to_string();
        Ok(Arc::new(ProbeModel {
            name,
            held: self.held.clone(),
        }))
    }
}

struct ProbeModel {
    name: String,
    held: Sender<Held>,
}

impl BackendModel for ProbeModel {
    fn create_instance(&self, _: &Arc<InstanceContext>) -> Result<Box<dyn BackendInstance>> {
        Ok(Box::new(ProbeInstance {
            name: self.name.clone(),
            held: self.held.clone(),
        }))
    }

    fn request_memory(&self) -> Option<Arc<dyn RequestMemory>> {
        (self.name == "id_string").then(|| Arc::new(MarkedMemory) as Arc<dyn RequestMemory>)
    }
}

/// Memory of which a model can tell that a request lies in it: its last byte is set.
struct MarkedMemory;

impl RequestMemory for MarkedMemory {
    fn allocate(&self, byte_size: usize, _: usize) -> Option<Box<dyn RequestBuffer>> {
        Some(Box::new(MarkedBuffer(vec![0; byte_size])))
    }
}

struct MarkedBuffer(Vec<u8>);

impl RequestBuffer for MarkedBuffer {
    fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.0
    }

    fn freeze(mut self: Box<Self>) -> Bytes {
        if let Some(last) = self.0.last_mut() {
            *last = b'!';
        }
        Bytes::from(self.0)
    }
}

struct ProbeInstance {
    name: String,
    held: Sender<Held>,
}

impl BackendInstance for ProbeInstance {
    fn placement(&self) -> Placement {
        match self.name.as_str() {
            "hold" | "decoupled_hold" => Placement::Async { max_inflight: 8 },
            "batched" => Placement::Dedicated,
            _ => Placement::Inline,
        }
    }

    fn execute(&mut self, batch: &mut Batch) -> Result<()> {
        if self.name == "fail" {
            return Err(Error::not_found("nothing here: 100%\nreally"));
        }
        let is_held = self.name.ends_with("hold");
        let mut permit = if is_held { batch.take_permit() } else { None };
        for request in batch.take_requests() {
            if is_held {
                let held = Held {
                    request,
                    _permit: permit.take(),
                };
                self.held.send(held).expect("the test holds the receiver");
            } else {
                answer(request);
            }
        }
        Ok(())
    }
}

fn answer(request: Box<InferenceRequest>) {
    let timings = ComputeTimings::until_now(1);
    request
        .model()
        .statistics()
        .report_batch(request.batch_size(), &timings);
    let response = echo(&request);
    request.finish(response, &timings);
}

/// Returns every wanted output with the data of the input of its number, and the parameters.
fn echo(request: &InferenceRequest) -> Result<Box<InferenceResponse>> {
    let mut response = request.responder().new_response();
    for parameter in request.parameters() {
        response.add_parameter(&parameter.name, parameter.value.clone());
    }
    for input in request.inputs() {
        let output = input.name.replace("INPUT", "OUTPUT");
        if request.wants_output(&output) {
            let data = input.contiguous()?;
            response.add_output_bytes(&output, input.data_type, input.shape.clone(), data)?;
        }
    }
    Ok(response)
}
