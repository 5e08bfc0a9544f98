// SPDX-License-Identifier: Apache-2.0
use std::ffi::CStr;
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};
use tritongw_engine::backend::{BackendInstance, Placement};
use tritongw_engine::batch::Batch;
use tritongw_engine::clock::monotonic_ns;
use tritongw_engine::{ComputeTimings, InferenceRequest};
use tritongw_types::Result;

use crate::inputs;
use crate::ort::{AlignedBuffer, OutputValue, PreparedResponse, RunOptions, Session, TensorView};
use crate::outputs::{self, Responses};
use crate::plan::{OutputPlan, Plan};

/// One session and the memory in which its batches are gathered.
pub(crate) struct OnnxInstance {
    session: Arc<Session>,
    run_options: RunOptions,
    plan: Arc<Plan>,
    // As many as the plan says.
    buffers: Vec<AlignedBuffer>,
    // Until the graph turns out to tell wrong shapes.
    trusts_shapes: bool,
}

/// What an execution has got to.
struct Outcome {
    responses: Responses,
    compute_start_ns: u64,
    compute_end_ns: u64,
}

impl OnnxInstance {
    pub(crate) fn new(session: Session, run_options: RunOptions, plan: Arc<Plan>) -> Self {
        let mut buffers = Vec::new();
        buffers.resize_with(plan.buffer_count(), AlignedBuffer::default);
        Self {
            session: Arc::new(session),
            run_options,
            plan,
            buffers,
            trusts_shapes: true,
        }
    }

    fn run(&mut self, requests: &[Box<InferenceRequest>]) -> Result<Outcome> {
        let Self {
            session,
            run_options,
            plan,
            buffers,
            trusts_shapes,
        } = self;
        let outputs = wanted_outputs(plan, requests);
        let inputs = inputs::bind(session.runtime(), plan, buffers, requests)?;
        let execution = Execution {
            session,
            run_options,
            inputs: &inputs,
            outputs: &outputs,
        };
        let prepared = match requests {
            [request] if *trusts_shapes => prepare(session, &outputs, request)?,
            _ => None,
        };
        let was_prepared = prepared.is_some();
        let compute_start_ns = monotonic_ns();
        if let Some(prepared) = prepared
            && execution.run_into(&prepared).is_ok()
        {
            let compute_end_ns = monotonic_ns();
            let responses = smallvec![Ok(prepared.finish())];
            return Ok(Outcome {
                responses,
                compute_start_ns,
                compute_end_ns,
            });
        }
        // Either the shapes are not known, or the execution failed: because the request is at
        // fault, or because the graph promises shapes that it does not keep, which ORT only
        // minds if the memory is not its own. Running again tells which, and what the fault is.
        let values = execution.run()?;
        let compute_end_ns = monotonic_ns();
        if was_prepared {
            log::warn!(
                "model '{}': the shapes of its outputs are not those that its graph tells",
                plan.model
            );
            *trusts_shapes = false;
        }
        let responses = outputs::divide(plan, &outputs, values, requests)?;
        Ok(Outcome {
            responses,
            compute_start_ns,
            compute_end_ns,
        })
    }
}

impl BackendInstance for OnnxInstance {
    fn placement(&self) -> Placement {
        Placement::Inline
    }

    fn execute(&mut self, batch: &mut Batch) -> Result<()> {
        let outcome = self.run(batch.requests())?;
        let timings = ComputeTimings {
            exec_start_ns: batch.start_ns(),
            compute_start_ns: outcome.compute_start_ns,
            compute_end_ns: outcome.compute_end_ns,
            exec_end_ns: monotonic_ns(),
        };
        let batch_size = batch.batch_size();
        let requests = batch.take_requests();
        if let Some(first) = requests.first() {
            first
                .model()
                .statistics()
                .report_batch(batch_size, &timings);
        }
        for (request, response) in requests.into_iter().zip(outcome.responses) {
            request.finish(response, &timings);
        }
        Ok(())
    }
}

/// One call of ORT, ready to be made.
struct Execution<'a> {
    session: &'a Arc<Session>,
    run_options: &'a RunOptions,
    inputs: &'a [(&'a CStr, TensorView<'a>)],
    outputs: &'a [&'a OutputPlan],
}

impl Execution<'_> {
    /// Runs with outputs in ORT's memory.
    fn run(&self) -> Result<SmallVec<[OutputValue; 4]>> {
        let slots: SmallVec<[_; 4]> = self
            .outputs
            .iter()
            .map(|output| (output.name.as_c_str(), None))
            .collect();
        self.session.run(self.run_options, self.inputs, &slots)
    }

    /// Runs with outputs in the memory of the response.
    fn run_into(&self, prepared: &PreparedResponse) -> Result<()> {
        let outputs = self.outputs.iter().zip(prepared.tensors());
        let slots: SmallVec<[_; 4]> = outputs
            .map(|(output, tensor)| (output.name.as_c_str(), Some(tensor)))
            .collect();
        self.session
            .run(self.run_options, self.inputs, &slots)
            .map(drop)
    }
}

/// Returns the outputs that a request of the batch wants; ORT is not asked for others.
fn wanted_outputs<'a>(
    plan: &'a Plan,
    requests: &[Box<InferenceRequest>],
) -> SmallVec<[&'a OutputPlan; 4]> {
    let is_wanted = |output: &&OutputPlan| {
        requests
            .iter()
            .any(|request| request.wants_output(&output.name))
    };
    plan.outputs.iter().filter(is_wanted).collect()
}

/// Allocates the outputs of a request before it is executed; `None` if a shape is not known.
fn prepare(
    session: &Session,
    outputs: &[&OutputPlan],
    request: &InferenceRequest,
) -> Result<Option<PreparedResponse>> {
    let shapes = outputs
        .iter()
        .map(|output| output.known_shape(request.batch_size()));
    let Some(shapes) = shapes.collect::<Option<SmallVec<[_; 4]>>>() else {
        return Ok(None);
    };
    let mut prepared = PreparedResponse::new(request.responder().new_response());
    for (output, shape) in outputs.iter().zip(shapes) {
        let runtime = session.runtime();
        if !prepared.allocate(runtime, &output.name, output.data_type, shape)? {
            return Ok(None);
        }
    }
    Ok(Some(prepared))
}
