// SPDX-License-Identifier: Apache-2.0
//! Reader of protobuf text format, the language of `config.pbtxt`.

mod error;
mod lexer;
mod literal;
mod parser;
mod unescape;

pub use error::{ParseError, ParseErrors};

use tritongw_protocol::pb;

use crate::descriptor;
use parser::Parser;

/// Reads a model configuration; `file_name` is only used in messages.
///
/// Accepts all of the text format: comments, `[a, b]` lists, messages in `{}` or `<>` with or
/// without a colon, fields parted by nothing, `,` or `;`, both kinds of quotes, adjacent strings,
/// all escapes, hexadecimal and octal integers, enum values by name or number. Extensions and
/// `Any` have no place in a model configuration and are refused.
///
/// # Errors
/// Every field that is unknown or has a value of the wrong type, up to the first place where the
/// text cannot be followed.
pub fn parse(file_name: &str, text: &str) -> Result<pb::ModelConfig, ParseErrors> {
    match Parser::new(text).document(descriptor::model_config()) {
        Ok(message) => Ok(descriptor::from_dynamic(&message)),
        Err(faults) => Err(ParseErrors::new(file_name, text, faults)),
    }
}

#[cfg(test)]
mod tests;
