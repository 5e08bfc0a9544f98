// SPDX-License-Identifier: Apache-2.0
//! A gRPC client that can also say what no good client would.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::PATIENCE;

/// Body of a call: frames as they are to be sent.
pub struct Frames {
    frames: VecDeque<Bytes>,
    /// Whether the call is left open after the last frame.
    stays_open: bool,
    /// Frames that a test sends later, until it drops its end.
    later: Option<UnboundedReceiver<Bytes>>,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(frame) = self.frames.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(frame))));
        }
        let stays_open = self.stays_open;
        match &mut self.later {
            Some(later) => later
                .poll_recv(context)
                .map(|frame| frame.map(|frame| Ok(Frame::data(frame)))),
            None if stays_open => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}

/// One call, still to be sent.
pub struct Call {
    request: Request<Frames>,
}

impl Call {
    /// Makes a call of `/<service>/<method>` with one message.
    pub fn new(path: &str, message: &[u8]) -> Self {
        Self::of_frames(path, [frame(0, message)])
    }

    pub fn of_frames(path: &str, frames: impl IntoIterator<Item = Bytes>) -> Self {
        let body = Frames {
            frames: frames.into_iter().collect(),
            stays_open: false,
            later: None,
        };
        let request = Request::post(format!("http://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(body)
            .expect("a request");
        Self { request }
    }

    pub fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.request
            .headers_mut()
            .insert(name, value.parse().expect("a header value"));
        self
    }

    pub fn without_end(mut self) -> Self {
        self.request.body_mut().stays_open = true;
        self
    }
}

/// A message with its prefix.
pub fn frame(flag: u8, message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("a small message");
    Bytes::from([&[flag][..], &length.to_be_bytes(), message].concat())
}

/// What came back of a call.
#[derive(Debug)]
pub struct Answer {
    pub http_status: u16,
    pub headers: HeaderMap,
    pub trailers: Option<HeaderMap>,
    pub body: Bytes,
}

impl Answer {
    fn status_headers(&self) -> &HeaderMap {
        self.trailers.as_ref().unwrap_or(&self.headers)
    }

    pub fn code(&self) -> u8 {
        let code = self.status_headers()["grpc-status"]
            .to_str()
            .expect("digits");
        code.parse().expect("a number")
    }

    /// Returns the status message as it was meant.
    pub fn text(&self) -> String {
        let Some(encoded) = self.status_headers().get("grpc-message") else {
            return String::new();
        };
        let mut text = Vec::new();
        let mut rest = encoded.as_bytes();
        while let Some((&byte, after)) = rest.split_first() {
            if byte == b'%' {
                let digits = std::str::from_utf8(&after[..2]).expect("hex digits");
                text.push(u8::from_str_radix(digits, 16).expect("hex digits"));
                rest = &after[2..];
            } else {
                text.push(byte);
                rest = after;
            }
        }
        String::from_utf8(text).expect("UTF-8")
    }

