// SPDX-License-Identifier: Apache-2.0
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Incoming};
use prost::Message;

use super::index::DescriptorIndex;
use super::message::Request;
use crate::body::MessageSource;
use crate::codec::Segments;
use crate::compression::Encoding;
use crate::framing::{MessageDecoder, with_prefix};
use crate::status::Status;

/// Questions are names: none is longer.
const MAX_QUESTION_SIZE: usize = 64 * 1024;

/// One call of `ServerReflectionInfo`: an answer to each question, in order.
pub(crate) struct ReflectionCall {
    index: Arc<DescriptorIndex>,
    encoding: Encoding,
    decoder: MessageDecoder,
    body: Incoming,
}

impl ReflectionCall {
    pub(crate) fn new(index: &Arc<DescriptorIndex>, encoding: Encoding, body: Incoming) -> Self {
        Self {
            index: Arc::clone(index),
            encoding,
            decoder: MessageDecoder::new(MAX_QUESTION_SIZE),
            body,
        }
    }

    fn next_answer(&mut self) -> Result<Option<Segments>, Status> {
        let Some(message) = self.decoder.next_message(&|_, _| None)? else {
            return Ok(None);
        };
        let message = self.encoding.decode(message, MAX_QUESTION_SIZE)?;
        let request = Request::decode(message).map_err(|_| Status::unreadable())?;
        let answer = with_prefix(&self.index.answer(request));
        Ok(Some(Segments::from(answer)))
    }
}

impl MessageSource for ReflectionCall {
    fn poll_message(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Segments, Status>>> {
        loop {
            if let Some(answer) = self.next_answer().transpose() {
                return Poll::Ready(Some(answer));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    if let Ok(piece) = frame.into_data() {
                        self.decoder.push(piece);
                    }
                }
                None if self.decoder.is_empty() => return Poll::Ready(None),
                None | Some(Err(_)) => return Poll::Ready(Some(Err(Status::unreadable()))),
            }
        }
    }
}
