// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

/// What a stop has to wait for.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    is_stopping: watch::Sender<bool>,
    pub(crate) requests: InflightCount,
    pub(crate) connections: InflightCount,
}

impl Drain {
    /// Has inference refused from now on.
    pub(crate) fn stop(&self) {
        self.is_stopping.send_replace(true);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.is_stopping.borrow()
    }

    /// Waits until [`Self::stop`] is called.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut is_stopping = self.is_stopping.subscribe();
        async move {
            // A drain that is gone has stopped.
            let _ = is_stopping.wait_for(|is_stopping| *is_stopping).await;
        }
    }

    /// Counts a call that outlives its handler, until what is returned is dropped.
    pub(crate) fn enter_stream(self: &Arc<Self>) -> InflightStream {
        std::mem::forget(self.requests.enter());
        InflightStream(Arc::clone(self))
    }
}

/// A stream under way, until dropped.
#[derive(Debug)]
pub(crate) struct InflightStream(Arc<Drain>);

impl Drop for InflightStream {
    fn drop(&mut self) {
        self.0.requests.leave();
    }
}

/// Counts what is under way, so that one thread can wait until nothing is.
#[derive(Debug, Default)]
pub(crate) struct InflightCount {
    count: AtomicUsize,
    is_awaited: AtomicBool,
    lock: Mutex<()>,
    idle: Condvar,
}

/// One thing under way, until dropped.
#[derive(Debug)]
pub(crate) struct Inflight<'a>(&'a InflightCount);

impl InflightCount {
    pub(crate) fn enter(&self) -> Inflight<'_> {
        self.count.fetch_add(1, Ordering::SeqCst);
        Inflight(self)
    }

    fn leave(&self) {
        let before = self.count.fetch_sub(1, Ordering::SeqCst);
        if before == 1 && self.is_awaited.load(Ordering::SeqCst) {
            let _guard = self.lock.lock();
            self.idle.notify_all();
        }
    }

    /// Waits until nothing is under way, for at most `timeout`; returns whether that came.
    pub(crate) fn wait_until_idle(&self, timeout: Duration) -> bool {
        // INVARIANT: set before the count is read, and read by `leave` after the count was
        // lowered: either this sees the new count, or `leave` sees that it must wake us.
        self.is_awaited.store(true, Ordering::SeqCst);
        let mut guard = self.lock.lock();
        let is_busy = |_: &mut ()| self.count.load(Ordering::SeqCst) != 0;
        !self
            .idle
            .wait_while_for(&mut guard, is_busy, timeout)
            .timed_out()
    }
}

impl Drop for Inflight<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_when_the_last_one_leaves() {
        let inflight = InflightCount::default();
        assert!(inflight.wait_until_idle(Duration::ZERO));
        let first = inflight.enter();
        assert!(!inflight.wait_until_idle(Duration::ZERO));
        std::thread::scope(|scope| {
            scope.spawn(|| drop(first));
            assert!(inflight.wait_until_idle(Duration::from_secs(60)));
        });
    }
}
