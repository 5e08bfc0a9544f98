// SPDX-License-Identifier: Apache-2.0
//! The best classes of an output in place of its values (P079-P084). The ranking, [`classify`], is
//! a pure function.

use std::cmp::Ordering;
use std::fmt::Write;
use std::num::NonZeroU64;
use std::sync::Arc;

use tritongw_types::{DataType, Error, Result, Shape};

use crate::buffer::OutputBuffer;
use crate::response::InferenceResponse;

impl InferenceResponse {
    /// Replaces an output by its best classes; an output that is not there stays so.
    ///
    /// # Errors
    /// `InvalidArg` if its type has no order or it is too large, `Unsupported` if it does not lie
    /// in host memory.
    pub fn classify_output(&mut self, name: &str, class_count: NonZeroU64) -> Result<()> {
        let model = Arc::clone(self.model());
        let Some(output) = self.output_mut(name) else {
            return Ok(());
        };
        let data = match &output.buffer {
            None => &[],
            Some(buffer) => buffer.as_slice().ok_or_else(|| {
                Error::unsupported(format!("output '{name}' is not in host memory"))
            })?,
        };
        let scores = Scores {
            data_type: output.data_type,
            shape: &output.shape,
            data,
            is_batched: model.config().max_batch_size > 0,
        };
        let classes = classify(&scores, class_count, |class| model.label(name, class))?;
        output.data_type = DataType::Bytes;
        output.shape = classes.shape;
        output.buffer = Some(OutputBuffer::Heap(classes.data));
        Ok(())
    }
}

/// Most elements of one item of a batch that are ranked (P081).
const MAX_ELEMENTS: usize = 1_000_000;

/// Values to be ranked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scores<'a> {
    pub(crate) data_type: DataType,
    pub(crate) shape: &'a Shape,
    /// Elements in the wire's layout.
    pub(crate) data: &'a [u8],
    /// Whether the first dimension counts the items of a batch, each ranked by itself.
    pub(crate) is_batched: bool,
}

/// The best classes, as a `BYTES` tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Classes {
    pub(crate) shape: Shape,
    pub(crate) data: Vec<u8>,
}

/// Ranks the elements of each item, best first, and prints the first `class_count` of them as
/// `<value>:<index>` or `<value>:<index>:<label>`.
///
/// Equal values come in the order of their indexes, those that are no number come last.
///
/// # Errors
/// `InvalidArg` if the type has no order or there are too many elements, `Internal` if the data is
/// not what type and shape say.
pub(crate) fn classify<'a>(
    scores: &Scores<'_>,
    class_count: NonZeroU64,
    label: impl Fn(usize) -> Option<&'a str>,
) -> Result<Classes> {
    let print: PrintClasses<'_> = &|index, line| {
        let _ = write!(line, ":{index}");
        if let Some(label) = label(index).filter(|label| !label.is_empty()) {
            let _ = write!(line, ":{label}");
        }
    };
    match scores.data_type {
        DataType::Uint8 => rank(scores, class_count, u8::from_le_bytes, print),
        DataType::Uint16 => rank(scores, class_count, u16::from_le_bytes, print),
        DataType::Uint32 => rank(scores, class_count, u32::from_le_bytes, print),
        DataType::Uint64 => rank(scores, class_count, u64::from_le_bytes, print),
        DataType::Int8 => rank(scores, class_count, i8::from_le_bytes, print),
        DataType::Int16 => rank(scores, class_count, i16::from_le_bytes, print),
        DataType::Int32 => rank(scores, class_count, i32::from_le_bytes, print),
        DataType::Int64 => rank(scores, class_count, i64::from_le_bytes, print),
        DataType::Fp32 => rank(scores, class_count, f32::from_le_bytes, print),
        DataType::Fp64 => rank(scores, class_count, f64::from_le_bytes, print),
        DataType::Bool | DataType::Bytes | DataType::Fp16 | DataType::Bf16 => {
            Err(Error::invalid_arg(format!(
                "class result not available for output due to unsupported type '{}'",
                scores.data_type
            )))
        }
    }
}

