// SPDX-License-Identifier: Apache-2.0
//! The `python` backend as the engine knows it.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tritongw_config::InstanceGroupKind;
use tritongw_engine::MetricRegistry;
use tritongw_engine::backend::{Backend, BackendModel, InstanceContext, ModelContext};
use tritongw_types::{Error, Result};

use crate::host::{InProcessHost, MetricDesk, ModelSource};
use crate::server::conversation::Conversation;
use crate::server::cores::CoreTable;
use crate::server::environment::{Environments, WorkerLaunch};
use crate::server::in_process::InProcessModel;
use crate::server::model::{WorkerModel, WorkerModelArgs};
use crate::server::process::WorkerProcess;
use crate::server::worker_start::start_order;
use crate::settings::{
    DEFAULT_CALL_LIMIT, HostKind, WorkerSettings, call_limit, debugger, slab_size,
};
use crate::shared::control::{ToServer, ToWorker};

/// The file of a Python model, and of a backend that is one (B059, B061).
const MODEL_FILE: &str = "model.py";
/// The environment of a Python-based backend, beside its file (B062).
const BACKEND_ENVIRONMENT: &str = "pb_exec_env_model.py.tar.gz";

/// How Python is run.
#[derive(Clone)]
pub struct PythonBackendConfig {
    /// Program and arguments that run a worker; the instance's name is added.
    pub worker_command: Vec<OsString>,
    /// Program and arguments that prepare execution environments.
    pub environment_command: Vec<OsString>,
    /// This process's interpreter, if it has one.
    pub in_process: Option<Arc<dyn InProcessHost>>,
}

impl fmt::Debug for PythonBackendConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PythonBackendConfig")
            .field("worker_command", &self.worker_command)
            .field("environment_command", &self.environment_command)
            .field("in_process", &self.in_process.is_some())
            .finish()
    }
}

/// Loads models written in Python.
#[derive(Clone)]
pub struct PythonBackend {
    in_process: Option<Arc<dyn InProcessHost>>,
    environments: Arc<Environments>,
    cores: Arc<CoreTable>,
    based: Option<BasedBackend>,
}

/// A backend that is itself a `model.py`, which all its models share (B061).
#[derive(Clone, Debug)]
struct BasedBackend {
    name: String,
    directory: PathBuf,
}

impl fmt::Debug for PythonBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PythonBackend")
            .field("based", &self.based)
            .finish_non_exhaustive()
    }
}

impl PythonBackend {
    /// The name by which configurations choose it.
    pub const NAME: &str = "python";

    /// Makes the backend; processes are started when models are loaded.
    pub fn new(config: PythonBackendConfig) -> Self {
        let environments = Environments::new(config.worker_command, config.environment_command);
        Self {
            in_process: config.in_process,
            environments: Arc::new(environments),
            cores: Arc::new(CoreTable::of_this_process()),
            based: None,
        }
    }

    /// Returns the environment that models have unless they name one.
    fn default_archive(&self) -> Option<PathBuf> {
        let archive = self.based.as_ref()?.directory.join(BACKEND_ENVIRONMENT);
        archive.exists().then_some(archive)
    }

    fn host_kind(&self, model: &ModelContext) -> Result<HostKind> {
        let kind = HostKind::of(model)?;
        match &self.based {
            Some(based) if kind == HostKind::InProcess => Err(Error::unsupported(format!(
                "model '{}' asks to run in the server's process, which models of the Python-based \
                 backend '{}' cannot",
                model.name, based.name
            ))),
            _ => Ok(kind),
        }
    }

    fn model_source(&self, model: &ModelContext) -> ModelSource {
        let model_path = match &self.based {
            Some(based) => based.directory.join(MODEL_FILE),
            None => model.model_path(MODEL_FILE),
        };
        model_source(model, model_path)
    }
}

impl Backend for PythonBackend {
    fn name(&self) -> &str {
        self.based
            .as_ref()
            .map_or(Self::NAME, |based| based.name.as_str())
    }

    fn accepts_runtime(&self, runtime: &str) -> bool {
        ["", MODEL_FILE, "libtriton_python.so"].contains(&runtime)
    }

    fn derive(&self, name: &str, directory: &Path) -> Option<Arc<dyn Backend>> {
        directory.join(MODEL_FILE).is_file().then(|| {
            let based = Some(BasedBackend {
                name: name.to_owned(),
                directory: directory.to_owned(),
            });
            let derived: Arc<dyn Backend> = Arc::new(Self {
                based,
                ..self.clone()
            });
            derived
        })
    }

