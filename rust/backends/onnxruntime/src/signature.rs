// SPDX-License-Identifier: Apache-2.0
//! What a graph takes and gives, and whether a configuration agrees with it (B015).
//!
//! Triton: `ValidateInputs`, `ValidateOutputs` and `CompareDimsSupported` of its onnxruntime
//! backend; order of the checks and texts are theirs.

use std::collections::BTreeSet;

use tritongw_config::{BatchInputKind, ModelConfig, ModelInput, ModelOutput, Scheduling};
use tritongw_engine::batch_io::scatter_shape;
use tritongw_types::{CName, DataType, Error, Result, Shape, WILDCARD_DIM};

use crate::ort::{ElementType, Session, TensorInfo};
use crate::plan::Scatter;

/// Tensors of a graph.
#[derive(Debug)]
pub(crate) struct Signature {
    pub(crate) inputs: Vec<TensorInfo>,
    /// Initialisers that a request may give as inputs (B013).
    pub(crate) initializers: Vec<TensorInfo>,
    pub(crate) outputs: Vec<TensorInfo>,
}

impl Signature {
    /// Reads the signature of a session.
    ///
    /// # Errors
    /// A tensor that is none: a sequence, a map.
    pub(crate) fn read(session: &Session) -> Result<Self> {
        Ok(Self {
            inputs: session.inputs()?,
            initializers: session.overridable_initializers()?,
            outputs: session.outputs()?,
        })
    }

    /// Returns an input, or an initialiser that may stand for one.
    pub(crate) fn input(&self, name: &str) -> Option<&TensorInfo> {
        find(&self.inputs, name).or_else(|| find(&self.initializers, name))
    }

    /// Returns an output.
    pub(crate) fn output(&self, name: &str) -> Option<&TensorInfo> {
        find(&self.outputs, name)
    }

    /// Checks that the configuration fits the graph.
    ///
    /// # Errors
    /// The first difference, in Triton's words.
    pub(crate) fn check(&self, config: &ModelConfig) -> Result<()> {
        self.check_inputs(config)?;
        self.check_batch_inputs(config)?;
        self.check_sequence_controls(config)?;
        self.check_outputs(config)
    }

    fn check_inputs(&self, config: &ModelConfig) -> Result<()> {
        let model = &config.name;
        let required = config.inputs.iter().filter(|input| !input.is_optional);
        let batch_inputs = config.batch_inputs.iter();
        let made: usize = batch_inputs.map(|io| io.target_names.len()).sum();
        let expected = required.count() + made + sequence_controls(config).count();
        if self.inputs.len() != expected {
            return Err(Error::invalid_arg(format!(
                "unable to load model '{model}', configuration expects {expected} inputs, model \
                 provides {}",
                self.inputs.len()
            )));
        }
        for input in &config.inputs {
            if input.is_optional && config.max_batch_size > 0 {
                return Err(Error::invalid_arg(format!(
                    "unable to load model '{model}', optional input '{}' is not supported for \
                     models that support batching",
                    input.name
                )));
            }
            let info = self.known_input(&input.name)?;
            let tensor = ConfiguredTensor {
                model,
                direction: "input",
                name: &input.name,
                data_type: input.data_type,
                dims: input.reshape.as_ref().unwrap_or(&input.dims),
                is_batching: config.max_batch_size > 0,
            };
            tensor.check_data_type(info.element_type)?;
            if input.allow_ragged_batch {
                check_ragged(model, input, &info.dims)?;
                continue;
            }
            tensor.check_dims(&info.dims, |of_model, of_config| {
                of_model == -1 || of_model == of_config
            })?;
        }
        Ok(())
    }

    /// Returns an input that the configuration names.
    fn known_input(&self, name: &CName) -> Result<&TensorInfo> {
        self.input(name).ok_or_else(|| {
            let allowed = names(self.inputs.iter().chain(&self.initializers));
            Error::invalid_arg(format!(
                "unexpected inference input '{name}', allowed inputs are: {allowed}"
            ))
        })
    }

