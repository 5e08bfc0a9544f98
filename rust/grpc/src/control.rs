// SPDX-License-Identifier: Apache-2.0
//! Every method but inference: a prost message in, a prost message out.

use bytes::Bytes;
use prost::Message;
use tokio::sync::oneshot;
use tritongw_engine::Server;
use tritongw_protocol::{health, pb};
use tritongw_types::{Error, Result};

use crate::codec::Segments;
use crate::framing::with_prefix;
use crate::log_settings::log_settings;
use crate::metadata::model_metadata;
use crate::method::Method;
use crate::repository;
use crate::shared_memory;
use crate::statistics::model_statistics;
use crate::status::{Code, Status};
use crate::trace_setting::trace_setting;
use crate::version::parse_version;

/// Answers a call of `method` with its message.
pub(crate) fn call(server: &Server, method: Method, message: Bytes) -> Result<Segments, Status> {
    match method {
        Method::ServerLive => reply(server, message, server_live),
        Method::ServerReady => reply(server, message, server_ready),
        Method::ServerMetadata => reply(server, message, server_metadata),
        Method::ModelMetadata => reply(server, message, model_metadata),
        Method::ModelConfig => reply(server, message, model_config),
        Method::ModelStatistics => reply(server, message, model_statistics),
        Method::TraceSetting => reply(server, message, trace_setting),
        Method::RepositoryIndex => reply(server, message, repository::index),
        Method::SystemSharedMemoryStatus => reply(server, message, shared_memory::system_status),
        Method::SystemSharedMemoryRegister => {
            reply(server, message, shared_memory::system_register)
        }
        Method::SystemSharedMemoryUnregister => {
            reply(server, message, shared_memory::system_unregister)
        }
        Method::CudaSharedMemoryStatus => reply(server, message, shared_memory::cuda_status),
        Method::CudaSharedMemoryRegister => reply(server, message, shared_memory::cuda_register),
        Method::CudaSharedMemoryUnregister => {
            reply(server, message, shared_memory::cuda_unregister)
        }
        Method::LogSettings => reply(server, message, log_settings),
        Method::HealthCheck => reply(server, message, health_check),
        // Triton does not offer it, and says so without a text.
        Method::HealthWatch => Err(Status::new(Code::Unimplemented, "")),
        other => Err(Status::new(
            Code::Unimplemented,
            format!("the method {other:?} is not available in this version of the server"),
        )),
    }
}

fn reply<Request, Response>(
    server: &Server,
    message: Bytes,
    handler: impl FnOnce(&Server, &Request) -> Result<Response>,
) -> Result<Segments, Status>
where
    Request: prost::Message + Default,
    Response: prost::Message,
{
    let request = Request::decode(message).map_err(|_| Status::unreadable())?;
    Ok(Segments::from(with_prefix(&handler(server, &request)?)))
}

fn server_live(server: &Server, _: &pb::ServerLiveRequest) -> Result<pb::ServerLiveResponse> {
    Ok(pb::ServerLiveResponse {
        live: server.is_live(),
    })
}

fn server_ready(server: &Server, _: &pb::ServerReadyRequest) -> Result<pb::ServerReadyResponse> {
    Ok(pb::ServerReadyResponse {
        ready: server.is_ready(),
    })
}

/// Answers when the model has, which may be asked itself.
pub(crate) async fn model_ready(server: &Server, message: Bytes) -> Result<Segments, Status> {
    let request = pb::ModelReadyRequest::decode(message).map_err(|_| Status::unreadable())?;
    let version = parse_version(&request.version)?;
    let (done, answer) = oneshot::channel();
    server.check_model_ready(&request.name, version, move |ready| {
        // A client that has gone does not want to know.
        drop(done.send(ready));
    });
    let lost = |_| Err(Error::internal("the answer was lost"));
    let ready = answer.await.unwrap_or_else(lost)?;
    Ok(Segments::from(with_prefix(&pb::ModelReadyResponse {
        ready,
    })))
}

fn server_metadata(
    server: &Server,
    _: &pb::ServerMetadataRequest,
) -> Result<pb::ServerMetadataResponse> {
    Ok(pb::ServerMetadataResponse {
        name: server.id().to_owned(),
        version: server.version().to_owned(),
        extensions: server
            .extensions()
            .iter()
            .map(|&extension| extension.to_owned())
            .collect(),
    })
}

fn model_config(
    server: &Server,
    request: &pb::ModelConfigRequest,
) -> Result<pb::ModelConfigResponse> {
    let model = server.model(&request.name, parse_version(&request.version)?)?;
    Ok(pb::ModelConfigResponse {
        config: Some(model.config().message().clone()),
    })
}

/// One state for every service name: that of the server (P131).
fn health_check(
    server: &Server,
    _: &health::HealthCheckRequest,
) -> Result<health::HealthCheckResponse> {
    use health::health_check_response::ServingStatus;
    let status = if server.is_ready() {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    };
    Ok(health::HealthCheckResponse {
        status: status as i32,
    })
}
