// SPDX-License-Identifier: Apache-2.0
use std::future::Future;

use tokio::task::AbortHandle;

/// Starts a task on this thread's runtime; the one place that does so.
pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
    #[expect(clippy::disallowed_methods, reason = "this is the spawn helper")]
    tokio::spawn(future).abort_handle()
}

/// Lets hyper start the tasks of a connection's streams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamExecutor;

impl<F> hyper::rt::Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        spawn(future);
    }
}
