// SPDX-License-Identifier: Apache-2.0
//! A multi-model endpoint (P160-P163, P165): the platform loads, lists, invokes and unloads models.
//!
//! The platform names a model by a hash of its own; the header says what its user calls it, and
//! that is the name that the engine and the answers have, where it can be a name.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::http::request::Parts;
use hyper::{HeaderMap, Response, StatusCode, Uri};
use tokio::sync::oneshot;
use tritongw_engine::{ModelArchive, ModelLoad, ModelMapping, Server};
use tritongw_types::{Error, ErrorCode, Result, SafeName};

use super::hosted_models::{HostedModel, HostedModels};
use super::out_of_memory::status_of;
use crate::body::RequestBody;
use crate::door::Door;
use crate::exchange::Exchange;
use crate::json::Writer;
use crate::offload;
use crate::refusal::Refusal;
use crate::repository::{read_body, read_string};
use crate::response::{self, ResponseBody};
use crate::route::model_path;
use crate::task;

const TARGET_MODEL: &str = "X-Amzn-SageMaker-Target-Model";

/// How long an unload may take: the platform waits ten seconds longer.
const UNLOAD_TIMEOUT: Duration = Duration::from_secs(350);
const UNLOAD_LOOK: Duration = Duration::from_millis(50);

/// The models of an endpoint.
#[derive(Clone, Debug)]
pub(super) struct MultiModel {
    server: Arc<Server>,
    models: Arc<HostedModels>,
}

impl MultiModel {
    pub(super) fn new(server: Arc<Server>) -> Self {
        Self {
            server,
            models: Arc::default(),
        }
    }

    /// Tells which models are loaded and ready (P160).
    pub(super) fn list(&self) -> Response<ResponseBody> {
        let mut writer = Writer::with_capacity(64);
        writer.begin_object();
        writer.key("models");
        writer.begin_array();
        for (key, model) in self.models.loaded() {
            let is_ready = self.server.model_is_ready(&model.name, None);
            if is_ready.unwrap_or(false) {
                describe(&mut writer, &key, &model);
            }
        }
        writer.end_array();
        writer.end_object();
        response::json(writer.into_bytes())
    }

    /// Tells of one model (P160).
    pub(super) fn get(&self, key: &str) -> Response<ResponseBody> {
        let Some(model) = self.models.get(key) else {
            return unknown();
        };
        let mut writer = Writer::with_capacity(64);
        describe(&mut writer, key, &model);
        response::json(writer.into_bytes())
    }

    /// Loads a model from where the platform has put it, and answers when it serves (P161).
    pub(super) async fn load(
        &self,
        headers: &HeaderMap,
        body: &mut RequestBody<'_>,
        max_input_size: usize,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let bytes = body.receive(max_input_size, None).await?;
        // A load takes as long as it takes; the connection is not idle meanwhile.
        let _working = body.activity().work();
        Ok(match self.load_from(&bytes, target_model(headers)).await {
            Ok(()) => response::empty(StatusCode::OK),
            Err(error) if error.code() == ErrorCode::AlreadyExists => {
                response::error_text(StatusCode::CONFLICT, error.message())
            }
            Err(error) => response::error_text(status_of(&error), error.message()),
        })
    }

    async fn load_from(&self, body: &[u8], target: Option<String>) -> Result<()> {
        let (key, url) = read_request(body)?;
        let find = move || ModelArchive::find(Path::new(&url));
        let archive = offload::run(true, find).await?;
        SafeName::new(&key).map_err(|reason| {
            Error::invalid_arg(format!("model_name is no name: {reason}")).with_source(reason)
        })?;
        let model = HostedModel {
            name: target.unwrap_or_else(|| key.clone()),
            repository: archive.repository,
        };
        log::info!("Loading SageMaker TargetModel: {}", model.name);
        if self.models.holds(&model.repository) || !self.models.begin_load(&key, &model) {
            let message = format!(
                "model repository '{}' has already been registered",
                model.repository.display()
            );
            return Err(Error::new(ErrorCode::AlreadyExists, message));
        }
        let mapping = ModelMapping {
            directory: archive.directory,
            name: model.name.clone(),
        };
        let registered = self
            .server
            .register_model_repository(&model.repository, &[mapping]);
        if let Err(error) = registered {
            self.models.remove(&key);
            return Err(error);
        }
        let load = ModelLoad {
            name: model.name.clone(),
            ..ModelLoad::default()
        };
        let (done, outcome) = oneshot::channel();
        let hosted = self.clone();
        // Whether or not the client is still there.
        let finish = move |result: Result<()>| {
            if result.is_ok() {
                hosted.models.finish_load(&key);
            } else {
                hosted.forget(&key, &model);
            }
            drop(done.send(result));
        };
        self.server.load_model(load, Box::new(finish));
        let lost = |_| Err(Error::internal("the outcome was lost"));
        outcome.await.unwrap_or_else(lost)
    }

