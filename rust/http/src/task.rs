// SPDX-License-Identifier: Apache-2.0
//! Tasks of a network thread.

use std::future::Future;
use std::time::Duration;

use tokio::time::error::Elapsed;

use crate::panics;

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
