// SPDX-License-Identifier: Apache-2.0
//! The states of model versions, and the moments at which they change.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use tritongw_types::Error;

use crate::load_failure::LoadFailure;
use crate::loaded_model::{LoadedModel, Origin};
use crate::model::Model;
use crate::model_table::{ModelIdentifier, ModelTable, UNLOADED, VersionState};
use crate::repository::OverrideFiles;
use crate::retirement::Retirements;

/// Owns the table of models. Readers take the table of the moment without a lock; writers replace
/// it as a whole, so that nobody sees half a change.
///
/// **Invariant:** what leaves the table stays loaded until the last request that found it there is
/// answered.
pub(crate) struct ModelLifecycle {
    table: ArcSwap<ModelTable>,
    // Held by whoever replaces the table.
    writing: Mutex<Writing>,
    retirements: Retirements,
    next_mark: AtomicU64,
    weak: Weak<Self>,
}

#[derive(Default)]
struct Writing {
    // Everything loaded that may still have requests, in the table or not.
    live: Vec<Weak<LoadedModel>>,
    is_closed: bool,
}

impl ModelLifecycle {
    pub(crate) fn new(is_namespacing: bool) -> Arc<Self> {
        let table = ModelTable {
            is_namespacing,
            ..ModelTable::default()
        };
        Arc::new_cyclic(|weak| Self {
            table: ArcSwap::from_pointee(table),
            writing: Mutex::default(),
            retirements: Retirements::default(),
            next_mark: AtomicU64::new(1),
            weak: Weak::clone(weak),
        })
    }

    /// Returns the table of this moment.
    pub(crate) fn table(&self) -> Guard<Arc<ModelTable>> {
        self.table.load()
    }

    /// Returns the versions of a model that serve.
    pub(crate) fn ready(&self, identifier: &ModelIdentifier) -> BTreeMap<i64, Arc<Model>> {
        let table = self.table();
        let entry = table.get(identifier).into_iter();
        entry
            .flat_map(|entry| entry.ready())
            .map(|(version, model)| (version, Arc::clone(model)))
            .collect()
    }

    /// Returns what a version about to be loaded is told of where it comes from.
    pub(crate) fn origin(
        &self,
        identifier: &ModelIdentifier,
        version: i64,
        files: Option<&Arc<OverrideFiles>>,
    ) -> Origin {
        let mark = self.next_mark.fetch_add(1, Ordering::Relaxed);
        let lifecycle = Weak::clone(&self.weak);
        let of = identifier.clone();
        Origin {
            mark,
            namespace: (!of.namespace.is_empty()).then(|| Arc::clone(&of.namespace)),
            files: files.cloned(),
            retirements: self.retirements.clone(),
            on_retired: Box::new(move || {
                if let Some(lifecycle) = lifecycle.upgrade() {
                    lifecycle.note_retired(&of, version, mark);
                }
            }),
        }
    }

    /// Marks versions that are about to be loaded, unless they serve meanwhile.
    pub(crate) fn note_loading(&self, identifier: &ModelIdentifier, versions: &[i64]) {
        self.update(|table| {
            let entry = table.entry(identifier);
            for version in versions {
                let state = entry.versions.entry(*version);
                let state = state.or_insert(VersionState::Loading);
                if !matches!(state, VersionState::Ready(_)) {
                    *state = VersionState::Loading;
                }
            }
        });
    }

    /// Lets `loaded` serve, and takes every other version of the model out of service.
    ///
    /// # Errors
    /// `Unavailable` if the server stops: then nothing changes and nothing of it serves.
    pub(crate) fn publish(
        &self,
        identifier: &ModelIdentifier,
        loaded: BTreeMap<i64, Arc<Model>>,
    ) -> Result<(), LoadFailure> {
        let mut writing = self.writing.lock();
        if writing.is_closed {
            return Err(LoadFailure::Refused(Error::unavailable(
                "the server is shutting down",
            )));
        }
        let now_loaded = |mark| loaded.values().any(|model| model.loaded().mark() == mark);
        let is_other =
            |live: &Weak<LoadedModel>| live.upgrade().is_some_and(|live| !now_loaded(live.mark()));
        writing.live.retain(is_other);
        let live = loaded.values().map(|model| Arc::downgrade(model.loaded()));
        writing.live.extend(live);
        let replaced = self.replace(|table| {
            let entry = table.entry(identifier);
            entry.failure = None;
            entry.is_removed = false;
            entry.take_out_of_service();
            for (version, model) in loaded {
                entry.versions.insert(version, VersionState::Ready(model));
            }
        });
        drop(writing);
        drop(replaced);
        Ok(())
    }

