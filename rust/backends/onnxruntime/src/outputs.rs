// SPDX-License-Identifier: Apache-2.0
//! From the tensors that an execution made to the responses of its requests.

use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;
use tritongw_engine::{InferenceRequest, InferenceResponse};
use tritongw_types::{DataType, Error, Result, Shape};

use crate::ort::{OutputValue, Strings};
use crate::plan::{OutputPlan, Plan};

/// One response per request; an error concerns that request only.
pub(crate) type Responses = SmallVec<[Result<Box<InferenceResponse>>; 1]>;

/// Divides the outputs among the requests along the batch dimension, without a copy where the
/// door adopts memory: the slices keep the tensor.
///
/// # Errors
/// An output whose first dimension is not the batch size (G8.03); concerns every request.
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
        let whole = WholeOutput::new(plan, output, value, requests)?;
        let mut row = 0;
        for (request, response) in requests.iter().zip(&mut responses) {
            let rows = whole.rows_of(request);
            let range = row..row + rows;
            row += rows;
            if let Ok(filled) = response
                && request.wants_output(&output.name)
                && let Err(error) = whole.add_to(filled, range)
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
    is_batching: bool,
    shape: Shape,
    /// Elements in one row; all of them where the model does not batch.
    row_elements: usize,
    data: Data,
}

enum Data {
    Fixed { bytes: Bytes, element_size: usize },
    Strings(Strings),
}

impl<'a> WholeOutput<'a> {
    fn new(
        plan: &Plan,
        output: &'a OutputPlan,
        value: OutputValue,
        requests: &[Box<InferenceRequest>],
    ) -> Result<Self> {
        if value.element_type().data_type() != Some(output.data_type) {
            return Err(Error::internal(format!(
                "model '{}', output '{}': expected data type {} from the model",
                plan.model, output.name, output.data_type
            )));
        }
        let shape = output.response_shape(value.shape().clone());
        if plan.is_batching {
            check_batch_dimension(plan, output, &shape, requests)?;
        }
        let elements = shape.element_count().map_err(|source| {
            Error::internal(format!(
                "output '{}' has shape {shape}: {source}",
                output.name
            ))
        })?;
        let rows = if plan.is_batching {
            total_rows(requests)
        } else {
            1
        };
        let data = match output.data_type.element_size() {
            None => Data::Strings(value.strings()?),
            Some(element_size) => Data::Fixed {
                bytes: value.into_bytes()?,
                element_size,
            },
        };
        let row_elements = elements.checked_div(rows).unwrap_or(0);
        Ok(Self {
            plan: output,
            is_batching: plan.is_batching,
            shape,
            row_elements,
            data,
        })
    }

    fn rows_of(&self, request: &InferenceRequest) -> usize {
        if self.is_batching {
            request.batch_size() as usize
        } else {
            1
        }
    }

    fn add_to(&self, response: &mut InferenceResponse, rows: Range<usize>) -> Result<()> {
        let mut shape = self.shape.clone();
        if self.is_batching
            && let Some(batch) = shape.as_mut_slice().first_mut()
        {
            *batch = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        }
        let elements = rows.start * self.row_elements..rows.end * self.row_elements;
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
