// SPDX-License-Identifier: Apache-2.0
//! The way of one request: route, verb, gate, endpoint.

use std::sync::Arc;

use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use tokio::sync::oneshot;
use tritongw_engine::Server;
use tritongw_engine::buffer::{HeapAllocator, ResponseAllocator};
use tritongw_types::{Error, Result};

use crate::answer::Answer;
use crate::body::RequestBody;
use crate::exchange::Exchange;
use crate::framing::Framing;
use crate::gate::Gate;
use crate::header_forward::HeaderForward;
use crate::refusal::Refusal;
use crate::response::{self, ResponseBody};
use crate::route::{Endpoint, Route};
use crate::server::HttpOptions;
use crate::{
    generate, infer, log_settings, metadata, repository, shared_memory, statistics, trace_setting,
};

/// Serves the KServe v2 protocol.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) server: Arc<Server>,
    pub(crate) allocator: Arc<HeapAllocator>,
    pub(crate) max_input_size: usize,
    pub(crate) header_forward: Option<HeaderForward>,
    pub(crate) framing: Framing,
    pub(crate) gate: Gate,
}

impl Door {
    /// Makes the door to `server`.
    ///
    /// # Errors
    /// `InvalidArg` if the header forward pattern is no regular expression.
    pub(crate) fn new(server: Arc<Server>, options: &HttpOptions) -> Result<Self> {
        let pattern = options.header_forward_pattern.as_deref();
        Ok(Self {
            server,
            allocator: Arc::new(HeapAllocator),
            max_input_size: options.max_input_size,
            header_forward: pattern.map(HeaderForward::new).transpose()?,
            framing: Framing::LengthHeader,
            gate: Gate::new(options.restricted_apis.clone()),
        })
    }

    /// Has another convention for binary bodies.
    pub(crate) fn with_framing(self, framing: Framing) -> Self {
        Self { framing, ..self }
    }

    /// Returns the memory of outputs.
    pub(crate) fn allocator(&self) -> Arc<dyn ResponseAllocator> {
        Arc::clone(&self.allocator) as _
    }

    /// Answers one request, or says why not.
    pub(crate) async fn answer(
        &self,
        parts: &Parts,
        body: &mut RequestBody<'_>,
        exchange: &mut Exchange,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let route = Route::find(parts.uri.path()).ok_or(Refusal::UnknownPath)?;
        let (verbs, group) = route.endpoint.rules();
        let server = &*self.server;
        self.gate.authorise(group, &parts.headers, server)?;
        if !verbs.contains(&parts.method) {
            return Err(Refusal::WrongVerb);
        }
        match route.endpoint {
            Endpoint::Infer => infer::answer(self, &route, &parts.headers, body, exchange).await,
            Endpoint::ServerLive => Ok(health(server.is_live())),
            Endpoint::ServerReady => Ok(health(server.is_ready())),
            Endpoint::ModelReady => self.model_ready(&route, body).await,
            Endpoint::ServerMetadata => Ok(response::json(metadata::of_server(server))),
            Endpoint::ModelMetadata => self.model_metadata(&route),
            Endpoint::ModelConfig => {
                let model = server.model(&route.model(), route.version()?)?;
                Ok(response::json(model.config().to_json()))
            }
            Endpoint::ModelStatistics => {
                let models = server.statistics(Some(&*route.model()), route.version()?)?;
                Ok(response::json(statistics::render(&models)))
            }
            Endpoint::AllStatistics => {
                let models = server.statistics(None, None)?;
                Ok(response::json(statistics::render(&models)))
            }
            Endpoint::Generate => {
                generate::answer(self, &route, &parts.headers, body, exchange).await
            }
            Endpoint::GenerateStream => {
                generate::answer_stream(self, &route, &parts.headers, body, exchange).await
            }
            Endpoint::TraceSetting => self.trace_setting(&route, &parts.method, body).await,
            Endpoint::Logging => self.logging(&parts.method, body).await,
            Endpoint::RepositoryIndex => repository::index(self, body).await,
            Endpoint::RepositoryLoad => repository::load(self, &route, body).await,
            Endpoint::RepositoryUnload => repository::unload(self, &route, body).await,
            Endpoint::NamedRepository => {
                let message = "'repository_name' specification is not supported";
                Err(Error::unsupported(message).into())
            }
            Endpoint::SharedMemoryStatus(kind)
            | Endpoint::SharedMemoryRegister(kind)
            | Endpoint::SharedMemoryUnregister(kind) => {
                shared_memory::answer(self, &route, kind, body).await
            }
        }
    }

    /// Changes the trace settings if asked to, and tells them.
    async fn trace_setting(
        &self,
        route: &Route<'_>,
        verb: &Method,
        body: &mut RequestBody<'_>,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let model = route.model();
        let model = (!model.is_empty()).then_some(&*model);
        if let Some(model) = model {
            self.server.model(model, None)?;
        }
        let traces = self.server.traces();
        if verb == Method::POST {
            let body = body.receive(self.max_input_size, None).await?;
            traces.update(model, &trace_setting::parse(&body)?)?;
        }
        Ok(response::json(trace_setting::render(traces, model)))
    }

    /// Changes the log settings if asked to, and tells them.
    async fn logging(
        &self,
        verb: &Method,
        body: &mut RequestBody<'_>,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let log = self.server.log();
        if verb == Method::POST {
            let body = body.receive(self.max_input_size, None).await?;
            log.update(&log_settings::parse(&body)?);
        }
        Ok(response::json(log_settings::render(&log.settings())))
    }

    async fn model_ready(
        &self,
        route: &Route<'_>,
        body: &RequestBody<'_>,
    ) -> Result<Response<ResponseBody>, Refusal> {
        // The model itself may be asked; the connection is not idle meanwhile.
        let _working = body.activity().work();
        let (done, answer) = oneshot::channel();
        self.server
            .check_model_ready(&route.model(), route.version()?, move |ready| {
                // A client that has gone does not want to know.
                drop(done.send(ready));
            });
        let lost = |_| Err(Error::internal("the answer was lost"));
        if answer.await.unwrap_or_else(lost)? {
            return Ok(health(true));
        }
        // Triton: `HTTPAPIServer::HandleModelReady` answers 400 for "not now".
        Err(Error::invalid_arg("Model version not ready").into())
    }

    fn model_metadata(&self, route: &Route<'_>) -> Result<Response<ResponseBody>, Refusal> {
        let version = route.version()?;
        let model = self.server.model(&route.model(), version)?;
        let versions = match version {
            Some(version) => vec![version],
            None => self.server.ready_versions(model.name()),
        };
        Ok(response::json(metadata::of_model(&model, &versions)))
    }
}

impl Answer for Door {
    fn server(&self) -> &Server {
        &self.server
    }

    async fn answer(
        &self,
        parts: &Parts,
        body: &mut RequestBody<'_>,
        exchange: &mut Exchange,
    ) -> Result<Response<ResponseBody>, Refusal> {
        self.answer(parts, body, exchange).await
    }
}

/// Makes the answer of a health route: a bad one is 400 (G4.01).
fn health(is_good: bool) -> Response<ResponseBody> {
    response::empty(if is_good {
        StatusCode::OK
    } else {
        StatusCode::BAD_REQUEST
    })
}
