// SPDX-License-Identifier: Apache-2.0
use tritongw_config::ModelConfig;
use tritongw_types::{CName, DataType, Error, Result, Shape};

use crate::signature::Signature;

/// What every execution of a model does, worked out once when it loads.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) model: CName,
    pub(crate) is_batching: bool,
    pub(crate) inputs: Vec<InputPlan>,
    /// In the order of their names. Triton: outputs are kept in a sorted map.
    pub(crate) outputs: Vec<OutputPlan>,
}

/// One input.
#[derive(Debug)]
pub(crate) struct InputPlan {
    pub(crate) name: CName,
    pub(crate) data_type: DataType,
    /// The graph wants no dimension where requests bring `[1]`.
    pub(crate) is_scalar: bool,
}

/// One output.
#[derive(Debug)]
pub(crate) struct OutputPlan {
    pub(crate) name: CName,
    pub(crate) data_type: DataType,
    /// Shape of the graph, -1 where variable.
    graph_shape: Shape,
    /// What clients see of a scalar: the configuration's dimensions, all 1.
    scalar_shape: Shape,
    /// The graph gives an input or initialiser out unchanged; ORT then writes to no memory.
    is_pass_through: bool,
    is_batching: bool,
}

impl Plan {
    /// Makes the plan of a configuration that fits the graph.
    ///
    /// # Errors
    /// Nothing that [`Signature::check`] has passed.
    pub(crate) fn new(config: &ModelConfig, signature: &Signature) -> Result<Self> {
        let is_batching = config.max_batch_size > 0;
        let inputs = config.inputs.iter().map(|input| {
            let info = signature
                .input(&input.name)
                .ok_or_else(|| unknown(&input.name))?;
            Ok(InputPlan {
                name: input.name.clone(),
                data_type: input.data_type,
                is_scalar: info.dims.is_empty(),
            })
        });
        let outputs = config.outputs.iter().map(|output| {
            let info = signature
                .output(&output.name)
                .ok_or_else(|| unknown(&output.name))?;
            Ok(OutputPlan {
                name: output.name.clone(),
                data_type: output.data_type,
                graph_shape: info.dims.clone(),
                scalar_shape: output.reshape.as_ref().unwrap_or(&output.dims).clone(),
                is_pass_through: signature.input(&output.name).is_some(),
                is_batching,
            })
        });
        let mut outputs: Vec<_> = outputs.collect::<Result<_>>()?;
        outputs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self {
            model: config.name.clone(),
            is_batching,
            inputs: inputs.collect::<Result<_>>()?,
            outputs,
        })
    }

    /// Returns the position of an input.
    ///
    /// # Errors
    /// `InvalidArg` if the configuration has none of that name.
    pub(crate) fn input_index(&self, name: &CName) -> Result<usize> {
        self.inputs
            .iter()
            .position(|input| input.name == *name)
            .ok_or_else(|| unknown(name))
    }
}

impl OutputPlan {
    /// Returns the output's shape where the graph tells it before the execution.
    pub(crate) fn known_shape(&self, batch_size: u32) -> Option<Shape> {
        if self.is_pass_through || self.data_type == DataType::Bytes || self.graph_shape.is_empty()
        {
            return None;
        }
        let mut shape = self.graph_shape.clone();
        if self.is_batching {
            *shape.as_mut_slice().first_mut()? = i64::from(batch_size);
        }
        shape.iter().all(|&dim| dim >= 0).then_some(shape)
    }

    /// Returns the shape to answer with for one that ORT gave.
    pub(crate) fn response_shape(&self, shape: Shape) -> Shape {
        if shape.is_empty() {
            self.scalar_shape.clone()
        } else {
            shape
        }
    }
}

fn unknown(name: &CName) -> Error {
    Error::invalid_arg(format!("the model has no tensor '{name}'"))
}
