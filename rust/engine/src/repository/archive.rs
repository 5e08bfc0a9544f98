// SPDX-License-Identifier: Apache-2.0
//! The model within an archive that a platform has unpacked (P161).

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use tritongw_types::{Error, Result, SafeName};

use super::{ModelDirectory, subdirectories};

/// Where an archive holds its model: either it is one, with `config.pbtxt` at its top, or it is a
/// small repository, of one model or of an ensemble and its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelArchive {
    /// The directory that serves as repository.
    pub repository: PathBuf,
    /// Name of the model's directory within it.
    pub directory: String,
}

/// Where no model may be looked for: what lies there is no file, whatever it looks like.
const FORBIDDEN: [&str; 3] = ["/dev", "/proc", "/sys"];

impl ModelArchive {
    /// Finds the model in the archive at `path`; links are followed first.
    ///
    /// # Errors
    /// `InvalidArg` if there is no directory, or one where none may be, or not one model.
    pub fn find(path: &Path) -> Result<Self> {
        let shown = path.display();
        let root = path.canonicalize().map_err(|source| {
            let message = format!("failed to register '{shown}', repository not found");
            Error::invalid_arg(message).with_source(source)
        })?;
        if FORBIDDEN
            .iter()
            .any(|forbidden| root.starts_with(forbidden))
        {
            return Err(Error::invalid_arg(format!(
                "invalid url '{shown}': it must not lead to /dev, /proc or /sys"
            )));
        }
        if root.join("config.pbtxt").is_file() {
            let parts = root.parent().zip(root.file_name().and_then(OsStr::to_str));
            let (parent, name) = parts.ok_or_else(|| {
                Error::invalid_arg(format!("'{shown}' has no name that a model may have"))
            })?;
            return Ok(Self {
                repository: parent.to_owned(),
                directory: name.to_owned(),
            });
        }
        let models = subdirectories(&root)?;
        let chosen = match models.as_slice() {
            [only] => Some(only),
            several => several.iter().find(|name| is_ensemble(&root, name)),
        };
        let directory = chosen.cloned().ok_or_else(|| {
            let count = models.len();
            Error::invalid_arg(format!(
                "expected one model in '{shown}', or an ensemble and its models, found {count}"
            ))
        })?;
        Ok(Self {
            repository: root,
            directory,
        })
    }
}

fn is_ensemble(repository: &Path, name: &str) -> bool {
    let Ok(name) = SafeName::new(name) else {
        return false;
    };
    let directory = ModelDirectory {
        path: repository.join(name.as_str()),
        name,
        is_mapped: false,
    };
    let Ok(Some((file, text))) = directory.config_text(None) else {
        return false;
    };
    tritongw_config::text::parse(&file, &text).is_ok_and(|config| config.platform == "ensemble")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn archive(models: &[(&str, &str)]) -> TempDir {
        let archive = TempDir::new().expect("a temporary directory");
        for (directory, config) in models {
            let directory = archive.path().join(directory);
            fs::create_dir_all(&directory).expect("a writable directory");
            fs::write(directory.join("config.pbtxt"), config).expect("a writable directory");
        }
        archive
    }

    fn found(archive: &TempDir) -> Result<(PathBuf, String)> {
        let found = ModelArchive::find(archive.path())?;
        let root = archive.path().canonicalize().expect("it is there");
        let within = found
            .repository
            .strip_prefix(root.parent().expect("not the root"));
        Ok((within.expect("nowhere else").to_owned(), found.directory))
    }

    #[test]
    fn the_model_is_the_archive_or_its_only_directory_or_the_ensemble() {
        let itself = archive(&[(".", "backend: \"x\"")]);
        let name = |archive: &TempDir| {
            let name = archive.path().file_name().expect("not the root");
            name.to_str().expect("Unicode").to_owned()
        };
        let expected = (PathBuf::new(), name(&itself));
        assert_eq!(found(&itself).expect("a model"), expected);
        let one = archive(&[("m", "backend: \"x\"")]);
        let expected = (PathBuf::from(name(&one)), "m".to_owned());
        assert_eq!(found(&one).expect("a model"), expected);
        let several = archive(&[
            ("a", "backend: \"x\""),
            ("b", "platform: \"ensemble\""),
            ("c", "backend: \"x\""),
        ]);
        assert_eq!(found(&several).expect("an ensemble").1, "b");
    }

    #[test]
    fn what_is_not_one_model_is_refused() {
        let message = |archive: &TempDir| {
            let error = found(archive).expect_err("not one model");
            error
                .message()
                .rsplit_once(' ')
                .expect("words")
                .1
                .to_owned()
        };
        assert_eq!(message(&archive(&[])), "0");
        assert_eq!(message(&archive(&[("a", ""), ("b", "")])), "2");
        let absent = ModelArchive::find(Path::new("/no/such/directory")).expect_err("nothing");
        assert_eq!(
            absent.message(),
            "failed to register '/no/such/directory', repository not found"
        );
        let archive = TempDir::new().expect("a temporary directory");
        let link = archive.path().join("link");
        std::os::unix::fs::symlink("/proc/self", &link).expect("a writable directory");
        let forbidden = ModelArchive::find(&link).expect_err("not there");
        assert!(
            forbidden.message().starts_with("invalid url"),
            "{forbidden}"
        );
    }
}
