// SPDX-License-Identifier: Apache-2.0
//! The JSON form of a model configuration: what the config endpoint prints, what backends read,
//! and what load overrides and backends' completions carry.

mod number;
mod parse;
mod print;
mod scalar;

pub use parse::parse;
pub use print::print;

#[cfg(test)]
mod tests;
