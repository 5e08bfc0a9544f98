// SPDX-License-Identifier: Apache-2.0
//! The `python` backend as the engine knows it.

use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tritongw_config::InstanceGroupKind;
use tritongw_engine::backend::{Backend, BackendModel, InstanceContext, ModelContext};
use tritongw_types::{Error, Result};

use crate::host::{InProcessHost, ModelSource};
use crate::server::conversation::Conversation;
use crate::server::in_process::InProcessModel;
use crate::server::model::WorkerModel;
use crate::server::process::WorkerProcess;
use crate::server::supervisor::{WorkerSettings, start_order};
use crate::shared::channel::{DEFAULT_SLAB_SIZE, PAGE_SIZE};
use crate::shared::control::{ToServer, ToWorker};

/// Parameter of a model's configuration that chooses its [`HostKind`].
const HOST_PARAMETER: &str = "TRITONGW_PYTHON_HOST";
/// Parameter of a model's configuration that makes its instances wait for a debugger.
const DEBUGGER_PARAMETER: &str = "TRITONGW_PYTHON_DEBUG";
/// The same for all models: the environment variable of that name sets it.
const DEBUGGER_SETTING: &str = "debugger";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// How Python is run.
#[derive(Clone)]
pub struct PythonBackendConfig {
    /// Program and arguments that run a worker; the instance's name is added.
    pub worker_command: Vec<OsString>,
    /// This process's interpreter, if it has one.
    pub in_process: Option<Arc<dyn InProcessHost>>,
}

impl fmt::Debug for PythonBackendConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PythonBackendConfig")
            .field("worker_command", &self.worker_command)
            .field("in_process", &self.in_process.is_some())
            .finish()
    }
}

/// Where a model's instances run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HostKind {
    /// Each in a process of its own.
    Worker,
    /// In the process of the server.
    InProcess,
}

/// Loads models written in Python.
#[derive(Debug)]
pub struct PythonBackend {
    config: PythonBackendConfig,
}

impl PythonBackend {
    /// Makes the backend; processes are started when models are loaded.
    pub fn new(config: PythonBackendConfig) -> Self {
        Self { config }
    }

    fn worker_settings(&self, model: &ModelContext) -> Result<WorkerSettings> {
        let timeout = match model.setting("stub-timeout-seconds") {
            None => DEFAULT_TIMEOUT,
            Some(text) => Duration::from_secs(setting_number("stub-timeout-seconds", text)?),
        };
        let command = self.config.worker_command.clone();
        Ok(WorkerSettings {
            command,
            // Whoever steps through `initialize` takes the time it takes.
            start_timeout: debugger(model).map_or(timeout, |_| Duration::MAX),
            timeout,
            slab_size: slab_size(model)?,
        })
    }
}

impl Backend for PythonBackend {
    fn name(&self) -> &str {
        "python"
    }

    /// Asks `auto_complete_config` of the model, in a worker of its own (M119, G9.09).
    fn complete_config(&self, model: &ModelContext) -> Result<Option<String>> {
        let settings = self.worker_settings(model)?;
        let failed = |source: std::io::Error| {
            let message = format!(
                "failed to run a worker for model '{}': {source}",
                model.name
            );
            Error::internal(message).with_source(source)
        };
        let process = WorkerProcess::spawn(&settings.command, &model.name).map_err(failed)?;
        let order = start_order(model_source(model));
        process
            .control
            .send(&ToWorker::CompleteConfig(order), &[])
            .map_err(failed)?;
        let conversation = Conversation {
            process: &process,
            stop: None,
        };
        match conversation.answer(&model.name, settings.timeout)? {
            ToServer::Completed { config } => Ok(config),
            other => Err(Error::internal(format!(
                "the worker of model '{}' gave an unexpected answer: {other:?}",
                model.name
            ))),
        }
    }

    fn load_model(&self, model: &Arc<ModelContext>) -> Result<Arc<dyn BackendModel>> {
        match host_kind(model)? {
            HostKind::Worker => Ok(Arc::new(WorkerModel::new(self.worker_settings(model)?)?)),
            HostKind::InProcess => {
                let host = self.config.in_process.clone().ok_or_else(|| {
                    Error::unsupported(format!(
                        "model '{}' asks for {HOST_PARAMETER} 'in_process', but this server runs \
                         without a Python interpreter of its own",
                        model.name
                    ))
                })?;
                Ok(Arc::new(InProcessModel::new(host, slab_size(model)?)?))
            }
        }
    }
}

fn host_kind(model: &ModelContext) -> Result<HostKind> {
    match model
        .config
        .parameters
        .get(HOST_PARAMETER)
        .map(String::as_str)
    {
        None | Some("worker") => Ok(HostKind::Worker),
        Some("in_process") => Ok(HostKind::InProcess),
        Some(other) => Err(Error::invalid_arg(format!(
            "parameter '{HOST_PARAMETER}' of model '{}' must be 'worker' or 'in_process', found \
             '{other}'",
            model.name
        ))),
    }
}

fn debugger(model: &ModelContext) -> Option<String> {
    let parameter = model.config.parameters.get(DEBUGGER_PARAMETER);
    let setting = parameter
        .map(String::as_str)
        .or_else(|| model.setting(DEBUGGER_SETTING));
    setting
        .filter(|setting| !setting.is_empty())
        .map(str::to_owned)
}

/// Returns the size of each slab: `slab-byte-size` of the backend's settings, 8 GiB of address
/// space where nothing is set.
fn slab_size(model: &ModelContext) -> Result<usize> {
    const SETTING: &str = "slab-byte-size";
    let Some(text) = model.setting(SETTING) else {
        return Ok(DEFAULT_SLAB_SIZE);
    };
    let byte_size: u64 = setting_number(SETTING, text)?;
    usize::try_from(byte_size)
        .ok()
        .and_then(|byte_size| byte_size.max(1).checked_next_multiple_of(PAGE_SIZE))
        .ok_or_else(|| Error::invalid_arg(format!("setting '{SETTING}' is too large: '{text}'")))
}

fn setting_number(name: &str, text: &str) -> Result<u64> {
    text.parse().map_err(|source| {
        let message = format!("setting '{name}' of backend 'python' is no number: '{text}'");
        Error::invalid_arg(message).with_source(source)
    })
}

/// Returns what a host is told of a model that has no instance yet.
fn model_source(model: &ModelContext) -> ModelSource {
    ModelSource {
        instance_name: model.name.as_str().to_owned(),
        model_name: model.name.as_str().to_owned(),
        model_path: model.model_path("model.py"),
        version_directory: model.version_directory(),
        model_directory: model.directory.clone(),
        is_decoupled: model.config.is_decoupled,
        model_config: model.config.to_json(),
        instance_kind: "CPU".to_owned(),
        device_id: 0,
        version: model.version,
        debugger: debugger(model),
    }
}

/// Returns what a host is told of an instance.
pub(crate) fn instance_source(instance: &InstanceContext) -> ModelSource {
    let instance_kind = match instance.kind {
        InstanceGroupKind::Gpu => "GPU",
        InstanceGroupKind::Model => "MODEL",
        InstanceGroupKind::Cpu | InstanceGroupKind::Auto => "CPU",
    };
    ModelSource {
        instance_name: instance.name.clone(),
        instance_kind: instance_kind.to_owned(),
        device_id: instance.device_id,
        ..model_source(&instance.model)
    }
}
