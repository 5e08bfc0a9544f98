// SPDX-License-Identifier: Apache-2.0
use std::io::{Read, Write};

use bytes::{Buf, Bytes};
use flate2::Compression;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use hyper::HeaderMap;
use hyper::header::HeaderName;

use crate::codec::Segments;
use crate::framing::{Message, PREFIX_LENGTH};
use crate::receive::too_large;
use crate::status::{Code, Status};

pub(crate) const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
pub(crate) const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// What the server can read; told in every answer.
pub(crate) const ACCEPTED_ENCODINGS: &str = "identity, deflate, gzip";

/// How hard the server works to make inference responses small
/// (`--grpc-infer-response-compression-level`, C056).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CompressionLevel {
    /// Responses are sent as they are.
    #[default]
    None,
    /// The quickest algorithm that the client accepts.
    Low,
    /// One in between.
    Medium,
    /// The one that makes them smallest.
    High,
}

/// How the compressed messages of a call are compressed (P147).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Deflate,
    Gzip,
}

impl Encoding {
    /// Returns the encoding that a call announces.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Status> {
        let Some(name) = headers.get(GRPC_ENCODING) else {
            return Ok(Self::Identity);
        };
        match name.as_bytes() {
            b"identity" => Ok(Self::Identity),
            b"deflate" => Ok(Self::Deflate),
            b"gzip" => Ok(Self::Gzip),
            name => Err(Status::new(
                Code::Unimplemented,
                format!(
                    "Compression algorithm '{}' not supported.",
                    name.escape_ascii()
                ),
            )),
        }
    }

    /// Returns how to compress the responses of a call.
    ///
    /// Triton: `CompressionAlgorithmForLevel` of gRPC, whose ranking is gzip, then deflate.
    pub(crate) fn of_responses(level: CompressionLevel, headers: &HeaderMap) -> Self {
        if level == CompressionLevel::None {
            return Self::Identity;
        }
        let accepts = |name: &str| {
            let lists = headers.get_all(GRPC_ACCEPT_ENCODING).iter();
            let mut names = lists
                .filter_map(|list| list.to_str().ok())
                .flat_map(|list| list.split(','));
            names.any(|accepted| accepted.trim() == name)
        };
        let ranking: Vec<_> = [Self::Gzip, Self::Deflate]
            .into_iter()
            .filter(|encoding| encoding.name().is_some_and(accepts))
            .collect();
        let position = match level {
            CompressionLevel::None | CompressionLevel::Low => 0,
            CompressionLevel::Medium => ranking.len() / 2,
            CompressionLevel::High => ranking.len().saturating_sub(1),
        };
        ranking.get(position).copied().unwrap_or(Self::Identity)
    }

    /// Returns the name that announces the encoding; `None` if there is nothing to announce.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Deflate => Some("deflate"),
            Self::Gzip => Some("gzip"),
        }
    }

    /// Returns a message with its prefix compressed, or as it is if that makes it no smaller.
    pub(crate) fn compress(self, message: Segments) -> Segments {
        let compressed = match self {
            Self::Identity => return message,
            Self::Deflate => {
                let encoder = ZlibEncoder::new(Vec::new(), Compression::default());
                write_payload(encoder, &message).and_then(ZlibEncoder::finish)
            }
            Self::Gzip => {
                let encoder = GzEncoder::new(Vec::new(), Compression::default());
                write_payload(encoder, &message).and_then(GzEncoder::finish)
            }
        };
        match compressed {
            Ok(payload) if payload.len() < message.remaining() - PREFIX_LENGTH => {
                let mut prefix = vec![1];
                // Smaller than the message was, whose length has a u32.
                prefix.extend_from_slice(&(payload.len() as u32).to_be_bytes());
                let mut framed = Segments::from(Bytes::from(prefix));
                framed.push(Bytes::from(payload));
                framed
            }
            _ => message,
        }
    }

    /// Returns the message's bytes, decompressed if its flag says so. Reads at most `limit` bytes
    /// out of it, so a small message cannot become a large one unseen.
    pub(crate) fn decode(self, message: Message, limit: usize) -> Result<Bytes, Status> {
        if !message.is_compressed {
            return Ok(message.payload);
        }
        match self {
            Self::Identity => Err(Status::new(
                Code::Internal,
                "a message is marked as compressed but grpc-encoding is identity",
            )),
            // gRPC's "deflate" is the zlib format.
            Self::Deflate => read_limited(ZlibDecoder::new(&message.payload[..]), limit),
            Self::Gzip => read_limited(MultiGzDecoder::new(&message.payload[..]), limit),
        }
    }
}

