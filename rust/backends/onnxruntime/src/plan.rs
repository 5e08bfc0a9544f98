// SPDX-License-Identifier: Apache-2.0
use tritongw_config::{BatchInput, BatchOutput, ModelConfig, ModelOutput};
use tritongw_types::{CName, DataType, Error, Result, Shape, WILDCARD_DIM};

use crate::signature::{Signature, sequence_controls};

/// What every execution of a model does, worked out once when it loads.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) model: CName,
    pub(crate) is_batching: bool,
    pub(crate) inputs: Vec<InputPlan>,
    /// Inputs that are made for each batch.
    pub(crate) batch_inputs: Vec<BatchInput>,
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
    /// The elements of all requests lie in one dimension, whatever their shapes (M031).
    pub(crate) is_ragged: bool,
}

/// One output.
#[derive(Debug)]
pub(crate) struct OutputPlan {
    pub(crate) name: CName,
    pub(crate) data_type: DataType,
    /// How the output is divided, if not along the batch dimension.
    pub(crate) scatter: Option<Scatter>,
    /// Shape of the graph, -1 where variable.
    graph_shape: Shape,
    /// What clients see of a scalar: the configuration's dimensions, all 1.
    scalar_shape: Shape,
    /// The graph gives an input or initialiser out unchanged; ORT then writes to no memory.
    is_pass_through: bool,
    is_batching: bool,
}

/// Parts of an output whose shapes follow an input of each request (M046).
#[derive(Debug)]
pub(crate) struct Scatter {
    pub(crate) config: BatchOutput,
    /// Shape of the configuration, batch dimension included.
    pub(crate) dims: Shape,
}

impl Scatter {
    /// Returns how the configuration has the output divided, if so.
    pub(crate) fn of(config: &ModelConfig, output: &ModelOutput) -> Option<Self> {
        let mut batch_outputs = config.batch_outputs.iter();
        let batch_output = batch_outputs.find(|io| io.target_names.contains(&output.name))?;
        let mut dims = output.reshape.as_ref().unwrap_or(&output.dims).clone();
        if config.max_batch_size > 0 {
            dims.push_front(WILDCARD_DIM);
        }
        Some(Self {
            config: batch_output.clone(),
            dims,
        })
    }
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
                is_ragged: input.allow_ragged_batch,
            })
        });
        let controls = sequence_controls(config).map(|(name, data_type)| {
            Ok(InputPlan {
                name: name.clone(),
                data_type,
                is_scalar: false,
                is_ragged: false,
            })
        });
        let outputs = config.outputs.iter().map(|output| {
            let info = signature
                .output(&output.name)
                .ok_or_else(|| unknown(&output.name))?;
            Ok(OutputPlan {
                name: output.name.clone(),
                data_type: output.data_type,
                scatter: Scatter::of(config, output),
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
            inputs: inputs.chain(controls).collect::<Result<_>>()?,
            batch_inputs: config.batch_inputs.clone(),
            outputs,
        })
    }

    /// Returns how many buffers an instance needs: one for each input that is gathered or made.
    pub(crate) fn buffer_count(&self) -> usize {
        self.inputs.len() + self.batch_inputs.len()
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
        let is_unknown = self.scatter.is_some() || self.is_pass_through;
        if is_unknown || self.data_type == DataType::Bytes || self.graph_shape.is_empty() {
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
