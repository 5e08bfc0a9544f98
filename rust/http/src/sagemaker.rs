// SPDX-License-Identifier: Apache-2.0
//! The SageMaker port (P158-P166): the platform's routes in front of the door.
//!
//! Inferences are rewritten to those of the KServe routes and go through the same door, gate
//! included; a multi-model endpoint has routes of its own to load and unload models.

mod hosted_models;
mod multi_model;
mod out_of_memory;

use std::sync::Arc;

use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode, Uri};
use tritongw_engine::Server;
use tritongw_types::{ApiGroup, Error, Result};

use crate::answer::Answer;
use crate::body::RequestBody;
use crate::door::Door;
use crate::exchange::Exchange;
use crate::framing::Framing;
use crate::refusal::Refusal;
use crate::response::ResponseBody;
use crate::route::{model_path, percent_decode};
use crate::server::HttpOptions;

use self::multi_model::MultiModel;

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
    models: MultiModel,
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
            models: MultiModel::new(Arc::clone(&server)),
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
        exchange: &mut Exchange,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let uri = match Target::find(parts.uri.path()) {
            Some(Target::Ping) => &self.ping,
            Some(Target::Invocations) => &self.invocations,
            Some(target) => return self.host(target, parts, body, exchange).await,
            None => return Err(Refusal::Empty(StatusCode::BAD_REQUEST)),
        };
        let mut parts = parts.clone();
        parts.uri = uri.clone();
        self.door.answer(&parts, body, exchange).await
    }
}

impl SageMakerDoor {
    /// Answers a request to a route of a multi-model endpoint. Triton: what has no answer is a
    /// bad request.
    async fn host(
        &self,
        target: Target<'_>,
        parts: &Parts,
        body: &mut RequestBody<'_>,
        exchange: &mut Exchange,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let group = match target {
            Target::Invoke(_) => ApiGroup::Inference,
            _ => ApiGroup::ModelRepository,
        };
        let Door { gate, server, .. } = &self.door;
        gate.authorise(group, &parts.headers, server)?;
        match (target, &parts.method) {
            (Target::Models, &Method::GET) => Ok(self.models.list()),
            (Target::Models, &Method::POST) => {
                let limit = self.door.max_input_size;
                self.models.load(&parts.headers, body, limit).await
            }
            (Target::Model(name), &Method::GET) => Ok(self.models.get(&percent_decode(name))),
            (Target::Model(name), &Method::DELETE) => {
                Ok(self.models.unload(&percent_decode(name), body).await)
            }
            (Target::Invoke(name), &Method::POST) => {
                let key = percent_decode(name);
                self.models
                    .invoke(&self.door, &key, parts, body, exchange)
                    .await
            }
            _ => Err(Refusal::Empty(StatusCode::BAD_REQUEST)),
        }
    }
}

/// What a path stands for; names are still percent-encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target<'a> {
    Ping,
    Invocations,
    Models,
    Model(&'a str),
    Invoke(&'a str),
}

impl<'a> Target<'a> {
    fn find(path: &'a str) -> Option<Self> {
        match path {
            "/ping" => return Some(Self::Ping),
            "/invocations" => return Some(Self::Invocations),
            "/models" | "/models/" => return Some(Self::Models),
            _ => {}
        }
        match path.strip_prefix("/models/")?.split_once('/') {
            None => Some(Self::Model(&path["/models/".len()..])),
            Some((name, "invoke")) if !name.is_empty() => Some(Self::Invoke(name)),
            Some(_) => None,
        }
    }
}
