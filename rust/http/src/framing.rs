// SPDX-License-Identifier: Apache-2.0
//! How a port says where the JSON head of a binary body ends (P070, P164, P170).

use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{HeaderMap, Response};
use tritongw_types::{Error, Result};

/// How many bytes the head of a binary body takes (P070).
pub(crate) const INFERENCE_HEADER_LENGTH: HeaderName =
    HeaderName::from_static("inference-header-content-length");

const OCTET_STREAM: HeaderValue = HeaderValue::from_static("application/octet-stream");
const VERTEX_AI: &str = "application/vnd.vertex-ai-triton.binary+json;json-header-size=";
const SAGEMAKER: &str = "application/vnd.sagemaker-triton.binary+json;json-header-size=";

/// The convention of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// A header of its own in both directions; bodies may be compressed.
    LengthHeader,
    /// The media type of the request; a header in the answer.
    VertexAi,
    /// The media type in both directions.
    SageMaker,
}

impl Framing {
    /// Returns the text that says the length of the head, `None` where the body is all head.
    ///
    /// # Errors
    /// `InvalidArg` if the media type is not quite the one expected.
    pub(crate) fn head_length(self, headers: &HeaderMap) -> Result<Option<&[u8]>> {
        let media_type = match self {
            Self::LengthHeader => {
                return Ok(headers
                    .get(INFERENCE_HEADER_LENGTH)
                    .map(HeaderValue::as_bytes));
            }
            Self::VertexAi => VERTEX_AI,
            Self::SageMaker => SAGEMAKER,
        };
        let Some(content_type) = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes) else {
            return Ok(None);
        };
        if let Some(length) = content_type.strip_prefix(media_type.as_bytes()) {
            return Ok(Some(length));
        }
        let content_type = String::from_utf8_lossy(content_type);
        if content_type.contains(media_type) {
            return Err(Error::invalid_arg(format!(
                "expect MIME type for binary data starts with '{media_type}', got: {content_type}"
            )));
        }
        Ok(None)
    }

    /// Marks an answer whose head has this length as binary.
    pub(crate) fn mark_binary<B>(self, response: &mut Response<B>, head_length: usize) {
        let headers = response.headers_mut();
        if self == Self::SageMaker {
            let media_type = HeaderValue::try_from(format!("{SAGEMAKER}{head_length}"))
                .expect("INVARIANT: a media type and digits are a header value");
            headers.insert(CONTENT_TYPE, media_type);
            return;
        }
        headers.insert(CONTENT_TYPE, OCTET_STREAM);
        headers.insert(INFERENCE_HEADER_LENGTH, HeaderValue::from(head_length));
    }

    /// Returns whether bodies may be compressed (P166).
    pub(crate) fn allows_compression(self) -> bool {
        self == Self::LengthHeader
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(
        framing: Framing,
        headers: &[(&'static str, &'static str)],
    ) -> Result<String, String> {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect();
        match framing.head_length(&headers) {
            Ok(length) => Ok(String::from_utf8_lossy(length.unwrap_or(b"none")).into_owned()),
            Err(error) => Err(error.message().to_owned()),
        }
    }

    #[test]
    fn each_port_looks_where_its_clients_write() {
        let header = ("inference-header-content-length", "5");
        let vertex = (
            "content-type",
            "application/vnd.vertex-ai-triton.binary+json;json-header-size=6",
        );
        let sagemaker = (
            "content-type",
            "application/vnd.sagemaker-triton.binary+json;json-header-size=7",
        );
        for (framing, own) in [
            (Framing::LengthHeader, "5"),
            (Framing::VertexAi, "6"),
            (Framing::SageMaker, "7"),
        ] {
            for (sent, length_sent) in [(header, "5"), (vertex, "6"), (sagemaker, "7")] {
                let expected = if length_sent == own { own } else { "none" };
                assert_eq!(
                    length(framing, &[sent]),
                    Ok(expected.to_owned()),
                    "{framing:?}"
                );
            }
        }
    }

    #[test]
    fn a_media_type_that_is_not_quite_it_is_refused() {
        let content_type = "x/application/vnd.vertex-ai-triton.binary+json;json-header-size=6";
        assert_eq!(
            length(Framing::VertexAi, &[("content-type", content_type)]),
            Err(format!(
                "expect MIME type for binary data starts with '{VERTEX_AI}', got: {content_type}"
            ))
        );
    }
}
