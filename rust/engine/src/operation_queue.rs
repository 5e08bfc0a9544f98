// SPDX-License-Identifier: Apache-2.0
//! Order among operations on models: one after another for one model, side by side for several
//! (R038, C033).
//!
//! Threads are started when there is work and end when there is none. A model whose operation runs
//! keeps no other model waiting, however many operations queue behind it.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

/// Something to be done with a model. Dropped without a call if it never gets its turn.
pub(crate) type Operation = Box<dyn FnOnce() + Send>;

/// Operations by the name of their model.
pub(crate) struct OperationQueue {
    state: Mutex<State>,
    thread_limit: usize,
}

#[derive(Default)]
struct State {
    // What waits for each model that has an operation under way.
    waiting: BTreeMap<String, VecDeque<Operation>>,
    // Models whose next operation may start.
    runnable: VecDeque<String>,
    thread_count: usize,
}

impl OperationQueue {
    pub(crate) fn new(thread_limit: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            thread_limit: thread_limit.max(1),
        })
    }

    /// Runs `operation` on a thread of the queue when it is its turn; returns at once.
    pub(crate) fn submit(self: &Arc<Self>, model: &str, operation: Operation) {
        let mut state = self.state.lock();
        match state.waiting.get_mut(model) {
            Some(waiting) => waiting.push_back(operation),
            None => {
                let waiting = VecDeque::from([operation]);
                state.waiting.insert(model.to_owned(), waiting);
                state.runnable.push_back(model.to_owned());
                self.start_thread(&mut state);
            }
        }
    }

    /// Runs a short `operation` here and now if nothing else is under way with the model, and as
    /// [`Self::submit`] does otherwise.
    pub(crate) fn run_or_submit(self: &Arc<Self>, model: &str, operation: Operation) {
        let mut state = self.state.lock();
        if state.waiting.contains_key(model) {
            drop(state);
            return self.submit(model, operation);
        }
        state.waiting.insert(model.to_owned(), VecDeque::new());
        MutexGuard::unlocked(&mut state, || run(operation));
        self.finish(&mut state, model.to_owned());
        self.start_thread(&mut state);
    }

    /// Drops everything that has not yet begun.
    pub(crate) fn clear(&self) {
        let mut state = self.state.lock();
        let dropped: Vec<_> = state.waiting.values_mut().map(std::mem::take).collect();
        drop(state);
        drop(dropped);
    }

    fn start_thread(self: &Arc<Self>, state: &mut MutexGuard<'_, State>) {
        if state.runnable.is_empty() || state.thread_count >= self.thread_limit {
            return;
        }
        state.thread_count += 1;
        let queue = Arc::clone(self);
        let spawned = std::thread::Builder::new()
            .name("load".to_owned())
            .spawn(move || queue.work(queue.state.lock()));
        if let Err(error) = spawned {
            state.thread_count -= 1;
            log::error!("failed to start a thread that loads models: {error}");
            // With another thread at work its turn will come; without one it cannot.
            if state.thread_count == 0
                && let Some(model) = state.runnable.pop_front()
            {
                state.waiting.remove(&model);
            }
        }
    }

    fn work(&self, mut state: MutexGuard<'_, State>) {
        while let Some(model) = state.runnable.pop_front() {
            let operation = state.waiting.get_mut(&model).and_then(VecDeque::pop_front);
            if let Some(operation) = operation {
                MutexGuard::unlocked(&mut state, || run(operation));
            }
            self.finish(&mut state, model);
        }
        state.thread_count -= 1;
    }

    /// Lets the next operation of a model have its turn.
    fn finish(&self, state: &mut State, model: String) {
        match state.waiting.get(&model) {
            Some(waiting) if !waiting.is_empty() => state.runnable.push_back(model),
            _ => drop(state.waiting.remove(&model)),
        }
    }
}

fn run(operation: Operation) {
    if catch_unwind(AssertUnwindSafe(operation)).is_err() {
        log::error!("an operation on a model panicked");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn report(events: &Sender<&'static str>, event: &'static str) -> Operation {
        let events = events.clone();
        Box::new(move || events.send(event).expect("the test listens"))
    }

    fn blocked(events: &Sender<&'static str>, event: &'static str) -> (Sender<()>, Operation) {
        let (open, gate): (_, Receiver<()>) = channel();
        let events = events.clone();
        let operation = Box::new(move || {
            events.send(event).expect("the test listens");
            gate.recv_timeout(PATIENCE)
                .expect("the test opens the gate");
        });
        (open, operation)
    }

    #[test]
    fn one_model_waits_for_itself_and_for_nobody_else() {
        let queue = OperationQueue::new(2);
        let (events, seen) = channel();
        let next = || seen.recv_timeout(PATIENCE).expect("an event");
        let (open, operation) = blocked(&events, "slow");
        queue.submit("a", operation);
        assert_eq!(next(), "slow");
        for _ in 0..3 {
            queue.submit("a", report(&events, "after"));
        }
        queue.submit("b", report(&events, "other"));
        assert_eq!(next(), "other");
        open.send(()).expect("the operation waits");
        assert_eq!([next(), next(), next()], ["after"; 3]);
    }

    #[test]
    fn no_more_models_at_once_than_there_are_threads() {
        let queue = OperationQueue::new(1);
        let (events, seen) = channel();
        let next = || seen.recv_timeout(PATIENCE).expect("an event");
        let (open, operation) = blocked(&events, "first");
        queue.submit("a", operation);
        queue.submit("b", report(&events, "second"));
        assert_eq!(next(), "first");
        assert!(seen.try_recv().is_err());
        open.send(()).expect("the operation waits");
        assert_eq!(next(), "second");
    }

    #[test]
    fn a_short_operation_runs_here_unless_the_model_is_busy() {
        let queue = OperationQueue::new(1);
        let (events, seen) = channel();
        let next = || seen.recv_timeout(PATIENCE).expect("an event");
        queue.run_or_submit("a", report(&events, "here"));
        assert_eq!(seen.try_recv(), Ok("here"));
        let (open, operation) = blocked(&events, "slow");
        queue.submit("a", operation);
        assert_eq!(next(), "slow");
        queue.run_or_submit("b", report(&events, "other"));
        assert_eq!(seen.try_recv(), Ok("other"));
        queue.run_or_submit("a", report(&events, "later"));
        assert!(seen.try_recv().is_err());
        open.send(()).expect("the operation waits");
        assert_eq!(next(), "later");
    }

    #[test]
    fn a_panic_ends_one_operation_only() {
        let queue = OperationQueue::new(1);
        let (events, seen) = channel();
        queue.submit("a", Box::new(|| panic!("as the test asked")));
        queue.submit("a", report(&events, "after"));
        assert_eq!(seen.recv_timeout(PATIENCE), Ok("after"));
    }

    #[test]
    fn what_is_cleared_is_dropped_uncalled() {
        let queue = OperationQueue::new(1);
        let (events, seen) = channel();
        let (open, operation) = blocked(&events, "slow");
        queue.submit("a", operation);
        assert_eq!(seen.recv_timeout(PATIENCE), Ok("slow"));
        queue.submit("a", report(&events, "never"));
        queue.clear();
        drop(events);
        open.send(()).expect("the operation waits");
        assert!(seen.recv_timeout(PATIENCE).is_err(), "all senders are gone");
    }
}
