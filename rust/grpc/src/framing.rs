// SPDX-License-Identifier: Apache-2.0
//! gRPC's framing: a compressed flag and a length before each message, messages cut anywhere by
//! the frames that carry them.

use bytes::{Buf, Bytes};
use tritongw_engine::buffer::RequestBuffer;

/// Bytes before each message: the compressed flag and a big-endian length.
pub(crate) const PREFIX_LENGTH: usize = 5;

/// A message larger than this grows on the heap as it arrives, whatever length was announced.
const MAX_FIRST_ALLOCATION: usize = 8 << 20;

/// One message as it was sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) is_compressed: bool,
    pub(crate) payload: Bytes,
}

/// Why a stream holds no further message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FramingError {
    /// The announced length is above the limit.
    TooLarge { size: usize, limit: usize },
    /// The first byte is neither 0 nor 1.
    BadFlag(u8),
}

/// Gives memory for a message of known size that arrives in several pieces; gets its beginning.
pub(crate) type MessageMemory<'a> =
    dyn Fn(&[u8], usize) -> Option<Box<dyn RequestBuffer>> + Sync + 'a;

/// Puts messages together from pieces; does no I/O.
pub(crate) struct MessageDecoder {
    limit: usize,
    prefix: [u8; PREFIX_LENGTH],
    prefix_filled: usize,
    /// What the last piece holds beyond the messages taken from it.
    piece: Bytes,
    assembly: Option<Assembly>,
}

impl MessageDecoder {
    pub(crate) fn new(limit: usize) -> Self {
        let prefix = [0; PREFIX_LENGTH];
        Self {
            limit,
            prefix,
            prefix_filled: 0,
            piece: Bytes::new(),
            assembly: None,
        }
    }

    /// Takes the next piece; only when [`Self::next_message`] has returned `None`.
    pub(crate) fn push(&mut self, piece: Bytes) {
        debug_assert!(
            self.piece.is_empty(),
            "the last piece was not read to its end"
        );
        self.piece = piece;
    }

    /// Returns whether nothing is left of what was pushed.
    pub(crate) fn is_empty(&self) -> bool {
        self.prefix_filled == 0 && self.piece.is_empty()
    }

    /// Returns the next message, or `None` if it is not complete: without a copy if it lies in
    /// one piece, otherwise gathered in `memory` or on the heap.
    pub(crate) fn next_message(
        &mut self,
        memory: &MessageMemory<'_>,
    ) -> Result<Option<Message>, FramingError> {
        if !self.read_prefix()? {
            return Ok(None);
        }
        let length = self.message_length();
        let payload = match self.assembly.take() {
            None if self.piece.len() >= length => self.piece.split_to(length),
            // The prefix came alone: what follows may still bring the message in one piece.
            None if self.piece.is_empty() => return Ok(None),
            unfinished => {
                let mut assembly =
                    unfinished.unwrap_or_else(|| self.start_assembly(length, memory));
                assembly.take_from(&mut self.piece);
                if !assembly.is_complete() {
                    self.assembly = Some(assembly);
                    return Ok(None);
                }
                assembly.finish()
            }
        };
        self.prefix_filled = 0;
        Ok(Some(Message {
            is_compressed: self.prefix[0] == 1,
            payload,
        }))
    }

    /// Reads the prefix as far as the piece goes; returns whether it is complete.
    fn read_prefix(&mut self) -> Result<bool, FramingError> {
        if self.prefix_filled == PREFIX_LENGTH {
            return Ok(true);
        }
        let count = self.piece.len().min(PREFIX_LENGTH - self.prefix_filled);
        let target = &mut self.prefix[self.prefix_filled..self.prefix_filled + count];
        self.piece.copy_to_slice(target);
        self.prefix_filled += count;
        if self.prefix_filled < PREFIX_LENGTH {
            return Ok(false);
        }
        if self.prefix[0] > 1 {
            return Err(FramingError::BadFlag(self.prefix[0]));
        }
        match self.message_length() {
            size if size > self.limit => Err(FramingError::TooLarge {
                size,
                limit: self.limit,
            }),
            _ => Ok(true),
        }
    }

    fn start_assembly(&self, length: usize, memory: &MessageMemory<'_>) -> Assembly {
        // What is compressed is not what the model will read.
        let memory = if self.prefix[0] == 1 {
            None
        } else {
            memory(&self.piece, length)
        };
        let target = match memory {
            Some(buffer) => Target::Model(buffer),
            None => Target::Heap(Vec::with_capacity(length.min(MAX_FIRST_ALLOCATION))),
        };
        Assembly {
            target,
            filled: 0,
            length,
        }
    }

    fn message_length(&self) -> usize {
        let [_, length @ ..] = self.prefix;
        u32::from_be_bytes(length) as usize
    }
}

/// A message of which not all has arrived.
struct Assembly {
    target: Target,
    filled: usize,
    length: usize,
}

