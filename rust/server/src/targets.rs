// SPDX-License-Identifier: Apache-2.0
//! A private model repository for what was named on the command line without one.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tritongw_types::{Error, Result, SafeName};

use crate::options::Target;

/// Models that lie in no repository of the user's; gone when dropped.
pub(crate) struct TargetRepository {
    directory: TempDir,
}

impl TargetRepository {
    /// Writes a model for each target; `None` if there is none. `python` is the program, with arguments, that writes those of Python.
    ///
    /// # Errors
    /// If a target cannot be served; why a Python one cannot has been printed.
    pub(crate) fn write(targets: &[&Target], python: &[OsString]) -> Result<Option<Self>> {
        if targets.is_empty() {
            return Ok(None);
        }
        let directory = TempDir::with_prefix("tritongw-serve-")
            .map_err(|source| failed("make a directory for the models", source))?;
        let mut objects = Vec::new();
        for target in targets {
            match target {
                // Lies where it is.
                Target::Repository(_) => {}
                Target::Onnx { name, file } => write_onnx(directory.path(), name, file)?,
                Target::Python(text) => objects.push(text),
            }
        }
        if !objects.is_empty() {
            let (program, arguments) = python.split_first().ok_or_else(|| {
                Error::unsupported("this server runs without Python, and serves no Python objects")
            })?;
            let status = Command::new(program)
                .args(arguments)
                .arg(directory.path())
                .args(&objects)
                .status()
                .map_err(|source| failed("run Python", source))?;
            if !status.success() {
                return Err(Error::invalid_arg("not every Python object can be served"));
            }
        }
        Ok(Some(Self { directory }))
    }

    /// Returns its directory.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Returns the names of its models.
    ///
    /// # Errors
    /// If the directory cannot be read any more.
    pub(crate) fn model_names(&self) -> Result<Vec<String>> {
        let names = || {
            let entries = fs::read_dir(self.path())?;
            entries
                .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                .collect::<io::Result<_>>()
        };
        names().map_err(|source| failed("list the models to serve", source))
    }
}

/// Writes an ONNX model: links to its file and, since its weights may lie in others, to all files
/// beside it.
fn write_onnx(repository: &Path, name: &SafeName, file: &Path) -> Result<()> {
    let cannot = |reason: String| {
        let message = format!("cannot serve '{}': {reason}", file.display());
        Error::invalid_arg(message)
    };
    let file = fs::canonicalize(file).map_err(|error| cannot(error.to_string()))?;
    if !file.is_file() {
        return Err(cannot("it is no file".to_owned()));
    }
    let model = repository.join(name.as_str());
    match fs::create_dir(&model) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(cannot(format!(
                "two models are called '{name}'; give one another name: 'NAME={}'",
                file.display()
            )));
        }
        created => created.map_err(|error| cannot(error.to_string()))?,
    }
    link_version(&model.join("1"), &file).map_err(|error| cannot(error.to_string()))
}

fn link_version(version: &Path, file: &Path) -> io::Result<()> {
    fs::create_dir(version)?;
    symlink(file, version.join("model.onnx"))?;
    for sibling in siblings(file)? {
        let name = sibling.file_name().unwrap_or_default();
        if sibling != file && name != "model.onnx" {
            symlink(&sibling, version.join(name))?;
        }
    }
    Ok(())
}

/// Lists the files that may belong to an ONNX model: its directory's, but for other models.
fn siblings(file: &Path) -> io::Result<Vec<PathBuf>> {
    let Some(directory) = file.parent() else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_other_model = path
            .extension()
            .is_some_and(|extension| extension == "onnx");
        if path.is_file() && !is_other_model {
            found.push(path);
        }
    }
    Ok(found)
}

fn failed(what: &str, source: io::Error) -> Error {
    Error::internal(format!("failed to {what}: {source}")).with_source(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn onnx(name: &str, file: PathBuf) -> Target {
        Target::Onnx {
            name: SafeName::new(name).expect("safe"),
            file,
        }
    }

    #[test]
    fn an_onnx_file_is_linked_with_the_files_beside_it() {
        let place = TempDir::new().expect("a directory");
        let file = place.path().join("net.onnx");
        for name in ["net.onnx", "net.onnx.data", "other.onnx"] {
            fs::write(place.path().join(name), name).expect("a writable directory");
        }
        let written = TargetRepository::write(&[&onnx("net", file)], &[]);
        let written = written.expect("valid").expect("one model");
        assert_eq!(written.model_names().expect("readable"), ["net"]);
        let version = written.path().join("net/1");
        let read = |name: &str| fs::read_to_string(version.join(name)).ok();
        assert_eq!(read("model.onnx").as_deref(), Some("net.onnx"));
        assert_eq!(read("net.onnx.data").as_deref(), Some("net.onnx.data"));
        assert_eq!(read("other.onnx"), None);
    }

    #[test]
    fn what_cannot_be_served_is_named() {
        let missing = onnx("net", "no/such.onnx".into());
        let error = TargetRepository::write(&[&missing], &[])
            .err()
            .expect("no file");
        assert_eq!(
            error.message(),
            "cannot serve 'no/such.onnx': No such file or directory (os error 2)"
        );
        let place = TempDir::new().expect("a directory");
        let file = place.path().join("net.onnx");
        fs::write(&file, "").expect("a writable directory");
        let model = onnx("net", file);
        let error = TargetRepository::write(&[&model, &model], &[])
            .err()
            .expect("twice");
        assert!(error.message().contains("two models are called 'net'"));
        let object = Target::Python("app.py".to_owned());
        let error = TargetRepository::write(&[&object], &[])
            .err()
            .expect("no Python");
        assert!(
            error
                .message()
                .starts_with("this server runs without Python")
        );
    }
}
