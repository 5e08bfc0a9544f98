// SPDX-License-Identifier: Apache-2.0
//! The ring by which responses of called models reach a worker, and those that wait for room in it.

use std::collections::VecDeque;

use crate::shared::channel::ReplyChannel;
use crate::shared::descriptor::Descriptor;
use crate::shared::ring::{Producer, RingError};

/// Sends frames in their order, without ever waiting.
pub(super) struct ReplyRing {
    replies: Producer,
    channel: ReplyChannel,
    // In their order, before everything that comes.
    kept: VecDeque<(Descriptor, Vec<u8>)>,
    scratch: Vec<u8>,
}

impl ReplyRing {
    pub(super) fn new(replies: Producer, channel: ReplyChannel) -> Self {
        Self {
            replies,
            channel,
            kept: VecDeque::new(),
            scratch: Vec::new(),
        }
    }

    /// Returns memory to write a payload in.
    pub(super) fn take_scratch(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.scratch)
    }

    /// Returns whether the worker sleeps and has to be woken, which is then up to the caller.
    pub(super) fn take_sleeping(&self) -> bool {
        self.replies.take_sleeping()
    }

    /// Sends a frame, or keeps it where there is no room.
    pub(super) fn send(&mut self, descriptor: Descriptor, payload: Vec<u8>) {
        if !self.kept.is_empty() {
            self.kept.push_back((descriptor, payload));
            return;
        }
        if self.push(descriptor, &payload) {
            self.scratch = payload;
            return;
        }
        self.kept.push_back((descriptor, payload));
        self.send_kept();
    }

    /// Sends what was kept, as far as there is room.
    pub(super) fn send_kept(&mut self) {
        while let Some((descriptor, payload)) = self.kept.pop_front() {
            if self.push(descriptor, &payload) {
                continue;
            }
            self.channel.set_held_up(true);
            // The worker may have made room before it could see that.
            if !self.push(descriptor, &payload) {
                self.kept.push_front((descriptor, payload));
                return;
            }
        }
        self.channel.set_held_up(false);
    }

    fn push(&mut self, descriptor: Descriptor, payload: &[u8]) -> bool {
        match self.replies.push(descriptor, payload) {
            Ok(()) => true,
            Err(RingError::Full) => false,
            Err(error) => {
                log::error!("failed to send a response of a called model: {error}");
                true
            }
        }
    }
}