enum Target {
    Heap(Vec<u8>),
    Model(Box<dyn RequestBuffer>),
}

impl Assembly {
    fn take_from(&mut self, piece: &mut Bytes) {
        let data = piece.split_to(piece.len().min(self.length - self.filled));
        match &mut self.target {
            Target::Heap(target) => target.extend_from_slice(&data),
            Target::Model(buffer) => {
                buffer.as_mut_slice()[self.filled..self.filled + data.len()].copy_from_slice(&data);
            }
        }
        self.filled += data.len();
    }

    fn is_complete(&self) -> bool {
        self.filled == self.length
    }

    fn finish(self) -> Bytes {
        match self.target {
            Target::Heap(target) => Bytes::from(target),
            Target::Model(buffer) => buffer.freeze(),
        }
    }
}

/// Puts the prefix of an uncompressed message before it.
pub(crate) fn with_prefix(message: &impl prost::Message) -> Bytes {
    let length = message.encoded_len();
    let mut framed = Vec::with_capacity(PREFIX_LENGTH + length);
    framed.push(0);
    // A control answer is far below 4 GiB.
    framed.extend_from_slice(&(length as u32).to_be_bytes());
    message.encode_raw(&mut framed);
    Bytes::from(framed)
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use proptest::prelude::*;

    use super::*;

    struct SlabBuffer(Vec<u8>);

    impl RequestBuffer for SlabBuffer {
        fn as_mut_slice(&mut self) -> &mut [u8] {
            &mut self.0
        }
        fn freeze(self: Box<Self>) -> Bytes {
            Bytes::from(self.0)
        }
    }

    fn framed(payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("a small message");
        [&[0][..], &length.to_be_bytes(), payload].concat()
    }

    fn on_heap(_: &[u8], _: usize) -> Option<Box<dyn RequestBuffer>> {
        None
    }

    /// Returns all messages of `pieces`.
    fn messages(pieces: &[&[u8]]) -> Vec<Bytes> {
        let mut decoder = MessageDecoder::new(1 << 20);
        let mut messages = Vec::new();
        for piece in pieces {
            decoder.push(Bytes::copy_from_slice(piece));
            while let Some(message) = decoder.next_message(&on_heap).expect("well formed") {
                messages.push(message.payload);
            }
        }
        messages
    }

    #[test]
    fn a_message_in_one_piece_is_not_copied() {
        let piece = Bytes::from(framed(b"tensor"));
        let mut decoder = MessageDecoder::new(100);
        decoder.push(piece.slice(..PREFIX_LENGTH));
        assert_eq!(decoder.next_message(&on_heap), Ok(None));
        decoder.push(piece.slice(PREFIX_LENGTH..));
        let message = decoder
            .next_message(&on_heap)
            .expect("valid")
            .expect("complete");
        assert_eq!(message.payload.as_ptr(), piece[PREFIX_LENGTH..].as_ptr());
    }

    #[test]
    fn a_message_in_pieces_lands_in_the_memory_of_its_model() {
        let asked = Mutex::new(None);
        let memory = |beginning: &[u8], length: usize| {
            *asked.lock() = Some((beginning.to_vec(), length));
            Some(Box::new(SlabBuffer(vec![0; length])) as Box<dyn RequestBuffer>)
        };
        let piece = Bytes::from(framed(b"model and tensor"));
        let mut decoder = MessageDecoder::new(100);
        decoder.push(piece.slice(..10));
        assert_eq!(decoder.next_message(&memory), Ok(None));
        decoder.push(piece.slice(10..));
        let message = decoder
            .next_message(&memory)
            .expect("valid")
            .expect("complete");
        assert_eq!(message.payload, b"model and tensor"[..]);
        assert_eq!(asked.into_inner(), Some((b"model".to_vec(), 16)));
    }

    #[test]
    fn sizes_and_flags_are_checked_before_the_message_arrives() {
        let mut decoder = MessageDecoder::new(10);
        decoder.push(Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff]));
        let expected = FramingError::TooLarge {
            size: 0xffff_ffff,
            limit: 10,
        };
        assert_eq!(decoder.next_message(&on_heap), Err(expected));
        let mut decoder = MessageDecoder::new(10);
        decoder.push(Bytes::from_static(&[2, 0, 0, 0, 0]));
        assert_eq!(
            decoder.next_message(&on_heap),
            Err(FramingError::BadFlag(2))
        );
    }

    proptest! {
        #[test]
        fn messages_survive_any_cut(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..5),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let stream: Vec<u8> = payloads.iter().flat_map(|payload| framed(payload)).collect();
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            ends.push(stream.len());
            ends.sort_unstable();
            let mut start = 0;
            let pieces: Vec<&[u8]> = ends
                .into_iter()
                .map(|end| &stream[std::mem::replace(&mut start, end)..end])
                .collect();
            prop_assert_eq!(messages(&pieces), payloads);
        }
    }
}
