// SPDX-License-Identifier: Apache-2.0
use std::fmt;

/// Walks the elements of a `BYTES` tensor: a 4-byte little-endian length before each element
/// (P074). Ends after the first error.
#[derive(Clone, Debug)]
pub struct BytesElements<'a> {
    rest: &'a [u8],
}

/// Why a buffer is no sequence of `BYTES` elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BytesTensorError {
    /// Fewer than four bytes are left where a length should stand.
    IncompleteLength {
        /// Bytes that are left.
        remaining: usize,
    },
    /// The element is longer than what is left.
    IncompleteData {
        /// Length that was announced.
        expected: usize,
        /// Bytes that are left.
        remaining: usize,
    },
}

impl fmt::Display for BytesTensorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IncompleteLength { remaining } => {
                write!(
                    f,
                    "incomplete string length indicator: {remaining} bytes left, expecting 4"
                )
            }
            Self::IncompleteData {
                expected,
                remaining,
            } => {
                write!(
                    f,
                    "incomplete string data: {remaining} bytes left, expecting {expected}"
                )
            }
        }
    }
}

impl std::error::Error for BytesTensorError {}

impl<'a> BytesElements<'a> {
    /// Starts at the first element of `data`.
    pub fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }
}

impl<'a> Iterator for BytesElements<'a> {
    type Item = Result<&'a [u8], BytesTensorError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.rest);
        let Some((length, rest)) = rest.split_first_chunk::<4>() else {
            return Some(Err(BytesTensorError::IncompleteLength {
                remaining: rest.len(),
            }));
        };
        let expected = u32::from_le_bytes(*length) as usize;
        let Some((element, rest)) = rest.split_at_checked(expected) else {
            let remaining = rest.len();
            return Some(Err(BytesTensorError::IncompleteData {
                expected,
                remaining,
            }));
        };
        self.rest = rest;
        Some(Ok(element))
    }
}

/// Counts the elements of a `BYTES` tensor, checking every length.
///
/// # Errors
/// The first length or element that is cut short.
pub fn bytes_element_count(data: &[u8]) -> Result<usize, BytesTensorError> {
    let mut count = 0;
    for element in BytesElements::new(data) {
        element?;
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_elements() {
        let data = b"\x02\0\0\0ab\0\0\0\0\x01\0\0\0c";
        let elements: Result<Vec<_>, _> = BytesElements::new(data).collect();
        assert_eq!(elements.expect("well formed"), [&b"ab"[..], b"", b"c"]);
        assert_eq!(bytes_element_count(data), Ok(3));
        assert_eq!(bytes_element_count(b""), Ok(0));
    }

    #[test]
    fn every_cut_is_an_error() {
        let data = b"\x02\0\0\0ab\x03\0\0\0cde";
        for end in 1..data.len() {
            let whole = end == 6;
            assert_eq!(
                bytes_element_count(&data[..end]).is_ok(),
                whole,
                "cut at {end}"
            );
        }
        assert_eq!(
            bytes_element_count(b"\xff\xff\xff\xffx"),
            Err(BytesTensorError::IncompleteData {
                expected: 0xffff_ffff,
                remaining: 1
            })
        );
    }
}
