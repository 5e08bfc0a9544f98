// SPDX-License-Identifier: Apache-2.0
//! The backends that models may choose: those the server was made with, and those found in the
//! backend directory when a model first asks for them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tritongw_types::{Error, Result, SafeName};

use crate::backend::{Backend, BackendSettings};

/// Finds backends by name.
pub(crate) struct BackendRegistry {
    made: BTreeMap<String, Arc<dyn Backend>>,
    // Settings by backend; under the empty name those of every backend.
    settings: BTreeMap<String, BackendSettings>,
    directory: Option<PathBuf>,
    found: Mutex<BTreeMap<String, Arc<dyn Backend>>>,
}

/// A backend, as lists of them show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendEntry {
    /// Name.
    pub name: String,
    /// Its file; `None` if it is part of the server.
    pub place: Option<PathBuf>,
    /// Name of the backend that it is made of, whose settings are its own as well.
    pub base: Option<String>,
}

impl BackendRegistry {
    pub(crate) fn new(
        backends: Vec<Arc<dyn Backend>>,
        settings: BTreeMap<String, BackendSettings>,
        directory: Option<PathBuf>,
    ) -> Self {
        let named = |backend: Arc<dyn Backend>| (backend.name().to_owned(), backend);
        Self {
            made: backends.into_iter().map(named).collect(),
            settings,
            directory,
            found: Mutex::default(),
        }
    }

    /// Returns the backend that serves models of `backend` and `runtime` (R011, R012).
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn find(&self, backend: &str, runtime: &str) -> Result<Arc<dyn Backend>> {
        let made = self
            .made
            .get(backend)
            .filter(|made| made.accepts_runtime(runtime));
        let found = match made {
            Some(made) => Some(Arc::clone(made)),
            None => self.look_up(backend, runtime),
        };
        found.ok_or_else(|| {
            Error::invalid_arg(format!(
                "unable to find backend library for backend '{backend}', try specifying runtime on \
                 the model configuration."
            ))
        })
    }

    /// Asks the backends of the server whether they can be the one that lies in the directory.
    fn look_up(&self, name: &str, runtime: &str) -> Option<Arc<dyn Backend>> {
        let name = SafeName::new(name).ok()?;
        let mut found = self.found.lock();
        let backend = match found.get(name.as_str()) {
            Some(backend) => Arc::clone(backend),
            None => {
                let directory = self.directory.as_ref()?.join(name.as_str());
                let derive = |made: &Arc<dyn Backend>| made.derive(&name, &directory);
                let backend = self.made.values().find_map(derive)?;
                found.insert(name.as_str().to_owned(), Arc::clone(&backend));
                backend
            }
        };
        backend.accepts_runtime(runtime).then_some(backend)
    }

    /// Returns the settings of a backend, with Triton's defaults (C083).
    pub(crate) fn settings(
        &self,
        backend: &dyn Backend,
        is_auto_complete: bool,
    ) -> BackendSettings {
        let mut settings = BackendSettings::from([
            ("auto-complete-config".into(), is_auto_complete.to_string()),
            ("min-compute-capability".into(), "6.000000".into()),
            ("default-max-batch-size".into(), "4".into()),
        ]);
        let scopes = [Some(""), backend.base(), Some(backend.name())];
        for scope in scopes.into_iter().flatten() {
            let given = self.settings.get(scope).into_iter().flatten();
            settings.extend(given.map(|(key, value)| (key.clone(), value.clone())));
        }
        settings
    }

    /// Lets every backend go of what outlives its models.
    pub(crate) fn close(&self) {
        self.made.values().for_each(|backend| backend.close());
        let found = std::mem::take(&mut *self.found.lock());
        found.values().for_each(|backend| backend.close());
    }

    /// Returns the backends of the server, then those found, each by name.
    pub(crate) fn index(&self) -> Vec<BackendEntry> {
        let entry = |backend: &Arc<dyn Backend>| BackendEntry {
            name: backend.name().to_owned(),
            place: backend.place(),
            base: backend.base().map(str::to_owned),
        };
        let found = self.found.lock();
        self.made
            .values()
            .chain(found.values())
            .map(entry)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::backend::{BackendModel, ModelContext};

    /// Derives a backend from each directory but `empty`.
    #[derive(Clone)]
    struct Base {
        name: String,
        place: Option<PathBuf>,
    }

    impl Backend for Base {
        fn name(&self) -> &str {
            &self.name
        }

        fn derive(&self, name: &str, directory: &Path) -> Option<Arc<dyn Backend>> {
            let derived: Arc<dyn Backend> = Arc::new(Self {
                name: name.to_owned(),
                place: Some(directory.to_owned()),
            });
            (name != "empty").then_some(derived)
        }

        fn place(&self) -> Option<PathBuf> {
            self.place.clone()
        }

        fn base(&self) -> Option<&str> {
            self.place.as_ref().map(|_| "base")
        }

        fn load_model(&self, _model: &Arc<ModelContext>) -> Result<Arc<dyn BackendModel>> {
            Err(Error::internal("loads nothing"))
        }
    }

    fn registry(directory: Option<&str>) -> BackendRegistry {
        let setting = |name: &str, value: &str| {
            let settings = BackendSettings::from([("setting".to_owned(), value.to_owned())]);
            (name.to_owned(), settings)
        };
        let settings = [
            setting("", "all"),
            setting("base", "base"),
            setting("own", "own"),
        ];
        let base = Base {
            name: "base".to_owned(),
            place: None,
        };
        let directory = directory.map(PathBuf::from);
        BackendRegistry::new(vec![Arc::new(base)], settings.into(), directory)
    }

    #[test]
    fn a_backend_of_the_directory_is_found_when_it_is_asked_for() {
        let registry = registry(Some("/backends"));
        assert_eq!(registry.index().len(), 1);
        let found = registry.find("shared", "").expect("derived");
        assert_eq!(found.place(), Some(PathBuf::from("/backends/shared")));
        let again = registry.find("shared", "").expect("known");
        assert!(Arc::ptr_eq(&found, &again));
        let names: Vec<_> = registry
            .index()
            .into_iter()
            .map(|entry| entry.name)
            .collect();
        assert_eq!(names, ["base", "shared"]);
    }

    #[test]
    fn what_is_not_there_is_told_in_tritons_words() {
        let with_directory = registry(Some("/backends"));
        let without = registry(None);
        for (registry, backend, runtime) in [
            (&with_directory, "empty", ""),
            (&with_directory, "../shared", ""),
            (&with_directory, "shared", "other.so"),
            (&without, "shared", ""),
            (&without, "base", "other.so"),
        ] {
            let error = registry.find(backend, runtime).err().expect("none");
            assert_eq!(
                error.message(),
                format!(
                    "unable to find backend library for backend '{backend}', try specifying \
                     runtime on the model configuration."
                )
            );
        }
        assert!(without.find("base", "libtriton_base.so").is_ok());
    }

    #[test]
    fn settings_are_its_own_before_those_of_its_base_before_those_of_all() {
        let registry = registry(Some("/backends"));
        for (name, expected) in [("base", "base"), ("own", "own"), ("plain", "base")] {
            let backend = registry.find(name, "").expect("found");
            let settings = registry.settings(&*backend, true);
            assert_eq!(settings["setting"], expected, "{name}");
            assert_eq!(settings["auto-complete-config"], "true");
        }
    }
}
