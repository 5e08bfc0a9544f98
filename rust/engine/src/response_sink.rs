// SPDX-License-Identifier: Apache-2.0
//! Where responses go, and what they pass on the way.

use std::sync::Arc;

use crate::response::{InferenceResponse, ResponseFlags};

/// Called once a sink has room again.
pub type Resume = Box<dyn FnOnce() + Send>;

/// Receives the responses of one request; each door brings its own.
///
/// Called from whichever thread answers, with no engine lock held; it must not block. `FINAL`
/// comes exactly once, on a response or, for decoupled models, alone.
pub trait ResponseSink: Send + Sync {
    /// Takes one response; `None` carries flags only.
    fn respond(&self, response: Option<Box<InferenceResponse>>, flags: ResponseFlags);

    /// Returns whether the client keeps up. A decoupled model that goes on although it does not
    /// is never refused, but what it sends takes memory until the client has read it.
    fn has_room(&self) -> bool {
        true
    }

    /// Calls `resume` as soon as [`Self::has_room`] holds, or nobody reads any more: at once, or
    /// later from another thread.
    fn when_room(&self, resume: Resume) {
        resume();
    }
}

/// Sees responses between the backend and the sink, innermost first: ordering, cache insertion,
/// ensemble steps.
pub trait ResponseStage: Send + Sync {
    /// Passes the response on through `next`, now or later, in this or another order.
    fn pass(
        &self,
        response: Option<Box<InferenceResponse>>,
        flags: ResponseFlags,
        next: &Arc<dyn ResponseSink>,
    );
}

/// A stage and what lies behind it, as one sink.
pub(crate) struct StagedSink {
    pub(crate) stage: Arc<dyn ResponseStage>,
    pub(crate) next: Arc<dyn ResponseSink>,
}

impl ResponseSink for StagedSink {
    fn respond(&self, response: Option<Box<InferenceResponse>>, flags: ResponseFlags) {
        self.stage.pass(response, flags, &self.next);
    }
}
