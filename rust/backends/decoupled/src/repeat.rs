// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;
use std::time::Duration;

use tritongw_config::ModelConfig;
use tritongw_engine::backend::{
    Backend, BackendInstance, BackendModel, InstanceContext, ModelContext,
};
use tritongw_engine::batch::Batch;
use tritongw_engine::clock::monotonic_ns;
use tritongw_engine::{InferenceRequest, InferenceResponse, Responder};
use tritongw_types::{DataType, Error, Result};

use crate::pacer::{Answer, Next, Pacer};
use crate::signature::{check, check_on_cpu, check_single};
use crate::values;

/// The backend `repeat` (B081): sends each element of `IN` as a response of its own, `DELAY`
/// milliseconds after the one before, while the request itself is held for `WAIT` milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct RepeatBackend;

impl Backend for RepeatBackend {
    fn name(&self) -> &str {
        "repeat"
    }

    fn load_model(&self, model: &Arc<ModelContext>) -> Result<Arc<dyn BackendModel>> {
        check_config(&model.config)?;
        Ok(Arc::new(RepeatModel))
    }
}

fn check_config(config: &ModelConfig) -> Result<()> {
    check(
        "repeat",
        config,
        &[
            ("IN", DataType::Int32),
            ("DELAY", DataType::Uint32),
            ("WAIT", DataType::Uint32),
        ],
        &[("OUT", DataType::Int32), ("IDX", DataType::Uint32)],
    )?;
    let [values, delays, wait] = config.inputs.as_slice() else {
        return Err(Error::internal("three inputs have just been counted"));
    };
    if values.dims.len() != 1 {
        return Err(Error::invalid_arg(format!(
            "expected IN shape to have one dimension, got {}",
            values.dims
        )));
    }
    if values.dims != delays.dims {
        return Err(different_shapes(&values.dims, &delays.dims));
    }
    check_single("WAIT", &wait.dims)?;
    let outputs = &config.outputs;
    outputs
        .iter()
        .try_for_each(|output| check_single(&output.name, &output.dims))
}

fn different_shapes(values: &impl std::fmt::Display, delays: &impl std::fmt::Display) -> Error {
    Error::invalid_arg(format!(
        "expected IN and DELAY shape to match, got {values} and {delays}"
    ))
}

struct RepeatModel;

impl BackendModel for RepeatModel {
    fn create_instance(&self, instance: &Arc<InstanceContext>) -> Result<Box<dyn BackendInstance>> {
        check_on_cpu("repeat", instance)?;
        let pacer = Pacer::start(&instance.name)?;
        Ok(Box::new(RepeatInstance { pacer }))
    }
}

struct RepeatInstance {
    pacer: Pacer,
}

impl BackendInstance for RepeatInstance {
    fn execute(&mut self, batch: &mut Batch) -> Result<()> {
        let start_ns = batch.start_ns();
        let mut wait = Duration::ZERO;
        let requests = batch.take_requests();
        for request in &requests {
            match Repeats::read(request) {
                Ok((repeats, held_for)) => {
                    wait = held_for;
                    let delay = repeats.next_delay();
                    self.pacer.submit(Box::new(repeats), delay);
                }
                Err(error) => request.responder().send_error(error),
            }
        }
        for request in requests {
            values::sleep_unless_cancelled(&request, wait);
            values::release(request, start_ns);
        }
        Ok(())
    }
}

/// The responses to one request.
struct Repeats {
    responder: Arc<Responder>,
    wants: [bool; 2],
    values: Vec<[u8; 4]>,
    delays: Vec<[u8; 4]>,
    sent: usize,
    last_ns: u64,
}

impl Repeats {
    /// Reads a request, and how long it is to be held.
    fn read(request: &InferenceRequest) -> Result<(Self, Duration)> {
        let shape_of = |name| request.input(name).map(|input| &input.shape);
        if let (Some(values), Some(delays)) = (shape_of("IN"), shape_of("DELAY"))
            && values != delays
        {
            return Err(different_shapes(values, delays));
        }
        let wait = values::read(request, "WAIT")?;
        let [wait] = wait.as_slice() else {
            return Err(Error::invalid_arg("unexpected size for WAIT input"));
        };
        let repeats = Self {
            responder: Arc::clone(request.responder()),
            wants: ["OUT", "IDX"].map(|output| request.wants_output(output)),
            values: values::read(request, "IN")?,
            delays: values::read(request, "DELAY")?,
            sent: 0,
            last_ns: monotonic_ns(),
        };
        Ok((repeats, milliseconds(*wait)))
    }

    fn next_delay(&self) -> Duration {
        self.delays
            .get(self.sent)
            .map_or(Duration::ZERO, |delay| milliseconds(*delay))
    }

    fn response(&self, value: [u8; 4]) -> Result<Box<InferenceResponse>> {
        let mut response = self.responder.new_response();
        let [wants_value, wants_index] = self.wants;
        if wants_value {
            values::add(&mut response, "OUT", DataType::Int32, value)?;
        }
        if wants_index {
            let index = (self.sent as u32).to_le_bytes();
            values::add(&mut response, "IDX", DataType::Uint32, index)?;
        }
        Ok(response)
    }
}

fn milliseconds(element: [u8; 4]) -> Duration {
    Duration::from_millis(u32::from_le_bytes(element).into())
}

impl Answer for Repeats {
    fn responder(&self) -> &Arc<Responder> {
        &self.responder
    }

    fn step(&mut self) -> Next {
        let value = self.values.get(self.sent).copied();
        let Some(value) = value.filter(|_| !self.responder.is_cancelled()) else {
            values::end(&self.responder);
            return Next::End;
        };
        let output_start_ns = monotonic_ns();
        let response = self.response(value);
        let timings = values::timings(self.last_ns, Some(output_start_ns));
        if !values::send(&self.responder, response, timings) {
            return Next::End;
        }
        self.last_ns = timings.end_ns;
        self.sent += 1;
        Next::After(self.next_delay())
    }
}
