// SPDX-License-Identifier: Apache-2.0
//! The server as the doors see it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tritongw_types::{Error, Result};

use crate::backend::{Backend, BackendSettings};
use crate::clock::monotonic_ns;
use crate::lifecycle::{LoadFailure, Loader};
use crate::model::Model;
use crate::model_table::{ModelTable, ModelVersionIndex};
use crate::repository::{ModelDirectory, list_models};
use crate::request::InferenceRequest;
use crate::statistics::StatisticsSnapshot;
use crate::timer::Timer;
use crate::trace::{TraceManager, TraceOptions};

/// What this server announces (P044), in this order.
const EXTENSIONS: [&str; 13] = [
    "classification",
    "sequence",
    "model_repository",
    "model_repository(unload_dependents)",
    "schedule_policy",
    "model_configuration",
    "system_shared_memory",
    "cuda_shared_memory",
    "binary_tensor_data",
    "parameters",
    "statistics",
    "trace",
    "logging",
];

/// How to build a [`Server`].
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Server name in the metadata (C016).
    pub id: String,
    /// Repositories, local directories (R015).
    pub model_repositories: Vec<PathBuf>,
    /// Whether configurations may be completed (C027).
    pub is_auto_complete: bool,
    /// Chooses `configs/<name>.pbtxt` (C032).
    pub model_config_name: Option<String>,
    /// Whether the server is ready only if all its models are (C028).
    pub is_strict_readiness: bool,
    /// Models loaded at the same time, at least 1 (C033).
    pub load_thread_count: usize,
    /// How often a failed load is tried again (C034).
    pub load_retry_count: u32,
    /// Settings by backend; under the empty name those of every backend (C083).
    pub backend_settings: BTreeMap<String, BackendSettings>,
    /// How to trace requests (C081).
    pub trace: TraceOptions,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            id: "triton".to_owned(),
            model_repositories: Vec::new(),
            is_auto_complete: true,
            model_config_name: None,
            is_strict_readiness: true,
            load_thread_count: 4,
            load_retry_count: 0,
            backend_settings: BTreeMap::new(),
            trace: TraceOptions::default(),
        }
    }
}

/// Models of one or more repositories, and what can be asked of them. Thread-safe throughout.
pub struct Server {
    id: String,
    is_strict_readiness: bool,
    table: ArcSwap<ModelTable>,
    is_exiting: AtomicBool,
    traces: TraceManager,
}

impl Server {
    /// Builds the server and loads every model of its repositories; blocks until all are loaded
    /// or have failed. Failed models stand in [`Self::index`].
    ///
    /// # Errors
    /// If a repository cannot be read, or the engine's threads cannot start.
    pub fn new(options: ServerOptions, backends: Vec<Arc<dyn Backend>>) -> Result<Arc<Self>> {
        let server = Arc::new(Self {
            id: options.id,
            is_strict_readiness: options.is_strict_readiness,
            table: ArcSwap::default(),
            is_exiting: AtomicBool::new(false),
            traces: TraceManager::new(options.trace)?,
        });
        let mut directories: BTreeMap<String, Vec<ModelDirectory>> = BTreeMap::new();
        for repository in &options.model_repositories {
            for directory in list_models(repository)? {
                directories
                    .entry(directory.name.to_string())
                    .or_default()
                    .push(directory);
            }
        }
        let loader = Loader {
            backends: backends
                .into_iter()
                .map(|b| (b.name().to_owned(), b))
                .collect(),
            settings: options.backend_settings,
            is_auto_complete: options.is_auto_complete,
            config_name: options.model_config_name,
            retry_count: options.load_retry_count,
            timer: Timer::start()?,
            server: Arc::downgrade(&server),
        };
        let table = load_all(&loader, directories, options.load_thread_count.max(1));
        server.table.store(Arc::new(table));
        Ok(server)
    }

