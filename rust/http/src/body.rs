// SPDX-License-Identifier: Apache-2.0
//! Receiving request bodies: limits first, then memory, then bytes.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use tritongw_engine::buffer::{RequestBuffer, RequestMemory};
use tritongw_types::{Error, Result};

use crate::activity::Activity;
use crate::coding::{ContentCoding, Unpacker};
use crate::task;

/// Bytes received before other connections have their turn: a client that sends without rest would
/// keep them waiting.
const MAX_TURN_SIZE: usize = 64 << 10;
/// Memory that a body of unknown length is received into at a time.
const SEGMENT_SIZE: usize = 1 << 20;
/// Pieces of a body of unknown length that are not empty (P058).
const MAX_CHUNKS: usize = 65536;
/// How long the body of a refused request is read on, so that its client comes to read the answer.
/// How much of it: what a client may have on its way, and no endless stream.
const DISCARD_SIZE: usize = 64 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(10);

/// The body of one request, not yet received.
#[derive(Debug)]
pub(crate) struct RequestBody<'a> {
    incoming: &'a mut Incoming,
    coding: Option<ContentCoding>,
    activity: &'a Activity,
    /// Bytes received since other connections had their turn.
    turn_size: usize,
}

impl<'a> RequestBody<'a> {
    pub(crate) fn new(incoming: &'a mut Incoming, activity: &'a Activity) -> Self {
        Self {
            incoming,
            coding: None,
            activity,
            turn_size: 0,
        }
    }

    /// Says how the body is compressed; it is decompressed as it comes.
    pub(crate) fn set_coding(&mut self, coding: Option<ContentCoding>) {
        self.coding = coding;
    }

    /// Returns the connection's activity.
    pub(crate) fn activity(&self) -> &'a Activity {
        self.activity
    }

    /// Receives the body into contiguous memory: the model's where it takes it, else the heap; no
    /// copy is made of a body that comes in one piece.
    ///
    /// # Errors
    /// `InvalidArg` if it is longer than `limit`, compressed or not, comes in too many chunks, or
    /// is cut off. A body that announces its length is refused before anything is allocated or
    /// read.
    pub(crate) async fn receive(
        &mut self,
        limit: usize,
        memory: Option<ModelMemory<'_>>,
    ) -> Result<Bytes> {
        let hint = self.incoming.size_hint();
        let Some(length) = hint.exact() else {
            return match self.coding {
                Some(coding) => self.receive_compressed(coding, limit).await,
                None => self.receive_chunks(limit).await,
            };
        };
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= limit)
            .ok_or_else(|| too_large(&format!(" of {length} bytes"), limit))?;
        if let Some(coding) = self.coding {
            return self.receive_compressed(coding, limit).await;
        }
        if length == 0 {
            return Ok(Bytes::new());
        }
        match memory.and_then(|memory| memory.allocate(length)) {
            Some(buffer) => self.receive_into(buffer).await,
            None => self.receive_known(length).await,
        }
    }

    async fn receive_into(&mut self, buffer: Box<dyn RequestBuffer>) -> Result<Bytes> {
        let mut landing = self.activity.landing().open(buffer);
        while let Some(piece) = self.next_piece().await? {
            landing.take(&piece)?;
        }
        landing.finish().ok_or_else(cut_off)
    }

    async fn receive_known(&mut self, length: usize) -> Result<Bytes> {
        let first = self.next_piece().await?.ok_or_else(cut_off)?;
        if first.len() == length {
            return Ok(first);
        }
        let mut whole = Vec::new();
        whole
            .try_reserve_exact(length)
            .map_err(|source| out_of_memory(length, source))?;
        whole.extend_from_slice(&first);
        while let Some(piece) = self.next_piece().await? {
            whole.extend_from_slice(&piece);
        }
        if whole.len() == length {
            Ok(whole.into())
        } else {
            Err(cut_off())
        }
    }

    async fn receive_chunks(&mut self, limit: usize) -> Result<Bytes> {
        let mut segments = Segments::default();
        let mut chunks = ChunkCount::default();
        while let Some(piece) = self.next_piece().await? {
            chunks.add(&piece)?;
            if piece.len() > limit - segments.byte_size {
                return Err(too_large("", limit));
            }
            segments.push(&piece)?;
        }
        segments.join().await
    }

    async fn receive_compressed(&mut self, coding: ContentCoding, limit: usize) -> Result<Bytes> {
        let mut unpacker = Unpacker::new(coding, limit);
        let mut chunks = ChunkCount::default();
        while let Some(piece) = self.next_piece().await? {
            chunks.add(&piece)?;
            unpacker.feed(&piece).await?;
        }
        unpacker.finish().await.map(Bytes::from)
    }

    async fn next_piece(&mut self) -> Result<Option<Bytes>> {
        let piece = next_piece(self.incoming).await;
        self.activity.step();
        if let Ok(Some(piece)) = &piece {
            self.turn_size += piece.len();
            if self.turn_size >= MAX_TURN_SIZE {
                self.turn_size = 0;
                tokio::task::yield_now().await;
            }
        }
        piece
    }
}

