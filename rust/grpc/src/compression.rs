// SPDX-License-Identifier: Apache-2.0
use std::io::Read;

use bytes::Bytes;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use hyper::HeaderMap;
use hyper::header::HeaderName;

use crate::framing::Message;
use crate::receive::too_large;
use crate::status::{Code, Status};

pub(crate) const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
pub(crate) const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// What the server can read; told in every answer.
pub(crate) const ACCEPTED_ENCODINGS: &str = "identity, deflate, gzip";

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
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

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
