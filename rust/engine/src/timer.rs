// SPDX-License-Identifier: Apache-2.0
//! The one timer thread, which calls whatever waits for a moment: each model's scheduler at its
//! next deadline, for one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tritongw_types::{Error, Result};

use crate::clock::monotonic_ns;

/// What can wait for a moment.
pub(crate) trait Timed: Send + Sync {
    /// The moment has come.
    fn deadline_reached(self: Arc<Self>);
}

/// Hands deadlines to the timer thread, which ends when the last handle is dropped.
#[derive(Clone)]
pub(crate) struct Timer(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    entries: BinaryHeap<Reverse<Entry>>,
    is_stopping: bool,
}

struct Entry {
    deadline_ns: u64,
    timed: Weak<dyn Timed>,
}

impl Timer {
    pub(crate) fn start() -> Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let runs = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("timer".into())
            .spawn(move || runs.thread_main())
            .map_err(|source| {
                Error::internal("failed to start the timer thread").with_source(source)
            })?;
        Ok(Self(Arc::new(Handle { shared })))
    }

    /// Calls `timed` at `deadline_ns`, if it still exists then.
    pub(crate) fn schedule(&self, deadline_ns: u64, timed: Weak<dyn Timed>) {
        let mut state = self.0.shared.state.lock();
        let is_first = state
            .entries
            .peek()
            .is_none_or(|entry| deadline_ns < entry.0.deadline_ns);
        state.entries.push(Reverse(Entry { deadline_ns, timed }));
        drop(state);
        if is_first {
            self.0.shared.changed.notify_one();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.state.lock().is_stopping = true;
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn thread_main(&self) {
        while let Some(timed) = self.next_due() {
            if let Some(timed) = timed.upgrade() {
                timed.deadline_reached();
            }
        }
    }

    /// Waits for the next entry that is due; `None` when the timer stops.
    fn next_due(&self) -> Option<Weak<dyn Timed>> {
        let mut state = self.state.lock();
        loop {
            if state.is_stopping {
                return None;
            }
            let Some(Reverse(first)) = state.entries.peek() else {
                self.changed.wait(&mut state);
                continue;
            };
            let wait_ns = first.deadline_ns.saturating_sub(monotonic_ns());
            if wait_ns == 0 {
                return state.entries.pop().map(|Reverse(entry)| entry.timed);
            }
            self.changed
                .wait_for(&mut state, Duration::from_nanos(wait_ns));
        }
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.deadline_ns == other.deadline_ns
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.deadline_ns.cmp(&other.deadline_ns)
    }
}
