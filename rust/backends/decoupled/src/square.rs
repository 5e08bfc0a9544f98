// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tritongw_config::whole_number_parameter;
use tritongw_engine::backend::{
    Backend, BackendInstance, BackendModel, InstanceContext, ModelContext,
};
use tritongw_engine::batch::Batch;
use tritongw_engine::clock::monotonic_ns;
use tritongw_engine::{
    InferenceRequest, InferenceResponse, Responder, ResponseFlags, ResponseOutcome,
};
use tritongw_types::{DataType, Error, Result};

use crate::pacer::{Answer, Next, Pacer};
use crate::signature::{check, check_on_cpu, check_single};
use crate::values;

/// The backend `square` (B082): answers `IN` with that many responses of the same value, with
/// delays, failures and empty responses where the model's parameters ask for them.
#[derive(Clone, Copy, Debug, Default)]
pub struct SquareBackend;

impl Backend for SquareBackend {
    fn name(&self) -> &str {
        "square"
    }

    fn load_model(&self, model: &Arc<ModelContext>) -> Result<Arc<dyn BackendModel>> {
        let config = &model.config;
        let expected = DataType::Int32;
        check("square", config, &[("IN", expected)], &[("OUT", expected)])?;
        for input in &config.inputs {
            check_single(&input.name, &input.dims)?;
        }
        for output in &config.outputs {
            check_single(&output.name, &output.dims)?;
        }
        let script = Script::read(&config.parameters)?;
        Ok(Arc::new(SquareModel { script }))
    }
}

/// How responses are given, from the model's parameters.
#[derive(Clone, Copy, Debug)]
struct Script {
    infer_delay: Duration,
    output_delay: Duration,
    cancel_delay: Duration,
    fail_count: u64,
    empty_count: u64,
}

impl Script {
    fn read(parameters: &BTreeMap<String, String>) -> Result<Self> {
        let number = |name| whole_number_parameter(parameters, name);
        let delay = |name| number(name).map(Duration::from_nanos);
        Ok(Self {
            infer_delay: delay("CUSTOM_INFER_DELAY_NS")?,
            output_delay: delay("CUSTOM_OUTPUT_DELAY_NS")?,
            cancel_delay: delay("CUSTOM_CANCEL_DELAY_NS")?,
            fail_count: number("CUSTOM_FAIL_COUNT")?,
            empty_count: number("CUSTOM_EMPTY_COUNT")?,
        })
    }
}

struct SquareModel {
    script: Script,
}

impl BackendModel for SquareModel {
    fn create_instance(&self, instance: &Arc<InstanceContext>) -> Result<Box<dyn BackendInstance>> {
        check_on_cpu("square", instance)?;
        Ok(Box::new(SquareInstance {
            script: self.script,
            pacer: Pacer::start(&instance.name)?,
        }))
    }
}

struct SquareInstance {
    script: Script,
    pacer: Pacer,
}

impl BackendInstance for SquareInstance {
    fn execute(&mut self, batch: &mut Batch) -> Result<()> {
        let start_ns = batch.start_ns();
        for request in batch.take_requests() {
            let copies = Copies::read(&request, self.script);
            let responder = Arc::clone(request.responder());
            values::release(request, start_ns);
            match copies {
                Ok(copies) => self.pacer.submit(Box::new(copies), self.script.infer_delay),
                Err(error) => responder.send_error(error),
            }
        }
        Ok(())
    }
}

/// The responses to one request.
struct Copies {
    responder: Arc<Responder>,
    script: Script,
    wants_output: bool,
    count: u64,
    value: [u8; 4],
    sent: u64,
    /// When the response that comes next began.
    start_ns: u64,
    phase: Phase,
}

/// What the next step does.
enum Phase {
    /// The response has been computed.
    Computed,
    /// Its output, begun at this moment, has been written.
    Written(u64),
    /// The request was cancelled, and what it held is cleaned up.
    CleanedUp,
}

impl Copies {
    fn read(request: &InferenceRequest, script: Script) -> Result<Self> {
        let values = values::read(request, "IN")?;
        let [value] = values.as_slice() else {
            return Err(Error::invalid_arg("unexpected size for IN input"));
        };
        let count = u64::try_from(i32::from_le_bytes(*value))
            .map_err(|_| Error::invalid_arg("expected IN to be non-negative"))?;
        Ok(Self {
            responder: Arc::clone(request.responder()),
            script,
            wants_output: request.wants_output("OUT"),
            count,
            value: *value,
            sent: 0,
            start_ns: monotonic_ns(),
            phase: Phase::Computed,
        })
    }

    /// Returns how the response that comes next ends: the last ones are empty, those before fail.
    fn outcome(&self) -> ResponseOutcome {
        let remaining = self.count - self.sent;
        if remaining <= self.script.empty_count {
            ResponseOutcome::Empty
        } else if remaining
            <= self
                .script
                .empty_count
                .saturating_add(self.script.fail_count)
        {
            ResponseOutcome::Fail
        } else {
            ResponseOutcome::Success
        }
    }

    fn response(&self, outcome: ResponseOutcome) -> Result<Box<InferenceResponse>> {
        let mut response = self.responder.new_response();
        if outcome == ResponseOutcome::Fail {
            response.set_error(Error::unavailable("the model was told to fail"));
        } else if self.wants_output {
            values::add(&mut response, "OUT", DataType::Int32, self.value)?;
        }
        Ok(response)
    }

    fn end(&self) -> Next {
        values::end(&self.responder);
        Next::End
    }

    /// Counts the response that comes next, and has the one after it computed.
    fn count_response(&mut self, outcome: ResponseOutcome, output_start_ns: Option<u64>) -> Next {
        let timings = values::timings(self.start_ns, output_start_ns);
        let statistics = self.responder.model().statistics();
        statistics.report_response(self.sent, outcome, timings);
        self.sent += 1;
        self.start_ns = timings.end_ns;
        self.phase = Phase::Computed;
        if self.sent == self.count {
            Next::After(Duration::ZERO)
        } else {
            Next::After(self.script.infer_delay)
        }
    }

    fn send(&mut self, output_start_ns: u64) -> Next {
        let outcome = self.outcome();
        let response = match self.response(outcome) {
            Ok(response) => response,
            Err(error) => {
                self.responder.send_error(error);
                return Next::End;
            }
        };
        let next = self.count_response(outcome, Some(output_start_ns));
        let sent = self.responder.send(Some(response), ResponseFlags::NONE);
        values::log_refusal(&self.responder, sent);
        next
    }
}

impl Answer for Copies {
    fn responder(&self) -> &Arc<Responder> {
        &self.responder
    }

    fn step(&mut self) -> Next {
        if let Phase::CleanedUp = self.phase {
            self.count_response(ResponseOutcome::Cancelled, None);
            return self.end();
        }
        if self.sent == self.count {
            return self.end();
        }
        if self.responder.is_cancelled() {
            self.phase = Phase::CleanedUp;
            self.start_ns = monotonic_ns();
            return Next::CleanUp(self.script.cancel_delay);
        }
        match self.phase {
            Phase::Written(output_start_ns) => self.send(output_start_ns),
            _ if self.outcome() == ResponseOutcome::Empty => {
                self.count_response(ResponseOutcome::Empty, None)
            }
            _ => {
                self.phase = Phase::Written(monotonic_ns());
                Next::After(self.script.output_delay)
            }
        }
    }
}