    /// Returns the one message of an answer that must have succeeded.
    pub fn message<M: Message + Default>(&self) -> M {
        assert_eq!((self.code(), self.text().as_str()), (0, ""));
        let (prefix, message) = self.body.split_first_chunk::<5>().expect("a prefix");
        assert_eq!(prefix[0], 0, "answers are not compressed");
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
        assert_eq!(length as usize, message.len());
        M::decode(message).expect("a message of this type")
    }
}

/// One connection, and the runtime that drives it while the client waits.
pub struct Client {
    runtime: Runtime,
    sender: SendRequest<Frames>,
}

#[derive(Clone)]
struct Spawner;

impl<F> hyper::rt::Executor<F> for Spawner
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        #[expect(clippy::disallowed_methods, reason = "the test's own runtime")]
        tokio::spawn(future);
    }
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let sender = runtime.block_on(async {
            let socket = tokio::net::TcpStream::connect(address)
                .await
                .expect("it listens");
            let (sender, connection) = handshake(Spawner, TokioIo::new(socket))
                .await
                .expect("it speaks HTTP/2");
            #[expect(clippy::disallowed_methods, reason = "the test's own runtime")]
            tokio::spawn(async move {
                // How a connection ends is seen by the calls on it.
                let _ = connection.await;
            });
            sender
        });
        Self { runtime, sender }
    }

    /// Sends a call and waits for its answer.
    pub fn send(&mut self, call: Call) -> Answer {
        let task = self.start(call);
        self.wait(task)
    }

    /// Calls a method of the inference service.
    pub fn call(&mut self, method: &str, request: &impl Message) -> Answer {
        self.send(Call::new(
            &format!("/inference.GRPCInferenceService/{method}"),
            &request.encode_to_vec(),
        ))
    }

    /// Sends a call; it makes progress while the client waits for this or another one.
    pub fn start(&mut self, call: Call) -> JoinHandle<Answer> {
        let response = self.sender.send_request(call.request);
        self.runtime
            .spawn(async move { collect(response.await.expect("an answer")).await })
    }

    pub fn wait(&self, task: JoinHandle<Answer>) -> Answer {
        let answer = self
            .runtime
            .block_on(async { tokio::time::timeout(PATIENCE, task).await });
        answer
            .expect("an answer in time")
            .expect("the call did not panic")
    }

    /// Starts a call and lets it reach the server.
    pub fn start_and_flush(&mut self, call: Call) -> JoinHandle<Answer> {
        let task = self.start(call);
        self.settle();
        task
    }

    /// Starts a call of the inference service with many messages.
    pub fn stream(&mut self, call: Call) -> StreamCall {
        let (sender, receiver) = unbounded_channel();
        let mut request = call.request;
        request.body_mut().later = Some(receiver);
        let response = self.sender.send_request(request);
        let response = self.within_patience(response).expect("an answer");
        let (head, body) = response.into_parts();
        StreamCall {
            requests: Some(sender),
            body,
            headers: head.headers,
            received: BytesMut::new(),
        }
    }

    /// Waits for what a stream gives next.
    pub fn next(&self, stream: &mut StreamCall) -> Given {
        self.within_patience(stream.next())
    }

    /// Waits for a stream's next message.
    pub fn next_message<M: Message + Default>(&self, stream: &mut StreamCall) -> M {
        match self.next(stream) {
            Given::Message(message, false) => M::decode(message).expect("a message of this type"),
            other => panic!("expected a plain message, got {other:?}"),
        }
    }

    /// Waits for the end of a stream, before which no message may come.
    pub fn end(&self, stream: &mut StreamCall) -> (u8, String) {
        match self.next(stream) {
            Given::End(code, text) => (code, text),
            message => panic!("expected the end, got {message:?}"),
        }
    }

    /// Waits for what a stream gives next; returns whether it breaks off.
    pub fn is_broken(&self, stream: &mut StreamCall) -> bool {
        let frame = self.within_patience(stream.body.frame());
        frame.is_none_or(|frame| frame.is_err())
    }

    fn within_patience<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, future).await })
            .expect("in time")
    }

    /// Makes a round trip: what was sent before has been read by the server then.
    pub fn settle(&mut self) {
        let answer = self.send(Call::new("/inference.GRPCInferenceService/ServerLive", &[]));
        assert_eq!(answer.code(), 0);
    }
}

/// A call with many messages in both directions. Dropping it gives the call up.
pub struct StreamCall {
    requests: Option<UnboundedSender<Bytes>>,
    body: Incoming,
    pub headers: HeaderMap,
    received: BytesMut,
}

/// What a stream gave next.
#[derive(Debug)]
pub enum Given {
    /// A message, and whether it was compressed.
    Message(Bytes, bool),
    /// The end: code and text.
    End(u8, String),
}

impl StreamCall {
    /// Sends one message.
    pub fn send(&self, message: &impl Message) {
        let requests = self.requests.as_ref().expect("the call is not half closed");
        let frame = frame(0, &message.encode_to_vec());
        requests.send(frame).expect("the call is under way");
    }

    pub fn half_close(&mut self) {
        self.requests = None;
    }

    async fn next(&mut self) -> Given {
        loop {
            if let Some(given) = self.take_message() {
                return given;
            }
            let frame = self.body.frame().await.expect("trailers come last");
            match frame.expect("a whole answer").into_data() {
                Ok(data) => self.received.extend_from_slice(&data),
                Err(frame) => {
                    let trailers = frame.into_trailers().expect("data or trailers");
                    let answer = Answer {
                        http_status: 200,
                        headers: HeaderMap::new(),
                        trailers: Some(trailers),
                        body: Bytes::new(),
                    };
                    return Given::End(answer.code(), answer.text());
                }
            }
        }
    }

    fn take_message(&mut self) -> Option<Given> {
        let prefix = self.received.first_chunk::<5>()?;
        let is_compressed = prefix[0] == 1;
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        if self.received.len() < 5 + length {
            return None;
        }
        self.received.advance(5);
        let message = self.received.split_to(length).freeze();
        Some(Given::Message(message, is_compressed))
    }
}

async fn collect(response: Response<Incoming>) -> Answer {
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("a whole answer");
    let trailers = body.trailers().cloned();
    Answer {
        http_status: head.status.as_u16(),
        headers: head.headers,
        trailers,
        body: body.to_bytes(),
    }
}
