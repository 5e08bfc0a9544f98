// SPDX-License-Identifier: Apache-2.0
//! What lies in a model repository: models, versions, configuration texts. Read-only.

mod archive;
mod override_files;
mod snapshot;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tritongw_types::{Error, Result, SafeName};

pub use archive::ModelArchive;
pub(crate) use override_files::OverrideFiles;
pub(crate) use snapshot::ModelSnapshot;

/// A directory of a repository that should hold a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModelDirectory {
    /// Name of the model.
    pub(crate) name: SafeName,
    pub(crate) path: PathBuf,
    /// Whether the name is not that of the directory, and what the configuration says does not
    /// count (R051).
    pub(crate) is_mapped: bool,
}

/// Returns where `path` leads, links followed, if that is beneath `directory`.
pub(crate) fn beneath(directory: &Path, path: &Path) -> io::Result<Option<PathBuf>> {
    let path = fs::canonicalize(path)?;
    Ok(path
        .starts_with(fs::canonicalize(directory)?)
        .then_some(path))
}

/// Finds a model of one repository by its name.
pub(crate) fn find_model(repository: &Path, name: &SafeName) -> Option<ModelDirectory> {
    let path = repository.join(name.as_str());
    path.is_dir().then(|| ModelDirectory {
        name: name.clone(),
        path,
        is_mapped: false,
    })
}

/// Lists the models of one repository, in the order of their names.
pub(crate) fn list_models(repository: &Path) -> Result<Vec<ModelDirectory>> {
    let mut models = Vec::new();
    for name in subdirectories(repository)? {
        match SafeName::new(&name) {
            Ok(safe) => models.push(ModelDirectory {
                path: repository.join(&name),
                name: safe,
                is_mapped: false,
            }),
            Err(reason) => log::warn!(
                "ignoring directory '{name}' in model repository '{}': {reason}",
                repository.display()
            ),
        }
    }
    Ok(models)
}

impl ModelDirectory {
    /// Lists the entries of a version directory; names of directories end in `/`.
    pub(crate) fn version_entries(&self, version: i64) -> Result<Vec<String>> {
        let listed = entries(&self.path.join(version.to_string()))?;
        let mark = |(name, is_directory)| {
            if is_directory {
                format!("{name}/")
            } else {
                name
            }
        };
        let mut names: Vec<_> = listed.into_iter().map(mark).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Returns the configuration's file name and text, if there is one (R002, R003).
    pub(crate) fn config_text(
        &self,
        config_name: Option<&str>,
    ) -> Result<Option<(String, String)>> {
        let named = config_name.map(|name| format!("configs/{name}.pbtxt"));
        for file in named.iter().map(String::as_str).chain(["config.pbtxt"]) {
            let path = self.path.join(file);
            match fs::read_to_string(&path) {
                Ok(text) => return Ok(Some((path.display().to_string(), text))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(read_error(&path, error)),
            }
        }
        Ok(None)
    }
}

fn subdirectories(path: &Path) -> Result<Vec<String>> {
    let mut names: Vec<_> = entries(path)?
        .into_iter()
        .filter_map(|(name, is_directory)| is_directory.then_some(name))
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// Lists names and whether each is a directory; links count as what they point to.
fn entries(path: &Path) -> Result<Vec<(String, bool)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| read_error(path, error))? {
        let entry = entry.map_err(|error| read_error(path, error))?;
        let Ok(name) = entry.file_name().into_string() else {
            log::warn!(
                "ignoring an entry of '{}' whose name is not UTF-8",
                path.display()
            );
            continue;
        };
        found.push((name, entry.path().is_dir()));
    }
    Ok(found)
}

fn read_error(path: &Path, source: io::Error) -> Error {
    Error::internal(format!("failed to read '{}': {source}", path.display())).with_source(source)
}
