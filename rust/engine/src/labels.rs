// SPDX-License-Identifier: Apache-2.0
//! Names of classes, from the files beside a model (R008, M033, M107).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tritongw_config::{ModelConfig, ModelOutput};
use tritongw_types::{CName, Error, Result};

use crate::repository::beneath;

/// Labels of a model's outputs: one for each line of the output's file.
#[derive(Debug, Default)]
pub(crate) struct Labels(BTreeMap<CName, Vec<String>>);

impl Labels {
    /// Reads the label files of all outputs that have one.
    ///
    /// # Errors
    /// `Unsupported` if a file lies outside `directory`, also by a link; `Internal` if it cannot
    /// be read.
    pub(crate) fn load(directory: &Path, config: &ModelConfig) -> Result<Self> {
        let mut labels = BTreeMap::new();
        for output in &config.outputs {
            if let Some(file) = &output.label_filename {
                labels.insert(output.name.clone(), read(directory, file, output, config)?);
            }
        }
        Ok(Self(labels))
    }

    /// Returns the label of a class, if it has one.
    pub(crate) fn label(&self, output: &str, class: usize) -> Option<&str> {
        self.0.get(output)?.get(class).map(String::as_str)
    }
}

fn read(
    directory: &Path,
    file: &str,
    output: &ModelOutput,
    config: &ModelConfig,
) -> Result<Vec<String>> {
    let failed = |source| {
        Error::internal(format!(
            "failed to read label file '{file}' of output '{}': {source}",
            output.name
        ))
        .with_source(source)
    };
    let path = beneath(directory, &directory.join(file)).map_err(failed)?;
    let path = path.ok_or_else(|| {
        Error::unsupported(format!(
            "label file path '{file}' for output '{}' in model '{}' is outside model directory",
            output.name, config.name
        ))
    })?;
    let text = fs::read(path).map_err(failed)?;
    Ok(String::from_utf8_lossy(&text)
        .lines()
        .map(str::to_owned)
        .collect())
}
