// SPDX-License-Identifier: Apache-2.0
//! Letting a door's thread gather requests before the scheduler decides.
//!
//! A network thread that has many ready sockets would otherwise hand its first request to an idle
//! instance as a batch of one, and wake that instance for each. On a thread that defers, requests
//! are only queued; the thread dispatches when it has read all it can and is about to sleep.

use std::cell::RefCell;
use std::sync::Arc;

use crate::model_scheduler::ModelScheduler;

thread_local! {
    /// Schedulers with requests queued by this thread; `None` on threads that do not defer.
    static DEFERRED: RefCell<Option<Vec<Arc<ModelScheduler>>>> = const { RefCell::new(None) };
}

/// Makes this thread gather: every request it enqueues waits for [`dispatch_deferred`].
///
/// The thread must call [`dispatch_deferred`] each time before it blocks.
pub fn defer_dispatch_on_this_thread() {
    DEFERRED.with_borrow_mut(|deferred| {
        deferred.get_or_insert_default();
    });
}

/// Dispatches what this thread has enqueued since the last call; inline instances run here.
pub fn dispatch_deferred() {
    // Executions may enqueue again, on this very thread: go on until nothing new has come.
    loop {
        let schedulers = DEFERRED.with_borrow_mut(|deferred| match deferred {
            Some(schedulers) => std::mem::take(schedulers),
            None => Vec::new(),
        });
        if schedulers.is_empty() {
            return;
        }
        for scheduler in schedulers {
            scheduler.poll();
        }
    }
}

/// Remembers `scheduler` for [`dispatch_deferred`]; false if this thread does not defer.
pub(crate) fn defer(scheduler: &Arc<ModelScheduler>) -> bool {
    DEFERRED.with_borrow_mut(|deferred| {
        let Some(schedulers) = deferred else {
            return false;
        };
        if !schedulers.iter().any(|known| Arc::ptr_eq(known, scheduler)) {
            schedulers.push(Arc::clone(scheduler));
        }
        true
    })
}
