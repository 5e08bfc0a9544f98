// SPDX-License-Identifier: Apache-2.0
//! Criterion suites over the hot paths, one file in `benches/` for each; the library has the
//! numbers that several of them send.
//!
//! `cargo bench -p tritongw-benches --bench dynamic_batcher` measures one suite,
//! `cargo bench -p tritongw-benches -- --test` runs every benchmark once, as CI does. Ids read
//! `suite/operation/condition=value`, so that a filter such as `queue=1k` picks a column. Where a
//! general library does the same work, it is measured beside ours as `by=<library>`, and before
//! that both must give the same result.
#![forbid(unsafe_code)]

/// Element counts that stand for a small request and for a picture (3 x 224 x 224).
pub const ELEMENT_COUNTS: [usize; 2] = [16, 150_528];

/// Returns numbers between -2 and 2, like a normalised picture: no two codecs find them easy.
pub fn fp32_elements(count: usize) -> Vec<f32> {
    let fractions = random_bits(count).map(|bits| bits as f32 / (1_u32 << 24) as f32);
    fractions.map(|fraction| 4.0 * fraction - 2.0).collect()
}

/// Returns numbers below 32,768, like the tokens of a text: one to three bytes each as a varint.
pub fn int32_elements(count: usize) -> Vec<i32> {
    random_bits(count).map(|bits| bits as i32 >> 9).collect()
}

/// Returns numbers of 24 bits, the same ones on every call.
fn random_bits(count: usize) -> impl Iterator<Item = u32> {
    let mut state = 1_u64;
    std::iter::repeat_with(move || {
        // The generator of Knuth's MMIX; its upper bits are the random ones.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as u32
    })
    .take(count)
}

/// Returns the elements in the wire's layout; `to_le_bytes` is that of their type.
///
/// The compiler makes one copy of it, so that a library measured with it is not the slower for it.
pub fn wire_bytes<T: Copy, const SIZE: usize>(
    elements: &[T],
    to_le_bytes: impl Fn(T) -> [u8; SIZE],
) -> Vec<u8> {
    let mut bytes = vec![0; elements.len() * SIZE];
    let (places, _) = bytes.as_chunks_mut();
    for (place, element) in places.iter_mut().zip(elements) {
        *place = to_le_bytes(*element);
    }
    bytes
}
