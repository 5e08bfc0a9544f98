// SPDX-License-Identifier: Apache-2.0
//! The body of an inference request and of its response: JSON head and binary tensors.
//!
//! Knows no connection and no server, so that benches and fuzzers can call it: [`parse_infer_head`]
//! reads a head in one pass, [`split_binary_tensors`] gives its inputs their slices of the body,
//! [`encode_infer_response`] writes the answer.

mod data;
mod head;
mod input;
mod output;
mod parameter;
mod read_error;
mod response;
mod split;

pub use head::{InferHead, parse_infer_head};
pub use input::HeadInput;
pub use output::{HeadOutput, OutputEncoding};
pub use parameter::{HeadParameter, HeadParameterValue};
pub use response::{EncodedResponse, ResponseHead, encode_infer_response};
pub use split::{inference_header_length, split_binary_tensors};

#[cfg(test)]
mod tests;
