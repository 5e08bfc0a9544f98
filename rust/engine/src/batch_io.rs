// SPDX-License-Identifier: Apache-2.0
//! Tensors that are made for each batch, and outputs divided by the shapes of inputs (M040-M046).
//!
//! For backends that lay the requests of a batch end to end without padding: what the model then
//! needs to know of each request is computed from the shape of one of its inputs. Functions of
//! shapes only; no data is read.

use tritongw_config::{BatchInput, BatchInputKind, BatchOutput};
use tritongw_types::{CName, DataType, Error, Result, Shape, WILDCARD_DIM};

use crate::request::InferenceRequest;

#[cfg(test)]
mod tests;

/// The value of a batch input for one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchInputTensor {
    /// Its shape, which only the requests tell.
    pub shape: Shape,
    /// Its elements, of the data type that the configuration asks for.
    pub data: Vec<u8>,
}

/// Computes a batch input for the requests of a batch (M040-M045).
///
/// # Errors
/// A request without the source input, or a number that `INT32` cannot hold.
pub fn batch_input(
    config: &BatchInput,
    requests: &[Box<InferenceRequest>],
) -> Result<BatchInputTensor> {
    tensor(config, &sources(&config.source_input, requests)?)
}

/// Returns how many elements an input has in all requests of a batch: the one dimension of a
/// ragged input (M031).
///
/// # Errors
/// A request without the input.
pub fn element_total(input: &CName, requests: &[Box<InferenceRequest>]) -> Result<i64> {
    let sources = sources(input, requests)?;
    sources.iter().try_fold(0, |total: i64, source| {
        let grown = total.checked_add(source.element_count()?);
        grown.ok_or_else(|| Error::invalid_arg(format!("input '{input}' is too large for a batch")))
    })
}

/// Returns the shape of each request's part of an output that is divided by the shapes of an input
/// (M046). `dims` are those of the output as the backend gives it, batch dimension included.
///
/// # Errors
/// A request without the source input, or a variable dimension that the source does not have.
pub fn scatter_shapes(
    config: &BatchOutput,
    dims: &Shape,
    requests: &[Box<InferenceRequest>],
) -> Result<Vec<Shape>> {
    let sources = sources(&config.source_input, requests)?;
    let shapes = sources.iter().map(|source| {
        scatter_shape(dims, source.shape).ok_or_else(|| {
            Error::invalid_arg(format!(
                "the shape {dims} of a batch output has a variable dimension where source input \
                 '{}' with shape {} has none",
                config.source_input, source.shape
            ))
        })
    });
    shapes.collect()
}

/// Returns `dims` with each variable dimension taken from the same place in `source`; `None` where
/// `source` has no such place.
///
/// Triton: `BackendOutputResponder::ProcessBatchOutput`.
pub fn scatter_shape(dims: &Shape, source: &Shape) -> Option<Shape> {
    let dims = dims.iter().enumerate().map(|(index, &dim)| match dim {
        WILDCARD_DIM => source.get(index).copied(),
        fixed => Some(fixed),
    });
    dims.collect()
}

/// The source input of one request.
struct Source<'a> {
    shape: &'a Shape,
    is_batching: bool,
}

impl Source<'_> {
    fn element_count(&self) -> Result<i64> {
        let count = self.shape.element_count().map_err(|source| {
            Error::invalid_arg(format!("invalid shape {}: {source}", self.shape))
        })?;
        Ok(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// Returns how often [`Self::item`] is in the batch. Without a batch dimension the request is
    /// one item, whatever its first dimension says.
    fn rows(&self) -> usize {
        match self.shape.first() {
            Some(&rows) if self.is_batching => usize::try_from(rows).unwrap_or(0),
            _ => 1,
        }
    }

    /// Returns the shape of one batch item.
    fn item(&self) -> &[i64] {
        &self.shape[usize::from(self.is_batching).min(self.shape.len())..]
    }
}

fn sources<'a>(input: &CName, requests: &'a [Box<InferenceRequest>]) -> Result<Vec<Source<'a>>> {
    let sources = requests.iter().map(|request| {
        let source = request.input(input).ok_or_else(|| {
            Error::invalid_arg(format!(
                "input '{input}' is missing in a request of the batch"
            ))
        })?;
        Ok(Source {
            shape: &source.shape,
            is_batching: request.model().config().max_batch_size > 0,
        })
    });
    sources.collect()
}

fn tensor(config: &BatchInput, sources: &[Source<'_>]) -> Result<BatchInputTensor> {
    let counts = || sources.iter().map(Source::element_count);
    let values: Vec<i64> = match config.kind {
        BatchInputKind::ElementCount => counts().collect::<Result<_>>()?,
        BatchInputKind::AccumulatedElementCount => accumulate(Vec::new(), counts())?,
        BatchInputKind::AccumulatedElementCountWithZero => accumulate(vec![0], counts())?,
        BatchInputKind::MaxElementCountAsShape => {
            return max_element_count_as_shape(config, counts());
        }
        BatchInputKind::ItemShape | BatchInputKind::ItemShapeFlatten => sources
            .iter()
            .flat_map(|source| std::iter::repeat_n(source.item(), source.rows()))
            .flatten()
            .copied()
            .collect(),
    };
    let count = dimension(values.len());
    let shape = if config.kind == BatchInputKind::ItemShape {
        let rows = sources.iter().map(Source::rows).sum();
        let rank = sources.first().map_or(0, |source| source.item().len());
        Shape::from([dimension(rows), dimension(rank)])
    } else {
        Shape::from([count])
    };
    let data = encode(config, &values)?;
    Ok(BatchInputTensor { shape, data })
}

/// Goes on from `values` by the running total of `counts`.
fn accumulate(mut values: Vec<i64>, counts: impl Iterator<Item = Result<i64>>) -> Result<Vec<i64>> {
    let mut total: i64 = 0;
    for count in counts {
        total = total.saturating_add(count?);
        values.push(total);
    }
    Ok(values)
}

/// Only the shape says anything; the elements are zero.
fn max_element_count_as_shape(
    config: &BatchInput,
    counts: impl Iterator<Item = Result<i64>>,
) -> Result<BatchInputTensor> {
    let largest = counts.collect::<Result<Vec<_>>>()?.into_iter().max();
    let shape = Shape::from([largest.unwrap_or(0)]);
    let size = tritongw_types::byte_size(config.data_type, &shape);
    let size =
        size.map_err(|source| Error::invalid_arg(format!("invalid shape {shape}: {source}")))?;
    let data = vec![0; size.unwrap_or(0)];
    Ok(BatchInputTensor { shape, data })
}

fn encode(config: &BatchInput, values: &[i64]) -> Result<Vec<u8>> {
    let mut data = Vec::with_capacity(values.len() * 4);
    for &value in values {
        if config.data_type == DataType::Fp32 {
            data.extend_from_slice(&(value as f32).to_le_bytes());
        } else {
            let value = i32::try_from(value).map_err(|_| {
                Error::invalid_arg(format!(
                    "a batch input made of input '{}' would hold {value}, which is too large for \
                     INT32",
                    config.source_input
                ))
            })?;
            data.extend_from_slice(&value.to_le_bytes());
        }
    }
    Ok(data)
}

fn dimension(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