    /// Notes that a load failed. What served before goes on serving, and then nothing is noted.
    /// `taken_down` are the versions that could be loaded but are not to serve without the others.
    pub(crate) fn note_failure(
        &self,
        identifier: &ModelIdentifier,
        failure: &LoadFailure,
        taken_down: &BTreeMap<i64, Arc<Model>>,
    ) {
        self.update(|table| {
            let entry = table.entry(identifier);
            if entry.ready().next().is_some() {
                entry.forget_loading();
                return;
            }
            if matches!(failure, LoadFailure::Refused(_)) {
                entry.forget_loading();
                table.remove_if_empty(identifier);
                return;
            }
            for (version, model) in taken_down {
                let state = VersionState::Unloading(model.loaded().mark());
                entry.versions.insert(*version, state);
            }
            if let LoadFailure::Versions(versions) = failure {
                for (version, error) in versions {
                    let state = VersionState::Unavailable(error.to_string());
                    entry.versions.insert(*version, state);
                }
            }
            entry.forget_loading();
            entry.is_removed = false;
            // What was a model does not cease to be one by a bad configuration.
            let is_no_model = matches!(failure, LoadFailure::NoModel(_) | LoadFailure::Ambiguous);
            if !is_no_model || entry.versions.is_empty() {
                entry.failure = Some(failure.clone());
            }
        });
    }

    /// Takes a model out of service; its versions are unloaded as soon as they have answered
    /// their requests (R044).
    pub(crate) fn unload(&self, identifier: &ModelIdentifier) {
        self.update(|table| {
            if let Some(of_name) = table.models.get_mut(&identifier.name)
                && let Some(entry) = of_name.get_mut(&identifier.namespace)
            {
                entry.take_out_of_service();
            }
        });
    }

    /// As [`Self::unload`], and forgets the model once it is unloaded.
    pub(crate) fn remove(&self, identifier: &ModelIdentifier) {
        self.update(|table| {
            let entry = table.entry(identifier);
            entry.take_out_of_service();
            entry.is_removed = true;
            table.remove_if_over(identifier);
        });
    }

    /// Takes everything out of service for good and returns all that may still have requests.
    pub(crate) fn close(&self) -> Vec<Arc<LoadedModel>> {
        let mut writing = self.writing.lock();
        writing.is_closed = true;
        let live = std::mem::take(&mut writing.live);
        live.iter().filter_map(Weak::upgrade).collect()
    }

    /// Empties the table.
    pub(crate) fn clear(&self) {
        self.update(|table| table.models.clear());
    }

    pub(crate) fn retirements(&self) -> &Retirements {
        &self.retirements
    }

    fn note_retired(&self, identifier: &ModelIdentifier, version: i64, mark: u64) {
        log::info!("successfully unloaded '{identifier}' version {version}");
        let is_current = |table: &ModelTable| {
            let state = table.get(identifier).and_then(|e| e.versions.get(&version));
            matches!(state, Some(VersionState::Unloading(current)) if *current == mark)
        };
        self.update(|table| {
            if is_current(table) {
                let entry = table.entry(identifier);
                let state = VersionState::Unavailable(UNLOADED.to_owned());
                entry.versions.insert(version, state);
                table.remove_if_over(identifier);
            }
        });
    }

    fn update(&self, change: impl FnOnce(&mut ModelTable)) {
        let writing = self.writing.lock();
        let replaced = self.replace(change);
        drop(writing);
        // Models may end by this.
        drop(replaced);
    }

    /// Replaces the table by a changed copy; the caller holds `writing`.
    fn replace(&self, change: impl FnOnce(&mut ModelTable)) -> Arc<ModelTable> {
        let mut table = ModelTable::clone(&self.table.load());
        change(&mut table);
        self.table.swap(Arc::new(table))
    }
}