    /// Checks what Triton leaves to the first execution: that inputs made for each batch are the
    /// model's (M040-M045).
    fn check_batch_inputs(&self, config: &ModelConfig) -> Result<()> {
        let model = &config.name;
        for batch_input in &config.batch_inputs {
            let rank = match batch_input.kind {
                BatchInputKind::ItemShape => 2,
                _ => 1,
            };
            for name in &batch_input.target_names {
                let info = self.known_input(name)?;
                let tensor = ConfiguredTensor {
                    model,
                    direction: "batch input",
                    name,
                    data_type: batch_input.data_type,
                    dims: &Shape::default(),
                    is_batching: config.max_batch_size > 0,
                };
                tensor.check_data_type(info.element_type)?;
                if info.dims.len() != rank {
                    return Err(Error::invalid_arg(format!(
                        "model '{model}', tensor '{name}': the model expects {} dimensions (shape \
                         {}) but the batch input has {rank}",
                        info.dims.len(),
                        info.dims
                    )));
                }
            }
        }
        Ok(())
    }

    fn check_sequence_controls(&self, config: &ModelConfig) -> Result<()> {
        for (name, data_type) in sequence_controls(config) {
            let info = self.known_input(name)?;
            let tensor = ConfiguredTensor {
                model: &config.name,
                direction: "control input",
                name,
                data_type,
                dims: &Shape::from([1]),
                is_batching: config.max_batch_size > 0,
            };
            tensor.check_data_type(info.element_type)?;
            tensor.check_dims(&info.dims, |of_model, of_config| {
                of_model == -1 || of_model == of_config
            })?;
        }
        Ok(())
    }

    fn check_outputs(&self, config: &ModelConfig) -> Result<()> {
        for output in &config.outputs {
            let Some(info) = self.output(&output.name) else {
                let allowed = names(self.outputs.iter());
                return Err(Error::invalid_arg(format!(
                    "unexpected inference output '{}', allowed outputs are: {allowed}",
                    output.name
                )));
            };
            let tensor = ConfiguredTensor {
                model: &config.name,
                direction: "output",
                name: &output.name,
                data_type: output.data_type,
                dims: output.reshape.as_ref().unwrap_or(&output.dims),
                is_batching: config.max_batch_size > 0,
            };
            tensor.check_data_type(info.element_type)?;
            // The shape of an output that is divided is that of its parts.
            if !check_scatter(config, output)? {
                tensor.check_dims(&info.dims, |of_model, of_config| of_model == of_config)?;
            }
        }
        Ok(())
    }
}

/// Returns the inputs that the scheduler adds to the requests of a sequence (M078).
pub(crate) fn sequence_controls(config: &ModelConfig) -> impl Iterator<Item = (&CName, DataType)> {
    let batching = match &config.scheduling {
        Scheduling::SequenceBatching(batching) => Some(batching),
        _ => None,
    };
    batching
        .into_iter()
        .flat_map(|batching| batching.controls.tensors())
}

/// A tensor as the configuration describes it, `dims` being those that the backend sees.
struct ConfiguredTensor<'a> {
    model: &'a CName,
    direction: &'a str,
    name: &'a CName,
    data_type: DataType,
    dims: &'a Shape,
    is_batching: bool,
}

