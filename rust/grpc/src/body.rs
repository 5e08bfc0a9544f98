// SPDX-License-Identifier: Apache-2.0
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use hyper::body::{Body, Frame};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};
use tokio::time::Sleep;
use tritongw_engine::AccessEntry;
use tritongw_engine::trace::SendTrace;

use crate::codec::Segments;
use crate::compression::{ACCEPTED_ENCODINGS, Encoding, GRPC_ACCEPT_ENCODING, GRPC_ENCODING};
use crate::drain::InflightStream;
use crate::ping_policy::ActiveCall;
use crate::status::Status;

const GRPC_CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");

/// Small messages that are there at the same time are written together up to this size.
const GATHER_SIZE: usize = 16 * 1024;

/// Gives the messages of a streaming answer.
pub(crate) trait MessageSource: Send {
    /// Returns the next message with its prefix; `None` when the call has ended well, an error
    /// when it ends with that status. Not called again after either.
    fn poll_message(&mut self, context: &mut Context<'_>)
    -> Poll<Option<Result<Segments, Status>>>;
}

/// Body of an answer: one message or many, then trailers; or nothing.
#[derive(Default)]
pub(crate) struct GrpcBody {
    message: Option<Segments>,
    stream: Option<Box<Stream>>,
    trailers: Option<HeaderMap>,
    call: Option<ActiveCall>,
    // Never read: notes the end of sending when the body is dropped.
    _trace: Option<SendTrace>,
    _access: Option<Box<AccessEntry>>,
}

impl GrpcBody {
    /// Has everything that is sent noted for the connection.
    pub(crate) fn noted_by(&mut self, call: ActiveCall) {
        self.call = Some(call);
    }

    /// Has the end of sending noted in a trace.
    pub(crate) fn traced_by(&mut self, trace: Option<SendTrace>) {
        self._trace = trace;
    }

    /// Has the call told in the access log when the body is done.
    pub(crate) fn logged_by(&mut self, access: Box<AccessEntry>) {
        self._access = Some(access);
    }
}

struct Stream {
    source: Box<dyn MessageSource>,
    encoding: Encoding,
    deadline: Option<Pin<Box<Sleep>>>,
    _inflight: InflightStream,
}

impl Stream {
    /// Returns the next messages together, or how the call ended; never both.
    fn poll_messages(&mut self, context: &mut Context<'_>) -> Poll<Result<Segments, Status>> {
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(Status::deadline_exceeded()));
        }
        match self.source.poll_message(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => Poll::Ready(Err(Status::ok())),
            Poll::Ready(Some(Err(status))) => Poll::Ready(Err(status)),
            Poll::Ready(Some(Ok(message))) => Poll::Ready(Ok(self.encoding.compress(message))),
        }
    }
}

impl Body for GrpcBody {
    type Data = Segments;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Segments>, Infallible>>> {
        self.poll_part(context).map(|part| {
            if let (Some(call), Some(_)) = (&self.call, &part) {
                call.note_sent();
            }
            part.map(Ok)
        })
    }

    fn is_end_stream(&self) -> bool {
        self.message.is_none() && self.stream.is_none() && self.trailers.is_none()
    }
}

impl GrpcBody {
    fn poll_part(&mut self, context: &mut Context<'_>) -> Poll<Option<Frame<Segments>>> {
        if let Some(message) = self.message.take() {
            return Poll::Ready(Some(Frame::data(message)));
        }
        let mut gathered = Segments::default();
        while let Some(stream) = &mut self.stream {
            match stream.poll_messages(context) {
                Poll::Ready(Ok(message)) => gathered.append(message),
                Poll::Ready(Err(status)) => {
                    self.stream = None;
                    let mut trailers = HeaderMap::with_capacity(2);
                    status.put_into(&mut trailers);
                    self.trailers = Some(trailers);
                }
                Poll::Pending if gathered.has_remaining() => break,
                Poll::Pending => return Poll::Pending,
            }
            if gathered.remaining() >= GATHER_SIZE {
                break;
            }
        }
        if gathered.has_remaining() {
            return Poll::Ready(Some(Frame::data(gathered)));
        }
        Poll::Ready(self.trailers.take().map(Frame::trailers))
    }
}

/// Returns the answer to a call: the framed message and status OK, or the status alone.
pub(crate) fn answer(result: Result<Segments, Status>, encoding: Encoding) -> Response<GrpcBody> {
    let mut response = head(encoding);
    match result {
        Ok(message) => {
            let mut trailers = HeaderMap::with_capacity(1);
            Status::ok().put_into(&mut trailers);
            *response.body_mut() = GrpcBody {
                message: Some(encoding.compress(message)),
                trailers: Some(trailers),
                ..GrpcBody::default()
            };
        }
        Err(status) => status.put_into(response.headers_mut()),
    }
    response
}

/// Returns the answer to a call that has many messages, for at most `timeout`.
pub(crate) fn streaming_answer(
    source: impl MessageSource + 'static,
    encoding: Encoding,
    timeout: Option<Duration>,
    inflight: InflightStream,
) -> Response<GrpcBody> {
    let mut response = head(encoding);
    response.body_mut().stream = Some(Box::new(Stream {
        source: Box::new(source),
        encoding,
        deadline: timeout.map(|timeout| Box::pin(tokio::time::sleep(timeout))),
        _inflight: inflight,
    }));
    response
}

fn head(encoding: Encoding) -> Response<GrpcBody> {
    let mut response = Response::new(GrpcBody::default());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
    headers.insert(
        GRPC_ACCEPT_ENCODING,
        HeaderValue::from_static(ACCEPTED_ENCODINGS),
    );
    if let Some(name) = encoding.name() {
        headers.insert(GRPC_ENCODING, HeaderValue::from_static(name));
    }
    response
}

/// Returns the answer to what is no gRPC call.
pub(crate) fn http_refusal(status: StatusCode) -> Response<GrpcBody> {
    let mut response = Response::new(GrpcBody::default());
    *response.status_mut() = status;
    response
}
