// SPDX-License-Identifier: Apache-2.0
//! Tasks of a network thread, and the moment at which the requests they queued are dispatched.
//!
//! A network thread only queues requests, so that those which its sockets brought together can
//! share a batch. One task of each thread dispatches them: it is woken by the first request queued
//! and, since tokio runs the tasks of a thread in the order in which they became ready, runs after
//! every connection that was ready then. So a thread that is never idle dispatches as well, and the
//! answers of inline models are written without another look at the sockets. What is queued
//! outside of any connection is dispatched before the thread parks.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::error::Elapsed;

use crate::panics;

thread_local! {
    static DISPATCHER: RefCell<Dispatcher> = const { RefCell::new(Dispatcher::NONE) };
}

/// The dispatching task of this thread.
struct Dispatcher {
    /// Wakes the task; `None` while it is awake already.
    asleep: Option<Waker>,
}

impl Dispatcher {
    const NONE: Self = Self { asleep: None };
}

/// Spawns a task on the current network thread: the only way to spawn in this crate.
///
/// A panic ends the task and is logged under `name`.
#[expect(clippy::disallowed_methods, reason = "this is the spawn helper")]
pub(crate) fn spawn(name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(async move {
        if panics::catch(future).await.is_err() {
            log::error!("task '{name}' panicked");
        }
    });
}

/// Waits for `future`, for at most `limit`.
pub(crate) async fn within<T>(
    limit: Duration,
    future: impl Future<Output = T>,
) -> Result<T, Elapsed> {
    tokio::time::timeout(limit, future).await
}

/// Makes this thread gather requests, and spawns the task that dispatches them.
pub(crate) fn start_dispatcher() {
    tritongw_engine::defer_dispatch_on_this_thread();
    spawn(
        "dispatch",
        poll_fn(|context| {
            tritongw_engine::dispatch_deferred();
            let waker = context.waker().clone();
            DISPATCHER.with_borrow_mut(|dispatcher| dispatcher.asleep = Some(waker));
            Poll::Pending
        }),
    );
}

/// Has the requests of this thread dispatched once the tasks that are ready have run.
pub(crate) fn dispatch_soon() {
    if let Some(waker) = DISPATCHER.with_borrow_mut(|dispatcher| dispatcher.asleep.take()) {
        waker.wake();
    }
}