impl ConfiguredTensor<'_> {
    fn check_data_type(&self, of_model: ElementType) -> Result<()> {
        let Self {
            model,
            direction,
            name,
            ..
        } = self;
        let of_config = self.data_type.as_config_str();
        let Some(expected) = ElementType::from_data_type(self.data_type) else {
            return Err(Error::internal(format!(
                "unsupported datatype {of_config} for {direction} '{name}' for model '{model}'"
            )));
        };
        if expected == of_model {
            return Ok(());
        }
        let of_model = of_model.data_type().map_or("<invalid>", DataType::as_str);
        Err(Error::invalid_arg(format!(
            "unable to load model '{model}', configuration expects datatype {of_config} for \
             {direction} '{name}', model provides TYPE_{of_model}"
        )))
    }

    fn check_dims(&self, of_model: &Shape, fits: impl Fn(i64, i64) -> bool) -> Result<()> {
        let Self { model, name, .. } = self;
        if self.is_batching && of_model.first() != Some(&-1) {
            return Err(Error::invalid_arg(format!(
                "model '{model}', tensor '{name}': for the model to support batching the shape \
                 should have at least 1 dimension and the first dimension must be -1; but shape \
                 expected by the model is {of_model}"
            )));
        }
        if of_model.is_empty() {
            return self.check_scalar();
        }
        let mut of_config = self.dims.clone();
        if self.is_batching {
            of_config.push_front(-1);
        }
        let is_equal = of_model.len() == of_config.len()
            && of_model
                .iter()
                .zip(of_config.iter())
                .all(|(&model, &config)| fits(model, config));
        if is_equal {
            return Ok(());
        }
        let (model_rank, config_rank) = (of_model.len(), of_config.len());
        let dimensions = format!(
            "model '{model}', tensor '{name}': the model expects {model_rank} dimensions (shape \
             {of_model}) but the model configuration specifies {config_rank} dimensions"
        );
        Err(Error::invalid_arg(if self.is_batching {
            format!(
                "{dimensions} (an initial batch dimension because max_batch_size > 0 followed by \
                 the explicit tensor shape, making complete shape {of_config})"
            )
        } else {
            format!("{dimensions} (shape {of_config})")
        }))
    }

    /// Stands `[1]` for a scalar, since a configuration has no way to say it.
    fn check_scalar(&self) -> Result<()> {
        if self.dims.iter().all(|&dim| dim == 1) {
            return Ok(());
        }
        let Self {
            model, name, dims, ..
        } = self;
        Err(Error::invalid_arg(format!(
            "unable to load model '{model}', scalar tensor '{name}', should only provide 1 in the \
             model configuration when the model doesn't support batching. Model configuration \
             provided: {dims}."
        )))
    }
}

fn check_ragged(model: &CName, input: &ModelInput, of_model: &Shape) -> Result<()> {
    let unable = format!(
        "unable to load model '{model}', configuration expects model provides input with shape \
         [-1]"
    );
    let name = &input.name;
    if input.is_optional {
        return Err(Error::invalid_arg(format!(
            "{unable} for ragged input '{name}', which is not supported for optional input"
        )));
    }
    if of_model[..] == [WILDCARD_DIM] {
        return Ok(());
    }
    // Two spaces, as Triton has them.
    Err(Error::invalid_arg(format!(
        "{unable}  for ragged input '{name}', model provides {of_model}"
    )))
}

/// Returns whether an output is divided by the shapes of an input (M046), if that is possible.
fn check_scatter(config: &ModelConfig, output: &ModelOutput) -> Result<bool> {
    let Some(scatter) = Scatter::of(config, output) else {
        return Ok(false);
    };
    let source = &scatter.config.source_input;
    let shape = config.input(source).map(|input| {
        let mut shape = input.reshape.as_ref().unwrap_or(&input.dims).clone();
        if config.max_batch_size > 0 {
            shape.push_front(WILDCARD_DIM);
        }
        shape
    });
    let shape = shape.unwrap_or_default();
    match scatter_shape(&scatter.dims, &shape) {
        Some(_) => Ok(true),
        None => Err(Error::invalid_arg(format!(
            "unable to load model '{}', batch output '{}' with shape {} has a variable dimension \
             where source input '{source}' with shape {shape} has none",
            config.name, output.name, scatter.dims
        ))),
    }
}

fn find<'a>(infos: &'a [TensorInfo], name: &str) -> Option<&'a TensorInfo> {
    infos
        .iter()
        .find(|info| info.name.as_bytes() == name.as_bytes())
}

/// Lists names as Triton's set does: in order, without repeats.
fn names<'a>(infos: impl Iterator<Item = &'a TensorInfo>) -> String {
    let names: BTreeSet<_> = infos.map(TensorInfo::name_text).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}
