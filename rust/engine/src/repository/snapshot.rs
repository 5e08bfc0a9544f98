// SPDX-License-Identifier: Apache-2.0
//! What a model's directory held at one moment, to tell later whether it has changed (R025, R031).

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tritongw_config::VersionDirectory;
use tritongw_types::Result;

use super::{ModelDirectory, entries};

/// Deepest nesting of directories that is looked at: enough for any model, and an end to links
/// that lead back to where they are.
const MAX_DEPTH: usize = 32;

/// What tells a file from what it was before.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FileStamp {
    modified: (i64, i64),
    byte_size: u64,
    inode: u64,
}

impl FileStamp {
    fn new(metadata: &Metadata) -> Self {
        Self {
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            byte_size: metadata.size(),
            inode: metadata.ino(),
        }
    }
}

/// The files beneath a directory by their path within it.
///
/// `__pycache__` and what else an interpreter leaves behind does not count, nor do the times of
/// directories, which change with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileStamps(BTreeMap<String, FileStamp>);

impl FileStamps {
    /// Adds what is at `path`, a file or all that lies beneath it.
    fn add(&mut self, path: &Path, name: &str, depth: usize) -> Result<()> {
        if name == "__pycache__" || name.ends_with(".pyc") || depth > MAX_DEPTH {
            return Ok(());
        }
        // A link counts as what it points to; one that points nowhere is as good as not there.
        let Ok(metadata) = fs::metadata(path) else {
            return Ok(());
        };
        if !metadata.is_dir() {
            let key = path.display().to_string();
            self.0.insert(key, FileStamp::new(&metadata));
            return Ok(());
        }
        for (name, _) in entries(path)? {
            self.add(&path.join(&name), &name, depth + 1)?;
        }
        Ok(())
    }
}

/// What a model's directory held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ModelSnapshot {
    /// Files by version.
    pub(crate) versions: BTreeMap<i64, FileStamps>,
    /// Files of all versions, such as labels and libraries.
    pub(crate) shared: FileStamps,
    /// Name and text of the configuration, if there is one.
    pub(crate) config: Option<(String, String)>,
}

impl ModelSnapshot {
    /// Looks at a model's directory. Its configuration counts by its text, not by its time.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn read(directory: &ModelDirectory, config_name: Option<&str>) -> Result<Self> {
        let mut snapshot = Self {
            versions: BTreeMap::new(),
            shared: FileStamps::default(),
            config: directory.config_text(config_name)?,
        };
        for (name, is_directory) in entries(&directory.path)? {
            let path = directory.path.join(&name);
            match VersionDirectory::from_name(&name) {
                VersionDirectory::Version(version) if is_directory => {
                    let stamps = snapshot.versions.entry(version).or_default();
                    stamps.add(&path, &name, 0)?;
                }
                VersionDirectory::LeadingZero if is_directory => log::warn!(
                    "ignore version directory '{name}' which contains leading zeros in its \
                     directory name"
                ),
                _ if name == "config.pbtxt" || name == "configs" => {}
                _ => snapshot.shared.add(&path, &name, 0)?,
            }
        }
        Ok(snapshot)
    }

    /// Returns the versions there are, ascending (R004).
    pub(crate) fn version_numbers(&self) -> Vec<i64> {
        self.versions.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;
    use tritongw_types::SafeName;

    use super::*;

    fn model(repository: &TempDir) -> ModelDirectory {
        let path = repository.path().join("m");
        fs::create_dir_all(path.join("1")).expect("a writable directory");
        fs::write(path.join("1/model.py"), "one").expect("a writable directory");
        fs::write(path.join("config.pbtxt"), "backend: \"python\"").expect("a writable directory");
        ModelDirectory {
            name: SafeName::new("m").expect("a safe name"),
            path,
            is_mapped: false,
        }
    }

    fn read(directory: &ModelDirectory) -> ModelSnapshot {
        ModelSnapshot::read(directory, None).expect("readable")
    }

    #[test]
    fn what_an_interpreter_leaves_behind_is_no_change() {
        let repository = TempDir::new().expect("a temporary directory");
        let directory = model(&repository);
        let before = read(&directory);
        let cache = directory.path.join("1/__pycache__");
        fs::create_dir(&cache).expect("a writable directory");
        fs::write(cache.join("model.cpython-311.pyc"), "code").expect("a writable directory");
        fs::write(directory.path.join("1/model.pyc"), "code").expect("a writable directory");
        assert_eq!(read(&directory), before);
    }

    #[test]
    fn a_file_counts_for_its_version_and_a_shared_one_for_all() {
        let repository = TempDir::new().expect("a temporary directory");
        let directory = model(&repository);
        let before = read(&directory);
        fs::write(directory.path.join("1/weights.bin"), "w").expect("a writable directory");
        let with_weights = read(&directory);
        assert_ne!(with_weights.versions, before.versions);
        assert_eq!(with_weights.shared, before.shared);
        fs::write(directory.path.join("labels.txt"), "cat").expect("a writable directory");
        assert_ne!(read(&directory).shared, before.shared);
    }

    #[test]
    fn a_configuration_counts_by_its_text() {
        let repository = TempDir::new().expect("a temporary directory");
        let directory = model(&repository);
        let before = read(&directory);
        let file = directory.path.join("config.pbtxt");
        fs::write(&file, "backend: \"python\"").expect("a writable directory");
        assert_eq!(read(&directory), before);
        fs::write(&file, "backend: \"other\"").expect("a writable directory");
        assert_ne!(read(&directory), before);
    }

    #[test]
    fn a_link_that_leads_back_ends() {
        let repository = TempDir::new().expect("a temporary directory");
        let directory = model(&repository);
        std::os::unix::fs::symlink(&directory.path, directory.path.join("1/loop"))
            .expect("a writable directory");
        assert_eq!(read(&directory), read(&directory));
    }
}
