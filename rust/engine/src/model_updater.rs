// SPDX-License-Identifier: Apache-2.0
//! Makes what serves of a model what its directory asks for, with as little change as that takes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tritongw_config::ModelConfig;
use tritongw_types::Error;

use crate::lifecycle::ModelLifecycle;
use crate::load_failure::LoadFailure;
use crate::load_slots::LoadSlots;
use crate::loader::{LoadSource, Loader};
use crate::model::{Model, ModelUpdate};
use crate::model_table::ModelIdentifier;
use crate::repositories::Target;
use crate::repository::{ModelSnapshot, OverrideFiles};

/// From what the versions that serve were loaded.
struct LoadedFrom {
    source: LoadSource,
    config: ModelConfig,
}

/// Loads, reloads and updates models. At most one call at a time concerns the same model.
pub(crate) struct ModelUpdater {
    loader: Loader,
    lifecycle: Arc<ModelLifecycle>,
    slots: LoadSlots,
    loaded_from: Mutex<BTreeMap<ModelIdentifier, Arc<LoadedFrom>>>,
}

impl ModelUpdater {
    pub(crate) fn new(
        loader: Loader,
        lifecycle: Arc<ModelLifecycle>,
        load_thread_count: usize,
    ) -> Self {
        Self {
            loader,
            lifecycle,
            slots: LoadSlots::new(load_thread_count),
            loaded_from: Mutex::default(),
        }
    }

    /// Forgets from what a model was loaded, which is to be unloaded.
    pub(crate) fn forget(&self, identifier: &ModelIdentifier) {
        self.loaded_from.lock().remove(identifier);
    }

    /// Returns whether something of a model was loaded, and not unloaded on request.
    pub(crate) fn has_loaded(&self, identifier: &ModelIdentifier) -> bool {
        self.loaded_from.lock().contains_key(identifier)
    }

    /// Returns from what the models of some backends were loaded, but for those with a
    /// configuration or files of a client's.
    pub(crate) fn sources_of(
        &self,
        backends: &BTreeSet<String>,
    ) -> Vec<(ModelIdentifier, LoadSource)> {
        let loaded_from = self.loaded_from.lock();
        loaded_from
            .iter()
            .filter(|(_, from)| from.source.config_override.is_none())
            .filter(|(_, from)| backends.contains(&from.config.backend))
            .map(|(identifier, from)| (identifier.clone(), from.source.clone()))
            .collect()
    }

    /// Makes what serves what the model's directory asks for; blocks until it does. `files` are
    /// those a client sent, in which case that is where the directory lies.
    pub(crate) fn update(
        &self,
        (identifier, directory): Target,
        config_override: Option<String>,
        files: Option<OverrideFiles>,
    ) -> Result<(), LoadFailure> {
        let snapshot = ModelSnapshot::read(&directory, self.loader.config_name.as_deref());
        let snapshot = snapshot.map_err(LoadFailure::NoModel);
        let source = snapshot.map(|snapshot| LoadSource {
            directory,
            snapshot,
            config_override,
        });
        let mut taken_down = BTreeMap::new();
        let files = files.map(Arc::new);
        let result = source
            .and_then(|source| self.bring_up(&identifier, source, files.as_ref(), &mut taken_down));
        if let Err(failure) = &result {
            self.lifecycle
                .note_failure(&identifier, failure, &taken_down);
        }
        result
    }

