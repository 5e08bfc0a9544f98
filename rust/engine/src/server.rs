// SPDX-License-Identifier: Apache-2.0
//! The server as the doors see it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, Weak};
use std::time::Duration;

use tritongw_types::{Error, Result};

use crate::backend::Backend;
use crate::backend_registry::{BackendEntry, BackendRegistry};
use crate::call_graph::CallGraph;
use crate::clock::monotonic_ns;
use crate::custom_metrics::MetricRegistry;
use crate::gpu_metrics::GpuMetrics;
use crate::gpus::{GpuLoadLimits, UsableGpus};
use crate::host_metrics::HostMeter;
use crate::host_policy::HostPolicies;
use crate::lifecycle::ModelLifecycle;
use crate::loaded_model::LoadedModel;
use crate::loader::Loader;
use crate::log_settings::LogControl;
use crate::metrics_options::MetricsOptions;
use crate::model::Model;
use crate::model_table::ModelVersionIndex;
use crate::rate_limiter::RateLimiter;
use crate::repositories::{ModelMapping, Repositories};
use crate::repository_manager::{
    ModelControlMode, ModelLoad, ModelRepositoryManager, OperationDone, RepositoryOptions,
};
use crate::repository_poller::{Look, RepositoryPoller};
use crate::request::InferenceRequest;
use crate::server_options::ServerOptions;
use crate::services::SharedServices;
use crate::shared_memory::SharedMemoryManager;
use crate::statistics::StatisticsSnapshot;
use crate::timer::Timer;
use crate::trace::TraceManager;

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

/// Time that instances have to end after the requests they were given.
const ENDING_TIME: Duration = Duration::from_secs(30);

/// Models of one or more repositories, and what can be asked of them. Thread-safe throughout.
pub struct Server {
    id: String,
    is_strict_readiness: bool,
    shared_memory: SharedMemoryManager,
    backends: Arc<BackendRegistry>,
    lifecycle: Arc<ModelLifecycle>,
    manager: Arc<ModelRepositoryManager>,
    // Set once, if there is something to follow.
    pollers: OnceLock<Vec<RepositoryPoller>>,
    has_loaded_all: AtomicBool,
    is_exiting: AtomicBool,
    traces: TraceManager,
    calls: CallGraph,
    log: Arc<LogControl>,
    metrics: Arc<MetricsOptions>,
    custom_metrics: Arc<MetricRegistry>,
    host: HostMeter,
    gpu_metrics: Option<GpuMetrics>,
    gpu_load_limits: GpuLoadLimits,
}

