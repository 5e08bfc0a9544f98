// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use tritongw_types::Error;

pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(crate) const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Encoded messages are cut here: clients refuse metadata above 8 KiB in all, and would then
/// report that instead of the error (a Python traceback can be longer).
const MAX_MESSAGE_LENGTH: usize = 7 * 1024;

/// What a client is told when the server stops (P157).
pub(crate) const SHUTTING_DOWN: &str =
    "GRPC server is shutting down and has stopped accepting new requests.";

/// Status codes of gRPC that this server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    Ok = 0,
    Cancelled = 1,
    Unknown = 2,
    DeadlineExceeded = 4,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    code: u8,
    message: String,
}

impl Status {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code: code as u8,
            message: message.into(),
        }
    }

    pub(crate) fn ok() -> Self {
        Self::new(Code::Ok, "")
    }

    /// The message could not be read (Triton: gRPC's own answer to a failed parse).
    pub(crate) fn unreadable() -> Self {
        Self::new(Code::Internal, "Unable to parse request")
    }

    /// The client gave the call up.
    pub(crate) fn cancelled() -> Self {
        Self::new(Code::Cancelled, "the call was cancelled")
    }

    /// The server stops.
    pub(crate) fn shutting_down() -> Self {
        Self::new(Code::Unavailable, SHUTTING_DOWN)
    }

    /// The call took longer than the client wanted to wait.
    pub(crate) fn deadline_exceeded() -> Self {
        Self::new(Code::DeadlineExceeded, "Deadline Exceeded")
    }

    /// Returns the code as it goes over the wire.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    /// Writes the status into trailers, or into the headers of an answer without a message.
    pub(crate) fn put_into(&self, headers: &mut HeaderMap) {
        headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(self.code)));
        if !self.message.is_empty() {
            let message = percent_encode(&self.message);
            // Percent-encoded text is a valid header value.
            if let Ok(message) = HeaderValue::try_from(message) {
                headers.insert(GRPC_MESSAGE, message);
            }
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Self {
            code: error.code().grpc_code(),
            message: error.message().to_owned(),
        }
    }
}

/// Encodes a message as gRPC wants it: printable ASCII as it is, all else and `%` as `%XX`.
fn percent_encode(message: &str) -> String {
    let mut encoded = String::with_capacity(message.len());
    for character in message.chars() {
        if encoded.len() + 3 * character.len_utf8() > MAX_MESSAGE_LENGTH {
            break;
        }
        match character {
            ' '..='~' if character != '%' => encoded.push(character),
            _ => {
                for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                    // Writing to a String cannot fail.
                    let _ = write!(encoded, "%{byte:02X}");
                }
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_percent_encoded() {
        assert_eq!(percent_encode("input 'x' is [1,2]"), "input 'x' is [1,2]");
        assert_eq!(percent_encode("100% é\n"), "100%25 %C3%A9%0A");
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let encoded = percent_encode(&"é".repeat(4000));
        assert!(encoded.len() <= MAX_MESSAGE_LENGTH && encoded.len() > MAX_MESSAGE_LENGTH - 6);
        assert!(encoded.ends_with("%C3%A9"));
    }

    #[test]
    fn the_engines_codes_become_grpcs() {
        let status = Status::from(Error::not_found("no such model"));
        let mut trailers = HeaderMap::new();
        status.put_into(&mut trailers);
        assert_eq!(trailers[GRPC_STATUS], "5");
        assert_eq!(trailers[GRPC_MESSAGE], "no such model");
        Status::ok().put_into(&mut trailers);
        assert_eq!(trailers[GRPC_STATUS], "0");
    }
}
