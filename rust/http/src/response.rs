// SPDX-License-Identifier: Apache-2.0
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use smallvec::SmallVec;
use tritongw_engine::AccessEntry;
use tritongw_engine::trace::SendTrace;
use tritongw_types::Error;

use crate::activity::Activity;
use crate::codec::EncodedResponse;
use crate::coding::ContentCoding;
use crate::framing::Framing;
use crate::generate::EventStream;
use crate::json::Writer;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Largest piece handed to the connection at once, so that a slow reader is seen to read.
const MAX_FRAME: usize = 1 << 20;

/// Pieces of a body; a head and the tensors of most models need no memory of their own.
type Segments = SmallVec<[Bytes; 4]>;

/// The body of a response.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    content: Content,
    activity: Option<Arc<Activity>>,
    // Never read: notes the end when the body is dropped.
    _trace: Option<SendTrace>,
    _access: Option<Box<AccessEntry>>,
}

#[derive(Debug)]
enum Content {
    Whole(Pieces),
    Events(Box<EventStream>),
}

/// Pieces that are written as they lie, together in one system call where they fit.
#[derive(Debug)]
struct Pieces {
    // The first piece, not empty unless all is taken, then the others.
    current: Bytes,
    rest: smallvec::IntoIter<[Bytes; 4]>,
    length: u64,
}

impl Pieces {
    fn new(segments: impl IntoIterator<Item = Bytes>) -> Self {
        let segments: Segments = segments
            .into_iter()
            .filter(|piece| !piece.is_empty())
            .collect();
        let length = segments.iter().map(|segment| segment.len() as u64).sum();
        let mut rest = segments.into_iter();
        Self {
            current: rest.next().unwrap_or_default(),
            rest,
            length,
        }
    }

    /// Takes the next piece, `None` after the last.
    fn next_piece(&mut self) -> Option<Bytes> {
        if self.length == 0 {
            return None;
        }
        let piece = if self.current.len() > MAX_FRAME {
            self.current.split_to(MAX_FRAME)
        } else {
            let next = self.rest.next().unwrap_or_default();
            std::mem::replace(&mut self.current, next)
        };
        self.length -= piece.len() as u64;
        Some(piece)
    }
}

impl ResponseBody {
    fn new(segments: impl IntoIterator<Item = Bytes>) -> Self {
        Self::from_content(Content::Whole(Pieces::new(segments)))
    }

    fn from_content(content: Content) -> Self {
        Self {
            content,
            activity: None,
            _trace: None,
            _access: None,
        }
    }

    /// Reports each piece that is taken to `activity`, and when the server has none ready.
    pub(crate) fn watched_by(&mut self, activity: &Arc<Activity>) {
        self.activity = Some(Arc::clone(activity));
    }

    /// Has the end of sending noted in a trace.
    pub(crate) fn traced_by(&mut self, trace: Option<SendTrace>) {
        self._trace = trace;
    }

    /// Has the request told in the access log when the body is done.
    pub(crate) fn logged_by(&mut self, access: Box<AccessEntry>) {
        self._access = Some(access);
    }

    fn poll_piece(&mut self, context: &Context<'_>) -> Poll<Option<Bytes>> {
        match &mut self.content {
            Content::Whole(pieces) => Poll::Ready(pieces.next_piece()),
            Content::Events(events) => {
                let event = events.poll_event(context);
                if let Some(activity) = &self.activity {
                    activity.set_working(event.is_pending());
                }
                event
            }
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = ready!(self.poll_piece(context));
        if let Some(activity) = &self.activity {
            activity.step();
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Whole(pieces) if pieces.length == 0)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(pieces) => SizeHint::with_exact(pieces.length),
            Content::Events(_) => SizeHint::default(),
        }
    }
}

/// Makes a response without a body, and without a content type (P049).
pub(crate) fn empty(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::new([]));
    *response.status_mut() = status;
    response
}

/// Makes a response from one piece of text.
pub(crate) fn text(
    status: StatusCode,
    content_type: HeaderValue,
    body: impl Into<Bytes>,
) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::new([body.into()]));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// Makes a response from JSON.
pub(crate) fn json(body: impl Into<Bytes>) -> Response<ResponseBody> {
    text(StatusCode::OK, JSON, body)
}

/// Makes the response to a successful inference; binary if any output is (P077, P078).
pub(crate) fn inference(encoded: EncodedResponse, framing: Framing) -> Response<ResponseBody> {
    let EncodedResponse { head, tensors } = encoded;
    if tensors.is_empty() {
        return json(head);
    }
    let head_length = head.len();
    let mut response = Response::new(ResponseBody::new([head].into_iter().chain(tensors)));
    framing.mark_binary(&mut response, head_length);
    response
}

/// Makes the response to a successful inference from its compressed body; the length of the head
/// is that before compression.
pub(crate) fn compressed_inference(
    encoded: &EncodedResponse,
    packed: Vec<u8>,
    coding: ContentCoding,
    framing: Framing,
) -> Response<ResponseBody> {
    let mut response = inference(encoded.clone(), framing);
    *response.body_mut() = ResponseBody::new([packed.into()]);
    response
        .headers_mut()
        .insert(CONTENT_ENCODING, coding.header_value());
    response
}

/// Makes a response of which nobody knows yet how long it gets.
pub(crate) fn events(status: StatusCode, events: EventStream) -> Response<ResponseBody> {
    let content = Content::Events(Box::new(events));
    let mut response = Response::new(ResponseBody::from_content(content));
    *response.status_mut() = status;
    response
}

/// Makes an error response (P038).
pub(crate) fn error_text(status: StatusCode, message: &str) -> Response<ResponseBody> {
    text(status, JSON, error_json(message))
}

/// Renders an error.
pub(crate) fn error_json(message: &str) -> Vec<u8> {
    let mut writer = Writer::with_capacity(message.len() + 16);
    writer.begin_object();
    writer.key("error");
    writer.string(message);
    writer.end_object();
    writer.into_bytes()
}

/// Makes the response to an error of the engine (P029-P036).
pub(crate) fn error(error: &Error) -> Response<ResponseBody> {
    error_text(status_of(error), error.message())
}

/// Returns the status of an error of the engine.
pub(crate) fn status_of(error: &Error) -> StatusCode {
    StatusCode::from_u16(error.code().http_status())
        .expect("INVARIANT: the table of codes holds valid statuses")
}
