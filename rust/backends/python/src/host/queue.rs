// SPDX-License-Identifier: Apache-2.0
//! Batches on their way to an event loop in this process.
//!
//! Bounded by the engine, which hands an instance no more batches than its placement allows.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{BatchSource, HostBatch, Next};
use crate::shared::wake::{self, Sleeper, Waker, Wakeup};

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<HostBatch>,
    is_stopped: bool,
    is_asleep: bool,
    // Nobody takes what is sent any more.
    is_abandoned: bool,
}

/// The end of the engine. Dropping it tells the loop to stop after what is queued.
#[derive(Debug)]
pub struct BatchSender {
    state: Arc<Mutex<State>>,
    waker: Waker,
}

/// The end of the event loop.
#[derive(Debug)]
pub struct BatchQueue {
    state: Arc<Mutex<State>>,
    sleeper: Sleeper,
}

/// Makes both ends.
///
/// # Errors
/// If the process has no descriptors left.
pub fn batch_queue() -> io::Result<(BatchSender, BatchQueue)> {
    let (waker, sleeper) = wake::pair()?;
    let state = Arc::new(Mutex::new(State::default()));
    let sender = BatchSender {
        state: Arc::clone(&state),
        waker,
    };
    Ok((sender, BatchQueue { state, sleeper }))
}

impl BatchSender {
    /// Queues a batch; without a loop it is let go, which answers its requests.
    pub fn send(&self, batch: HostBatch) {
        let refused = self.change(|state| {
            if state.is_abandoned {
                return Some(batch);
            }
            state.waiting.push_back(batch);
            None
        });
        drop(refused);
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let (changed, was_asleep) = {
            let mut state = self.state.lock();
            let changed = change(&mut state);
            (changed, std::mem::take(&mut state.is_asleep))
        };
        if was_asleep {
            self.waker.wake();
        }
        changed
    }
}

impl Drop for BatchSender {
    fn drop(&mut self) {
        self.change(|state| state.is_stopped = true);
    }
}

impl Drop for BatchQueue {
    fn drop(&mut self) {
        let waiting = {
            let mut state = self.state.lock();
            state.is_abandoned = true;
            std::mem::take(&mut state.waiting)
        };
        drop(waiting); // After the lock: requests are answered here.
    }
}

impl BatchSource for BatchQueue {
    fn wake_fd(&self) -> BorrowedFd<'_> {
        self.sleeper.as_fd()
    }

    fn try_next(&mut self) -> io::Result<Option<Next>> {
        let mut state = self.state.lock();
        let next = state.waiting.pop_front().map(Next::Batch);
        Ok(next.or_else(|| state.is_stopped.then_some(Next::Stop)))
    }

    fn prepare_sleep(&mut self) -> bool {
        let mut state = self.state.lock();
        state.is_asleep = state.waiting.is_empty() && !state.is_stopped;
        state.is_asleep
    }

    fn note_call(&mut self) -> io::Result<()> {
        // The end of the pipe is the order to stop, which the state holds as well.
        self.sleeper.sleep().map(|_: Wakeup| ())
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{BatchReply, Execution, HostResponse};
    use tritongw_engine::ResponseFlags;
    use tritongw_types::Result;

    struct Nobody;

    impl BatchReply for Nobody {
        fn send(&self, _: usize, _: Option<&HostResponse<'_>>, _: ResponseFlags) -> Result<()> {
            Ok(())
        }

        fn reschedule(&self, _: usize) -> Result<()> {
            Ok(())
        }

        fn let_go(&self, _: usize) {}

        fn flush(&self) {}

        fn wait_for_room(&self, _: usize) {}

        fn has_room(&self, _: usize) -> bool {
            true
        }

        fn is_cancelled(&self, _: usize) -> bool {
            false
        }

        fn note_compute_end(&self) {}
    }

    fn batch() -> HostBatch {
        batch_that(|_| ())
    }

    fn batch_that(end: impl FnOnce(Result<()>) + Send + 'static) -> HostBatch {
        HostBatch {
            requests: Vec::new(),
            reply: Arc::new(Nobody),
            execution: Execution::new(|result| {
                end(result);
                Ok(())
            }),
        }
    }

    #[test]
    fn batches_are_answered_once_without_a_loop() {
        let ended = Arc::new(Mutex::new(Vec::new()));
        let note = |ended: &Arc<Mutex<Vec<String>>>| {
            let ended = Arc::clone(ended);
            batch_that(move |result| {
                let error = result.expect_err("nobody executed it");
                ended.lock().push(error.message().to_owned());
            })
        };
        let (sender, queue) = batch_queue().expect("a pipe");
        sender.send(note(&ended));
        drop(queue);
        assert_eq!(ended.lock().len(), 1, "what was queued");
        sender.send(note(&ended));
        let text = "the model ended before it answered the request";
        assert_eq!(*ended.lock(), [text, text]);
    }

    #[test]
    fn a_sleeping_loop_is_called_and_finds_the_batch() {
        let (sender, mut queue) = batch_queue().expect("a pipe");
        assert!(queue.prepare_sleep());
        sender.send(batch());
        queue.note_call().expect("a call");
        let next = queue.try_next().expect("nothing fails");
        assert!(matches!(next, Some(Next::Batch(_))), "found {next:?}");
        assert!(queue.try_next().expect("nothing fails").is_none());
    }

    #[test]
    fn a_loop_is_not_put_to_sleep_over_a_batch_and_stops_after_the_last() {
        let (sender, mut queue) = batch_queue().expect("a pipe");
        sender.send(batch());
        drop(sender);
        assert!(!queue.prepare_sleep());
        let next = queue.try_next().expect("nothing fails");
        assert!(matches!(next, Some(Next::Batch(_))), "found {next:?}");
        let next = queue.try_next().expect("nothing fails");
        assert!(matches!(next, Some(Next::Stop)), "found {next:?}");
    }
}
