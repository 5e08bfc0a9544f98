// SPDX-License-Identifier: Apache-2.0
use std::fmt;
use std::ops::Deref;

use smallvec::SmallVec;

use crate::DataType;

/// Stands for a variable dimension in a model's signature.
pub const WILDCARD_DIM: i64 = -1;

/// Dimensions of a tensor, batch dimension included, outermost first.
///
/// In a model's signature [`WILDCARD_DIM`] stands for a variable dimension; in a request or response every
/// dimension is zero or more. Up to six dimensions are stored inline.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Shape(SmallVec<[i64; 6]>);

/// Why a shape has no size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShapeError {
    /// A dimension is negative.
    Negative(i64),
    /// The product does not fit in the address space.
    Overflow,
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Negative(dim) => write!(f, "dimension {dim} is negative"),
            Self::Overflow => f.write_str("the size of the tensor overflows"),
        }
    }
}

impl std::error::Error for ShapeError {}

impl Shape {
    /// Makes a shape from its dimensions.
    pub fn from_slice(dims: &[i64]) -> Self {
        Self(SmallVec::from_slice(dims))
    }

    /// Returns the product of all dimensions; 1 for a scalar.
    ///
    /// # Errors
    /// A negative dimension, or a product above `i64::MAX`.
    pub fn element_count(&self) -> Result<usize, ShapeError> {
        let mut count: i64 = 1;
        for &dim in &self.0 {
            if dim < 0 {
                return Err(ShapeError::Negative(dim));
            }
            count = count.checked_mul(dim).ok_or(ShapeError::Overflow)?;
        }
        usize::try_from(count).map_err(|_| ShapeError::Overflow)
    }

    /// Adds an innermost dimension.
    pub fn push(&mut self, dim: i64) {
        self.0.push(dim);
    }

    /// Adds an outermost dimension.
    pub fn push_front(&mut self, dim: i64) {
        self.0.insert(0, dim);
    }

    /// Returns the dimensions for change in place.
    pub fn as_mut_slice(&mut self) -> &mut [i64] {
        &mut self.0
    }
}

/// Returns the bytes that a tensor of fixed-size elements takes; `None` for
/// [`DataType::Bytes`], whose size its shape does not tell.
///
/// # Errors
/// As [`Shape::element_count`], and a product with the element size above `isize::MAX`.
pub fn byte_size(data_type: DataType, shape: &Shape) -> Result<Option<usize>, ShapeError> {
    let count = shape.element_count()?;
    let Some(element_size) = data_type.element_size() else {
        return Ok(None);
    };
    let bytes = count
        .checked_mul(element_size)
        .ok_or(ShapeError::Overflow)?;
    isize::try_from(bytes).map_err(|_| ShapeError::Overflow)?;
    Ok(Some(bytes))
}

impl Deref for Shape {
    type Target = [i64];
    fn deref(&self) -> &[i64] {
        &self.0
    }
}

impl From<&[i64]> for Shape {
    fn from(dims: &[i64]) -> Self {
        Self::from_slice(dims)
    }
}

impl<const N: usize> From<[i64; N]> for Shape {
    fn from(dims: [i64; N]) -> Self {
        Self::from_slice(&dims)
    }
}

impl FromIterator<i64> for Shape {
    fn from_iter<I: IntoIterator<Item = i64>>(dims: I) -> Self {
        Self(dims.into_iter().collect())
    }
}

/// Prints `[1,16]`, the form of Triton's messages.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, dim) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{dim}")?;
        }
        f.write_str("]")
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked() {
        assert_eq!(Shape::from([]).element_count(), Ok(1));
        assert_eq!(Shape::from([2, 0, 3]).element_count(), Ok(0));
        assert_eq!(
            Shape::from([2, -1]).element_count(),
            Err(ShapeError::Negative(-1))
        );
        assert_eq!(
            Shape::from([i64::MAX, 2]).element_count(),
            Err(ShapeError::Overflow)
        );
        assert_eq!(
            byte_size(DataType::Fp32, &Shape::from([2, 3])),
            Ok(Some(24))
        );
        assert_eq!(byte_size(DataType::Bytes, &Shape::from([2, 3])), Ok(None));
        assert_eq!(
            byte_size(DataType::Fp64, &Shape::from([i64::MAX])),
            Err(ShapeError::Overflow)
        );
    }

    #[test]
    fn prints_as_triton_does() {
        assert_eq!(Shape::from([-1, 16]).to_string(), "[-1,16]");
        assert_eq!(Shape::from([]).to_string(), "[]");
    }
}
