// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;
use tritongw_engine::backend::{BackendInstance, Placement};
use tritongw_engine::batch::Batch;
use tritongw_engine::buffer::InputBuffer;
use tritongw_engine::clock::monotonic_ns;
use tritongw_engine::{
    ComputeTimings, InferenceRequest, InferenceResponse, InputTensor, Metric, MetricUpdate,
};
use tritongw_types::{CName, Error, Result, Shape};

use crate::parameters::CustomTracing;
use crate::signature::Pair;
use crate::tracing;

/// Answers each request with its own inputs.
pub(crate) struct IdentityInstance {
    pub(crate) pairs: Arc<[Pair]>,
    pub(crate) delay: Duration,
    pub(crate) tracing: Option<CustomTracing>,
    pub(crate) input_bytes: Option<Arc<Metric>>,
}

impl BackendInstance for IdentityInstance {
    fn placement(&self) -> Placement {
        if self.delay.is_zero() {
            Placement::Inline
        } else {
            Placement::Dedicated
        }
    }

    fn execute(&mut self, batch: &mut Batch) -> Result<()> {
        let compute_start_ns = monotonic_ns();
        if !self.delay.is_zero() {
            std::thread::sleep(self.delay);
        }
        let requests = batch.requests();
        let responses: SmallVec<[_; 1]> = requests
            .iter()
            .map(|request| self.answer(request))
            .collect();
        let compute_end_ns = monotonic_ns();
        let timings = ComputeTimings {
            exec_start_ns: batch.start_ns(),
            compute_start_ns,
            compute_end_ns,
            exec_end_ns: compute_end_ns,
        };
        let batch_size = batch.batch_size();
        let requests = batch.take_requests();
        if let Some(first) = requests.first() {
            first
                .model()
                .statistics()
                .report_batch(batch_size, &timings);
        }
        for (request, response) in requests.into_iter().zip(responses) {
            request.finish(response, &timings);
        }
        Ok(())
    }
}

impl IdentityInstance {
    fn answer(&self, request: &InferenceRequest) -> Result<Box<InferenceResponse>> {
        if let (Some(trace), Some(tracing)) = (request.trace(), self.tracing) {
            tracing::note(trace, tracing);
        }
        let mut response = request.responder().new_response();
        for pair in self
            .pairs
            .iter()
            .filter(|pair| request.wants_output(&pair.output))
        {
            match (request.input(&pair.input), &pair.missing) {
                (Some(input), _) => {
                    repeat(input, &pair.output, &mut response)?;
                    self.count(input)?;
                }
                (None, Some(shape)) => zeros(pair, shape, request, &mut response)?,
                (None, None) => {
                    let message = format!("failed to get input '{}'", pair.input);
                    return Err(Error::unsupported(message));
                }
            }
        }
        Ok(response)
    }

    fn count(&self, input: &InputTensor) -> Result<()> {
        let Some(metric) = &self.input_bytes else {
            return Ok(());
        };
        metric.update(MetricUpdate::Increment(input.byte_size() as f64))
    }
}

/// Answers for an optional input that the request left out. Zeros are empty texts, too.
fn zeros(
    pair: &Pair,
    shape: &Shape,
    request: &InferenceRequest,
    response: &mut InferenceResponse,
) -> Result<()> {
    let mut shape = shape.clone();
    if request.model().config().max_batch_size > 0 {
        shape.push_front(i64::from(request.batch_size()));
    }
    let element_size = pair.data_type.element_size().unwrap_or(EMPTY_TEXT_SIZE);
    let count = shape.element_count().ok();
    let size = count.and_then(|count| count.checked_mul(element_size));
    let size = size.ok_or_else(|| {
        Error::invalid_arg(format!("output '{}' has no size: {shape}", pair.output))
    })?;
    response
        .add_output_buffer(&pair.output, pair.data_type, shape, size)?
        .fill(0);
    Ok(())
}

/// A length of 0 and nothing after it.
const EMPTY_TEXT_SIZE: usize = 4;

fn repeat(input: &InputTensor, output: &CName, response: &mut InferenceResponse) -> Result<()> {
    let shape = input.shape.clone();
    if let [InputBuffer::Host(data)] = input.data.as_slice() {
        return response.add_output_bytes(output, input.data_type, shape, data.clone());
    }
    let size = input.byte_size();
    let mut rest = response.add_output_buffer(output, input.data_type, shape, size)?;
    for buffer in &input.data {
        let data = buffer.as_host().ok_or_else(|| {
            Error::unsupported(format!(
                "failed to get input buffer in CPU memory for '{output}'"
            ))
        })?;
        let (target, after) = rest.split_at_mut(data.len());
        target.copy_from_slice(data);
        rest = after;
    }
    Ok(())
}
