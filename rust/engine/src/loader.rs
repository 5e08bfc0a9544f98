// SPDX-License-Identifier: Apache-2.0
//! From a directory of the repository to a loaded model version.

use std::sync::{Arc, Weak};

use tritongw_config::{
    ModelConfig, NormalizeOptions, VersionPolicy, configuration_not_provided, guess_backend, json,
    merge_backend_completion, name_after_directory, normalize, text,
};
use tritongw_types::{CName, Error, Result};

use crate::Server;
use crate::backend::{Backend, ModelContext};
use crate::backend_registry::BackendRegistry;
use crate::clock::monotonic_ns;
use crate::gpus::UsableGpus;
use crate::latency_metrics::LatencyMetrics;
use crate::load_failure::LoadFailure;
use crate::loaded_model::Origin;
use crate::metrics_options::MetricsOptions;
use crate::model::Model;
use crate::repository::{ModelDirectory, ModelSnapshot};
use crate::services::SharedServices;
use crate::statistics::ModelStatistics;

/// Loads models: what all loads share.
pub(crate) struct Loader {
    pub(crate) backends: Arc<BackendRegistry>,
    pub(crate) is_auto_complete: bool,
    pub(crate) config_name: Option<String>,
    pub(crate) retry_count: u32,
    pub(crate) services: SharedServices,
    pub(crate) server: Weak<Server>,
    pub(crate) metrics: Arc<MetricsOptions>,
    pub(crate) gpus: UsableGpus,
}

/// What is to be loaded: a model's files, and what they are now.
#[derive(Clone)]
pub(crate) struct LoadSource {
    pub(crate) directory: ModelDirectory,
    pub(crate) snapshot: ModelSnapshot,
    /// Configuration that a client sent to be used in place of the repository's (R040).
    pub(crate) config_override: Option<String>,
}

impl Loader {
    /// Returns the configuration as the repository and the server know it, before any backend
    /// completes it, and the versions that it chooses, of which there is at least one.
    pub(crate) fn base_config(
        &self,
        source: &LoadSource,
    ) -> Result<(ModelConfig, Vec<i64>), LoadFailure> {
        let name = source.directory.name.as_str();
        let mut message = match (&source.config_override, &source.snapshot.config) {
            (Some(text), _) => json::parse(text).map_err(LoadFailure::invalid_override)?,
            (None, Some((file, text))) => {
                text::parse(file, text).map_err(|errors| LoadFailure::NoModel(errors.into()))?
            }
            (None, None) if self.is_auto_complete => {
                json::parse("{}").map_err(LoadFailure::NoModel)?
            }
            (None, None) => return Err(LoadFailure::NoModel(configuration_not_provided(name))),
        };
        if source.directory.is_mapped {
            name.clone_into(&mut message.name);
        }
        let versions = source.snapshot.version_numbers();
        let entries = match versions.first() {
            Some(first) => source.directory.version_entries(*first),
            None => Ok(Vec::new()),
        };
        let entries = entries.map_err(LoadFailure::NoModel)?;
        let entries: Vec<_> = entries.iter().map(String::as_str).collect();
        name_after_directory(&mut message, name)
            .and_then(|()| guess_backend(&mut message, name, &entries))
            .and_then(|()| {
                let options = self.normalize_options(&message.backend, &message.runtime);
                normalize(&mut message, &options)
            })
            .map_err(LoadFailure::NoModel)?;
        let policy = VersionPolicy::from_message(&message).map_err(LoadFailure::NoModel)?;
        let config = ModelConfig::from_message(message).map_err(|error| {
            let chosen = policy.select(&versions);
            LoadFailure::Versions(chosen.into_iter().map(|v| (v, error.clone())).collect())
        })?;
        if let Some(agent) = config.repository_agents.first() {
            return Err(LoadFailure::NoModel(Error::unsupported(format!(
                "model '{name}' asks for the repository agent '{}'; repository agents are not \
                 available in this version",
                agent.name
            ))));
        }
        warn_of_missing_versions(&config, &versions);
        let chosen = config
            .versions_to_load(&versions)
            .map_err(LoadFailure::NoVersion)?;
        Ok((config, chosen))
    }

    /// Loads one version, again as often as the server retries (R039). `origin` is asked for once
    /// per try.
    pub(crate) fn load_version(
        &self,
        directory: &ModelDirectory,
        version: i64,
        config: &ModelConfig,
        origin: impl Fn() -> Origin,
    ) -> Result<Arc<Model>> {
        log::info!("loading: {}:{version}", directory.name);
        let mut retries = self.retry_count;
        loop {
            let start_ns = monotonic_ns();
            match self.try_load_version(directory, version, config, origin()) {
                Ok(model) => {
                    let load_ns = monotonic_ns().saturating_sub(start_ns);
                    model.statistics().set_load_duration_ns(load_ns);
                    return Ok(model);
                }
                Err(error) => {
                    log::error!(
                        "failed to load '{}' version {version}: {error}",
                        directory.name
                    );
                    if retries == 0 {
                        return Err(error);
                    }
                    retries -= 1;
                }
            }
        }
    }

    fn try_load_version(
        &self,
        directory: &ModelDirectory,
        version: i64,
        config: &ModelConfig,
        origin: Origin,
    ) -> Result<Arc<Model>> {
        let backend = self.backend(config)?;
        let mut context = ModelContext {
            name: CName::new(&directory.name),
            version,
            directory: directory.path.clone(),
            settings: Arc::new(self.backends.settings(&*backend, self.is_auto_complete)),
            config: Arc::new(config.clone()),
            is_auto_complete: self.is_auto_complete,
            server: Weak::clone(&self.server),
        };
        if self.is_auto_complete
            && let Some(completed) = backend.complete_config(&context)?
        {
            context.config = Arc::new(self.complete(config, &completed)?);
        }
        let latencies = LatencyMetrics::new(&self.metrics, &context.config);
        let statistics = ModelStatistics::new(latencies);
        let services = self.services.clone();
        Model::load(Arc::new(context), &*backend, services, origin, statistics)
    }

    fn backend(&self, config: &ModelConfig) -> Result<Arc<dyn Backend>> {
        if config.backend.is_empty() {
            return Err(Error::unsupported(format!(
                "model '{}' is an ensemble; ensembles are not available in this version",
                config.name
            )));
        }
        self.backends.find(&config.backend, &config.runtime)
    }

    /// Merges what a backend has completed, then normalises and checks the whole again.
    fn complete(&self, config: &ModelConfig, completed: &str) -> Result<ModelConfig> {
        let completed = json::parse(completed)?;
        let mut merged = merge_backend_completion(config.message(), completed)?;
        let options = self.normalize_options(&merged.backend, &merged.runtime);
        normalize(&mut merged, &options)?;
        ModelConfig::from_message(merged)
    }

    /// Returns what normalising the configuration of a model of that backend needs to know.
    fn normalize_options(&self, backend: &str, runtime: &str) -> NormalizeOptions<'_> {
        // Of no interest where there is no GPU.
        let uses_gpus = !self.gpus.is_empty()
            && self
                .backends
                .find(backend, runtime)
                .is_ok_and(|backend| backend.uses_gpus());
        self.gpus.normalize_options(uses_gpus)
    }
}

/// Logs the versions that the policy names and the repository has not (R054).
fn warn_of_missing_versions(config: &ModelConfig, available: &[i64]) {
    let VersionPolicy::Specific(wanted) = &config.version_policy else {
        return;
    };
    for version in wanted.iter().filter(|version| !available.contains(version)) {
        log::error!(
            "version {version} is specified for model '{}', but the version directory is not \
             present",
            config.name
        );
    }
}
