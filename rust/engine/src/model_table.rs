// SPDX-License-Identifier: Apache-2.0
//! Which models and versions there are, and in what state: an immutable table, replaced as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use tritongw_types::{Error, Result};

use crate::lifecycle::{LoadFailure, VersionResult};
use crate::model::Model;

/// State of one model version (R050), as the repository index tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelVersionIndex {
    /// Model name.
    pub name: String,
    /// Version; `None` where the model failed before a version was chosen.
    pub version: Option<i64>,
    /// Whether it serves.
    pub is_ready: bool,
    /// Why it does not, `<code>: <message>`.
    pub reason: String,
}

/// All models of the server.
#[derive(Default)]
pub(crate) struct ModelTable {
    models: BTreeMap<String, ModelEntry>,
}

struct ModelEntry {
    versions: BTreeMap<i64, Result<Arc<Model>>>,
    // Why the model as a whole was not loaded.
    failure: Option<LoadFailure>,
}

impl ModelTable {
    /// Enters what became of a model. If one version failed, those loaded with it are taken down
    /// (R035).
    pub(crate) fn insert(&mut self, name: String, result: Result<Vec<VersionResult>, LoadFailure>) {
        let entry = match result {
            Ok(versions) => ModelEntry {
                versions: take_down_together(&name, versions),
                failure: None,
            },
            Err(error) => ModelEntry {
                versions: BTreeMap::new(),
                failure: Some(error),
            },
        };
        self.models.insert(name, entry);
    }

    pub(crate) fn model(&self, name: &str, version: Option<i64>) -> Result<Arc<Model>> {
        let unknown = |what: &str| {
            Error::not_found(format!(
                "Request for unknown model: '{name}'{what} is not found"
            ))
        };
        let entry = self.known(name).ok_or_else(|| unknown(""))?;
        match version {
            None => entry.newest_ready().ok_or_else(|| {
                Error::not_found(format!(
                    "Request for unknown model: '{name}' has no available versions"
                ))
            }),
            Some(version) => match entry.versions.get(&version) {
                Some(Ok(model)) => Ok(Arc::clone(model)),
                Some(Err(_)) => Err(Error::unavailable(format!(
                    "Request for unknown model: '{name}' version {version} is not at ready state"
                ))),
                None => Err(unknown(&format!(" version {version}"))),
            },
        }
    }

    /// Returns whether there is such a model, and such a version of it, ready or not.
    pub(crate) fn is_known(&self, name: &str, version: Option<i64>) -> bool {
        self.known(name).is_some_and(|entry| {
            version.is_none_or(|version| entry.versions.contains_key(&version))
        })
    }

    /// Returns the entry of what clients see as a model.
    fn known(&self, name: &str) -> Option<&ModelEntry> {
        let is_model =
            |entry: &&ModelEntry| !matches!(entry.failure, Some(LoadFailure::NoModel(_)));
        self.models.get(name).filter(is_model)
    }

    pub(crate) fn ready_versions(&self, name: &str) -> Vec<i64> {
        let versions = self
            .models
            .get(name)
            .into_iter()
            .flat_map(|entry| &entry.versions);
        versions
            .filter(|(_, state)| state.is_ok())
            .map(|(version, _)| *version)
            .collect()
    }

    pub(crate) fn models(&self) -> Vec<Arc<Model>> {
        let states = self
            .models
            .values()
            .flat_map(|entry| entry.versions.values());
        states
            .filter_map(|state| state.as_ref().ok().cloned())
            .collect()
    }

    /// Returns whether every version of every known model is ready (R079).
    pub(crate) fn is_all_ready(&self) -> bool {
        self.models.values().all(|entry| {
            !entry.versions.is_empty()
                && entry
                    .versions
                    .values()
                    .all(|state| state.as_ref().is_ok_and(|model| model.ready().is_ok()))
        })
    }

    pub(crate) fn index(&self) -> Vec<ModelVersionIndex> {
        let mut index = Vec::new();
        for (name, entry) in &self.models {
            if let Some(failure) = &entry.failure {
                index.push(ModelVersionIndex {
                    name: name.clone(),
                    version: None,
                    is_ready: false,
                    reason: failure.error().to_string(),
                });
            }
            for (version, state) in &entry.versions {
                index.push(ModelVersionIndex {
                    name: name.clone(),
                    version: Some(*version),
                    is_ready: state.is_ok(),
                    reason: state
                        .as_ref()
                        .err()
                        .map_or_else(String::new, Error::to_string),
                });
            }
        }
        index
    }
}

impl ModelEntry {
    fn newest_ready(&self) -> Option<Arc<Model>> {
        self.versions
            .values()
            .rev()
            .find_map(|state| state.as_ref().ok().cloned())
    }
}

fn take_down_together(
    name: &str,
    versions: Vec<VersionResult>,
) -> BTreeMap<i64, Result<Arc<Model>>> {
    let has_failed = versions.iter().any(|(_, result)| result.is_err());
    let settle = |(version, result): VersionResult| match result {
        Ok(model) if has_failed => {
            model.shut_down();
            let message = "unloaded because another version of the model failed to load";
            (version, Err(Error::unavailable(message)))
        }
        result => (version, result),
    };
    let settled = versions.into_iter().map(settle).collect();
    if has_failed {
        log::error!("failed to load '{name}'");
    } else {
        log::info!("successfully loaded '{name}'");
    }
    settled
}
