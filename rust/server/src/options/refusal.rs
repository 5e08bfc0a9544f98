// SPDX-License-Identifier: Apache-2.0
use std::error::Error;
use std::io::{self, Write};

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::usage;

/// Why a command line is not served.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It cannot be understood; the table of options comes before the reason (C003). Without a
    /// reason the table was asked for (C004).
    Usage(String),
    /// Its options do not go together.
    Options(String),
    /// Something outside `serve`: help, version, no such command.
    Outside(clap::Error),
}

impl Refusal {
    /// Names the option whose value is refused.
    pub(super) fn bad_option(name: &str, reason: &str) -> Self {
        Self::Usage(format!("Bad option: \"--{name}\".\n{reason}\n"))
    }

    /// Prints what there is to say and returns the exit status.
    pub(crate) fn report(&self) -> i32 {
        let text = match self {
            Self::Usage(reason) => {
                format!(
                    "Usage: tritongw serve [options] [model...]\n{}\n\n{reason}\n",
                    usage::table()
                )
            }
            Self::Options(reason) => format!("Failed to build Triton option:\nerror: {reason}\n"),
            Self::Outside(error) => {
                // A closed console leaves nobody to tell.
                let _ = error.print();
                return i32::from(error.use_stderr());
            }
        };
        let _ = io::stderr().write_all(text.as_bytes());
        1
    }
}

impl From<clap::Error> for Refusal {
    fn from(error: clap::Error) -> Self {
        let Some(ContextValue::String(arg)) = error.get(ContextKind::InvalidArg) else {
            return Self::Outside(error);
        };
        if !matches!(
            error.kind(),
            ErrorKind::ValueValidation | ErrorKind::InvalidValue
        ) {
            return Self::Outside(error);
        }
        let name = arg
            .trim_start_matches('-')
            .split([' ', '='])
            .next()
            .unwrap_or_default();
        let reason = error
            .source()
            .map_or_else(|| error.to_string(), ToString::to_string);
        Self::bad_option(name, &reason)
    }
}
