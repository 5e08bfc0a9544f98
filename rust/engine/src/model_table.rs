// SPDX-License-Identifier: Apache-2.0
//! Which models and versions there are, and in what state: an immutable table, replaced as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use tritongw_types::{Error, ErrorCode, Result};

use crate::load_failure::LoadFailure;
use crate::model::Model;

/// Reason of a version that was taken out of service on purpose; readiness depends on this very
/// text (R079, G2.04).
pub(crate) const UNLOADED: &str = "unloaded";

/// Whether a model version serves (R050).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelReadyState {
    /// Nothing is known of it.
    Unknown,
    /// It serves.
    Ready,
    /// It does not serve.
    Unavailable,
    /// It is being loaded.
    Loading,
    /// It takes no new requests and answers those it has.
    Unloading,
}

impl ModelReadyState {
    /// Returns the name by which clients know the state.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Ready => "READY",
            Self::Unavailable => "UNAVAILABLE",
            Self::Loading => "LOADING",
            Self::Unloading => "UNLOADING",
        }
    }
}

/// What the repository index tells of one model version (R049), or of a model without any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelVersionIndex {
    /// Model name.
    pub name: String,
    /// Version; `None` where no version was chosen.
    pub version: Option<i64>,
    /// State; `None` where the repository has a directory of that name and no more is known, for
    /// it was never loaded or is no model.
    pub state: Option<ModelReadyState>,
    /// Why it does not serve.
    pub reason: String,
}

impl ModelVersionIndex {
    /// Returns whether it serves.
    pub fn is_ready(&self) -> bool {
        self.state == Some(ModelReadyState::Ready)
    }
}

/// What tells models apart: the name and, where names may repeat, the repository (R067).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ModelIdentifier {
    pub(crate) name: String,
    /// Empty unless namespacing is on.
    pub(crate) namespace: Arc<str>,
}

impl fmt::Display for ModelIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}::{}", self.namespace, self.name)
        }
    }
}

/// State of one version, with what belongs to it.
#[derive(Clone)]
pub(crate) enum VersionState {
    Loading,
    Ready(Arc<Model>),
    /// The mark of what is ending, which must not be taken for the end of another.
    Unloading(u64),
    Unavailable(String),
}

impl VersionState {
    fn ready_state(&self) -> ModelReadyState {
        match self {
            Self::Loading => ModelReadyState::Loading,
            Self::Ready(_) => ModelReadyState::Ready,
            Self::Unloading(_) => ModelReadyState::Unloading,
            Self::Unavailable(_) => ModelReadyState::Unavailable,
        }
    }

    fn model(&self) -> Option<&Arc<Model>> {
        match self {
            Self::Ready(model) => Some(model),
            Self::Loading | Self::Unloading(_) | Self::Unavailable(_) => None,
        }
    }

    fn counts_as_ready(&self) -> bool {
        match self {
            Self::Ready(model) => model.ready().is_ok(),
            Self::Unavailable(reason) => reason == UNLOADED,
            Self::Loading | Self::Unloading(_) => false,
        }
    }
}

/// One model.
#[derive(Clone, Default)]
pub(crate) struct ModelEntry {
    pub(crate) versions: BTreeMap<i64, VersionState>,
    /// Why the model as a whole was not loaded.
    pub(crate) failure: Option<LoadFailure>,
    /// Whether its directory is gone: then it is forgotten when it is unloaded.
    pub(crate) is_removed: bool,
}

impl ModelEntry {
    /// Returns whether clients see this as a model at all.
    fn is_model(&self) -> bool {
        matches!(
            self.failure,
            None | Some(LoadFailure::NoVersion(_) | LoadFailure::Versions(_))
        )
    }

    /// Takes every version that serves out of service.
    pub(crate) fn take_out_of_service(&mut self) {
        for state in self.versions.values_mut() {
            if let VersionState::Ready(model) = state {
                *state = VersionState::Unloading(model.loaded().mark());
            }
        }
    }

    /// Drops what was noted of versions whose load came to nothing.
    pub(crate) fn forget_loading(&mut self) {
        self.versions
            .retain(|_, state| !matches!(state, VersionState::Loading));
    }

