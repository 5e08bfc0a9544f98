// SPDX-License-Identifier: Apache-2.0
//! One thread that gives the responses of all requests of an instance when they are due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tritongw_engine::Responder;
use tritongw_engine::clock::monotonic_ns;
use tritongw_types::{Error, Result};

/// How long a cancelled request may go unnoticed while its next response is not due.
const CANCEL_CHECK_NS: u64 = 20_000_000;

/// What comes after a step.
pub(crate) enum Next {
    /// A further step, this long from now, or at once if the request is cancelled.
    After(Duration),
    /// A further step, this long from now, come what may.
    CleanUp(Duration),
    /// Nothing: the final response was sent.
    End,
}

/// The responses of one request.
pub(crate) trait Answer: Send {
    /// Returns where the responses go.
    fn responder(&self) -> &Arc<Responder>;

    /// Sends what is due, or ends the request if it was cancelled; called early in that case.
    fn step(&mut self) -> Next;
}

/// The thread, and the requests that wait for their next response.
pub(crate) struct Pacer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: BinaryHeap<Reverse<Entry>>,
    entry_count: u64,
    is_stopping: bool,
}

struct Entry {
    // When to look at it next: when it is due, or sooner, to see whether it was cancelled.
    wake_ns: u64,
    // Entries of one moment keep their order.
    number: u64,
    due_ns: u64,
    heeds_cancel: bool,
    answer: Box<dyn Answer>,
}

impl Pacer {
    pub(crate) fn start(instance_name: &str) -> Result<Self> {
        let shared = Arc::<Shared>::default();
        let runs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("pacer".to_owned())
            .spawn(move || runs.run())
            .map_err(|source| {
                let message = format!("failed to start the response thread of '{instance_name}'");
                Error::internal(message).with_source(source)
            })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Gives `answer` its first step after `delay`.
    pub(crate) fn submit(&self, answer: Box<dyn Answer>, delay: Duration) {
        self.shared.push(answer, due_after(delay), true);
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        let unanswered = {
            let mut state = self.shared.state.lock();
            state.is_stopping = true;
            std::mem::take(&mut state.waiting)
        };
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread leaves responders behind, whose clients get an error.
            let _ = thread.join();
        }
        for Reverse(entry) in unanswered {
            refuse(&*entry.answer);
        }
    }
}

impl Shared {
    fn push(&self, answer: Box<dyn Answer>, due_ns: u64, heeds_cancel: bool) {
        let mut state = self.state.lock();
        if state.is_stopping {
            drop(state);
            return refuse(&*answer);
        }
        state.entry_count += 1;
        let entry = Entry {
            wake_ns: wake_ns(due_ns),
            number: state.entry_count,
            due_ns,
            heeds_cancel,
            answer,
        };
        state.waiting.push(Reverse(entry));
        drop(state);
        self.changed.notify_all();
    }

    fn run(self: &Arc<Self>) {
        while let Some(mut entry) = self.next_entry() {
            let is_due = entry.due_ns <= monotonic_ns();
            let is_cancelled = entry.heeds_cancel && entry.answer.responder().is_cancelled();
            if !is_due && !is_cancelled {
                self.push(entry.answer, entry.due_ns, entry.heeds_cancel);
                continue;
            }
            match entry.answer.step() {
                Next::After(delay) => self.push_when_room(entry.answer, due_after(delay)),
                Next::CleanUp(delay) => self.push(entry.answer, due_after(delay), false),
                Next::End => {}
            }
        }
    }

    /// Waits for the time of the next entry; `None` when the pacer stops.
    fn next_entry(&self) -> Option<Entry> {
        let mut state = self.state.lock();
        loop {
            if state.is_stopping {
                return None;
            }
            let Some(Reverse(first)) = state.waiting.peek() else {
                self.changed.wait(&mut state);
                continue;
            };
            let remaining_ns = first.wake_ns.saturating_sub(monotonic_ns());
            if remaining_ns == 0 {
                return state.waiting.pop().map(|Reverse(entry)| entry);
            }
            let remaining = Duration::from_nanos(remaining_ns);
            self.changed.wait_for(&mut state, remaining);
        }
    }

    /// Puts an answer back once its client keeps up.
    fn push_when_room(self: &Arc<Self>, answer: Box<dyn Answer>, due_ns: u64) {
        let responder = Arc::clone(answer.responder());
        let shared = Arc::clone(self);
        responder.when_room(Box::new(move || shared.push(answer, due_ns, true)));
    }
}

/// Ends a request whose responses can no longer be given.
fn refuse(answer: &dyn Answer) {
    let error = Error::unavailable("the model was unloaded before it had answered");
    answer.responder().send_error(error);
}

fn due_after(delay: Duration) -> u64 {
    let delay_ns = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
    monotonic_ns().saturating_add(delay_ns)
}

fn wake_ns(due_ns: u64) -> u64 {
    due_ns.min(monotonic_ns().saturating_add(CANCEL_CHECK_NS))
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.wake_ns, self.number).cmp(&(other.wake_ns, other.number))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}
