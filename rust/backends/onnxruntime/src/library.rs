// SPDX-License-Identifier: Apache-2.0
use std::fmt;
use std::path::{Path, PathBuf};

use tritongw_types::{Error, Result};

/// Where ONNX Runtime's C library is.
pub enum LibraryLocation {
    /// This file, or the installed Python package that holds it.
    Path(PathBuf),
    /// Whatever this finds, asked when the first model loads. It may block; `None` means that
    /// ONNX Runtime is not installed.
    Find(Box<dyn Fn() -> Option<PathBuf> + Send + Sync>),
}

impl LibraryLocation {
    /// Returns the library's file.
    ///
    /// # Errors
    /// `Unavailable` if there is none, with the command that installs it.
    pub(crate) fn resolve(&self) -> Result<PathBuf> {
        match self {
            Self::Path(path) => resolve_path(path),
            Self::Find(find) => {
                let path = find().ok_or_else(|| {
                    Error::unavailable(format!("ONNX Runtime is not installed: {INSTALL}"))
                })?;
                resolve_path(&path)
            }
        }
    }
}

const INSTALL: &str = "install it with `pip install 'tritongw[onnx]'`";

/// Finds the library of an explicit path.
pub(crate) fn resolve_path(path: &Path) -> Result<PathBuf> {
    if path.is_dir() {
        return library_in_package(path).ok_or_else(|| {
            let path = path.display();
            Error::unavailable(format!("no ONNX Runtime library in '{path}': {INSTALL}"))
        });
    }
    if path.is_file() {
        return Ok(path.to_owned());
    }
    let path = path.display();
    Err(Error::unavailable(format!(
        "ONNX Runtime library '{path}' does not exist: {INSTALL}"
    )))
}

/// Returns the C library in a directory of the Python package `onnxruntime`: the package itself,
/// or its `capi`.
///
/// The wheel names it `libonnxruntime.so.<version>`, and keeps libraries of execution providers
/// beside it.
pub fn library_in_package(package: &Path) -> Option<PathBuf> {
    [package.join("capi"), package.to_owned()]
        .iter()
        .find_map(|directory| library_in(directory))
}

fn library_in(directory: &Path) -> Option<PathBuf> {
    let is_library = |name: &str| {
        let suffix = name.strip_prefix("libonnxruntime.so");
        suffix.is_some_and(|suffix| suffix.is_empty() || suffix.starts_with('.'))
    };
    let entries = directory
        .read_dir()
        .ok()?
        .filter_map(std::result::Result::ok);
    let libraries = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_library));
    // The longest name is the most exact version; others link to it.
    libraries
        .map(|entry| entry.path())
        .max_by_key(|path| (path.as_os_str().len(), path.clone()))
}

impl fmt::Debug for LibraryLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => f.debug_tuple("Path").field(path).finish(),
            Self::Find(_) => f.debug_tuple("Find").finish_non_exhaustive(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(files: &[&str]) -> tempfile::TempDir {
        let package = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(package.path().join("capi")).expect("an empty package");
        for file in files {
            std::fs::write(package.path().join("capi").join(file), b"").expect("writable");
        }
        package
    }

    #[test]
    fn finds_the_library_among_its_neighbours() {
        let package = package(&[
            "libonnxruntime_providers_shared.so",
            "libonnxruntime.so.1.24.1",
            "onnxruntime_pybind11_state.so",
        ]);
        let library = package.path().join("capi/libonnxruntime.so.1.24.1");
        assert_eq!(library_in_package(package.path()), Some(library.clone()));
        assert_eq!(
            library_in_package(&package.path().join("capi")),
            Some(library.clone())
        );
        let location = LibraryLocation::Path(package.path().to_owned());
        assert_eq!(location.resolve().expect("found"), library);
    }

    #[test]
    fn what_is_missing_names_the_extra() {
        let package = package(&["libonnxruntime_providers_shared.so"]);
        let locations = [
            LibraryLocation::Find(Box::new(|| None)),
            LibraryLocation::Path(package.path().to_owned()),
            LibraryLocation::Path(package.path().join("absent.so")),
        ];
        for location in locations {
            let error = location.resolve().expect_err("nothing there");
            assert!(
                error.message().contains("pip install 'tritongw[onnx]'"),
                "{error}"
            );
        }
    }
}
