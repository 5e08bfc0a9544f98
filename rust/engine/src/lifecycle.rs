// SPDX-License-Identifier: Apache-2.0
//! From a directory of the repository to a loaded model version.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use tritongw_config::{
    ModelConfig, NormalizeOptions, VersionPolicy, configuration_not_provided, guess_backend, json,
    merge_backend_completion, name_after_directory, normalize, text,
};
use tritongw_types::{CName, Error, Result};

use crate::Server;
use crate::backend::{Backend, BackendSettings, ModelContext};
use crate::clock::monotonic_ns;
use crate::model::Model;
use crate::repository::ModelDirectory;
use crate::timer::Timer;

/// Loads models: what all loads share.
pub(crate) struct Loader {
    pub(crate) backends: BTreeMap<String, Arc<dyn Backend>>,
    /// Settings by backend; under the empty name those of every backend.
    pub(crate) settings: BTreeMap<String, BackendSettings>,
    pub(crate) is_auto_complete: bool,
    pub(crate) config_name: Option<String>,
    pub(crate) retry_count: u32,
    pub(crate) timer: Timer,
    pub(crate) server: Weak<Server>,
}

/// Why a model as a whole was not loaded.
#[derive(Debug)]
pub(crate) enum LoadFailure {
    /// Its configuration cannot be read, or is another model's: to clients there is no such model.
    NoModel(Error),
    /// It is a model, of which no version serves.
    NoVersion(Error),
}

impl LoadFailure {
    pub(crate) fn error(&self) -> &Error {
        match self {
            Self::NoModel(error) | Self::NoVersion(error) => error,
        }
    }
}

/// What became of one version.
pub(crate) type VersionResult = (i64, Result<Arc<Model>>);

impl Loader {
    /// Loads the versions that the model's policy chooses.
    ///
    /// # Errors
    /// What concerns the model as a whole; what concerns one version is in its result.
    pub(crate) fn load(
        &self,
        directory: &ModelDirectory,
    ) -> Result<Vec<VersionResult>, LoadFailure> {
        let versions = directory.versions().map_err(LoadFailure::NoVersion)?;
        let config = self.base_config(directory, versions.first().copied())?;
        warn_of_missing_versions(&config, &versions);
        let chosen = config
            .versions_to_load(&versions)
            .map_err(LoadFailure::NoVersion)?;
        Ok(chosen
            .into_iter()
            .map(|version| (version, self.load_version(directory, version, &config)))
            .collect())
    }

    /// Returns the configuration as the repository and the server know it, before any backend
    /// completes it.
    fn base_config(
        &self,
        directory: &ModelDirectory,
        first_version: Option<i64>,
    ) -> Result<ModelConfig, LoadFailure> {
        let name = directory.name.as_str();
        let text = directory.config_text(self.config_name.as_deref());
        let mut message = match text.map_err(LoadFailure::NoModel)? {
            Some((file, text)) => {
                text::parse(&file, &text).map_err(|errors| LoadFailure::NoModel(errors.into()))?
            }
            None if self.is_auto_complete => json::parse("{}").map_err(LoadFailure::NoVersion)?,
            None => return Err(LoadFailure::NoModel(configuration_not_provided(name))),
        };
        name_after_directory(&mut message, name).map_err(LoadFailure::NoModel)?;
        let entries =
            first_version.map_or(Ok(Vec::new()), |first| directory.version_entries(first));
        let entries = entries.map_err(LoadFailure::NoVersion)?;
        let entries: Vec<_> = entries.iter().map(String::as_str).collect();
        guess_backend(&mut message, name, &entries)
            .and_then(|()| normalize(&mut message, &NormalizeOptions::default()))
            .and_then(|()| ModelConfig::from_message(message))
            .map_err(LoadFailure::NoVersion)
    }

    fn load_version(
        &self,
        directory: &ModelDirectory,
        version: i64,
        config: &ModelConfig,
    ) -> Result<Arc<Model>> {
        let mut retries = self.retry_count;
        loop {
            let start_ns = monotonic_ns();
            match self.try_load_version(directory, version, config) {
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
    ) -> Result<Arc<Model>> {
        let backend = self.backend(config)?;
        let mut context = ModelContext {
            name: CName::new(&directory.name),
            version,
            directory: directory.path.clone(),
            settings: Arc::new(self.settings_of(backend.name())),
            config: Arc::new(config.clone()),
            is_auto_complete: self.is_auto_complete,
            server: Weak::clone(&self.server),
        };
        if self.is_auto_complete
            && let Some(completed) = backend.complete_config(&context)?
        {
            context.config = Arc::new(complete(config, &completed)?);
        }
        Model::load(Arc::new(context), &**backend, self.timer.clone())
    }

    fn backend(&self, config: &ModelConfig) -> Result<&Arc<dyn Backend>> {
        if config.backend.is_empty() {
            return Err(Error::unsupported(format!(
                "model '{}' is an ensemble; ensembles are not available in this version",
                config.name
            )));
        }
        self.backends.get(&config.backend).ok_or_else(|| {
            Error::invalid_arg(format!(
                "unable to find backend library for backend '{}', try specifying runtime on the \
                 model configuration.",
                config.backend
            ))
        })
    }

    fn settings_of(&self, backend: &str) -> BackendSettings {
        let mut settings = BackendSettings::from([
            (
                "auto-complete-config".into(),
                self.is_auto_complete.to_string(),
            ),
            ("min-compute-capability".into(), "6.000000".into()),
            ("default-max-batch-size".into(), "4".into()),
        ]);
        for name in ["", backend] {
            let given = self.settings.get(name).into_iter().flatten();
            settings.extend(given.map(|(key, value)| (key.clone(), value.clone())));
        }
        settings
    }
}

/// Merges what a backend has completed, then normalises and checks the whole again.
fn complete(config: &ModelConfig, completed: &str) -> Result<ModelConfig> {
    let completed = json::parse(completed)?;
    let mut merged = merge_backend_completion(config.message(), completed)?;
    normalize(&mut merged, &NormalizeOptions::default())?;
    ModelConfig::from_message(merged)
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