    /// Returns the versions that serve, ascending.
    pub(crate) fn ready(&self) -> impl DoubleEndedIterator<Item = (i64, &Arc<Model>)> {
        self.versions
            .iter()
            .filter_map(|(version, state)| Some((*version, state.model()?)))
    }
}

/// All models of the server.
#[derive(Clone, Default)]
pub(crate) struct ModelTable {
    pub(crate) models: BTreeMap<String, BTreeMap<Arc<str>, ModelEntry>>,
    /// Whether names may repeat, which changes the answer to unknown ones (R069).
    pub(crate) is_namespacing: bool,
}

impl ModelTable {
    /// Returns the entry of a model, made if there is none.
    pub(crate) fn entry(&mut self, identifier: &ModelIdentifier) -> &mut ModelEntry {
        let of_name = self.models.entry(identifier.name.clone()).or_default();
        of_name
            .entry(Arc::clone(&identifier.namespace))
            .or_default()
    }

    /// Returns the entry of a model.
    pub(crate) fn get(&self, identifier: &ModelIdentifier) -> Option<&ModelEntry> {
        self.models
            .get(&identifier.name)?
            .get(&identifier.namespace)
    }

    /// Forgets a model that was removed and has nothing left to be unloaded.
    pub(crate) fn remove_if_over(&mut self, identifier: &ModelIdentifier) {
        let is_over = |entry: &ModelEntry| {
            let mut states = entry.versions.values();
            entry.is_removed && states.all(|state| matches!(state, VersionState::Unavailable(_)))
        };
        self.remove_if(identifier, is_over);
    }

    /// Forgets a model of which nothing is known.
    pub(crate) fn remove_if_empty(&mut self, identifier: &ModelIdentifier) {
        self.remove_if(identifier, |entry| {
            entry.versions.is_empty() && entry.failure.is_none()
        });
    }

    fn remove_if(&mut self, identifier: &ModelIdentifier, condition: impl Fn(&ModelEntry) -> bool) {
        let Some(of_name) = self.models.get_mut(&identifier.name) else {
            return;
        };
        if of_name.get(&identifier.namespace).is_some_and(condition) {
            of_name.remove(&identifier.namespace);
        }
        if of_name.is_empty() {
            self.models.remove(&identifier.name);
        }
    }

    /// Returns the models of which nothing serves since they failed to load.
    pub(crate) fn failed(&self) -> BTreeSet<ModelIdentifier> {
        let has_failed = |identifier: &ModelIdentifier| {
            self.get(identifier).is_some_and(|entry| {
                let is_failed = |state: &VersionState| {
                    matches!(state, VersionState::Unavailable(reason) if reason != UNLOADED)
                };
                entry.ready().next().is_none()
                    && (entry.failure.is_some() || entry.versions.values().any(is_failed))
            })
        };
        let models = self.identifiers(None).into_iter();
        models.filter(has_failed).collect()
    }

    /// Returns the identifiers of all models, or of those with this name.
    pub(crate) fn identifiers(&self, name: Option<&str>) -> Vec<ModelIdentifier> {
        let models = self.models.iter();
        models
            .filter(|(known, _)| name.is_none_or(|name| *known == name))
            .flat_map(|(name, of_name)| {
                of_name.keys().map(|namespace| ModelIdentifier {
                    name: name.clone(),
                    namespace: Arc::clone(namespace),
                })
            })
            .collect()
    }

    pub(crate) fn model(&self, name: &str, version: Option<i64>) -> Result<Arc<Model>> {
        let unknown = |what: &str| {
            let code = if self.is_namespacing {
                ErrorCode::InvalidArg
            } else {
                ErrorCode::NotFound
            };
            let text = format!("Request for unknown model: '{name}'{what} is not found");
            Error::new(code, text)
        };
        let entry = self.resolve(name)?.ok_or_else(|| unknown(""))?;
        match version {
            None => match entry.ready().next_back() {
                Some((_, model)) => Ok(Arc::clone(model)),
                None => Err(Error::not_found(format!(
                    "Request for unknown model: '{name}' has no available versions"
                ))),
            },
            Some(version) => match entry.versions.get(&version) {
                Some(VersionState::Ready(model)) => Ok(Arc::clone(model)),
                Some(_) => Err(Error::unavailable(format!(
                    "Request for unknown model: '{name}' version {version} is not at ready state"
                ))),
                None => Err(unknown(&format!(" version {version}"))),
            },
        }
    }