impl Server {
    /// Builds the server and loads the models that its control mode says; blocks until all are
    /// loaded or have failed. Failed models stand in [`Self::index`].
    ///
    /// # Errors
    /// If a repository cannot be read, or the engine's threads cannot start.
    pub fn new(options: ServerOptions, backends: Vec<Arc<dyn Backend>>) -> Result<Arc<Self>> {
        let lifecycle = ModelLifecycle::new(options.is_namespacing);
        let traces = TraceManager::new(options.trace)?;
        let services = SharedServices {
            timer: Timer::start()?,
            rate_limiter: options.rate_limits.as_deref().map(RateLimiter::new),
            host_policies: Arc::new(HostPolicies::new(options.host_policies)),
        };
        let metrics = Arc::new(options.metrics);
        let repositories = Repositories::new(
            options.model_repositories,
            options.is_namespacing,
            options.model_config_name.clone(),
        );
        let repository_options = RepositoryOptions {
            control_mode: options.control_mode,
            startup_models: options.startup_models,
            allows_model_upload: options.allows_model_upload,
            load_thread_count: options.load_thread_count,
            reload: options.reload.clone(),
        };
        let backends = Arc::new(BackendRegistry::new(
            backends,
            options.backend_settings,
            options.backend_directory,
        ));
        let gpu_load_limits = GpuLoadLimits::new(&options.gpus)?;
        let gpu_ids = options.gpus.gpus.iter().map(|gpu| gpu.id).collect();
        let gpu_metrics = match metrics.reports_gpus {
            true => GpuMetrics::start(&options.gpus.gpus, metrics.interval),
            false => None,
        };
        let server = Arc::new_cyclic(|server| {
            let loader = Loader {
                backends: Arc::clone(&backends),
                is_auto_complete: options.is_auto_complete,
                config_name: options.model_config_name,
                retry_count: options.load_retry_count,
                services,
                server: Weak::clone(server),
                metrics: Arc::clone(&metrics),
                gpus: UsableGpus::new(&options.gpus),
            };
            let of_models = Arc::clone(&lifecycle);
            let manager =
                ModelRepositoryManager::new(repository_options, repositories, loader, of_models);
            Self {
                id: options.id,
                is_strict_readiness: options.is_strict_readiness,
                shared_memory: SharedMemoryManager::new(options.allows_client_shm, gpu_ids),
                backends,
                lifecycle,
                manager,
                pollers: OnceLock::new(),
                has_loaded_all: AtomicBool::new(false),
                is_exiting: AtomicBool::new(false),
                traces,
                calls: CallGraph::default(),
                log: options.log,
                custom_metrics: Arc::default(),
                host: HostMeter::new(metrics.interval),
                gpu_metrics,
                gpu_load_limits,
                metrics,
            }
        });
        let has_loaded_all = server.manager.load_startup_models()?;
        server
            .has_loaded_all
            .store(has_loaded_all, Ordering::Release);
        let mut looks: Vec<(Duration, Look)> = Vec::new();
        let interval = options.repository_poll_interval;
        if options.control_mode == ModelControlMode::Poll && !interval.is_zero() {
            looks.push((interval, ModelRepositoryManager::poll));
        }
        if let Some(reload) = options.reload {
            looks.push((reload.interval, ModelRepositoryManager::reload_changed));
        }
        let start = |(interval, look)| RepositoryPoller::start(&server.manager, interval, look);
        let pollers = looks.into_iter().map(start).collect::<Result<_>>()?;
        let is_first = server.pollers.set(pollers).is_ok();
        debug_assert!(is_first, "a server is made once");
        Ok(server)
    }

    /// Returns whether every model that was to be loaded at start-up was (C026, R029).
    pub fn has_loaded_all(&self) -> bool {
        self.has_loaded_all.load(Ordering::Acquire)
    }

    pub(crate) fn metrics_options(&self) -> &MetricsOptions {
        &self.metrics
    }

    /// Returns the metrics that models define (Y085).
    pub fn custom_metrics(&self) -> &Arc<MetricRegistry> {
        &self.custom_metrics
    }

    pub(crate) fn host(&self) -> &HostMeter {
        &self.host
    }

    pub(crate) fn gpu_load_limits(&self) -> &GpuLoadLimits {
        &self.gpu_load_limits
    }

    pub(crate) fn gpu_metrics(&self) -> Option<&GpuMetrics> {
        self.gpu_metrics.as_ref()
    }

    /// Returns the calls from model to model that are under way.
    pub(crate) fn calls(&self) -> &CallGraph {
        &self.calls
    }

