// SPDX-License-Identifier: Apache-2.0
//! `ModelInferRequest` in, `ModelInferResponse` out, without the tensors being copied.
//!
//! Written by hand because this is the hot path: the decoder borrows every name from the message
//! and hands out raw tensors as slices of it; the encoder leaves tensors where they are. All other
//! messages go through prost, which is also what the tests hold this module against.

mod contents;
mod request;
mod response;
mod segments;
#[cfg(test)]
pub(crate) mod tests;
mod wire;

pub use contents::TypedContents;
pub use request::{
    InferInput, InferParameter, InferRequest, Parameters, RequestedOutput, decode_infer_request,
    peek_model, peek_raw_contents,
};
pub use response::{Envelope, InferOutput, InferResponse, MessageTooLarge, encode_infer_response};
pub use segments::Segments;
pub use wire::MalformedMessage;
