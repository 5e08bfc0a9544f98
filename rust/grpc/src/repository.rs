// SPDX-License-Identifier: Apache-2.0
//! The model repository methods: index, load, unload (P126).

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use tokio::sync::oneshot;
use tritongw_engine::{ModelLoad, ModelVersionIndex, OperationDone, Server};
use tritongw_protocol::pb;
use tritongw_protocol::pb::model_repository_parameter::ParameterChoice;
use tritongw_protocol::pb::repository_index_response::ModelIndex;
use tritongw_types::{Error, Result};

use crate::codec::Segments;
use crate::framing::with_prefix;
use crate::status::Status;

type Parameters = BTreeMap<String, pb::ModelRepositoryParameter>;

/// Tells the state of every model (R049).
pub(crate) fn index(
    server: &Server,
    request: &pb::RepositoryIndexRequest,
) -> Result<pb::RepositoryIndexResponse> {
    refuse_repository_name(&request.repository_name)?;
    let index = server.index().into_iter();
    let models = index.filter(|entry| entry.is_ready() || !request.ready);
    Ok(pb::RepositoryIndexResponse {
        models: models.map(model_index).collect(),
    })
}

/// Loads a model and answers when it serves.
pub(crate) async fn load(server: &Server, message: Bytes) -> Result<Segments, Status> {
    let request = pb::RepositoryModelLoadRequest::decode(message);
    let request = request.map_err(|_| Status::unreadable())?;
    refuse_repository_name(&request.repository_name)?;
    let load = read_load(request.model_name, request.parameters)?;
    outcome(|done| server.load_model(load, done)).await?;
    Ok(with_prefix(&pb::RepositoryModelLoadResponse {}).into())
}

/// Takes a model out of service.
pub(crate) async fn unload(server: &Server, message: Bytes) -> Result<Segments, Status> {
    let request = pb::RepositoryModelUnloadRequest::decode(message);
    let request = request.map_err(|_| Status::unreadable())?;
    refuse_repository_name(&request.repository_name)?;
    check_unload(&request.parameters)?;
    outcome(|done| server.unload_model(&request.model_name, done)).await?;
    Ok(with_prefix(&pb::RepositoryModelUnloadResponse {}).into())
}

/// Waits for the end of an operation.
async fn outcome(begin: impl FnOnce(OperationDone)) -> Result<()> {
    let (done, outcome) = oneshot::channel();
    // A client that has gone does not want to know.
    begin(Box::new(move |result| drop(done.send(result))));
    let lost = |_| Err(Error::internal("the outcome was lost"));
    outcome.await.unwrap_or_else(lost)
}

fn refuse_repository_name(name: &str) -> Result<()> {
    if name.is_empty() {
        return Ok(());
    }
    Err(Error::unsupported(
        "'repository_name' specification is not supported",
    ))
}

fn read_load(name: String, parameters: Parameters) -> Result<ModelLoad> {
    let mut load = ModelLoad {
        name,
        ..ModelLoad::default()
    };
    for (name, parameter) in parameters {
        match (name.strip_prefix("file:"), parameter.parameter_choice) {
            (Some(path), Some(ParameterChoice::BytesParam(content))) => {
                load.files.push((path.to_owned(), content));
            }
            (Some(_), _) => return Err(wrong_load_type(&name, "bytes_param")),
            (None, Some(ParameterChoice::StringParam(config))) if name == "config" => {
                load.config = Some(config);
            }
            (None, _) if name == "config" => return Err(wrong_load_type(&name, "string_param")),
            (None, _) => {
                let message = format!("unrecognized load parameter '{name}'.");
                return Err(Error::invalid_arg(message));
            }
        }
    }
    Ok(load)
}

/// There are no ensembles yet, so that no model has others to take with it, whatever
/// `unload_dependents` says.
fn check_unload(parameters: &Parameters) -> Result<()> {
    const DEPENDENTS: &str = "unload_dependents";
    match parameters.get(DEPENDENTS).map(|p| &p.parameter_choice) {
        None | Some(Some(ParameterChoice::BoolParam(_))) => Ok(()),
        Some(_) => Err(Error::invalid_arg(format!(
            "invalid value type for '{DEPENDENTS}' parameter, expected bool_param."
        ))),
    }
}

fn wrong_load_type(name: &str, expected: &str) -> Error {
    Error::invalid_arg(format!(
        "invalid value type for load parameter '{name}', expected {expected}."
    ))
}

fn model_index(entry: ModelVersionIndex) -> ModelIndex {
    let state = entry.state.map(|state| state.as_str().to_owned());
    let version = entry.version.map(|version| version.to_string());
    ModelIndex {
        name: entry.name,
        version: version.unwrap_or_default(),
        reason: state.as_ref().map(|_| entry.reason).unwrap_or_default(),
        state: state.unwrap_or_default(),
    }
}
