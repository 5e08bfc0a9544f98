// SPDX-License-Identifier: Apache-2.0
//! Loads, reloads and unloads the models of the repositories: when asked to, or when they change.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use parking_lot::Mutex;
use tritongw_types::{Error, Result, SafeName};

use crate::change_tracker::ChangeTracker;
use crate::lifecycle::ModelLifecycle;
use crate::load_failure::LoadFailure;
use crate::loader::Loader;
use crate::model_reloader::{FollowedModel, ModelReloader, ReloadOptions};
use crate::model_table::{ModelIdentifier, ModelReadyState, ModelVersionIndex, UNLOADED};
use crate::model_updater::ModelUpdater;
use crate::operation_queue::OperationQueue;
use crate::repositories::{ModelMapping, Repositories, Target};
use crate::repository::{ModelSnapshot, OverrideFiles};

/// When models are loaded and unloaded (C029).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModelControlMode {
    /// All of them, once, at start-up (R024).
    #[default]
    None,
    /// All of them, and again whenever the repositories change (R025).
    Poll,
    /// Those that are asked for (R026).
    Explicit,
}

/// A request to load a model.
#[derive(Clone, Debug, Default)]
pub struct ModelLoad {
    /// Name of the model.
    pub name: String,
    /// Configuration as JSON, in place of the repository's (R040).
    pub config: Option<String>,
    /// Files by their path within the model's directory, in place of the repository's (R041).
    pub files: Vec<(String, Bytes)>,
}

/// What is told the outcome of an operation: exactly once, on any thread.
pub type OperationDone = Box<dyn FnOnce(Result<()>) + Send>;

/// What the manager needs to know.
pub(crate) struct RepositoryOptions {
    pub(crate) control_mode: ModelControlMode,
    pub(crate) startup_models: Vec<String>,
    pub(crate) allows_model_upload: bool,
    pub(crate) load_thread_count: usize,
    pub(crate) reload: Option<ReloadOptions>,
}

/// Owns what is known of the repositories; the state of what is loaded is [`ModelLifecycle`]'s.
pub(crate) struct ModelRepositoryManager {
    options: RepositoryOptions,
    repositories: Repositories,
    lifecycle: Arc<ModelLifecycle>,
    updater: ModelUpdater,
    operations: Arc<OperationQueue>,
    changes: Mutex<ChangeTracker>,
    reloader: Mutex<ModelReloader>,
}

impl ModelRepositoryManager {
    pub(crate) fn new(
        options: RepositoryOptions,
        repositories: Repositories,
        loader: Loader,
        lifecycle: Arc<ModelLifecycle>,
    ) -> Arc<Self> {
        let thread_count = options.load_thread_count;
        Arc::new(Self {
            operations: OperationQueue::new(thread_count),
            updater: ModelUpdater::new(loader, Arc::clone(&lifecycle), thread_count),
            options,
            repositories,
            lifecycle,
            changes: Mutex::default(),
            reloader: Mutex::default(),
        })
    }

    /// Loads what is to be there from the start, and waits for it. Returns whether all of it came
    /// up.
    ///
    /// # Errors
    /// If a repository cannot be read.
    pub(crate) fn load_startup_models(self: &Arc<Self>) -> Result<bool> {
        let names = match self.options.control_mode {
            ModelControlMode::None => self.repositories.names()?,
            ModelControlMode::Poll => {
                let seen = self.repositories.look()?;
                let names = seen.keys().map(|model| model.name.clone()).collect();
                *self.changes.lock() = ChangeTracker::new(seen);
                names
            }
            ModelControlMode::Explicit if self.options.startup_models == ["*"] => {
                self.repositories.names()?
            }
            ModelControlMode::Explicit => self.options.startup_models.iter().cloned().collect(),
        };
        Ok(self.load_all(names))
    }

    /// Looks for changes in the repositories and acts on those that have settled; waits until they
    /// are acted on. Returns whether there are changes that another look has to confirm.
    ///
    /// # Errors
    /// `Unavailable` in other modes, or what keeps a repository from being read: then nothing is
    /// done.
    pub(crate) fn poll(self: &Arc<Self>) -> Result<bool> {
        if self.options.control_mode != ModelControlMode::Poll {
            return Err(Error::unavailable("polling is disabled"));
        }
        let seen = self.repositories.look()?;
        let (changes, is_settling) = {
            let mut tracker = self.changes.lock();
            (tracker.look(seen), tracker.is_settling())
        };
        let (here, gone): (Vec<_>, Vec<_>) = changes.into_iter().partition(|(_, here)| *here);
        for (identifier, _) in gone {
            let manager = Arc::clone(self);
            let name = identifier.name.clone();
            let operation = Box::new(move || {
                manager.updater.forget(&identifier);
                manager.lifecycle.remove(&identifier);
            });
            self.operations.run_or_submit(&name, operation);
        }
        self.load_all(
            here.into_iter()
                .map(|(identifier, _)| identifier.name)
                .collect(),
        );
        Ok(is_settling)
    }

