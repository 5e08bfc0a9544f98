// SPDX-License-Identifier: Apache-2.0
//! The model repositories of a server, seen as one (R023), of which some come and go (R051).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use parking_lot::RwLock;
use tritongw_types::{Error, ErrorCode, Result, SafeName, UnsafeNameError};

use crate::change_tracker::{Sighting, Sightings};
use crate::model_table::ModelIdentifier;
use crate::repository::{ModelDirectory, ModelSnapshot, find_model, list_models};

/// Where a model lies.
pub(crate) type Target = (ModelIdentifier, ModelDirectory);

/// A model whose name is not that of its directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelMapping {
    /// Name of its directory within the repository.
    pub directory: String,
    /// Name that clients know it by.
    pub name: String,
}

/// The repositories, of which none comes before another (G2.03).
pub(crate) struct Repositories {
    /// Whether models of one name in several of them are different models (R066, R067).
    is_namespacing: bool,
    /// Chooses `configs/<name>.pbtxt` (C032).
    pub(crate) config_name: Option<String>,
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    paths: BTreeSet<PathBuf>,
    /// Models by a name that is not that of their directory.
    mapped: BTreeMap<SafeName, MappedModel>,
}

struct MappedModel {
    repository: PathBuf,
    path: PathBuf,
}

impl Repositories {
    pub(crate) fn new(
        paths: impl IntoIterator<Item = PathBuf>,
        is_namespacing: bool,
        config_name: Option<String>,
    ) -> Self {
        let known = Known {
            paths: paths.into_iter().collect(),
            mapped: BTreeMap::new(),
        };
        Self {
            is_namespacing,
            config_name,
            known: RwLock::new(known),
        }
    }

    /// Adds a repository, in which some models have other names than their directories (R051).
    ///
    /// # Errors
    /// `AlreadyExists` if it is known or one of the names is taken by another mapping,
    /// `InvalidArg` if it is no directory or a name is none; then nothing is added.
    pub(crate) fn register(&self, path: &Path, models: &[ModelMapping]) -> Result<()> {
        let shown = path.display();
        if !path.is_dir() {
            return Err(Error::invalid_arg(format!(
                "failed to register '{shown}', repository not found"
            )));
        }
        let mut known = self.known.write();
        if known.paths.contains(path) {
            return Err(already_exists(format!(
                "model repository '{shown}' has already been registered"
            )));
        }
        let mut mapped = BTreeMap::new();
        for ModelMapping { directory, name } in models {
            let unsafe_name = |reason: UnsafeNameError| {
                let message = format!("failed to register '{shown}': model {reason}");
                Error::invalid_arg(message).with_source(reason)
            };
            let directory = SafeName::new(directory).map_err(unsafe_name)?;
            let safe = SafeName::new(name).map_err(unsafe_name)?;
            let model = MappedModel {
                repository: path.to_owned(),
                path: path.join(directory.as_str()),
            };
            if known.mapped.contains_key(&safe) || mapped.insert(safe, model).is_some() {
                return Err(already_exists(format!(
                    "failed to register '{name}', there is a conflicting mapping for '{name}'"
                )));
            }
        }
        known.mapped.append(&mut mapped);
        known.paths.insert(path.to_owned());
        log::info!("Model repository registered: {shown}");
        Ok(())
    }

    /// Forgets a repository and its mappings; what was loaded from it stays (R051).
    ///
    /// # Errors
    /// `InvalidArg` if it is not known.
    pub(crate) fn unregister(&self, path: &Path) -> Result<()> {
        let shown = path.display();
        let mut known = self.known.write();
        if !known.paths.remove(path) {
            return Err(Error::invalid_arg(format!(
                "failed to unregister '{shown}', repository not found"
            )));
        }
        known.mapped.retain(|_, model| model.repository != path);
        log::info!("Model repository unregistered: {shown}");
        Ok(())
    }

    /// Looks at every model of every repository.
    pub(crate) fn look(&self) -> Result<Sightings> {
        let mut seen = Sightings::new();
        for (identifier, directory) in self.targets(None)? {
            let snapshot = ModelSnapshot::read(&directory, self.config_name.as_deref());
            let sighting = snapshot.map_or(Sighting::Unreadable, Sighting::Model);
            seen.entry(identifier)
                .and_modify(|seen| *seen = Sighting::Ambiguous)
                .or_insert(sighting);
        }
        Ok(seen)
    }

    /// Returns the names of all models.
    pub(crate) fn names(&self) -> Result<BTreeSet<String>> {
        let targets = self.targets(None)?;
        Ok(targets.into_iter().map(|(model, _)| model.name).collect())
    }

    /// Returns where models lie, or models of that name, by name and repository.
    pub(crate) fn targets(&self, name: Option<&SafeName>) -> Result<Vec<Target>> {
        let known = self.known.read();
        let mut targets = Vec::new();
        for repository in &known.paths {
            let directories = match name {
                Some(name) => find_model(repository, name).into_iter().collect(),
                None => list_models(repository)?,
            };
            for directory in directories {
                // A mapped model goes by its other name alone.
                if !known.is_mapped(&directory.path) {
                    targets.push((self.identifier(&directory.name, repository), directory));
                }
            }
        }
        for (of, model) in &known.mapped {
            if name.is_none_or(|name| name == of) && model.path.is_dir() {
                let directory = ModelDirectory {
                    name: of.clone(),
                    path: model.path.clone(),
                    is_mapped: true,
                };
                targets.push((self.identifier(of, &model.repository), directory));
            }
        }
        targets.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(targets)
    }

    /// Returns the identifier of a model in one of the repositories.
    pub(crate) fn identifier(&self, name: &SafeName, repository: &Path) -> ModelIdentifier {
        let namespace = if self.is_namespacing {
            repository.display().to_string()
        } else {
            String::new()
        };
        ModelIdentifier {
            name: name.to_string(),
            namespace: namespace.into(),
        }
    }
}

impl Known {
    fn is_mapped(&self, path: &Path) -> bool {
        self.mapped.values().any(|model| model.path == path)
    }
}

fn already_exists(message: String) -> Error {
    Error::new(ErrorCode::AlreadyExists, message)
}
