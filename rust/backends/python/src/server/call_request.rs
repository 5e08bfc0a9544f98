// SPDX-License-Identifier: Apache-2.0
//! From a model's call to the engine's request, whichever process the model runs in.

use std::sync::Arc;

use tritongw_engine::trace::InferenceTrace;
use tritongw_engine::{
    InferenceRequest, InputTensor, Model, ModelCaller, ModelLoad, OperationDone, SequenceFlags,
};
use tritongw_types::{CorrelationId, Error, Parameter, Result};

use crate::shared::call_message::ControlOrder;

/// Everything of a call but its inputs.
#[derive(Debug)]
pub(crate) struct CallSpec<'a> {
    pub(crate) model_name: &'a str,
    pub(crate) model_version: i64,
    pub(crate) is_decoupled: bool,
    pub(crate) id: &'a str,
    pub(crate) correlation_id: CorrelationId,
    pub(crate) flags: u32,
    pub(crate) timeout_us: u64,
    pub(crate) priority: u64,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) requested_outputs: Vec<&'a str>,
    pub(crate) trace: Option<Arc<InferenceTrace>>,
}

/// Makes the request of a call.
///
/// # Errors
/// Why the model cannot be called so, with Triton's text (Y062, Y063).
pub(crate) fn make_request(
    caller: &ModelCaller,
    spec: CallSpec<'_>,
    inputs: impl IntoIterator<Item = InputTensor>,
) -> Result<Box<InferenceRequest>> {
    let model = find_model(caller, &spec)?;
    let mut request = InferenceRequest::new(model);
    request.set_id(spec.id);
    request.set_correlation_id(spec.correlation_id);
    request.set_flags(SequenceFlags(spec.flags));
    request.set_timeout_us(spec.timeout_us);
    request.set_priority(spec.priority);
    for parameter in spec.parameters {
        request.add_parameter(&parameter.name, parameter.value);
    }
    for input in inputs {
        request.add_input(input)?;
    }
    for name in spec.requested_outputs {
        request.add_requested_output(name)?;
    }
    request.set_trace(spec.trace.map(|parent| parent.spawn_child()));
    Ok(request)
}

fn find_model(caller: &ModelCaller, spec: &CallSpec<'_>) -> Result<Arc<Model>> {
    let name = spec.model_name;
    let version = Some(spec.model_version).filter(|version| *version != -1);
    let model = caller.model(name, version).map_err(|source| {
        let message =
            format!("Failed for execute the inference request. Model '{name}' is not ready.");
        Error::internal(message).with_source(source)
    })?;
    if model.config().is_decoupled && !spec.is_decoupled {
        return Err(Error::internal(format!(
            "Model {name} is using the decoupled. The current BLS request call doesn't support \
             models using the decoupled transaction policy. Please use 'decoupled=True' argument \
             to the 'exec' or 'async_exec' calls for decoupled models.'"
        )));
    }
    Ok(model)
}

/// Returns what the caller hears of a call that was not sent; code INTERNAL, as Triton's.
pub(crate) fn not_sent(model_name: &str, error: &Error) -> Error {
    Error::internal(format!(
        "Model {model_name} - Error when running inference: {}",
        error.message()
    ))
}

/// What an order about models came to: for [`ControlOrder::IsReady`] the answer, else true.
pub(crate) type ControlDone = Box<dyn FnOnce(Result<bool>) + Send>;

/// Carries an order of a model out; `done` is told at once, or when it is done.
pub(crate) fn carry_out(
    caller: &ModelCaller,
    instance_name: &str,
    order: ControlOrder<'_>,
    done: ControlDone,
) {
    let instance_name = instance_name.to_owned();
    match order {
        ControlOrder::Load {
            name,
            config,
            files,
        } => {
            let files = files.into_iter().map(|(path, data)| {
                let path = path.strip_prefix("file:").unwrap_or(path);
                (path.to_owned(), data.to_vec().into())
            });
            let load = ModelLoad {
                name: name.to_owned(),
                config: config.map(str::to_owned),
                files: files.collect(),
            };
            caller.load_model(load, told(done, "load model", instance_name));
        }
        ControlOrder::Unload { name } => {
            caller.unload_model(name, told(done, "unload model", instance_name));
        }
        ControlOrder::IsReady { name, version } => {
            let version = match parse_version(version) {
                Ok(version) => version,
                Err(error) => {
                    return done(Err(not_done(
                        "check model readiness",
                        &instance_name,
                        &error,
                    )));
                }
            };
            let told = |answer: Result<()>| done(Ok(answer.is_ok()));
            caller.check_ready(name, version, Box::new(told));
        }
    }
}

fn told(done: ControlDone, what: &'static str, instance_name: String) -> OperationDone {
    Box::new(move |result| {
        let result = result.map_err(|error| not_done(what, &instance_name, &error));
        done(result.map(|()| true));
    })
}

fn not_done(what: &str, instance_name: &str, error: &Error) -> Error {
    let message = format!(
        "Failed to {what}: Failed to process the request for model '{instance_name}', message: {}",
        error.message()
    );
    Error::new(error.code(), message)
}

fn parse_version(text: &str) -> Result<Option<i64>> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|source| {
        // Triton: `GetModelVersionFromString`; the detail is that of the C++ library.
        let message = format!(
            "failed to get model version from specified version string '{text}' (details: stol), \
             version should be an integral value > 0"
        );
        Error::invalid_arg(message).with_source(source)
    })
}