/// Where a model wants its bodies.
#[derive(Clone, Copy)]
pub(crate) struct ModelMemory<'a> {
    pub(crate) memory: &'a Arc<dyn RequestMemory>,
    /// Length of the JSON before the tensors.
    pub(crate) head_length: usize,
}

impl ModelMemory<'_> {
    fn allocate(self, length: usize) -> Option<Box<dyn RequestBuffer>> {
        self.memory.allocate(length, self.head_length)
    }
}

/// A body of unknown length, in pieces that never move: to double one memory again and again would
/// copy megabytes while other connections wait.
#[derive(Default)]
struct Segments {
    full: Vec<Vec<u8>>,
    last: Vec<u8>,
    byte_size: usize,
}

impl Segments {
    fn push(&mut self, piece: &[u8]) -> Result<()> {
        if self.last.len() + piece.len() > SEGMENT_SIZE && !self.last.is_empty() {
            let mut next = Vec::new();
            next.try_reserve_exact(SEGMENT_SIZE.max(piece.len()))
                .map_err(|source| out_of_memory(SEGMENT_SIZE, source))?;
            self.full.push(std::mem::replace(&mut self.last, next));
        }
        self.last
            .try_reserve(piece.len())
            .map_err(|source| out_of_memory(piece.len(), source))?;
        self.last.extend_from_slice(piece);
        self.byte_size += piece.len();
        Ok(())
    }

    /// Returns all of it in one piece; others have their turn while it is put together.
    async fn join(self) -> Result<Bytes> {
        if self.full.is_empty() {
            return Ok(self.last.into());
        }
        let mut whole = Vec::new();
        whole
            .try_reserve_exact(self.byte_size)
            .map_err(|source| out_of_memory(self.byte_size, source))?;
        for segment in self.full.into_iter().chain([self.last]) {
            whole.extend_from_slice(&segment);
            drop(segment);
            tokio::task::yield_now().await;
        }
        Ok(whole.into())
    }
}

/// Counts the pieces of a body that are not empty.
#[derive(Default)]
struct ChunkCount(usize);

impl ChunkCount {
    fn add(&mut self, piece: &Bytes) -> Result<()> {
        self.0 += usize::from(!piece.is_empty());
        if self.0 > MAX_CHUNKS {
            return Err(Error::invalid_arg(format!(
                "request body has too many chunks, at most {MAX_CHUNKS} are allowed"
            )));
        }
        Ok(())
    }
}

/// Reads the rest of a body that nobody wants and forgets it, beside the answer.
///
/// A client that is still writing would otherwise find its connection closed before it reads why.
pub(crate) fn discard(mut incoming: Incoming) {
    task::spawn("discard body", async move {
        let read_all = async {
            let mut room = DISCARD_SIZE;
            while let Ok(Some(piece)) = next_piece(&mut incoming).await
                && piece.len() <= room
            {
                room -= piece.len();
            }
        };
        if task::within(DISCARD_TIME, read_all).await.is_err() {
            log::debug!("gave up on the body of a refused request");
        }
    });
}

/// Returns the next bytes, which may be none; `None` at the end. Trailers are ignored.
async fn next_piece(incoming: &mut Incoming) -> Result<Option<Bytes>> {
    let frame = poll_fn(|context| Pin::new(&mut *incoming).poll_frame(context)).await;
    match frame {
        None => Ok(None),
        Some(Ok(frame)) => Ok(Some(frame.into_data().unwrap_or_default())),
        Some(Err(source)) => Err(cut_off().with_source(source)),
    }
}

fn too_large(size: &str, limit: usize) -> Error {
    Error::invalid_arg(format!(
        "Request JSON size{size} exceeds the maximum allowed value of {limit} bytes. Use \
         --http-max-input-size to increase the limit."
    ))
}

fn cut_off() -> Error {
    Error::invalid_arg("request body ended before its announced length")
}

fn out_of_memory(length: usize, source: std::collections::TryReserveError) -> Error {
    Error::unavailable(format!("no memory for a request body of {length} bytes"))
        .with_source(source)
}
