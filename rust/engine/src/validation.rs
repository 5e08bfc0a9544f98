// SPDX-License-Identifier: Apache-2.0
//! Checks a request against its model's configuration, once, before it is queued (P186-P195).
//!
//! Triton: `InferenceRequest::Normalize` and `ValidateRequestInputs` in `infer_request.cc`; the
//! order of the checks is theirs, since it decides which text a client sees.

use tritongw_config::{ModelConfig, ModelInput};
use tritongw_types::{
    BytesElements, BytesTensorError, CName, DataType, Error, Result, Shape, WILDCARD_DIM, byte_size,
};

use crate::request::{InferenceRequest, InputTensor, log_prefix};

/// Appended to a shape error where the model batches.
const BATCH_NOTE: &str = "NOTE: Setting a non-zero max_batch_size in the model config requires a \
    batch dimension to be prepended to each input shape. If you want to specify the full shape \
    including the batch dim in your input dims config, try setting max_batch_size to zero. See \
    the model configuration docs for more info on max_batch_size.";

/// Checks `request`, sets its batch size and puts its inputs into the shapes the backend sees.
///
/// # Errors
/// `InvalidArg` with Triton's text; the request is not to be queued. Texts about names stand
/// alone, all others begin with the request's id, as Triton's do.
pub(crate) fn prepare(request: &mut InferenceRequest, config: &ModelConfig) -> Result<()> {
    let check = Check {
        config,
        model: &config.name,
    };
    let id = request.id().clone();
    let prefixed =
        |error: Error| error.map_message(|message| format!("{}{message}", log_prefix(&id)));
    check.requested_outputs(request)?;
    check
        .input_count(request.original_inputs())
        .map_err(prefixed)?;
    let inputs = request.original_inputs();
    // An input that the model does not have is refused for that, whatever else is wrong with it.
    let unknown = || {
        inputs
            .iter()
            .find_map(|input| check.input_config(&input.name).err())
    };
    request.batch_size = check
        .batch_size(inputs)
        .map_err(|error| unknown().unwrap_or_else(|| prefixed(error)))?;
    for input in request.original_inputs_mut() {
        let input_config = check.input_config(&input.name)?;
        check
            .input(input, input_config)
            .map_err(|refusal| match refusal {
                Refusal::Prefixed(error) => prefixed(error),
                Refusal::Plain(error) => error,
            })?;
    }
    Ok(())
}

/// Why a request is refused, and whether its id goes before the text.
enum Refusal {
    Prefixed(Error),
    Plain(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Prefixed(error)
    }
}

struct Check<'a> {
    config: &'a ModelConfig,
    model: &'a CName,
}