    /// Makes what serves what `source` asks for. What serves already and has not changed is kept
    /// (R031, R060).
    fn bring_up(
        &self,
        identifier: &ModelIdentifier,
        source: LoadSource,
        files: Option<&Arc<OverrideFiles>>,
        taken_down: &mut BTreeMap<i64, Arc<Model>>,
    ) -> Result<(), LoadFailure> {
        let (config, chosen) = self.loader.base_config(&source)?;
        let serving = self.lifecycle.ready(identifier);
        let before = self.loaded_from.lock().get(identifier).cloned();
        let reusable = before.filter(|before| before.is_reusable_for(&source, &config));
        let mut kept = BTreeMap::new();
        let mut missing = Vec::new();
        for version in chosen {
            let files = source.snapshot.versions.get(&version);
            let is_unchanged =
                |before: &Arc<LoadedFrom>| before.source.snapshot.versions.get(&version) == files;
            match serving.get(&version) {
                Some(model)
                    if !model.has_failed() && reusable.as_ref().is_some_and(is_unchanged) =>
                {
                    kept.insert(version, Arc::clone(model));
                }
                _ => missing.push(version),
            }
        }
        let is_same_config = reusable
            .as_ref()
            .is_some_and(|before| before.config.message() == config.message());
        if missing.is_empty() && is_same_config && kept.len() == serving.len() {
            return Ok(());
        }
        self.lifecycle.note_loading(identifier, &missing);
        let mut loaded =
            self.load_versions(identifier, &source, &config, &missing, files, taken_down)?;
        let updated = if is_same_config {
            kept
        } else {
            self.update_instances(kept, &config)
                .inspect_err(|_| taken_down.append(&mut loaded))?
        };
        loaded.extend(updated);
        self.lifecycle.publish(identifier, loaded)?;
        let from = Arc::new(LoadedFrom { source, config });
        self.loaded_from.lock().insert(identifier.clone(), from);
        Ok(())
    }

    /// Loads versions side by side. If one fails, those that came up are `taken_down` (R035).
    fn load_versions(
        &self,
        identifier: &ModelIdentifier,
        source: &LoadSource,
        config: &ModelConfig,
        versions: &[i64],
        files: Option<&Arc<OverrideFiles>>,
        taken_down: &mut BTreeMap<i64, Arc<Model>>,
    ) -> Result<BTreeMap<i64, Arc<Model>>, LoadFailure> {
        let load = |version: i64| {
            let _slot = self.slots.acquire();
            let origin = || self.lifecycle.origin(identifier, version, files);
            self.loader
                .load_version(&source.directory, version, config, origin)
        };
        let results: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = versions
                .iter()
                .map(|version| (*version, scope.spawn(move || load(*version))))
                .collect();
            let join = |(version, thread): (i64, std::thread::ScopedJoinHandle<'_, _>)| {
                let panicked = || Error::internal("the backend panicked while it loaded the model");
                (version, thread.join().unwrap_or_else(|_| Err(panicked())))
            };
            threads.into_iter().map(join).collect()
        });
        let mut loaded = BTreeMap::new();
        let mut failures = Vec::new();
        for (version, result) in results {
            match result {
                Ok(model) => drop(loaded.insert(version, model)),
                Err(error) => failures.push((version, error)),
            }
        }
        if failures.is_empty() {
            return Ok(loaded);
        }
        *taken_down = loaded;
        Err(LoadFailure::Versions(failures))
    }

    /// Gives models the instances that `config` asks for, all of them or none.
    fn update_instances(
        &self,
        models: BTreeMap<i64, Arc<Model>>,
        config: &ModelConfig,
    ) -> Result<BTreeMap<i64, Arc<Model>>, LoadFailure> {
        let mut updates = Vec::with_capacity(models.len());
        for (version, model) in models {
            let _slot = self.slots.acquire();
            let update = model.config().with_instances_of(config);
            let update = update.and_then(|config| model.prepare_update(config));
            let failed = |error| LoadFailure::Versions(vec![(version, error)]);
            updates.push((version, update.map_err(failed)?));
        }
        let commit = |(version, update): (i64, ModelUpdate)| (version, update.commit());
        Ok(updates.into_iter().map(commit).collect())
    }
}

impl LoadedFrom {
    /// Returns whether a version that was loaded from this may be kept if its own files have not
    /// changed. What a client sends is always loaded anew (R042).
    fn is_reusable_for(&self, source: &LoadSource, config: &ModelConfig) -> bool {
        source.config_override.is_none()
            && self.source.directory == source.directory
            && self.source.snapshot.shared == source.snapshot.shared
            && self.config.equals_but_for_instances(config)
    }
}
