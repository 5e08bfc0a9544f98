// SPDX-License-Identifier: Apache-2.0
//! Frames and messages that no client of good faith sends.

use bytes::Bytes;
use tritongw_engine::buffer::RequestBuffer;

use crate::codec;
use crate::compression::Encoding;
use crate::framing::{FramingError, Message, MessageDecoder};

const LIMIT: usize = 1 << 16;

/// Cut anywhere, a stream holds the same messages and ends in the same way.
#[test]
fn framing() {
    tritongw_fuzzing::fuzz!("framing", |input: &[u8]| {
        let whole = read_all([input]);
        assert_eq!(read_all(input.chunks(1)), whole);
        assert_eq!(read_all(input.chunks(7)), whole);
        for message in whole.0 {
            assert!(message.payload.len() <= LIMIT);
            for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Deflate] {
                let message = Message {
                    payload: message.payload.clone(),
                    ..message
                };
                if let Ok(data) = encoding.decode(message, LIMIT) {
                    assert!(data.len() <= LIMIT);
                }
            }
        }
    });
}

fn read_all<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Message>, Option<FramingError>) {
    let on_heap = |_: &[u8], _: usize| None::<Box<dyn RequestBuffer>>;
    let mut decoder = MessageDecoder::new(LIMIT);
    let mut messages = Vec::new();
    for piece in pieces {
        decoder.push(Bytes::copy_from_slice(piece));
        loop {
            match decoder.next_message(&on_heap) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
    }
    (messages, None)
}

/// What prost reads we read, and read the same.
#[test]
fn infer_request() {
    tritongw_fuzzing::fuzz!("infer_request", |input: &[u8]| {
        codec::peek_model(input);
        codec::peek_raw_contents(input);
        codec::tests::compare_with_prost(&Bytes::copy_from_slice(input));
    });
}