    /// Returns the server's name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the version of the Triton interface that is served; clients compare it.
    pub fn version(&self) -> &'static str {
        "2.73.0"
    }

    /// Returns the names of the protocol extensions (P044).
    pub fn extensions(&self) -> &'static [&'static str] {
        &EXTENSIONS
    }

    /// Returns whether the process is up (R078).
    pub fn is_live(&self) -> bool {
        true
    }

    /// Returns whether the server should get traffic (R079, R080, R082).
    pub fn is_ready(&self) -> bool {
        !self.is_exiting() && (!self.is_strict_readiness || self.table.load().is_all_ready())
    }

    /// Returns whether the server is shutting down.
    pub fn is_exiting(&self) -> bool {
        self.is_exiting.load(Ordering::Acquire)
    }

    /// Returns a model: the version asked for, or the highest that is ready (R055).
    ///
    /// # Errors
    /// `NotFound` or `Unavailable` with the texts of R056-R059.
    pub fn model(&self, name: &str, version: Option<i64>) -> Result<Arc<Model>> {
        self.table.load().model(name, version)
    }

    /// Returns whether a model could execute now (P042).
    ///
    /// # Errors
    /// As [`Self::model`] if it is unknown.
    pub fn model_is_ready(&self, name: &str, version: Option<i64>) -> Result<bool> {
        match self.model(name, version) {
            Ok(model) => Ok(model.ready().is_ok()),
            Err(_) if self.table.load().is_known(name, version) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns the versions of a model that are ready, ascending.
    pub fn ready_versions(&self, name: &str) -> Vec<i64> {
        self.table.load().ready_versions(name)
    }

    /// Returns every loaded model version, by name and version.
    pub fn models(&self) -> Vec<Arc<Model>> {
        self.table.load().models()
    }

    /// Returns the state of every model version the repositories hold.
    pub fn index(&self) -> Vec<ModelVersionIndex> {
        self.table.load().index()
    }

    /// Returns the statistics of one version, of all versions of a model, or of all models.
    ///
    /// # Errors
    /// `InvalidArg` with the texts of P103 if there is no such model or version.
    pub fn statistics(
        &self,
        name: Option<&str>,
        version: Option<i64>,
    ) -> Result<Vec<(Arc<Model>, StatisticsSnapshot)>> {
        let mut models = self.models();
        if let Some(name) = name {
            models.retain(|model| model.name() == name);
            if models.is_empty() {
                let message = format!("requested model '{name}' is not available");
                return Err(Error::invalid_arg(message));
            }
            if let Some(version) = version {
                models.retain(|model| model.version() == version);
                if models.is_empty() {
                    return Err(Error::invalid_arg(format!(
                        "requested model version is not available for model '{name}'"
                    )));
                }
            }
        }
        let snapshot = |model: Arc<Model>| {
            let statistics = model.statistics().snapshot();
            (model, statistics)
        };
        Ok(models.into_iter().map(snapshot).collect())
    }

    /// Returns who decides which requests are traced.
    pub fn traces(&self) -> &TraceManager {
        &self.traces
    }

    /// Takes a request: validates it and queues it. The answer goes to its response handler,
    /// possibly before this returns.
    ///
    /// # Errors
    /// The request itself with the reason, ready for the client; nothing was or will be answered.
    pub fn infer(
        &self,
        mut request: Box<InferenceRequest>,
    ) -> Result<(), (Error, Box<InferenceRequest>)> {
        if !request.has_responder() {
            return Err((
                Error::invalid_arg("request has no response handler"),
                request,
            ));
        }
        request.timestamps.request_start_ns = monotonic_ns();
        if let Some(trace) = request.trace() {
            trace.begin(&request);
        }
        let model = Arc::clone(request.model());
        model.enqueue(request)
    }

    /// Announces the shutdown: from now on the server is not ready and doors refuse new requests,
    /// while those accepted go on.
    pub fn begin_exit(&self) {
        self.is_exiting.store(true, Ordering::Release);
    }

    /// Shuts down: refuses new requests, waits for those accepted, for at most `timeout`, and ends
    /// the instances. Requests still unanswered then get an error.
    pub fn stop(&self, timeout: Duration) {
        self.begin_exit();
        let models = self.models();
        models.iter().for_each(|model| model.stop_accepting());
        let deadline_ns =
            monotonic_ns().saturating_add(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
        while models.iter().any(|model| model.inflight_count() > 0) && monotonic_ns() < deadline_ns
        {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.table.store(Arc::default());
        models.iter().for_each(|model| model.shut_down());
        self.traces.stop();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Loads every model, several at a time.
fn load_all(
    loader: &Loader,
    directories: BTreeMap<String, Vec<ModelDirectory>>,
    thread_count: usize,
) -> ModelTable {
    let table = Mutex::new(ModelTable::default());
    let queue = Mutex::new(directories.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..thread_count {
            scope.spawn(|| {
                loop {
                    let Some((name, found)) = queue.lock().next() else {
                        return;
                    };
                    let result = match found.as_slice() {
                        [directory] => loader.load(directory),
                        _ => Err(LoadFailure::NoModel(Error::invalid_arg(
                            "model appears in two or more repositories",
                        ))),
                    };
                    if let Err(failure) = &result {
                        log::error!("failed to load '{name}': {}", failure.error());
                    }
                    table.lock().insert(name, result);
                }
            });
        }
    });
    table.into_inner()
}