    /// Looks for changed files of followed models and loads those again that have settled; waits
    /// until they are loaded. Returns whether there are changes that another look has to confirm.
    ///
    /// # Errors
    /// What keeps a repository from being read.
    pub(crate) fn reload_changed(self: &Arc<Self>) -> Result<bool> {
        let Some(options) = &self.options.reload else {
            return Ok(false);
        };
        let followed = self.followed_models(options)?;
        let (changed, is_settling) = {
            let mut reloader = self.reloader.lock();
            (reloader.look(followed), reloader.is_settling())
        };
        if !changed.is_empty() {
            let names: BTreeSet<_> = changed.into_iter().map(|model| model.name).collect();
            log::info!("reloading what has changed: {names:?}");
            self.load_all(names);
        }
        Ok(is_settling)
    }

    /// Returns the models of those backends as they were loaded, and all that failed to load: a
    /// model without a readable configuration has no backend. What a client sent is left alone.
    fn followed_models(&self, options: &ReloadOptions) -> Result<Vec<FollowedModel>> {
        let config_name = self.repositories.config_name.as_deref();
        let mut followed = Vec::new();
        let mut follow = |(identifier, directory): Target, loaded: Option<ModelSnapshot>| {
            // A directory that is being replaced is looked at again.
            if let Ok(now) = ModelSnapshot::read(&directory, config_name) {
                followed.push(FollowedModel {
                    identifier,
                    loaded,
                    now,
                });
            }
        };
        for (identifier, source) in self.updater.sources_of(&options.backends) {
            follow((identifier, source.directory), Some(source.snapshot));
        }
        let failed = self.lifecycle.table().failed();
        if !failed.is_empty() {
            for target in self.repositories.targets(None)? {
                if failed.contains(&target.0) && !self.updater.has_loaded(&target.0) {
                    follow(target, None);
                }
            }
        }
        Ok(followed)
    }

    /// Begins to load a model; `done` is told when it serves, or why it does not (R030-R043).
    pub(crate) fn load(self: &Arc<Self>, load: ModelLoad, done: OperationDone) {
        if let Err(error) = self.check(&load) {
            return done(Err(error));
        }
        let outcome = Outcome(Some(done));
        let manager = Arc::clone(self);
        let name = load.name.clone();
        let operation = Box::new(move || {
            let result = manager.load_now(&load);
            drop(manager);
            outcome.tell(result.map_err(|failure| failure.into_error(&load.name)));
        });
        self.operations.submit(&name, operation);
    }

    /// Takes a model out of service; `done` is told at once unless something else is under way
    /// with it (R044, R045).
    pub(crate) fn unload(self: &Arc<Self>, name: &str, done: OperationDone) {
        if self.options.control_mode != ModelControlMode::Explicit {
            return done(Err(not_explicit()));
        }
        let outcome = Outcome(Some(done));
        let manager = Arc::clone(self);
        let of = name.to_owned();
        let operation = Box::new(move || {
            for identifier in manager.lifecycle.table().identifiers(Some(&of)) {
                manager.updater.forget(&identifier);
                manager.lifecycle.unload(&identifier);
            }
            drop(manager);
            outcome.tell(Ok(()));
        });
        self.operations.run_or_submit(name, operation);
    }

    /// Adds a repository (R051).
    pub(crate) fn register(&self, path: &Path, models: &[ModelMapping]) -> Result<()> {
        self.check_may_register("registration")?;
        self.repositories.register(path, models)
    }

    /// Forgets a repository (R051).
    pub(crate) fn unregister(&self, path: &Path) -> Result<()> {
        self.check_may_register("unregistration")?;
        self.repositories.unregister(path)
    }

    fn check_may_register(&self, what: &str) -> Result<()> {
        if self.options.control_mode == ModelControlMode::Explicit {
            return Ok(());
        }
        Err(Error::unsupported(format!(
            "repository {what} is not allowed if model control mode is not EXPLICIT"
        )))
    }

    /// Begins no further operation.
    pub(crate) fn stop(&self) {
        self.operations.clear();
    }

