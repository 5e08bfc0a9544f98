// SPDX-License-Identifier: Apache-2.0
//! A directory of this process alone, which ends with it.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

const PREFIX: &str = "tritongw-environments-";
const LOCK: &str = "lock";

/// A directory that nobody else may enter. Removed when dropped; what a process that was killed
/// left behind is removed by the next one that makes such a directory.
#[derive(Debug)]
pub(crate) struct PrivateDirectory {
    directory: TempDir,
    // Says that the directory is in use, for as long as it is open.
    _lock: File,
}

impl PrivateDirectory {
    /// Makes one where the system keeps temporary files.
    pub(crate) fn new() -> io::Result<Self> {
        Self::new_in(&std::env::temp_dir())
    }

    fn new_in(parent: &Path) -> io::Result<Self> {
        remove_abandoned(parent);
        let directory = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent)?;
        let lock = File::create_new(directory.path().join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self {
            directory,
            _lock: lock,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

fn remove_abandoned(parent: &Path) {
    let owner = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry
                .metadata()
                .is_ok_and(|data| data.is_dir() && data.uid() == owner);
        // Without a lock it was made just now, or is none of ours.
        let Some(lock) = is_ours
            .then(|| File::open(entry.path().join(LOCK)).ok())
            .flatten()
        else {
            continue;
        };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            log::warn!("failed to remove an abandoned environment: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_process_left_is_removed_and_nothing_else() {
        let parent = TempDir::new().expect("a directory");
        let living = PrivateDirectory::new_in(parent.path()).expect("made");
        let abandoned = parent.path().join(format!("{PREFIX}dead"));
        fs::create_dir(&abandoned).expect("made");
        File::create(abandoned.join(LOCK)).expect("made");
        let being_made = parent.path().join(format!("{PREFIX}new"));
        fs::create_dir(&being_made).expect("made");
        let path = {
            let next = PrivateDirectory::new_in(parent.path()).expect("made");
            assert!(!abandoned.exists());
            assert!(being_made.exists());
            assert!(living.path().exists());
            next.path().to_owned()
        };
        assert!(!path.exists());
    }
}