/// Appends what follows a value: its index, and its label if it has one.
type PrintClasses<'a> = &'a dyn Fn(usize, &mut String);

/// A value with an order in which it can be a class.
trait Score: Copy {
    /// Puts the better value first.
    fn best_first(self, other: Self) -> Ordering;

    fn print(self, line: &mut String);
}

macro_rules! integer_scores {
    ($($integer:ty),*) => {$(
        impl Score for $integer {
            fn best_first(self, other: Self) -> Ordering {
                other.cmp(&self)
            }

            fn print(self, line: &mut String) {
                let _ = write!(line, "{self}");
            }
        }
    )*};
}

integer_scores!(u8, u16, u32, u64, i8, i16, i32, i64);

impl Score for f64 {
    fn best_first(self, other: Self) -> Ordering {
        other
            .partial_cmp(&self)
            .unwrap_or_else(|| self.is_nan().cmp(&other.is_nan()))
    }

    fn print(self, line: &mut String) {
        let _ = if self.is_nan() {
            line.write_str("nan")
        } else {
            write!(line, "{self:.6}")
        };
    }
}

impl Score for f32 {
    fn best_first(self, other: Self) -> Ordering {
        f64::from(self).best_first(other.into())
    }

    fn print(self, line: &mut String) {
        f64::from(self).print(line);
    }
}

fn rank<T: Score, const SIZE: usize>(
    scores: &Scores<'_>,
    class_count: NonZeroU64,
    read: impl Fn([u8; SIZE]) -> T,
    print: PrintClasses<'_>,
) -> Result<Classes> {
    let (elements, rest) = scores.data.as_chunks::<SIZE>();
    let values: Vec<T> = elements.iter().map(|bytes| read(*bytes)).collect();
    let (batch, item) = scores
        .shape
        .split_at(usize::from(scores.is_batched).min(scores.shape.len()));
    let item_size = Shape::from_slice(item).element_count();
    let item_count = Shape::from_slice(batch).element_count();
    let (Ok(item_size), Ok(item_count)) = (item_size, item_count) else {
        return Err(wrong_data());
    };
    if !rest.is_empty() || item_size.checked_mul(item_count) != Some(values.len()) {
        return Err(wrong_data());
    }
    if item_size > MAX_ELEMENTS {
        return Err(Error::invalid_arg("classification output tensor too large"));
    }
    let count = usize::try_from(class_count.get()).map_or(item_size, |count| count.min(item_size));
    let mut data = Vec::new();
    let mut line = String::new();
    for item in values.chunks_exact(item_size.max(1)) {
        for index in best(item, count) {
            line.clear();
            item[index].print(&mut line);
            print(index, &mut line);
            let length = u32::try_from(line.len()).map_err(|_| wrong_data())?;
            data.extend_from_slice(&length.to_le_bytes());
            data.extend_from_slice(line.as_bytes());
        }
    }
    let mut shape = Shape::from_slice(batch);
    // INVARIANT: at most MAX_ELEMENTS.
    shape.push(i64::try_from(count).unwrap_or(i64::MAX));
    Ok(Classes { shape, data })
}

/// Returns the indexes of the `count` best values, best first.
fn best<T: Score>(values: &[T], count: usize) -> Vec<usize> {
    let order = |a: &usize, b: &usize| values[*a].best_first(values[*b]).then(a.cmp(b));
    let mut indexes: Vec<usize> = (0..values.len()).collect();
    if count < indexes.len() {
        indexes.select_nth_unstable_by(count, order);
        indexes.truncate(count);
    }
    indexes.sort_unstable_by(order);
    indexes
}

fn wrong_data() -> Error {
    Error::internal("the data of the output to be classified does not match its shape and type")
}

#[cfg(test)]
mod tests;
