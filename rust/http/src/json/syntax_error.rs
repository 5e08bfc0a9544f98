// SPDX-License-Identifier: Apache-2.0
use std::fmt;

use tritongw_types::Error;

/// What is wrong with a JSON text; one variant for each message a client can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SyntaxErrorKind {
    /// Nothing but blanks.
    Empty,
    /// Something follows the first value.
    TrailingText,
    /// No value begins here.
    InvalidValue,
    /// An object's member does not begin with a string.
    MissingName,
    /// No `:` after a member's name.
    MissingColon,
    /// No `,` or `}` after a member.
    MissingCommaInObject,
    /// No `,` or `]` after an element.
    MissingCommaInArray,
    /// `\u` without four hexadecimal digits.
    InvalidHex,
    /// Half of a surrogate pair.
    InvalidSurrogate,
    /// An unknown escape, or a bare control character.
    InvalidEscape,
    /// The text ends inside a string.
    MissingQuote,
    /// A number beyond the range of a double.
    NumberTooBig,
    /// No digit after the decimal point.
    MissingFraction,
    /// No digit in the exponent.
    MissingExponent,
    /// More than [`MAX_DEPTH`](super::reader::MAX_DEPTH) values inside one another.
    TooDeep,
}

/// Where and why a text is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    /// Why.
    pub(crate) kind: SyntaxErrorKind,
    /// Offset in bytes, as RapidJSON counts it.
    pub(crate) offset: usize,
}

impl SyntaxErrorKind {
    /// Returns the words of RapidJSON, which clients see (P060).
    const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "The document is empty.",
            Self::TrailingText => "The document root must not be followed by other values.",
            Self::InvalidValue => "Invalid value.",
            Self::MissingName => "Missing a name for object member.",
            Self::MissingColon => "Missing a colon after a name of object member.",
            Self::MissingCommaInObject => "Missing a comma or '}' after an object member.",
            Self::MissingCommaInArray => "Missing a comma or ']' after an array element.",
            Self::InvalidHex => "Incorrect hex digit after \\u escape in string.",
            Self::InvalidSurrogate => "The surrogate pair in string is invalid.",
            Self::InvalidEscape => "Invalid escape character in string.",
            Self::MissingQuote => "Missing a closing quotation mark in string.",
            Self::NumberTooBig => "Number too big to be stored in double.",
            Self::MissingFraction => "Miss fraction part in number.",
            Self::MissingExponent => "Miss exponent in number.",
            Self::TooDeep => "Values are nested deeper than 100 levels.",
        }
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.kind.as_str(), self.offset)
    }
}

impl std::error::Error for SyntaxError {}

impl From<SyntaxError> for Error {
    fn from(error: SyntaxError) -> Self {
        Self::invalid_arg(format!("failed to parse the request JSON buffer: {error}"))
    }
}
