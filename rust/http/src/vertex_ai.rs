// SPDX-License-Identifier: Apache-2.0
//! The Vertex AI port (P168-P172): two routes of the platform's choice in front of the door.
//!
//! Requests are rewritten to those of the KServe routes and go through the same door, gate
//! included: there is no second way in.

use std::sync::Arc;

use hyper::header::{HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode, Uri};
use tritongw_engine::{Server, metrics};
use tritongw_types::{ApiGroup, Error, Result};

use crate::answer::Answer;
use crate::body::RequestBody;
use crate::door::Door;
use crate::exchange::Exchange;
use crate::framing::Framing;
use crate::metrics_door;
use crate::refusal::Refusal;
use crate::response::ResponseBody;
use crate::route::{Endpoint, Route, model_path};
use crate::server::HttpOptions;

/// Names the route that a prediction request is meant for (P169).
const REDIRECT: HeaderName = HeaderName::from_static("x-vertex-ai-triton-redirect");

/// How to serve Vertex AI.
#[derive(Clone, Debug, Default)]
pub struct VertexAiOptions {
    /// Where to listen, limits and restrictions.
    pub http: HttpOptions,
    /// Path of predictions: `AIP_PREDICT_ROUTE`.
    pub predict_route: String,
    /// Path of the health check: `AIP_HEALTH_ROUTE`.
    pub health_route: String,
    /// Model of predictions that name none (C073).
    pub default_model: Option<String>,
}

/// Serves the routes of Vertex AI.
#[derive(Debug)]
pub(crate) struct VertexAiDoor {
    door: Door,
    predict_route: String,
    health_route: String,
    default_route: Uri,
}

impl VertexAiDoor {
    /// Makes the door to `server`.
    ///
    /// # Errors
    /// `InvalidArg` if a route is missing (P168) or there is no default model (C073).
    pub(crate) fn new(server: Arc<Server>, options: &VertexAiOptions) -> Result<Self> {
        if options.predict_route.is_empty() {
            // Triton: the first letters are those of its own message.
            return Err(Error::invalid_arg(
                "API_PREDICT_ROUTE is not defined for Vertex AI endpoint",
            ));
        }
        if options.health_route.is_empty() {
            return Err(Error::invalid_arg(
                "AIP_HEALTH_ROUTE is not defined for Vertex AI endpoint",
            ));
        }
        let model = default_model(&server, options.default_model.as_deref())?;
        Ok(Self {
            door: Door::new(server, &options.http)?.with_framing(Framing::VertexAi),
            predict_route: options.predict_route.clone(),
            health_route: options.health_route.clone(),
            default_route: parse_path(&model_path(&model, "infer"))?,
        })
    }

    async fn redirect(
        &self,
        target: &HeaderValue,
        parts: &Parts,
        body: &mut RequestBody<'_>,
        exchange: &mut Exchange,
    ) -> Result<Response<ResponseBody>, Refusal> {
        if parts.method != Method::POST {
            return Err(Refusal::Empty(StatusCode::METHOD_NOT_ALLOWED));
        }
        if target == "metrics" {
            let server = &*self.door.server;
            // What Prometheus would see is what the statistics say.
            self.door
                .gate
                .authorise(ApiGroup::Statistics, &parts.headers, server)?;
            return Ok(metrics_door::answer(metrics::render(server)));
        }
        let (uri, method) = resolve(target)?;
        let parts = rewritten(parts, uri, method);
        self.door.answer(&parts, body, exchange).await
    }
}

impl Answer for VertexAiDoor {
    fn server(&self) -> &Server {
        &self.door.server
    }

    async fn answer(
        &self,
        parts: &Parts,
        body: &mut RequestBody<'_>,
        exchange: &mut Exchange,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let path = parts.uri.path();
        if path == self.health_route {
            let ready = Uri::from_static("/v2/health/ready");
            let parts = rewritten(parts, ready, parts.method.clone());
            return self.door.answer(&parts, body, exchange).await;
        }
        if path != self.predict_route {
            return Err(Refusal::Empty(StatusCode::BAD_REQUEST));
        }
        if let Some(target) = parts.headers.get(REDIRECT) {
            return self.redirect(target, parts, body, exchange).await;
        }
        let parts = rewritten(parts, self.default_route.clone(), parts.method.clone());
        self.door.answer(&parts, body, exchange).await
    }
}

/// Returns where a redirected request goes, and with which verb.
fn resolve(target: &HeaderValue) -> Result<(Uri, Method), Refusal> {
    let nowhere = || Refusal::Empty(StatusCode::BAD_REQUEST);
    let target = target.to_str().map_err(|_| nowhere())?;
    let uri = parse_path(&format!("/{target}")).map_err(|_| nowhere())?;
    if uri.query().is_some() {
        return Err(nowhere());
    }
    let method = match Route::find(uri.path()).ok_or_else(nowhere)?.endpoint {
        Endpoint::ServerMetadata
        | Endpoint::ServerLive
        | Endpoint::ServerReady
        | Endpoint::ModelMetadata
        | Endpoint::ModelReady
        | Endpoint::ModelConfig
        | Endpoint::ModelStatistics
        | Endpoint::AllStatistics
        | Endpoint::SharedMemoryStatus(_) => Method::GET,
        Endpoint::Infer
        | Endpoint::Generate
        | Endpoint::GenerateStream
        | Endpoint::RepositoryIndex => Method::POST,
        // What changes the server is not for those who may only predict.
        Endpoint::RepositoryLoad
        | Endpoint::RepositoryUnload
        | Endpoint::NamedRepository
        | Endpoint::SharedMemoryRegister(_)
        | Endpoint::SharedMemoryUnregister(_)
        | Endpoint::TraceSetting
        | Endpoint::Logging => return Err(Refusal::NotRedirectable),
    };
    Ok((uri, method))
}

fn rewritten(parts: &Parts, uri: Uri, method: Method) -> Parts {
    let mut parts = parts.clone();
    parts.uri = uri;
    parts.method = method;
    parts
}

fn parse_path(path: &str) -> Result<Uri> {
    path.parse().map_err(|source| {
        Error::invalid_arg(format!("'{path}' is no path of a URI")).with_source(source)
    })
}

/// Returns the model of predictions that name none: the only one, or the one given, if it is
/// loaded.
fn default_model(server: &Server, given: Option<&str>) -> Result<String> {
    let mut names: Vec<String> = server
        .models()
        .iter()
        .map(|model| model.name().to_string())
        .collect();
    names.dedup();
    match (given.filter(|name| !name.is_empty()), names.as_slice()) {
        (Some(name), _) if names.iter().any(|loaded| loaded == name) => Ok(name.to_owned()),
        (Some(name), _) => Err(Error::invalid_arg(format!(
            "Expect the default model '{name}' is loaded"
        ))),
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(Error::invalid_arg(
            "Expect the model repository contains only a single model if default model is not \
             specified",
        )),
    }
}
