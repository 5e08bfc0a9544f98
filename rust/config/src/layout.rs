// SPDX-License-Identifier: Apache-2.0
use tritongw_protocol::pb;
use tritongw_types::{Error, Result};

/// What the name of a directory inside a model's directory says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionDirectory {
    /// The directory holds this version.
    Version(i64),
    /// A number with a leading zero; to be skipped with a warning.
    LeadingZero,
    /// Something else, for example `warmup`, `initial_state` or `configs`.
    Other,
}

impl VersionDirectory {
    /// Reads the name of a directory.
    pub fn from_name(name: &str) -> Self {
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_digit()) {
            return Self::Other;
        }
        if name.len() > 1 && name.starts_with('0') {
            return Self::LeadingZero;
        }
        name.parse().map_or(Self::Other, Self::Version)
    }
}

/// Gives the configuration the name of its directory, or checks that it has it.
///
/// # Errors
/// The configuration has another name.
pub fn name_after_directory(config: &mut pb::ModelConfig, directory: &str) -> Result<()> {
    if config.name.is_empty() {
        directory.clone_into(&mut config.name);
    }
    if config.name == directory {
        return Ok(());
    }
    Err(Error::invalid_arg(format!(
        "unexpected directory name '{directory}' for model '{}', directory name must equal model \
         name",
        config.name
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_directories_with_a_number_for_a_name() {
        let table = [
            ("1", VersionDirectory::Version(1)),
            ("0", VersionDirectory::Version(0)),
            ("20260101", VersionDirectory::Version(20_260_101)),
            ("01", VersionDirectory::LeadingZero),
            ("warmup", VersionDirectory::Other),
            ("initial_state", VersionDirectory::Other),
            ("configs", VersionDirectory::Other),
            ("-1", VersionDirectory::Other),
            ("1a", VersionDirectory::Other),
            ("", VersionDirectory::Other),
            ("99999999999999999999", VersionDirectory::Other),
        ];
        for (name, expected) in table {
            assert_eq!(VersionDirectory::from_name(name), expected, "{name:?}");
        }
    }

    #[test]
    fn a_model_has_the_name_of_its_directory() {
        let mut config = pb::ModelConfig::default();
        name_after_directory(&mut config, "m").expect("no name before");
        assert_eq!(config.name, "m");
        name_after_directory(&mut config, "m").expect("the same name");
        let error = name_after_directory(&mut config, "d").expect_err("another name");
        assert_eq!(
            error.to_string(),
            "Invalid argument: unexpected directory name 'd' for model 'm', directory name must \
             equal model name"
        );
    }
}
