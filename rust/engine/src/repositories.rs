// SPDX-License-Identifier: Apache-2.0
//! The model repositories of a server, seen as one (R023).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tritongw_types::{Result, SafeName};

use crate::change_tracker::{Sighting, Sightings};
use crate::model_table::ModelIdentifier;
use crate::repository::{ModelDirectory, ModelSnapshot, find_model, list_models};

/// Where a model lies.
pub(crate) type Target = (ModelIdentifier, ModelDirectory);

/// The repositories, of which none comes before another (G2.03).
pub(crate) struct Repositories {
    pub(crate) paths: Vec<PathBuf>,
    /// Whether models of one name in several of them are different models (R066, R067).
    pub(crate) is_namespacing: bool,
    /// Chooses `configs/<name>.pbtxt` (C032).
    pub(crate) config_name: Option<String>,
}

impl Repositories {
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
        let mut targets = Vec::new();
        for repository in &self.paths {
            let directories = match name {
                Some(name) => find_model(repository, name).into_iter().collect(),
                None => list_models(repository)?,
            };
            for directory in directories {
                targets.push((self.identifier(&directory.name, repository), directory));
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
