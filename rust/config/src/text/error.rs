// SPDX-License-Identifier: Apache-2.0
use std::fmt;

use tritongw_types::Error;

/// What is wrong, and at which byte of the text.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) offset: usize,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(offset: usize, message: impl Into<String>) -> Self {
        Self {
            offset,
            message: message.into(),
        }
    }
}

/// One thing that is wrong with a text; lines and columns start at 1, columns count characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// Everything that is wrong with a text, at least one thing; prints as `file:line:column: message`
/// lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseErrors {
    /// Name of the file as it was given.
    pub file_name: String,
    /// Errors in the order of the text.
    pub errors: Vec<ParseError>,
}

impl ParseErrors {
    pub(super) fn new(file_name: &str, text: &str, faults: Vec<Fault>) -> Self {
        let errors = faults
            .into_iter()
            .map(|fault| locate(text, fault))
            .collect();
        Self {
            file_name: file_name.to_owned(),
            errors,
        }
    }
}

fn locate(text: &str, fault: Fault) -> ParseError {
    let before = &text[..fault.offset];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    ParseError {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        message: fault.message,
    }
}

impl fmt::Display for ParseErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            let ParseError {
                line,
                column,
                message,
            } = error;
            write!(
                f,
                "{separator}{}:{line}:{column}: {message}",
                self.file_name
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for ParseErrors {}

/// Begins with Triton's sentence for a file that cannot be read.
impl From<ParseErrors> for Error {
    fn from(errors: ParseErrors) -> Self {
        let text = format!(
            "failed to read text proto from {}: {errors}",
            errors.file_name
        );
        Self::internal(text).with_source(errors)
    }
}
