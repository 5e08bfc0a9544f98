// SPDX-License-Identifier: Apache-2.0
//! Ending what no request refers to any more: models that were unloaded or replaced, instances
//! that an update removed.
//!
//! The last reference may go on any thread, an instance's own among them, where the end of an
//! instance must not be waited for; so each ending has a thread of its own.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::clock::monotonic_ns;

/// Endings under way.
#[derive(Clone, Default)]
pub(crate) struct Retirements(Arc<Shared>);

#[derive(Default)]
struct Shared {
    count: Mutex<usize>,
    changed: Condvar,
}

impl Retirements {
    /// Runs `ending` on a thread of its own.
    pub(crate) fn begin(&self, ending: impl FnOnce() + Send + 'static) {
        let under_way = UnderWay::new(&self.0);
        let spawned = std::thread::Builder::new()
            .name("unload".to_owned())
            .spawn(move || {
                // Held also when `ending` panics.
                let _under_way = under_way;
                ending();
            });
        if let Err(error) = spawned {
            log::error!("failed to start a thread that unloads: {error}; resources are kept");
        }
    }

    /// Waits until every ending is over, at most until `deadline_ns`.
    pub(crate) fn wait_until(&self, deadline_ns: u64) {
        let mut count = self.0.count.lock();
        while *count > 0 {
            let left_ns = deadline_ns.saturating_sub(monotonic_ns());
            if left_ns == 0 {
                return;
            }
            self.0
                .changed
                .wait_for(&mut count, Duration::from_nanos(left_ns));
        }
    }
}

struct UnderWay(Arc<Shared>);

impl UnderWay {
    fn new(shared: &Arc<Shared>) -> Self {
        *shared.count.lock() += 1;
        Self(Arc::clone(shared))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        *self.0.count.lock() -= 1;
        self.0.changed.notify_all();
    }
}
