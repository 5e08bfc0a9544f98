// SPDX-License-Identifier: Apache-2.0
//! A thread that looks for changes in the repositories from time to time (R025, C030).

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tritongw_types::{Error, Result};

use crate::repository_manager::ModelRepositoryManager;

/// How long a change must have lasted before it is taken up, where the interval is not shorter.
const SETTLE_TIME: Duration = Duration::from_secs(2);

/// Stops the thread when dropped; does not wait for it.
pub(crate) struct RepositoryPoller {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    is_stopping: Mutex<bool>,
    stop: Condvar,
}

/// Looks for changes and acts on them; returns whether another look has to confirm something.
pub(crate) type Look = fn(&Arc<ModelRepositoryManager>) -> Result<bool>;

impl RepositoryPoller {
    pub(crate) fn start(
        manager: &Arc<ModelRepositoryManager>,
        interval: Duration,
        look: Look,
    ) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let runs = Arc::clone(&shared);
        let manager = Arc::downgrade(manager);
        std::thread::Builder::new()
            .name("repository-poll".to_owned())
            .spawn(move || runs.thread_main(&manager, interval, look))
            .map_err(|source| {
                Error::internal("failed to start the repository polling thread").with_source(source)
            })?;
        Ok(Self { shared })
    }

    /// Stops the thread once it has finished what it is at.
    pub(crate) fn stop(&self) {
        *self.shared.is_stopping.lock() = true;
        self.shared.stop.notify_all();
    }
}

impl Drop for RepositoryPoller {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn thread_main(&self, manager: &Weak<ModelRepositoryManager>, interval: Duration, look: Look) {
        let mut wait = interval;
        while !self.is_stopped_within(wait) {
            let Some(manager) = manager.upgrade() else {
                return;
            };
            wait = match look(&manager) {
                Ok(true) => interval.min(SETTLE_TIME),
                Ok(false) => interval,
                Err(error) => {
                    log::error!("failed to poll the model repositories: {}", error.message());
                    interval
                }
            };
        }
    }

    fn is_stopped_within(&self, wait: Duration) -> bool {
        let mut is_stopping = self.is_stopping.lock();
        if !*is_stopping {
            self.stop.wait_for(&mut is_stopping, wait);
        }
        *is_stopping
    }
}