fn write_payload<W: Write>(mut encoder: W, message: &Segments) -> std::io::Result<W> {
    let mut rest = message.clone();
    rest.advance(PREFIX_LENGTH);
    while rest.has_remaining() {
        let piece = rest.chunk();
        encoder.write_all(piece)?;
        let size = piece.len();
        rest.advance(size);
    }
    Ok(encoder)
}

fn read_limited(decoder: impl Read, limit: usize) -> Result<Bytes, Status> {
    let mut data = Vec::new();
    let within_limit = decoder.take(limit as u64 + 1).read_to_end(&mut data);
    match within_limit {
        Ok(size) if size > limit => Err(too_large(size, limit)),
        Ok(_) => Ok(Bytes::from(data)),
        Err(_) => Err(Status::new(
            Code::Internal,
            "failed to decompress the message",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compressed(payload: Vec<u8>) -> Message {
        Message {
            is_compressed: true,
            payload: Bytes::from(payload),
        }
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).expect("writes to memory");
        encoder.finish().expect("writes to memory")
    }

    #[test]
    fn gzip_and_deflate_messages_are_read() {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(b"tensor").expect("writes to memory");
        let zlib = zlib.finish().expect("writes to memory");
        let tensor = Bytes::from_static(b"tensor");
        assert_eq!(
            Encoding::Gzip.decode(compressed(gzip(b"tensor")), 6),
            Ok(tensor.clone())
        );
        assert_eq!(
            Encoding::Deflate.decode(compressed(zlib), 6),
            Ok(tensor.clone())
        );
        let plain = Message {
            is_compressed: false,
            payload: tensor.clone(),
        };
        assert_eq!(Encoding::Gzip.decode(plain, 6), Ok(tensor));
    }

    fn accepting(names: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(GRPC_ACCEPT_ENCODING, names.parse().expect("a value"))])
    }

    #[test]
    fn responses_are_compressed_as_level_and_client_want_it() {
        use CompressionLevel::{High, Low, Medium, None};
        let both = "identity, deflate, gzip";
        for (level, names, expected) in [
            (None, both, Encoding::Identity),
            (Low, both, Encoding::Gzip),
            (Medium, both, Encoding::Deflate),
            (High, both, Encoding::Deflate),
            (High, "gzip", Encoding::Gzip),
            (Medium, "gzip", Encoding::Gzip),
            (Low, "identity,br", Encoding::Identity),
        ] {
            let chosen = Encoding::of_responses(level, &accepting(names));
            assert_eq!(chosen, expected, "{level:?} {names}");
        }
    }

    #[test]
    fn compressed_messages_can_be_read_again_and_small_ones_are_left_alone() {
        let payload = vec![7; 1000];
        let mut message = Segments::from(Bytes::from_static(&[0, 0, 0, 3, 232]));
        message.push(Bytes::from(payload.clone()));
        for encoding in [Encoding::Gzip, Encoding::Deflate] {
            let mut compressed = encoding.compress(message.clone());
            let size = compressed.remaining() - PREFIX_LENGTH;
            assert!(size < payload.len());
            assert_eq!(compressed.get_u8(), 1);
            assert_eq!(compressed.get_u32() as usize, size);
            let message = Message {
                is_compressed: true,
                payload: compressed.copy_to_bytes(size),
            };
            assert_eq!(
                encoding.decode(message, 1000),
                Ok(Bytes::from(payload.clone()))
            );
        }
        let small = Segments::from(Bytes::from_static(&[0, 0, 0, 0, 1, 9]));
        let mut sent = Encoding::Gzip.compress(small);
        assert_eq!(sent.copy_to_bytes(6), [0, 0, 0, 0, 1, 9][..]);
    }

    #[test]
    fn what_a_message_expands_to_is_limited() {
        let bomb = compressed(gzip(&vec![0; 1 << 20]));
        let status = Encoding::Gzip
            .decode(bomb, 1000)
            .expect_err("above the limit");
        assert_eq!(status.code(), Code::ResourceExhausted as u8);
    }

    #[test]
    fn broken_and_unexpected_compression_is_refused() {
        let status = Encoding::Gzip.decode(compressed(b"no gzip".to_vec()), 10);
        assert_eq!(status.expect_err("not gzip").code(), Code::Internal as u8);
        let status = Encoding::Identity.decode(compressed(gzip(b"x")), 10);
        assert_eq!(
            status.expect_err("no encoding").code(),
            Code::Internal as u8
        );
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_ENCODING, "zstd".parse().expect("a header value"));
        let status = Encoding::of(&headers).expect_err("not offered");
        assert_eq!(status.code(), Code::Unimplemented as u8);
    }
}
