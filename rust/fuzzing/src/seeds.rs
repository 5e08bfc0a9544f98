// SPDX-License-Identifier: Apache-2.0
use std::path::Path;

use crate::edits::Edits;

/// Inputs that a target begins with.
#[derive(Debug)]
pub struct Seeds(Vec<Vec<u8>>);

impl Seeds {
    /// Reads every file of a folder, in the order of their names.
    ///
    /// # Panics
    /// If the folder cannot be read or holds none.
    pub fn read(folder: &Path) -> Self {
        let entries = folder
            .read_dir()
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut paths: Vec<_> = entries
            .map(|entry| entry.expect("an entry of the folder").path())
            .collect();
        paths.sort();
        assert!(!paths.is_empty(), "{} holds no seeds", folder.display());
        Self::from(
            paths
                .iter()
                .map(|path| std::fs::read(path).expect("a readable seed"))
                .collect::<Vec<_>>(),
        )
    }

    /// Walks the seeds as they are.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }

    /// Returns one of the seeds with `edits` made to it.
    pub fn edited(&self, edits: &Edits) -> Vec<u8> {
        let count = self.0.len();
        let pick = |choice: u16| self.0[usize::from(choice) % count].as_slice();
        edits.apply(&pick)
    }
}

impl From<Vec<Vec<u8>>> for Seeds {
    fn from(seeds: Vec<Vec<u8>>) -> Self {
        Self(seeds)
    }
}
