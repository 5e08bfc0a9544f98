// SPDX-License-Identifier: Apache-2.0

use std::fmt::Write;

use tritongw_types::{Error, ErrorCode};

/// Why a model was not loaded.
#[derive(Clone, Debug)]
pub(crate) enum LoadFailure {
    /// The request to load it is at fault.
    Refused(Error),
    /// No repository holds it (R033).
    Unknown,
    /// Its configuration cannot be read, or is another model's: to clients there is no such model.
    NoModel(Error),
    /// More than one repository holds it (R028).
    Ambiguous,
    /// It is a model, of which no version is to be served.
    NoVersion(Error),
    /// These versions failed, and others with them (R035).
    Versions(Vec<(i64, Error)>),
}

impl LoadFailure {
    /// What is wrong with a configuration that a client sent (R040).
    pub(crate) fn invalid_override(error: Error) -> Self {
        let message = format!("Invalid config override: {}", error.message());
        Self::Refused(Error::new(ErrorCode::InvalidArg, message).with_source(error))
    }

    /// Returns why, for index and log.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Refused(error) | Self::NoModel(error) | Self::NoVersion(error) => {
                error.to_string()
            }
            Self::Unknown => "model not found in any model repository".to_owned(),
            Self::Ambiguous => "model appears in two or more repositories".to_owned(),
            Self::Versions(versions) => versions_text(versions),
        }
    }

    /// Returns the answer to whoever asked to load `model` (R033, R034).
    pub(crate) fn into_error(self, model: &str) -> Error {
        let failed =
            |why: &str| Error::invalid_arg(format!("load failed for model '{model}': {why}\n"));
        match self {
            Self::Refused(error) => error,
            Self::Unknown => Error::internal(not_polled(model)),
            Self::Ambiguous | Self::NoModel(_) => {
                Error::internal(format!("{}: {}", not_polled(model), self.reason()))
            }
            Self::NoVersion(error) => failed(error.message()),
            Self::Versions(versions) => failed(versions_text(&versions).trim_end()),
        }
    }
}

fn not_polled(model: &str) -> String {
    format!("failed to load '{model}', failed to poll from model repository")
}

fn versions_text(versions: &[(i64, Error)]) -> String {
    let mut text = String::new();
    for (version, error) in versions {
        // INVARIANT: writing to a String cannot fail.
        let _ = writeln!(text, "version {version} is at UNAVAILABLE state: {error};");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_tritons() {
        let why = || Error::internal("out of order");
        let cases = [
            (
                LoadFailure::Unknown,
                ErrorCode::Internal,
                "failed to load 'm', failed to poll from model repository",
            ),
            (
                LoadFailure::NoModel(why()),
                ErrorCode::Internal,
                "failed to load 'm', failed to poll from model repository: Internal: out of order",
            ),
            (
                LoadFailure::Ambiguous,
                ErrorCode::Internal,
                "failed to load 'm', failed to poll from model repository: model appears in two \
                 or more repositories",
            ),
            (
                LoadFailure::NoVersion(Error::invalid_arg("no version")),
                ErrorCode::InvalidArg,
                "load failed for model 'm': no version\n",
            ),
            (
                LoadFailure::Versions(vec![(1, why()), (3, why())]),
                ErrorCode::InvalidArg,
                "load failed for model 'm': version 1 is at UNAVAILABLE state: Internal: out of \
                 order;\nversion 3 is at UNAVAILABLE state: Internal: out of order;\n",
            ),
            (
                LoadFailure::invalid_override(Error::invalid_arg("no such field")),
                ErrorCode::InvalidArg,
                "Invalid config override: no such field",
            ),
        ];
        for (failure, code, message) in cases {
            let error = failure.into_error("m");
            assert_eq!((error.code(), error.message()), (code, message));
        }
    }
}
