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
mod shared_memory;
mod split;

pub(crate) use data::{has_json_form, read_scalars};
pub use head::{InferHead, parse_infer_head};
pub use input::HeadInput;
pub(crate) use input::{data_without_json_form, wrong_element_count};
pub use output::{HeadOutput, OutputEncoding};
pub use parameter::{HeadParameter, HeadParameterValue};
pub(crate) use parameter::{read_custom as read_custom_parameter, reserved as reserved_parameter};
pub(crate) use read_error::{ReadError, read_string};
pub use response::{EncodedResponse, ResponseHead, encode_infer_response};
pub(crate) use response::{write_generated, write_parameter};
pub(crate) use split::leading_integer;
pub use split::{inference_header_length, split_binary_tensors};

#[cfg(test)]
mod tests;