    /// Returns what is known of every model and what else the repositories hold, by name (R049).
    pub(crate) fn index(&self) -> Vec<ModelVersionIndex> {
        let here = self.repositories.targets(None).unwrap_or_else(|error| {
            log::error!("failed to list the model repositories: {}", error.message());
            Vec::new()
        });
        let here: Vec<_> = here.into_iter().map(|(identifier, _)| identifier).collect();
        let names: BTreeSet<&str> = here.iter().map(|model| model.name.as_str()).collect();
        let table = self.lifecycle.table();
        let mut index = table.index();
        // Gone from the repositories, and from the server.
        let is_over = |entry: &ModelVersionIndex| entry.state.is_none() || entry.reason == UNLOADED;
        index.retain(|entry| names.contains(entry.name.as_str()) || !is_over(entry));
        let mut before: Option<&ModelIdentifier> = None;
        for identifier in &here {
            let is_repeated = before == Some(identifier);
            before = Some(identifier);
            if table.get(identifier).is_some() {
                continue;
            }
            if is_repeated {
                if let Some(entry) = index.last_mut() {
                    entry.state = Some(ModelReadyState::Unavailable);
                    entry.reason = LoadFailure::Ambiguous.reason();
                }
                continue;
            }
            index.push(ModelVersionIndex {
                name: identifier.name.clone(),
                version: None,
                state: None,
                reason: String::new(),
            });
        }
        index.sort_by(|a, b| a.name.cmp(&b.name));
        index
    }

    fn check(&self, load: &ModelLoad) -> Result<()> {
        if self.options.control_mode != ModelControlMode::Explicit {
            return Err(not_explicit());
        }
        SafeName::new(&load.name).map_err(|reason| {
            let name = load.name.escape_debug();
            Error::invalid_arg(format!("failed to load '{name}': model {reason}"))
                .with_source(reason)
        })?;
        if load.config.is_none() && !load.files.is_empty() {
            return Err(Error::invalid_arg(
                "Load parameter 'config' must be specified for model file override",
            ));
        }
        if load.config.is_some() && !self.options.allows_model_upload {
            return Err(Error::unsupported(format!(
                "failed to load '{}': this server loads models as they are in its repositories; \
                 load parameters are not allowed",
                load.name
            )));
        }
        Ok(())
    }

    /// Loads models side by side, waits for all, and returns whether all came up.
    fn load_all(self: &Arc<Self>, names: BTreeSet<String>) -> bool {
        let count = names.len();
        let (results, outcomes) = mpsc::channel();
        for name in names {
            let manager = Arc::clone(self);
            let results = results.clone();
            let load = ModelLoad {
                name: name.clone(),
                ..ModelLoad::default()
            };
            let operation = Box::new(move || {
                let result = manager.load_now(&load);
                // Nobody waits any more when the server stops.
                let _ = results.send(result.is_ok());
            });
            self.operations.submit(&name, operation);
        }
        drop(results);
        // An operation that never ran, or did not get to its end, has sent nothing.
        outcomes.iter().filter(|is_loaded| *is_loaded).count() == count
    }

    /// Carries out a load, within the model's turn.
    fn load_now(&self, load: &ModelLoad) -> Result<(), LoadFailure> {
        let result = self.load_targets(load);
        match &result {
            Ok(()) => log::info!("successfully loaded '{}'", load.name),
            Err(failure) => {
                log::error!(
                    "failed to load '{}': {}",
                    load.name,
                    failure.reason().trim_end()
                );
            }
        }
        result
    }

    fn load_targets(&self, load: &ModelLoad) -> Result<(), LoadFailure> {
        let name = SafeName::new(&load.name)
            .map_err(|reason| LoadFailure::Refused(Error::invalid_arg(reason.to_string())))?;
        let targets = self
            .repositories
            .targets(Some(&name))
            .map_err(LoadFailure::Refused)?;
        if !load.files.is_empty() {
            let identifier = match targets.into_iter().next() {
                Some((identifier, _)) => identifier,
                None => self.repositories.identifier(&name, Path::new("")),
            };
            let files = OverrideFiles::write(&name, &load.files).map_err(LoadFailure::Refused)?;
            let target = (identifier, files.directory().clone());
            return self
                .updater
                .update(target, load.config.clone(), Some(files));
        }
        if targets.is_empty() {
            return Err(LoadFailure::Unknown);
        }
        let is_repeated = |pair: &[Target]| pair[0].0 == pair[1].0;
        if targets.windows(2).any(is_repeated) {
            let failure = LoadFailure::Ambiguous;
            let nothing = BTreeMap::new();
            self.lifecycle
                .note_failure(&targets[0].0, &failure, &nothing);
            return Err(failure);
        }
        let results = targets
            .into_iter()
            .map(|target| self.updater.update(target, load.config.clone(), None));
        results.fold(Ok(()), Result::and)
    }
}

/// Sees to it that the outcome of an operation is told, whatever becomes of the operation.
struct Outcome(Option<OperationDone>);

impl Outcome {
    fn tell(mut self, result: Result<()>) {
        if let Some(done) = self.0.take() {
            done(result);
        }
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        let Some(done) = self.0.take() else { return };
        done(Err(if std::thread::panicking() {
            Error::internal("the operation on the model panicked")
        } else {
            Error::unavailable("the server is shutting down")
        }));
    }
}

/// The answer to load and unload in other modes; it names polling in either (R024, G2.02).
fn not_explicit() -> Error {
    Error::unavailable("explicit model load / unload is not allowed if polling is enabled")
}
