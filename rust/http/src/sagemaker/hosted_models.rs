// SPDX-License-Identifier: Apache-2.0
//! The models that the platform has loaded, by the names it gave them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

/// A model that was asked for, from then until it is unloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostedModel {
    /// Name that the engine knows it by.
    pub(super) name: String,
    /// The repository it lies in.
    pub(super) repository: PathBuf,
}

/// Owns which models are there. **Invariant:** what is being loaded or unloaded is seen by nobody
/// but the operation, and its name is taken.
#[derive(Debug, Default)]
pub(super) struct HostedModels(Mutex<BTreeMap<String, (Phase, HostedModel)>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Changing,
    Loaded,
}

impl HostedModels {
    /// Takes a name for a model about to be loaded; `false` if it is taken.
    pub(super) fn begin_load(&self, key: &str, model: &HostedModel) -> bool {
        let mut models = self.0.lock();
        if models.contains_key(key) {
            return false;
        }
        models.insert(key.to_owned(), (Phase::Changing, model.clone()));
        true
    }

    /// Notes that the model is loaded.
    pub(super) fn finish_load(&self, key: &str) {
        if let Some((phase, _)) = self.0.lock().get_mut(key) {
            *phase = Phase::Loaded;
        }
    }

    /// Begins to unload a model; `None` if there is none.
    pub(super) fn begin_unload(&self, key: &str) -> Option<HostedModel> {
        let mut models = self.0.lock();
        let (phase, model) = models
            .get_mut(key)
            .filter(|(phase, _)| *phase == Phase::Loaded)?;
        *phase = Phase::Changing;
        Some(model.clone())
    }

    /// Frees a name.
    pub(super) fn remove(&self, key: &str) {
        self.0.lock().remove(key);
    }

    /// Returns a model that is loaded.
    pub(super) fn get(&self, key: &str) -> Option<HostedModel> {
        let models = self.0.lock();
        let (_, model) = models
            .get(key)
            .filter(|(phase, _)| *phase == Phase::Loaded)?;
        Some(model.clone())
    }

    /// Returns name and repository of each model that is loaded, by name.
    pub(super) fn loaded(&self) -> Vec<(String, HostedModel)> {
        let models = self.0.lock();
        models
            .iter()
            .filter(|(_, (phase, _))| *phase == Phase::Loaded)
            .map(|(key, (_, model))| (key.clone(), model.clone()))
            .collect()
    }

    /// Returns whether a model lies in the repository.
    pub(super) fn holds(&self, repository: &Path) -> bool {
        let models = self.0.lock();
        models
            .values()
            .any(|(_, model)| model.repository == repository)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_from_the_load_to_the_end_of_the_unload() {
        let models = HostedModels::default();
        let model = HostedModel {
            name: "m".to_owned(),
            repository: PathBuf::from("r"),
        };
        assert!(models.begin_load("key", &model));
        assert!(!models.begin_load("key", &model) && models.holds(Path::new("r")));
        assert_eq!((models.get("key"), models.loaded()), (None, Vec::new()));
        assert_eq!(models.begin_unload("key"), None);
        models.finish_load("key");
        assert_eq!(models.get("key"), Some(model.clone()));
        assert_eq!(models.loaded(), [("key".to_owned(), model.clone())]);
        assert_eq!(models.begin_unload("key"), Some(model.clone()));
        assert_eq!(
            (models.get("key"), models.begin_unload("key")),
            (None, None)
        );
        assert!(!models.begin_load("key", &model));
        models.remove("key");
        assert!(models.begin_load("key", &model));
    }
}
