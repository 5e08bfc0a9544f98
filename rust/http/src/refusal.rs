// SPDX-License-Identifier: Apache-2.0
use hyper::header::{ACCEPT_ENCODING, HeaderValue};
use hyper::{Response, StatusCode};
use tritongw_types::Error;

use crate::response::{self, ResponseBody};

/// Why a request got no answer of its own.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// No route has this path (P025).
    UnknownPath,
    /// The route has another verb (P026).
    WrongVerb,
    /// The route's group needs a key in this header (P037).
    Restricted(String),
    /// The body is encoded in a way that is not understood.
    /// Those that are stand behind it.
    ContentEncoding(&'static str),
    /// The route is not open to redirected requests (P169).
    NotRedirectable,
    /// Only the status is said.
    Empty(StatusCode),
    /// Anything with a code of its own.
    Error(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Refusal {
    pub(crate) fn into_response(self) -> Response<ResponseBody> {
        match self {
            Self::UnknownPath => response::error_text(StatusCode::NOT_FOUND, "Not Found"),
            Self::WrongVerb => {
                response::error_text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
            }
            Self::Restricted(header) => {
                let message = format!("This API is restricted, expecting header '{header}'");
                response::error_text(StatusCode::FORBIDDEN, &message)
            }
            Self::NotRedirectable => {
                let message = "This API is not open to redirected requests";
                response::error_text(StatusCode::FORBIDDEN, message)
            }
            Self::Empty(status) => response::empty(status),
            Self::ContentEncoding(accepted) => {
                let mut response = response::error_text(
                    StatusCode::NOT_IMPLEMENTED,
                    "Unsupported compression type",
                );
                let accepted = HeaderValue::from_static(accepted);
                response.headers_mut().insert(ACCEPT_ENCODING, accepted);
                response
            }
            Self::Error(error) => response::error(&error),
        }
    }
}