    fn place(&self) -> Option<PathBuf> {
        let based = self.based.as_ref()?;
        Some(based.directory.join(MODEL_FILE))
    }

    fn base(&self) -> Option<&str> {
        self.based.as_ref().map(|_| Self::NAME)
    }

    fn uses_gpus(&self) -> bool {
        true
    }

    fn close(&self) {
        self.environments.close();
    }

    /// Asks `auto_complete_config` of the model, in a worker of its own (M119, G9.09).
    fn complete_config(&self, model: &ModelContext) -> Result<Option<String>> {
        let settings = WorkerSettings::read(model)?;
        let launch = self.environments.launch(model, self.default_archive())?;
        complete_config(model, &settings, &launch, self.model_source(model))
    }

    fn load_model(&self, model: &Arc<ModelContext>) -> Result<Arc<dyn BackendModel>> {
        call_limit(model)?;
        match self.host_kind(model)? {
            HostKind::Worker => Ok(Arc::new(WorkerModel::new(WorkerModelArgs {
                settings: WorkerSettings::read(model)?,
                launch: self
                    .environments
                    .launch_served(model, self.default_archive())?,
                source: self.model_source(model),
                cores: Arc::clone(&self.cores),
            })?)),
            HostKind::InProcess => {
                let host = self.in_process.clone().ok_or_else(|| {
                    Error::unsupported(format!(
                        "model '{}' asks to run in the server's process, but this server runs \
                         without a Python interpreter of its own",
                        model.name
                    ))
                })?;
                let source = self.model_source(model);
                Ok(Arc::new(InProcessModel::new(
                    host,
                    source,
                    slab_size(model)?,
                )?))
            }
        }
    }
}

fn complete_config(
    model: &ModelContext,
    settings: &WorkerSettings,
    launch: &WorkerLaunch,
    source: ModelSource,
) -> Result<Option<String>> {
    let failed = |source: std::io::Error| {
        let message = format!(
            "failed to run a worker for model '{}': {source}",
            model.name
        );
        Error::internal(message).with_source(source)
    };
    let process = WorkerProcess::spawn(launch, source.log_owner()).map_err(failed)?;
    let order = start_order(source, settings.limits.clone());
    process
        .control
        .send(&ToWorker::CompleteConfig(order), &[])
        .map_err(failed)?;
    let conversation = Conversation {
        process: &process,
        stop: None,
        metrics: &MetricDesk::new(Arc::default()),
    };
    match conversation.answer(&model.name, settings.timeout)? {
        ToServer::Completed { config } => Ok(config),
        other => Err(Error::internal(format!(
            "the worker of model '{}' gave an unexpected answer: {other:?}",
            model.name
        ))),
    }
}

/// Returns what a host is told of a model that has no instance yet.
fn model_source(model: &ModelContext, model_path: PathBuf) -> ModelSource {
    ModelSource {
        instance_name: model.name.as_str().to_owned(),
        model_name: model.name.as_str().to_owned(),
        model_path,
        version_directory: model.version_directory(),
        model_directory: model.directory.clone(),
        is_decoupled: model.config.is_decoupled,
        model_config: model.config.to_json(),
        instance_kind: "CPU".to_owned(),
        device_id: 0,
        version: model.version,
        debugger: debugger(model),
        // Checked when the model is loaded.
        call_limit: call_limit(model).unwrap_or(DEFAULT_CALL_LIMIT),
    }
}

/// Returns where the metrics of a model go.
pub(crate) fn metric_registry(model: &ModelContext) -> Arc<MetricRegistry> {
    let server = model.server.upgrade();
    server.map_or_else(Arc::default, |server| Arc::clone(server.custom_metrics()))
}

/// Returns what a host is told of an instance of the model.
pub(crate) fn instance_source(model: &ModelSource, instance: &InstanceContext) -> ModelSource {
    let instance_kind = match instance.kind {
        InstanceGroupKind::Gpu => "GPU",
        InstanceGroupKind::Model => "MODEL",
        InstanceGroupKind::Cpu | InstanceGroupKind::Auto => "CPU",
    };
    ModelSource {
        instance_name: instance.name.clone(),
        instance_kind: instance_kind.to_owned(),
        device_id: instance.device_id,
        ..model.clone()
    }
}
