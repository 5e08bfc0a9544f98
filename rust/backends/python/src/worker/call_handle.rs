// SPDX-License-Identifier: Apache-2.0
//! What the caller of another model holds: it cancels, and says how much it has read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::outbox::Outbox;
use crate::host::CallHandle;
use crate::shared::descriptor::{Descriptor, FrameKind};

/// Responses to a call that are read before the server is told.
const TOLD_AFTER: u32 = 64;

/// [`CallHandle::ignore`] as a number of responses.
const IGNORED: u32 = u32::MAX;

/// A call under way, as its caller holds it.
pub(super) struct WorkerCall {
    outbox: Arc<Outbox>,
    id: u64,
    unread: AtomicU32,
}

impl WorkerCall {
    pub(super) fn new(outbox: Arc<Outbox>, id: u64) -> Self {
        Self {
            outbox,
            id,
            unread: AtomicU32::new(0),
        }
    }

    fn tell_read(&self, count: u32) {
        let mut descriptor = Descriptor::new(FrameKind::CallRead, self.id);
        descriptor.count = count;
        tell(&self.outbox, descriptor);
    }
}

impl CallHandle for WorkerCall {
    fn cancel(&self) {
        tell(
            &self.outbox,
            Descriptor::new(FrameKind::CallCancel, self.id),
        );
    }

    fn note_read(&self) {
        if self.unread.fetch_add(1, Ordering::Relaxed) + 1 >= TOLD_AFTER {
            self.tell_read(self.unread.swap(0, Ordering::Relaxed));
        }
    }

    fn ignore(&self) {
        self.tell_read(IGNORED);
    }
}

/// Tells the server of a call.
pub(super) fn tell(outbox: &Outbox, descriptor: Descriptor) {
    if let Err(error) = outbox.send(descriptor, &[]) {
        log::error!("failed to tell the server of a call: {}", error.message());
    }
}
