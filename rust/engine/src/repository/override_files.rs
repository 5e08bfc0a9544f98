// SPDX-License-Identifier: Apache-2.0
//! Files that came with a load request, written where a backend can read them (R041).

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use tempfile::TempDir;
use tritongw_types::{Error, Result, SafeName};

use super::ModelDirectory;

/// Most files of one request.
const MAX_FILES: usize = 10_000;
/// Deepest nesting of one file.
const MAX_DEPTH: usize = 32;

/// Files of a load request; gone when dropped.
pub(crate) struct OverrideFiles {
    directory: ModelDirectory,
    _temporary: TempDir,
}

impl OverrideFiles {
    /// Returns the model's directory.
    pub(crate) fn directory(&self) -> &ModelDirectory {
        &self.directory
    }

    /// Writes a model that consists of these files alone.
    ///
    /// # Errors
    /// `InvalidArg` if a path does not stay within the model's directory or two are the same,
    /// `Internal` if a file cannot be written.
    pub(crate) fn write(name: &SafeName, files: &[(String, Bytes)]) -> Result<Self> {
        if files.len() > MAX_FILES {
            return Err(Error::invalid_arg(format!(
                "a load request may carry at most {MAX_FILES} files, got {}",
                files.len()
            )));
        }
        // All paths first: what is refused writes nothing.
        let paths: Vec<PathBuf> = files
            .iter()
            .map(|(path, _)| relative_path(path))
            .collect::<Result<_>>()?;
        let temporary = TempDir::with_prefix("tritongw-model-")
            .map_err(|source| write_error(Path::new("a temporary directory"), source))?;
        let directory = ModelDirectory {
            name: name.clone(),
            path: temporary.path().join(name.as_str()),
            is_mapped: false,
        };
        create_directory(&directory.path)?;
        for (path, (_, content)) in paths.iter().zip(files) {
            let target = directory.path.join(path);
            if let Some(parent) = target.parent() {
                create_directory(parent)?;
            }
            write_new(&target, path, content)?;
        }
        Ok(Self {
            directory,
            _temporary: temporary,
        })
    }
}

fn create_directory(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|source| write_error(path, source))
}

fn write_new(target: &Path, path: &Path, content: &[u8]) -> Result<()> {
    match fs::File::create_new(target) {
        Ok(mut file) => io::Write::write_all(&mut file, content),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(Error::invalid_arg(format!(
                "model file override '{}' is given twice",
                path.display()
            )));
        }
        Err(error) => Err(error),
    }
    .map_err(|source| write_error(path, source))
}

/// Returns the path within the model's directory.
fn relative_path(path: &str) -> Result<PathBuf> {
    let refused = |why: &str| {
        Error::invalid_arg(format!(
            "model file override path '{}' {why}",
            path.escape_debug()
        ))
    };
    let mut relative = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => {
                let name = name.to_str().unwrap_or_default();
                let name = SafeName::new(name).map_err(|error| refused(&error.to_string()))?;
                relative.push(name.as_str());
            }
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(refused("must stay within the model's directory"));
            }
        }
    }
    if relative.as_os_str().is_empty() || path.ends_with('/') {
        return Err(refused("must name a file"));
    }
    if relative.components().count() > MAX_DEPTH {
        return Err(refused("is nested too deeply"));
    }
    Ok(relative)
}

fn write_error(path: &Path, source: io::Error) -> Error {
    let message = format!("failed to write model file override '{}'", path.display());
    Error::internal(message).with_source(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_within_the_model() {
        for path in ["1/model.py", "labels.txt", "1/a/b.bin", "./1//model.py"] {
            assert!(relative_path(path).is_ok(), "{path}");
        }
        let bad = [
            "",
            ".",
            "..",
            "../x",
            "1/../../x",
            "1/../x",
            "/etc/passwd",
            "1/",
            "1/a\0b",
            "1/ x",
            "1/a\\b",
            "1/a\nb",
        ];
        for path in bad {
            let error = relative_path(path).expect_err(path);
            assert_eq!(error.code(), tritongw_types::ErrorCode::InvalidArg);
        }
        let deep = "a/".repeat(MAX_DEPTH) + "b";
        assert!(relative_path(&deep).is_err());
    }

    #[test]
    fn files_lie_where_they_were_meant_to_and_go_with_the_directory() {
        let name = SafeName::new("m").expect("a safe name");
        let files = [("1/model.py".to_owned(), Bytes::from_static(b"code"))];
        let override_files = OverrideFiles::write(&name, &files).expect("writable");
        let written = override_files.directory().path.join("1/model.py");
        assert_eq!(fs::read(&written).expect("written"), b"code");
        drop(override_files);
        assert!(!written.exists());
        let twice = [files[0].clone(), ("./1/model.py".to_owned(), Bytes::new())];
        let error = OverrideFiles::write(&name, &twice)
            .err()
            .expect("given twice");
        assert_eq!(
            error.message(),
            "model file override '1/model.py' is given twice"
        );
    }
}
