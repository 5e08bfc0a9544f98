// SPDX-License-Identifier: Apache-2.0
use tritongw_protocol::pb;
use tritongw_types::{Error, Result, Shape};

/// What is checked alike for inputs and outputs.
pub(super) struct TensorShape<'a> {
    /// `model input 'x' ` or `model output 'x' `, which begins every message.
    pub(super) subject: &'a str,
    pub(super) name: &'a str,
    pub(super) dims: &'a [i64],
    pub(super) reshape: Option<&'a pb::ModelTensorReshape>,
    pub(super) is_batching: bool,
}

impl TensorShape<'_> {
    /// Checks the dimensions and the reshape against each other, and returns both.
    pub(super) fn check(&self) -> Result<(Shape, Option<Shape>)> {
        if self.dims.is_empty() {
            return self.refuse("must specify 'dims'");
        }
        let is_scalar_reshape = self.reshape.is_some_and(|reshape| reshape.shape.is_empty());
        if is_scalar_reshape && !self.is_batching {
            return self.refuse(
                "cannot have empty reshape for non-batching model as scalar tensors are not \
                 supported",
            );
        }
        if !self.dims.iter().all(|dim| is_dimension(*dim)) {
            return self.refuse(
                "dimension must be integer >= 1, or -1 to indicate a variable-size dimension",
            );
        }
        let dims = Shape::from_slice(self.dims);
        let Some(reshape) = self.reshape else {
            return Ok((dims, None));
        };
        if !reshape.shape.iter().all(|dim| is_dimension(*dim)) {
            return self.refuse(
                "reshape dimensions must be integer >= 1, or -1 to indicate a variable-size \
                 dimension",
            );
        }
        self.check_sizes(&reshape.shape)?;
        Ok((dims, Some(Shape::from_slice(&reshape.shape))))
    }

    /// Both shapes must hold the same number of elements between any two variable dimensions:
    /// `[2, 4, -1, 6]` may become `[8, -1, 1, 6]`.
    fn check_sizes(&self, reshape: &[i64]) -> Result<()> {
        let dims_sizes = self.sizes_between_variables(self.dims, "dims")?;
        let reshape_sizes = self.sizes_between_variables(reshape, "reshape")?;
        if dims_sizes == reshape_sizes {
            return Ok(());
        }
        let are_both_variable = dims_sizes.len() > 1 && reshape_sizes.len() > 1;
        if are_both_variable && dims_sizes.len() != reshape_sizes.len() {
            return self
                .refuse("has different number of variable-size dimensions for dims and reshape");
        }
        self.refuse("has different size for dims and reshape")
    }

    fn sizes_between_variables(&self, dims: &[i64], what: &str) -> Result<Vec<i64>> {
        let overflow = || {
            let name = self.name;
            Error::invalid_arg(format!(
                "unexpected integer overflow while calculating element count of {name} {what}"
            ))
        };
        dims.split(|dim| *dim == -1)
            .map(|part| {
                part.iter()
                    .try_fold(1_i64, |size, dim| size.checked_mul(*dim))
            })
            .map(|size| size.ok_or_else(overflow))
            .collect()
    }

    fn refuse<T>(&self, what: &str) -> Result<T> {
        Err(Error::invalid_arg(format!("{}{what}", self.subject)))
    }
}

fn is_dimension(dim: i64) -> bool {
    dim >= 1 || dim == -1
}
