// SPDX-License-Identifier: Apache-2.0
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Frame};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};

use crate::call_trace::SendTrace;
use crate::codec::Segments;
use crate::compression::{ACCEPTED_ENCODINGS, GRPC_ACCEPT_ENCODING};
use crate::status::Status;

const GRPC_CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");

/// Body of an answer: one message, then trailers; or nothing.
#[derive(Debug, Default)]
pub(crate) struct GrpcBody {
    message: Option<Segments>,
    trailers: Option<HeaderMap>,
    // Never read: notes the end of sending when the body is dropped.
    _trace: Option<SendTrace>,
}

impl GrpcBody {
    /// Has the end of sending noted in a trace.
    pub(crate) fn traced_by(&mut self, trace: SendTrace) {
        self._trace = Some(trace);
    }
}

impl Body for GrpcBody {
    type Data = Segments;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Segments>, Infallible>>> {
        let frame = match self.message.take() {
            Some(message) => Some(Frame::data(message)),
            None => self.trailers.take().map(Frame::trailers),
        };
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.message.is_none() && self.trailers.is_none()
    }
}

/// Returns the answer to a call: the framed message and status OK, or the status alone.
pub(crate) fn answer(result: Result<Segments, Status>) -> Response<GrpcBody> {
    let mut response = Response::new(GrpcBody::default());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
    headers.insert(
        GRPC_ACCEPT_ENCODING,
        HeaderValue::from_static(ACCEPTED_ENCODINGS),
    );
    match result {
        Ok(message) => {
            let mut trailers = HeaderMap::with_capacity(1);
            Status::ok().put_into(&mut trailers);
            *response.body_mut() = GrpcBody {
                message: Some(message),
                trailers: Some(trailers),
                _trace: None,
            };
        }
        Err(status) => status.put_into(headers),
    }
    response
}

/// Returns the answer to what is no gRPC call.
pub(crate) fn http_refusal(status: StatusCode) -> Response<GrpcBody> {
    let mut response = Response::new(GrpcBody::default());
    *response.status_mut() = status;
    response
}
