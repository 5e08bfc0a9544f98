// SPDX-License-Identifier: Apache-2.0
//! Where the head ends and which bytes behind it belong to which input (P070-P073).

use bytes::Bytes;
use tritongw_engine::buffer::InputBuffer;
use tritongw_types::{Error, Result};

use super::input::HeadInput;

/// Returns the length of the head in a body of `body_length` bytes, given the value of
/// `Inference-Header-Content-Length`: all of the body where there is no such header, and 0 where
/// the body is one raw tensor (P075).
///
/// # Errors
/// `InvalidArg` if the body is shorter, or the value negative.
pub fn inference_header_length(header: Option<&[u8]>, body_length: usize) -> Result<usize> {
    let Some(header) = header else {
        return Ok(body_length);
    };
    match leading_integer(header) {
        Some(length) if length <= body_length => Ok(length),
        _ => Err(Error::invalid_arg(format!(
            "inference header size should be in range (0, {body_length}), got: {}",
            String::from_utf8_lossy(header)
        ))),
    }
}

/// Reads as C's `atoi` does: digits at the front after blanks and a sign, 0 where there is none.
/// `None` if negative or too large.
pub(crate) fn leading_integer(text: &[u8]) -> Option<usize> {
    let text = text.trim_ascii_start();
    let (is_negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let value = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .try_fold(0_usize, |value, digit| {
            value
                .checked_mul(10)?
                .checked_add(usize::from(digit - b'0'))
        })?;
    (!is_negative || value == 0).then_some(value)
}

/// Gives each binary input its slice of `rest`, the bytes behind the head; none is copied.
///
/// # Errors
/// `InvalidArg` if there are too few bytes or too many, in Triton's words.
pub fn split_binary_tensors(inputs: &mut [HeadInput], mut rest: Bytes, model: &str) -> Result<()> {
    for input in inputs {
        let Some(size) = input.binary_data_size else {
            continue;
        };
        let available = rest.len() as u64;
        let length = usize::try_from(size)
            .ok()
            .filter(|length| *length <= rest.len());
        let Some(length) = length else {
            return Err(Error::invalid_arg(format!(
                "unexpected size for input '{}', expecting {} additional bytes for model '{model}'",
                input.tensor.name,
                size - available
            )));
        };
        input.tensor.data = [InputBuffer::Host(rest.split_to(length))]
            .into_iter()
            .collect();
    }
    if rest.is_empty() {
        return Ok(());
    }
    let message = format!("unexpected additional input data for model '{model}'");
    Err(Error::invalid_arg(message))
}
