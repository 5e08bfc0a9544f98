// SPDX-License-Identifier: Apache-2.0
//! Model configuration: from the text of `config.pbtxt` to a checked [`ModelConfig`].
//!
//! Owns the readers of protobuf text format ([`text`]) and of JSON ([`json`]), the completion of
//! what a configuration leaves out ([`guess_backend`], [`normalize`],
//! [`merge_backend_completion`]), its validation ([`ModelConfig::from_message`]) and its canonical
//! JSON. **Invariant:** pure functions of their arguments; no files, no clock, no log. After
//! [`ModelConfig::from_message`] nothing needs to be checked again. Start there.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod autocomplete;
mod completion;
mod descriptor;
pub mod json;
mod layout;
mod model_config;
mod normalize;
mod platform;
mod suggest;
pub mod text;

pub use autocomplete::{configuration_not_provided, guess_backend};
pub use completion::merge_backend_completion;
pub use layout::{VersionDirectory, name_after_directory};
pub use model_config::*;
pub use normalize::{NormalizeOptions, normalize};