    /// Unloads a model and answers when its memory is free (P163).
    pub(super) async fn unload(&self, key: &str, body: &RequestBody<'_>) -> Response<ResponseBody> {
        let Some(model) = self.models.begin_unload(key) else {
            return unknown();
        };
        let _working = body.activity().work();
        log::info!("Unloading SageMaker TargetModel: {}", model.name);
        let (done, outcome) = oneshot::channel();
        let (hosted, key) = (self.clone(), key.to_owned());
        // Whether or not the client is still there.
        task::spawn("unload", async move {
            let result = hosted.take_down(&model).await;
            match &result {
                Ok(()) => hosted.forget(&key, &model),
                Err(_) => hosted.models.finish_load(&key),
            }
            drop(done.send(result));
        });
        let lost = |_| Err(Error::internal("the outcome was lost"));
        match outcome.await.unwrap_or_else(lost) {
            Ok(()) => response::empty(StatusCode::OK),
            Err(error) => response::error_text(StatusCode::BAD_REQUEST, error.message()),
        }
    }

    async fn take_down(&self, model: &HostedModel) -> Result<()> {
        let (done, outcome) = oneshot::channel();
        let done = Box::new(move |result| drop(done.send(result)));
        self.server.unload_model(&model.name, done);
        let lost = |_| Err(Error::internal("the outcome was lost"));
        outcome.await.unwrap_or_else(lost)?;
        let unloaded = async {
            while !self.server.has_unloaded(&model.name) {
                tokio::time::sleep(UNLOAD_LOOK).await;
            }
        };
        if task::within(UNLOAD_TIMEOUT, unloaded).await.is_err() {
            log::error!(
                "'{}' was not unloaded within {} seconds",
                model.name,
                UNLOAD_TIMEOUT.as_secs()
            );
        }
        Ok(())
    }

    /// Forgets a model that is not loaded, and its repository.
    fn forget(&self, key: &str, model: &HostedModel) {
        if let Err(error) = self.server.unregister_model_repository(&model.repository) {
            log::error!("{}", error.message());
        }
        self.models.remove(key);
    }

    /// Sends an inference to a model (P162); every failure of it is 400 or 507 (P165).
    pub(super) async fn invoke(
        &self,
        door: &Door,
        key: &str,
        parts: &Parts,
        body: &mut RequestBody<'_>,
        exchange: &mut Exchange,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let Some(model) = self.models.get(key) else {
            return Ok(unknown());
        };
        let mut parts = parts.clone();
        parts.uri = Uri::try_from(model_path(&model.name, "infer")).map_err(|source| {
            Error::invalid_arg(format!("'{key}' is no name of a model")).with_source(source)
        })?;
        match door.answer(&parts, body, exchange).await {
            Err(Refusal::Error(error)) => {
                Ok(response::error_text(status_of(&error), error.message()))
            }
            answer => answer,
        }
    }
}

fn unknown() -> Response<ResponseBody> {
    response::empty(StatusCode::NOT_FOUND)
}

fn describe(writer: &mut Writer, key: &str, model: &HostedModel) {
    writer.begin_object();
    writer.key("modelName");
    writer.string(key);
    writer.key("modelUrl");
    writer.string(&model.repository.display().to_string());
    writer.end_object();
}

/// Returns what the user calls the model, unless no model can have that name: users may keep
/// archives in folders.
fn target_model(headers: &HeaderMap) -> Option<String> {
    let name = headers.get(TARGET_MODEL)?.to_str().ok()?;
    SafeName::new(name).ok().map(|name| name.to_string())
}

/// Reads `model_name` and `url`; what is not given is empty.
fn read_request(body: &[u8]) -> Result<(String, String)> {
    let (mut key, mut url) = (String::new(), String::new());
    read_body(body, |reader, name| {
        let member = match name {
            "model_name" => &mut key,
            "url" => &mut url,
            _ => return Ok(reader.skip_value()?),
        };
        *member = read_string(reader)?.into_owned();
        Ok(())
    })?;
    Ok((key, url))
}
