// SPDX-License-Identifier: Apache-2.0
use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// A message in pieces that are written one after another, never joined in memory.
#[derive(Clone, Debug, Default)]
pub struct Segments {
    // INVARIANT: no piece is empty.
    pieces: VecDeque<Bytes>,
    remaining: usize,
}

impl Segments {
    /// Adds a piece at the end.
    pub fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.remaining += piece.len();
            self.pieces.push_back(piece);
        }
    }

    /// Adds all pieces of `other` at the end.
    pub fn append(&mut self, mut other: Self) {
        self.remaining += other.remaining;
        self.pieces.append(&mut other.pieces);
    }

    /// Returns how many pieces are left.
    pub fn piece_count(&self) -> usize {
        self.pieces.len()
    }
}

impl From<Bytes> for Segments {
    fn from(piece: Bytes) -> Self {
        let mut segments = Self::default();
        segments.push(piece);
        segments
    }
}

impl Buf for Segments {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, target: &mut [IoSlice<'a>]) -> usize {
        let count = target.len().min(self.pieces.len());
        for (slot, piece) in target.iter_mut().zip(&self.pieces) {
            *slot = IoSlice::new(piece);
        }
        count
    }

    fn advance(&mut self, mut count: usize) {
        assert!(
            count <= self.remaining,
            "advanced past the end of the message"
        );
        self.remaining -= count;
        while count > 0 {
            let piece = self
                .pieces
                .front_mut()
                .expect("INVARIANT: `remaining` bytes are held");
            if count < piece.len() {
                piece.advance(count);
                return;
            }
            count -= piece.len();
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_across_pieces_in_order() {
        let mut segments = Segments::from(Bytes::from_static(b"ab"));
        segments.push(Bytes::new());
        segments.push(Bytes::from_static(b"cdef"));
        assert_eq!((segments.piece_count(), segments.remaining()), (2, 6));
        segments.advance(3);
        assert_eq!(segments.chunk(), b"def");
        assert_eq!(segments.copy_to_bytes(3), b"def"[..]);
        assert!(!segments.has_remaining());
    }

    #[test]
    fn offers_every_piece_to_one_write() {
        let mut segments = Segments::from(Bytes::from_static(b"head"));
        segments.push(Bytes::from_static(b"tensor"));
        let mut slices = [IoSlice::new(&[]); 8];
        assert_eq!(segments.chunks_vectored(&mut slices), 2);
        assert_eq!((&*slices[0], &*slices[1]), (&b"head"[..], &b"tensor"[..]));
    }
}
