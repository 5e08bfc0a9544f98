// SPDX-License-Identifier: Apache-2.0
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::compression::Encoding;
use crate::framing::{FramingError, MessageDecoder, MessageMemory};
use crate::status::{Code, Status};

/// Receives the one message of a unary call. What follows it is not read.
pub(crate) async fn receive_message(
    mut body: Incoming,
    encoding: Encoding,
    limit: usize,
    memory: &MessageMemory<'_>,
) -> Result<Bytes, Status> {
    let mut decoder = MessageDecoder::new(limit);
    loop {
        if let Some(message) = decoder.next_message(memory)? {
            return encoding.decode(message, limit);
        }
        // A call that ends, or breaks, before its message is complete.
        let Some(Ok(frame)) = body.frame().await else {
            return Err(Status::unreadable());
        };
        if let Ok(piece) = frame.into_data() {
            decoder.push(piece);
        }
    }
}

/// Returns the status of a message above the size limit (Triton: gRPC's own text).
pub(crate) fn too_large(size: usize, limit: usize) -> Status {
    let message = format!("SERVER: Received message larger than max ({size} vs. {limit})");
    Status::new(Code::ResourceExhausted, message)
}

impl From<FramingError> for Status {
    fn from(error: FramingError) -> Self {
        match error {
            FramingError::TooLarge { size, limit } => too_large(size, limit),
            FramingError::BadFlag(flag) => {
                Self::new(Code::Internal, format!("Bad GRPC frame type {flag:#04x}"))
            }
        }
    }
}
