// SPDX-License-Identifier: Apache-2.0
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a connection has done lately, so that one that does nothing can be closed.
///
/// Counting costs an addition; a timer for each request would cost more than the request's head.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    steps: AtomicU64,
    is_working: AtomicBool,
}

impl Activity {
    /// Notes that the connection moved: a request, a piece of a body.
    pub(crate) fn step(&self) {
        // One task writes at a time; the order against other memory does not matter.
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how often it moved.
    pub(crate) fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Returns whether the next move is the server's, however long it takes.
    pub(crate) fn is_working(&self) -> bool {
        self.is_working.load(Ordering::Relaxed)
    }

    /// Says whether the next move is the server's.
    pub(crate) fn set_working(&self, is_working: bool) {
        self.is_working.store(is_working, Ordering::Relaxed);
    }

    /// Marks the server as working until the guard is dropped.
    pub(crate) fn work(&self) -> WorkGuard<'_> {
        self.set_working(true);
        WorkGuard(self)
    }
}

/// Marks a connection whose next move is the server's.
#[derive(Debug)]
pub(crate) struct WorkGuard<'a>(&'a Activity);

impl Drop for WorkGuard<'_> {
    fn drop(&mut self) {
        self.0.step();
        self.0.set_working(false);
    }
}
