// SPDX-License-Identifier: Apache-2.0
//! From the tensors that an execution made to the responses of its requests.

use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;
use tritongw_engine::batch_io::scatter_shapes;
use tritongw_engine::{InferenceRequest, InferenceResponse};
use tritongw_types::{DataType, Error, Result, Shape};

use crate::ort::{OutputValue, Strings};
use crate::plan::{OutputPlan, Plan, Scatter};

/// One response per request; an error concerns that request only.
pub(crate) type Responses = SmallVec<[Result<Box<InferenceResponse>>; 1]>;

/// Divides the outputs among the requests, without a copy where the door adopts memory: the slices
/// keep the tensor.
///
/// # Errors
/// An output that cannot be divided (G8.03); concerns every request.
pub(crate) fn divide(
    plan: &Plan,
    outputs: &[&OutputPlan],
    values: SmallVec<[OutputValue; 4]>,
    requests: &[Box<InferenceRequest>],
) -> Result<Responses> {
    let mut responses: Responses = requests
        .iter()
        .map(|request| Ok(request.responder().new_response()))
        .collect();
    for (output, value) in outputs.iter().zip(values) {
        let whole = WholeOutput::new(plan, output, value)?;
        let parts = whole.parts(plan, requests)?;
        for ((request, response), part) in requests.iter().zip(&mut responses).zip(parts) {
            if let Ok(filled) = response
                && request.wants_output(&output.name)
                && let Err(error) = whole.add_to(filled, part)
            {
                *response = Err(error);
            }
        }
    }
    Ok(responses)
}

/// An output of a whole batch.
struct WholeOutput<'a> {
    plan: &'a OutputPlan,
    shape: Shape,
    elements: usize,
    data: Data,
}

enum Data {
    Fixed { bytes: Bytes, element_size: usize },
    Strings(Strings),
}

/// What one request gets of an output.
struct Part {
    shape: Shape,
    elements: Range<usize>,
}

type Parts = SmallVec<[Part; 1]>;

impl<'a> WholeOutput<'a> {
    fn new(plan: &Plan, output: &'a OutputPlan, value: OutputValue) -> Result<Self> {
        if value.element_type().data_type() != Some(output.data_type) {
            return Err(Error::internal(format!(
                "model '{}', output '{}': expected data type {} from the model",
                plan.model, output.name, output.data_type
            )));
        }
        let shape = output.response_shape(value.shape().clone());
        let elements = element_count(output, &shape)?;
        let data = match output.data_type.element_size() {
            None => Data::Strings(value.strings()?),
            Some(element_size) => Data::Fixed {
                bytes: value.into_bytes()?,
                element_size,
            },
        };
        Ok(Self {
            plan: output,
            shape,
            elements,
            data,
        })
    }

    fn parts(&self, plan: &Plan, requests: &[Box<InferenceRequest>]) -> Result<Parts> {
        if let Some(scatter) = &self.plan.scatter {
            return self.scattered(plan, scatter, requests);
        }
        if plan.is_batching {
            return self.rows(plan, requests);
        }
        let whole = || Part {
            shape: self.shape.clone(),
            elements: 0..self.elements,
        };
        Ok(requests.iter().map(|_| whole()).collect())
    }

    /// Divides along the batch dimension.
    fn rows(&self, plan: &Plan, requests: &[Box<InferenceRequest>]) -> Result<Parts> {
        check_batch_dimension(plan, self.plan, &self.shape, requests)?;
        let row_elements = self.elements.checked_div(total_rows(requests)).unwrap_or(0);
        let mut start = 0;
        let parts = requests.iter().map(|request| {
            let mut shape = self.shape.clone();
            if let Some(batch) = shape.as_mut_slice().first_mut() {
                *batch = i64::from(request.batch_size());
            }
            let end = start + request.batch_size() as usize * row_elements;
            let elements = start..end;
            start = end;
            Part { shape, elements }
        });
        Ok(parts.collect())
    }

    /// Divides by the shapes of an input. Triton: what the model gives beyond is let go.
    fn scattered(
        &self,
        plan: &Plan,
        scatter: &Scatter,
        requests: &[Box<InferenceRequest>],
    ) -> Result<Parts> {
        let shapes = scatter_shapes(&scatter.config, &scatter.dims, requests)?;
        let mut start: usize = 0;
        let parts = shapes.into_iter().map(|shape| {
            let count = element_count(self.plan, &shape)?;
            let end = start.checked_add(count).filter(|&end| end <= self.elements);
            let end = end.ok_or_else(|| {
                Error::internal(format!(
                    "model '{}', output '{}': the model gave {} elements, which are too few for \
                     the shapes of input '{}' in the batch",
                    plan.model, self.plan.name, self.elements, scatter.config.source_input
                ))
            })?;
            let elements = start..end;
            start = end;
            Ok(Part { shape, elements })
        });
        parts.collect()
    }

    fn add_to(&self, response: &mut InferenceResponse, part: Part) -> Result<()> {
        let Part { shape, elements } = part;
        let (name, data_type) = (&self.plan.name, self.plan.data_type);
        match &self.data {
            Data::Fixed {
                bytes,
                element_size,
            } => {
                let range = elements.start * element_size..elements.end * element_size;
                response.add_output_bytes(name, data_type, shape, bytes.slice(range))
            }
            Data::Strings(strings) => {
                debug_assert_eq!(data_type, DataType::Bytes);
                let encoded = strings.encode(elements)?;
                response.add_output_bytes(name, data_type, shape, Bytes::from(encoded))
            }
        }
    }
}

fn element_count(output: &OutputPlan, shape: &Shape) -> Result<usize> {
    shape.element_count().map_err(|source| {
        Error::internal(format!(
            "output '{}' has shape {shape}: {source}",
            output.name
        ))
    })
}

fn check_batch_dimension(
    plan: &Plan,
    output: &OutputPlan,
    shape: &Shape,
    requests: &[Box<InferenceRequest>],
) -> Result<()> {
    let expected = total_rows(requests);
    if shape
        .first()
        .is_some_and(|&first| usize::try_from(first) == Ok(expected))
    {
        return Ok(());
    }
    Err(Error::internal(format!(
        "model '{}', output '{}': the model gave shape {shape} for batch size {expected}: with \
         max_batch_size > 0 the first dimension of every output must be the batch size",
        plan.model, output.name
    )))
}

fn total_rows(requests: &[Box<InferenceRequest>]) -> usize {
    requests
        .iter()
        .map(|request| request.batch_size() as usize)
        .sum()
}