impl Check<'_> {
    fn is_batching(&self) -> bool {
        self.config.max_batch_size > 0
    }

    fn requested_outputs(&self, request: &InferenceRequest) -> Result<()> {
        let unknown = |name: &&CName| self.config.output(name).is_none();
        match request.requested_outputs().iter().find(unknown) {
            None => Ok(()),
            Some(name) => Err(Error::invalid_arg(format!(
                "unexpected inference output '{name}' for model '{}'",
                self.model
            ))),
        }
    }

    fn input_config(&self, name: &CName) -> Result<&ModelInput> {
        self.config.input(name).ok_or_else(|| {
            let model = self.model;
            Error::invalid_arg(format!(
                "unexpected inference input '{name}' for model '{model}'"
            ))
        })
    }

    fn input_count(&self, inputs: &[InputTensor]) -> Result<()> {
        let most = self.config.inputs.len();
        let least = self
            .config
            .inputs
            .iter()
            .filter(|input| !input.is_optional)
            .count();
        let count = inputs.len();
        if (least..=most).contains(&count) {
            return Ok(());
        }
        let expected = if least == most {
            format!(
                "expected {most} inputs but got {count} inputs for model '{}'",
                self.model
            )
        } else {
            format!(
                "expected number of inputs between {least} and {most} but got {count} inputs for \
                 model '{}'",
                self.model
            )
        };
        let got = quoted(inputs.iter().map(|input| &input.name));
        let is_missing = |input: &&ModelInput| {
            !input.is_optional && inputs.iter().all(|given| given.name != input.name)
        };
        let missing = quoted(
            self.config
                .inputs
                .iter()
                .filter(is_missing)
                .map(|input| &input.name),
        );
        Err(Error::invalid_arg(format!(
            "{expected}. Got input(s) {got}, but missing required input(s) {missing}. Please \
             provide all required input(s)."
        )))
    }

    fn batch_size(&self, inputs: &[InputTensor]) -> Result<u32> {
        if !self.is_batching() {
            return Ok(1);
        }
        let mut batch_size = None;
        for input in inputs {
            let Some(&first) = input.shape.first() else {
                return Err(Error::invalid_arg(format!(
                    "input '{}' has no shape but model requires batch dimension for '{}'",
                    input.name, self.model
                )));
            };
            if *batch_size.get_or_insert(first) != first {
                return Err(Error::invalid_arg(format!(
                    "input '{}' batch size does not match other inputs for '{}'",
                    input.name, self.model
                )));
            }
        }
        let batch_size = batch_size.unwrap_or(1);
        let max_batch_size = self.config.max_batch_size;
        u32::try_from(batch_size)
            .ok()
            .filter(|&size| size <= max_batch_size)
            .ok_or_else(|| {
                Error::invalid_arg(format!(
                    "inference request batch-size must be <= {max_batch_size} for '{}'",
                    self.model
                ))
            })
    }

    fn input(&self, input: &mut InputTensor, config: &ModelInput) -> Result<(), Refusal> {
        if input.data_type != config.data_type {
            return Err(Error::invalid_arg(format!(
                "inference input '{}' data-type is '{}', but model '{}' expects '{}'",
                input.name, input.data_type, self.model, config.data_type
            ))
            .into());
        }
        self.shape(input, config)?;
        self.data(input)?;
        if let Some(reshape) = &config.reshape {
            input.shape = self.reshaped(&input.shape, &config.dims, reshape);
        }
        Ok(())
    }

    fn shape(&self, input: &InputTensor, config: &ModelInput) -> Result<()> {
        let dims = &input.shape[usize::from(self.is_batching())..];
        if dims.contains(&WILDCARD_DIM) {
            return Err(Error::invalid_arg(format!(
                "All input dimensions should be specified for input '{}' for model '{}', got {}",
                input.name, self.model, input.shape
            )));
        }
        let fits = dims.len() == config.dims.len()
            && dims
                .iter()
                .zip(config.dims.iter())
                .all(|(&got, &expected)| got >= 0 && (expected == WILDCARD_DIM || got == expected));
        if fits {
            return Ok(());
        }
        let note = if self.is_batching() { BATCH_NOTE } else { "" };
        Err(Error::invalid_arg(format!(
            "unexpected shape for input '{}' for model '{}'. Expected {}, got {}. {note}",
            input.name,
            self.model,
            self.config.full_input_shape(config),
            input.shape
        )))
    }

    fn data(&self, input: &InputTensor) -> Result<(), Refusal> {
        let expected = byte_size(input.data_type, &input.shape).map_err(|source| {
            let message = format!(
                "invalid shape {} for input '{}' for model '{}'",
                input.shape, input.name, self.model
            );
            Error::invalid_arg(format!("{message}: {source}"))
        })?;
        let got = input.byte_size();
        match expected {
            None => self.bytes_data(input),
            Some(expected) if expected != got => Err(Error::invalid_arg(format!(
                "input byte size mismatch for input '{}' for model '{}'. Expected {expected}, got \
                 {got}",
                input.name, self.model
            ))
            .into()),
            Some(_) => Ok(()),
        }
    }

    /// Checks every length of a `BYTES` input that lies in host memory (P195).
    fn bytes_data(&self, input: &InputTensor) -> Result<(), Refusal> {
        debug_assert_eq!(input.data_type, DataType::Bytes);
        if input.data.iter().any(|buffer| buffer.as_host().is_none()) {
            return Ok(()); // Device memory is the backend's to read.
        }
        // INVARIANT: shapes were checked just before.
        let expected = input.shape.element_count().unwrap_or(0);
        let mut got = 0;
        let mut cut_off = None;
        for element in BytesElements::new(&input.contiguous()?) {
            match element {
                // Triton: an element that is cut off counts, and matters only if the number fits.
                Err(error @ BytesTensorError::IncompleteData { .. }) => cut_off = Some(error),
                element => drop(element.map_err(|error| self.bytes_error(input, error))?),
            }
            got += 1;
            if got > expected {
                return Err(Error::invalid_arg(format!(
                    "unexpected number of string elements {got} for inference input '{}' for \
                     model '{}', expecting {expected}",
                    input.name, self.model
                ))
                .into());
            }
        }
        if got < expected {
            return Err(Error::invalid_arg(format!(
                "expected {expected} string elements for inference input '{}' for model '{}', got \
                 {got}",
                input.name, self.model
            ))
            .into());
        }
        cut_off.map_or(Ok(()), |error| Err(self.bytes_error(input, error)))
    }

    /// Triton names neither request nor model where an element is cut short.
    fn bytes_error(&self, input: &InputTensor, error: BytesTensorError) -> Refusal {
        let name = &input.name;
        match error {
            BytesTensorError::IncompleteLength { remaining } => Error::invalid_arg(format!(
                "incomplete string length indicator for inference input '{name}' for model '{}', \
                 expecting 4 bytes but only {remaining} bytes available. Please make sure the \
                 string length indicator is in one buffer.",
                self.model
            ))
            .into(),
            BytesTensorError::IncompleteData {
                expected,
                remaining,
            } => Refusal::Plain(Error::invalid_arg(format!(
                "incomplete string data for inference input '{name}', expecting string of length \
                 {expected} but only {remaining} bytes available"
            ))),
        }
    }

    fn reshaped(&self, shape: &Shape, from: &Shape, to: &Shape) -> Shape {
        reshape(shape, from, to, self.is_batching())
    }
}

/// Returns `shape`, which fits the pattern `from`, in the pattern `to` (M028): wildcards of both
/// stand for each other in order, the batch dimension stays in front.
pub(crate) fn reshape(shape: &Shape, from: &Shape, to: &Shape, is_batching: bool) -> Shape {
    let (batch, dims) = shape.split_at(usize::from(is_batching).min(shape.len()));
    let mut variable = dims
        .iter()
        .zip(from.iter())
        .filter(|(_, pattern)| **pattern == WILDCARD_DIM);
    let filled = to.iter().map(|&pattern| match pattern {
        WILDCARD_DIM => variable.next().map_or(WILDCARD_DIM, |(&dim, _)| dim),
        fixed => fixed,
    });
    batch.iter().copied().chain(filled).collect()
}

/// Prints `['a','b']`.
fn quoted<'a>(names: impl Iterator<Item = &'a CName>) -> String {
    let names: Vec<_> = names.map(|name| format!("'{name}'")).collect();
    format!("[{}]", names.join(","))
}
