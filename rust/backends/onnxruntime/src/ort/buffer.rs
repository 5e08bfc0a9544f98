// SPDX-License-Identifier: Apache-2.0
use tritongw_types::DataType;

/// A cache line, and the alignment of ORT's own tensors.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

const LINE: usize = 64;

/// Memory kept above this is given back after the execution that needed it.
const KEEP_LIMIT: usize = 64 << 20;

/// Memory of an instance in which the pieces of an input are laid end to end, aligned for every
/// element type; kept from one execution to the next.
#[derive(Default)]
pub(crate) struct AlignedBuffer {
    lines: Vec<Line>,
    len: usize,
}

impl AlignedBuffer {
    /// Replaces the content by `pieces`, one after another.
    pub(crate) fn fill<'a>(&mut self, pieces: impl Iterator<Item = &'a [u8]> + Clone) {
        self.len = pieces.clone().map(<[u8]>::len).sum();
        let lines = self.len.div_ceil(LINE);
        if self.lines.len() < lines || self.lines.len() * LINE > KEEP_LIMIT {
            // Freed first, so that old and new are never held together.
            self.lines = Vec::new();
            self.lines.resize(lines, Line([0; LINE]));
        }
        let mut rest = self.as_mut_slice();
        for piece in pieces {
            let (target, after) = rest.split_at_mut(piece.len());
            target.copy_from_slice(piece);
            rest = after;
        }
    }

    /// Returns the content.
    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: `lines` is that many initialised bytes (fill keeps `len` within it), without
        // padding, and borrowed as long as the slice.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast::<u8>(), self.len) }
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`; every byte pattern is a valid `Line`.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast::<u8>(), self.len) }
    }
}

impl std::fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AlignedBuffer")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// Returns whether ORT may read or write `data` as elements of this type.
///
/// ORT's kernels are C++ over typed pointers, so elements must lie at multiples of their own size:
/// a compiler may peel a loop up to a vector boundary that a pointer off its alignment never
/// meets. More than that ORT does not ask of a caller's tensor.
pub(crate) fn is_aligned(data: &[u8], data_type: DataType) -> bool {
    data_type
        .element_size()
        .is_some_and(|size| data.as_ptr().addr().is_multiple_of(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_lie_end_to_end_and_aligned() {
        let mut buffer = AlignedBuffer::default();
        let long = vec![7_u8; 1000];
        buffer.fill([&long[..], b"ab", b"", b"c"].into_iter());
        assert_eq!(buffer.as_slice()[..1000], long);
        assert_eq!(&buffer.as_slice()[1000..], b"abc");
        assert!(is_aligned(buffer.as_slice(), DataType::Fp64));
        buffer.fill([&b"xy"[..]].into_iter());
        assert_eq!(buffer.as_slice(), b"xy");
        buffer.fill(std::iter::empty());
        assert_eq!(buffer.as_slice(), b"");
    }

    #[test]
    fn alignment_is_that_of_one_element() {
        let mut buffer = AlignedBuffer::default();
        buffer.fill([&[0_u8; 32][..]].into_iter());
        let data = buffer.as_slice();
        assert!(is_aligned(&data[4..], DataType::Fp32));
        assert!(!is_aligned(&data[4..], DataType::Int64));
        assert!(!is_aligned(&data[2..], DataType::Fp32));
        assert!(is_aligned(&data[1..], DataType::Bool));
        assert!(!is_aligned(data, DataType::Bytes));
    }
}
