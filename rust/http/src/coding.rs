// SPDX-License-Identifier: Apache-2.0
//! Compressed bodies: which coding a request has, which its answer gets (P104, P105).

use flate2::write::{GzEncoder, ZlibEncoder};
use flate2::{Compression, Decompress, FlushDecompress, Status};
use hyper::HeaderMap;
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderValue};
use tritongw_types::{Error, Result};

/// Bytes worked on before other connections of the thread get their turn.
const SLICE: usize = 64 << 10;
/// Window of 32 KiB, the largest.
const WINDOW_BITS: u8 = 15;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContentCoding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950: zlib, not the bare stream (G4.08).
    Deflate,
}

/// The body of a request is encoded in a way that is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownCoding;

impl ContentCoding {
    /// Returns the coding of a request's body, `None` if it is plain.
    pub(crate) fn of_request(headers: &HeaderMap) -> Result<Option<Self>, UnknownCoding> {
        let mut codings = headers.get_all(CONTENT_ENCODING).iter();
        let Some(coding) = codings.next() else {
            return Ok(None);
        };
        let name = coding.to_str().map_err(|_| UnknownCoding)?;
        if codings.next().is_some() {
            return Err(UnknownCoding);
        }
        if name.eq_ignore_ascii_case("identity") {
            return Ok(None);
        }
        Self::from_name(name).map(Some).ok_or(UnknownCoding)
    }

    /// Returns the coding a client likes best, the first of equals; `None` for plain.
    pub(crate) fn for_response(headers: &HeaderMap) -> Option<Self> {
        let mut best = (None, 0.0);
        for header in headers.get_all(ACCEPT_ENCODING) {
            for item in header.to_str().unwrap_or_default().split(',') {
                let (name, weight) = weigh(item);
                let coding = Self::from_name(name);
                let is_known = coding.is_some() || name.eq_ignore_ascii_case("identity");
                if is_known && weight > best.1 {
                    best = (coding, weight);
                }
            }
        }
        best.0
    }

    /// Returns the name in headers.
    pub(crate) const fn header_value(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        })
    }

    fn from_name(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("gzip") {
            Some(Self::Gzip)
        } else if name.eq_ignore_ascii_case("deflate") {
            Some(Self::Deflate)
        } else {
            None
        }
    }

    fn decompress(self) -> Decompress {
        match self {
            Self::Gzip => Decompress::new_gzip(WINDOW_BITS),
            Self::Deflate => Decompress::new_with_window_bits(true, WINDOW_BITS),
        }
    }
}

/// Splits `<coding>[;q=<weight>]`; the weight is 1 if there is none, 0 if it is no number.
fn weigh(item: &str) -> (&str, f32) {
    let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
    let weight = match parameters.trim().strip_prefix("q=") {
        Some(weight) => weight.trim().parse().unwrap_or(0.0),
        None => 1.0,
    };
    (name.trim(), weight)
}

/// Decompresses a body piece by piece, never beyond its limit (P107).
#[derive(Debug)]
pub(crate) struct Unpacker {
    coding: ContentCoding,
    decompress: Decompress,
    is_complete: bool,
    limit: usize,
    data: Vec<u8>,
    slice: Vec<u8>,
}

impl Unpacker {
    pub(crate) fn new(coding: ContentCoding, limit: usize) -> Self {
        Self {
            coding,
            decompress: coding.decompress(),
            is_complete: false,
            limit,
            data: Vec::new(),
            slice: vec![0; SLICE],
        }
    }

    /// Takes the next piece of the compressed body; lets other connections work in between, since
    /// a small piece may hold very much.
    ///
    /// # Errors
    /// `InvalidArg` if it is not in this coding, or there is more in it than the limit.
    pub(crate) async fn feed(&mut self, mut piece: &[u8]) -> Result<()> {
        while !piece.is_empty() {
            let consumed = self.step(piece)?;
            piece = &piece[consumed..];
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Ends the body.
    ///
    /// # Errors
    /// `InvalidArg` if it is cut off.
    pub(crate) async fn finish(mut self) -> Result<Vec<u8>> {
        // The decoder may hold back output that no input follows.
        while !self.is_complete {
            let before = self.data.len();
            self.step(&[])?;
            if !self.is_complete && self.data.len() == before {
                return Err(Error::invalid_arg("compressed request body is cut off"));
            }
            tokio::task::yield_now().await;
        }
        Ok(self.data)
    }

    /// Decompresses at most one slice; returns how much of `input` that took.
    fn step(&mut self, input: &[u8]) -> Result<usize> {
        if self.is_complete {
            // A gzip file may have several members.
            if self.coding != ContentCoding::Gzip {
                return Err(Error::invalid_arg(
                    "unexpected data after the compressed request body",
                ));
            }
            self.decompress = self.coding.decompress();
            self.is_complete = false;
        }
        let (in_before, out_before) = (self.decompress.total_in(), self.decompress.total_out());
        let status = self
            .decompress
            .decompress(input, &mut self.slice, FlushDecompress::None)
            .map_err(|source| corrupt().with_source(source))?;
        // Both are at most the length of a slice.
        let consumed = usize::try_from(self.decompress.total_in() - in_before).unwrap_or_default();
        let produced =
            usize::try_from(self.decompress.total_out() - out_before).unwrap_or_default();
        self.is_complete = status == Status::StreamEnd;
        if consumed == 0 && produced == 0 && !input.is_empty() && !self.is_complete {
            return Err(corrupt());
        }
        self.append(produced)?;
        Ok(consumed)
    }

    fn append(&mut self, produced: usize) -> Result<()> {
        let room = self.limit - self.data.len();
        if produced > room {
            return Err(Error::invalid_arg(format!(
                "decompressed request body exceeds the maximum allowed value of {} bytes. Use \
                 --http-max-input-size to increase the limit.",
                self.limit
            )));
        }
        if self.data.capacity() - self.data.len() < produced {
            // Doubles, but not beyond what may come.
            let growth = self.data.len().max(produced).min(room);
            self.data.try_reserve_exact(growth).map_err(|source| {
                Error::unavailable("no memory for a compressed request body").with_source(source)
            })?;
        }
        self.data.extend_from_slice(&self.slice[..produced]);
        Ok(())
    }
}

fn corrupt() -> Error {
    Error::invalid_arg("failed to decompress the request body")
}

/// Compresses a body. Quickly rather than well: tensors rarely get much smaller, and the network
/// thread has other connections, which get their turn in between.
///
/// # Errors
/// As the compressor has them; the body is then sent plain (P105).
pub(crate) async fn pack(coding: ContentCoding, pieces: &[&[u8]]) -> std::io::Result<Vec<u8>> {
    let level = Compression::fast();
    let mut packer = match coding {
        ContentCoding::Gzip => Packer::Gzip(GzEncoder::new(Vec::new(), level)),
        ContentCoding::Deflate => Packer::Deflate(ZlibEncoder::new(Vec::new(), level)),
    };
    for piece in pieces {
        for slice in piece.chunks(SLICE) {
            packer.write(slice)?;
            if slice.len() == SLICE {
                tokio::task::yield_now().await;
            }
        }
    }
    packer.finish()
}

enum Packer {
    Gzip(GzEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
}

impl Packer {
    fn write(&mut self, data: &[u8]) -> std::io::Result<()> {
        use std::io::Write as _;
        match self {
            Self::Gzip(encoder) => encoder.write_all(data),
            Self::Deflate(encoder) => encoder.write_all(data),
        }
    }

    fn finish(self) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Deflate(encoder) => encoder.finish(),
        }
    }
}

#[cfg(test)]
mod tests;