    /// Returns the model that a name stands for: among several the one that serves (R068).
    fn resolve(&self, name: &str) -> Result<Option<&ModelEntry>> {
        let Some(of_name) = self.models.get(name) else {
            return Ok(None);
        };
        let mut models = of_name.values().filter(|entry| entry.is_model());
        let first = models.next();
        if models.next().is_none() {
            return Ok(first);
        }
        let serving: Vec<_> = of_name
            .values()
            .filter(|entry| entry.ready().next().is_some())
            .collect();
        match serving.as_slice() {
            [] => Ok(first),
            [only] => Ok(Some(only)),
            several => Err(Error::invalid_arg(format!(
                "There are {} identifiers of model '{name}' in global map, model namespace must \
                 be provided to resolve ambiguity.",
                several.len()
            ))),
        }
    }

    /// Returns whether there is such a model, and such a version of it, ready or not.
    pub(crate) fn is_known(&self, name: &str, version: Option<i64>) -> bool {
        let entries = self.models.get(name).into_iter().flat_map(BTreeMap::values);
        entries
            .filter(|entry| entry.is_model())
            .any(|entry| version.is_none_or(|version| entry.versions.contains_key(&version)))
    }

    /// Returns whether no version of a model serves, is being loaded or being unloaded.
    pub(crate) fn is_down(&self, name: &str) -> bool {
        let entries = self.models.get(name).into_iter().flat_map(BTreeMap::values);
        entries
            .flat_map(|entry| entry.versions.values())
            .all(|state| matches!(state, VersionState::Unavailable(_)))
    }

    /// Returns the versions of a model that serve, ascending.
    pub(crate) fn ready_versions(&self, name: &str) -> Vec<i64> {
        match self.resolve(name) {
            Ok(Some(entry)) => entry.ready().map(|(version, _)| version).collect(),
            _ => Vec::new(),
        }
    }

    /// Returns every model version that serves, by name and version.
    pub(crate) fn models(&self) -> Vec<Arc<Model>> {
        self.entries()
            .flat_map(ModelEntry::ready)
            .map(|(_, model)| Arc::clone(model))
            .collect()
    }

    /// Returns whether every version of every known model is ready (R079).
    pub(crate) fn is_all_ready(&self) -> bool {
        self.entries()
            .filter(|entry| entry.is_model())
            .all(|entry| {
                !entry.versions.is_empty()
                    && entry.versions.values().all(VersionState::counts_as_ready)
            })
    }

    /// Returns the state of everything that is known (R049).
    pub(crate) fn index(&self) -> Vec<ModelVersionIndex> {
        let mut index = Vec::new();
        for (name, of_name) in &self.models {
            for entry in of_name.values() {
                index.extend(entry.index(name));
            }
        }
        index
    }

    fn entries(&self) -> impl Iterator<Item = &ModelEntry> {
        self.models.values().flat_map(BTreeMap::values)
    }
}

impl ModelEntry {
    fn index(&self, name: &str) -> Vec<ModelVersionIndex> {
        if let (Some(failure), true) = (&self.failure, self.versions.is_empty()) {
            // Triton: what could not be polled is a name and no more.
            let state = !matches!(failure, LoadFailure::NoModel(_) | LoadFailure::Unknown);
            return vec![ModelVersionIndex {
                name: name.to_owned(),
                version: None,
                state: state.then_some(ModelReadyState::Unavailable),
                reason: failure.reason(),
            }];
        }
        let versions = self.versions.iter();
        versions
            .map(|(version, state)| ModelVersionIndex {
                name: name.to_owned(),
                version: Some(*version),
                state: Some(state.ready_state()),
                reason: match state {
                    VersionState::Unavailable(reason) => reason.clone(),
                    _ => String::new(),
                },
            })
            .collect()
    }
}
