// SPDX-License-Identifier: Apache-2.0
//! The SageMaker port for one model (P158, P159, P164, P166): the platform's routes in front of
//! the door.
//!
//! Requests are rewritten to those of the KServe routes and go through the same door, gate
//! included.

use std::sync::Arc;

use hyper::http::request::Parts;
use hyper::{Response, StatusCode, Uri};
use tritongw_engine::Server;
use tritongw_engine::trace::DoorTrace;
use tritongw_types::{Error, Result};

use crate::answer::Answer;
use crate::body::RequestBody;
use crate::door::Door;
use crate::framing::Framing;
use crate::refusal::Refusal;
use crate::response::ResponseBody;
use crate::route::model_path;
use crate::server::HttpOptions;

/// What a ping asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SageMakerPing {
    /// Whether the server is ready.
    #[default]
    Ready,
    /// Whether the process is there.
    Live,
}

/// What an invocation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SageMakerInference {
    /// `infer`.
    #[default]
    Infer,
    /// `generate`.
    Generate,
    /// `generate_stream`.
    GenerateStream,
}

impl SageMakerInference {
    /// Returns the inference of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Infer, Self::Generate, Self::GenerateStream]
            .into_iter()
            .find(|inference| inference.as_str() == name)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Infer => "infer",
            Self::Generate => "generate",
            Self::GenerateStream => "generate_stream",
        }
    }
}

/// How to serve SageMaker.
#[derive(Clone, Debug, Default)]
pub struct SageMakerOptions {
    /// Where to listen, limits and restrictions.
    pub http: HttpOptions,
    /// What a ping asks: `SAGEMAKER_TRITON_PING_MODE`.
    pub ping: SageMakerPing,
    /// Model of invocations: `SAGEMAKER_TRITON_DEFAULT_MODEL_NAME`.
    pub default_model: String,
    /// What an invocation is: `SAGEMAKER_TRITON_INFERENCE_TYPE`.
    pub inference: SageMakerInference,
}

/// Serves the routes of SageMaker.
#[derive(Debug)]
pub(crate) struct SageMakerDoor {
    door: Door,
    ping: Uri,
    invocations: Uri,
}

impl SageMakerDoor {
    /// Makes the door to `server`.
    ///
    /// # Errors
    /// As [`Door::new`].
    pub(crate) fn new(server: Arc<Server>, options: &SageMakerOptions) -> Result<Self> {
        let path = model_path(&options.default_model, options.inference.as_str());
        let invocations = path.parse().map_err(|source| {
            let name = &options.default_model;
            Error::invalid_arg(format!("'{name}' is no name of a model")).with_source(source)
        })?;
        Ok(Self {
            door: Door::new(server, &options.http)?.with_framing(Framing::SageMaker),
            ping: Uri::from_static(match options.ping {
                SageMakerPing::Ready => "/v2/health/ready",
                SageMakerPing::Live => "/v2/health/live",
            }),
            invocations,
        })
    }
}

impl Answer for SageMakerDoor {
    fn server(&self) -> &Server {
        &self.door.server
    }

    async fn answer(
        &self,
        parts: &Parts,
        body: &mut RequestBody<'_>,
        trace: &mut DoorTrace,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let uri = match parts.uri.path() {
            "/ping" => &self.ping,
            "/invocations" => &self.invocations,
            path if path == "/models" || path.starts_with("/models/") => {
                let message = "multi-model endpoints are not supported by this server";
                return Err(Error::unsupported(message).into());
            }
            _ => return Err(Refusal::Empty(StatusCode::BAD_REQUEST)),
        };
        let mut parts = parts.clone();
        parts.uri = uri.clone();
        self.door.answer(&parts, body, trace).await
    }
}
