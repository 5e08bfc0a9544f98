// SPDX-License-Identifier: Apache-2.0
//! JSON as RapidJSON reads and writes it: a pull reader without a tree, and a writer.

mod float;
mod number;
mod reader;
mod string;
mod syntax_error;
mod writer;

pub(crate) use number::Number;
pub(crate) use reader::{Reader, ValueKind};
pub(crate) use syntax_error::{SyntaxError, SyntaxErrorKind};
pub(crate) use writer::Writer;

#[cfg(test)]
mod tests;