    /// Returns what is logged, for clients that change it (T042).
    pub fn log(&self) -> &LogControl {
        &self.log
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

    /// Returns the backends of the server, then those found in the backend directory (B063).
    pub fn backends(&self) -> Vec<BackendEntry> {
        self.backends.index()
    }

    /// Returns the memory that clients share with the server.
    pub fn shared_memory(&self) -> &SharedMemoryManager {
        &self.shared_memory
    }

    /// Returns whether the process is up (R078).
    pub fn is_live(&self) -> bool {
        true
    }

    /// Returns whether the server should get traffic (R079, R080, R082).
    pub fn is_ready(&self) -> bool {
        !self.is_exiting() && (!self.is_strict_readiness || self.lifecycle.table().is_all_ready())
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
        self.lifecycle.table().model(name, version)
    }

    /// Asks whether a model could execute now, its instances included (P042, R081); `done` is told
    /// at once, or within five seconds. Never blocks.
    ///
    /// `done` hears an error as of [`Self::model`] if the model is unknown.
    pub fn check_model_ready(
        &self,
        name: &str,
        version: Option<i64>,
        done: impl FnOnce(Result<bool>) + Send + 'static,
    ) {
        match self.model(name, version) {
            Ok(model) => model.check_ready(Box::new(|answer| done(Ok(answer.is_ok())))),
            Err(_) if self.lifecycle.table().is_known(name, version) => done(Ok(false)),
            Err(error) => done(Err(error)),
        }
    }

    /// Returns whether a model could execute now, as far as that is known without asking its
    /// instances.
    ///
    /// # Errors
    /// As [`Self::model`] if it is unknown.
    pub fn model_is_ready(&self, name: &str, version: Option<i64>) -> Result<bool> {
        match self.model(name, version) {
            Ok(model) => Ok(model.ready().is_ok()),
            Err(_) if self.lifecycle.table().is_known(name, version) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns the versions of a model that are ready, ascending.
    pub fn ready_versions(&self, name: &str) -> Vec<i64> {
        self.lifecycle.table().ready_versions(name)
    }

    /// Returns every loaded model version, by name and version.
    pub fn models(&self) -> Vec<Arc<Model>> {
        self.lifecycle.table().models()
    }

    /// Returns the state of every model version, and the names of what else the repositories
    /// hold (R049).
    pub fn index(&self) -> Vec<ModelVersionIndex> {
        self.manager.index()
    }

    /// Begins to load a model, or to load it again if its files have changed; `done` is told when
    /// it serves, or why it does not (R030-R043). What serves before goes on until then, and
    /// beyond if the load fails.
    pub fn load_model(&self, load: ModelLoad, done: OperationDone) {
        if self.is_exiting() {
            return done(Err(exiting()));
        }
        self.manager.load(load, done);
    }

    /// Takes a model out of service, after which its requests are still answered; `done` is told
    /// at once unless the model is being loaded (R044, R045).
    pub fn unload_model(&self, name: &str, done: OperationDone) {
        if self.is_exiting() {
            return done(Err(exiting()));
        }
        self.manager.unload(name, done);
    }

    /// Returns whether nothing of a model serves, is being loaded, or still answers requests.
    pub fn has_unloaded(&self, name: &str) -> bool {
        self.lifecycle.table().is_down(name)
    }

    /// Adds a repository, in which `models` have other names than their directories; nothing is
    /// loaded by it (R051).
    ///
    /// # Errors
    /// `Unsupported` unless models are loaded on request alone, `InvalidArg` if `path` is no
    /// directory or a name is none, `AlreadyExists` if the repository or a mapping is there.
    pub fn register_model_repository(&self, path: &Path, models: &[ModelMapping]) -> Result<()> {
        self.manager.register(path, models)
    }

    /// Forgets a repository; what was loaded from it stays loaded (R051).
    ///
    /// # Errors
    /// `Unsupported` unless models are loaded on request alone, `InvalidArg` if there is none.
    pub fn unregister_model_repository(&self, path: &Path) -> Result<()> {
        self.manager.unregister(path)
    }

    /// Looks once for changes in the repositories and acts on those that an earlier look has seen
    /// as they are now; blocks until models are loaded. Returns whether another look has to
    /// confirm something.
    ///
    /// # Errors
    /// `Unavailable` unless repositories are polled, or what keeps one from being read.
    pub fn poll_repositories(&self) -> Result<bool> {
        self.manager.poll()
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
        request
            .responder()
            .note_start(request.timestamps.request_start_ns);
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
        for poller in self.pollers.get().into_iter().flatten() {
            poller.stop();
        }
        self.manager.stop();
        let models = self.lifecycle.close();
        models.iter().for_each(|model| model.stop_accepting());
        let deadline_ns = monotonic_ns().saturating_add(nanoseconds(timeout));
        while models.iter().any(|model| model.inflight_count() > 0) && monotonic_ns() < deadline_ns
        {
            std::thread::sleep(Duration::from_millis(2));
        }
        let models: Vec<Weak<LoadedModel>> = models.iter().map(Arc::downgrade).collect();
        self.lifecycle.clear();
        // What somebody still refers to does not end by itself.
        for model in models.iter().filter_map(Weak::upgrade) {
            model.shut_down();
        }
        let deadline_ns = deadline_ns.saturating_add(nanoseconds(ENDING_TIME));
        self.lifecycle.retirements().wait_until(deadline_ns);
        self.backends.close();
        self.traces.stop();
    }
}

fn exiting() -> Error {
    Error::unavailable("Server is stopping, model load / unload is not allowed")
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
