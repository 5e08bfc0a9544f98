// SPDX-License-Identifier: Apache-2.0
//! One instance of a model: its mailbox, its thread, and whose turn it is to run it.
//!
//! **Invariant:** the backend's instance is taken out of its cell while it executes, so that it is
//! never run by two threads and no lock is held while it runs.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use tritongw_types::{Error, Result};

use crate::backend::{BackendInstance, Placement};
use crate::batch::Batch;
use crate::clock::monotonic_ns;
use crate::instance_update::InstanceSignature;

/// Moments of one execution, in [`monotonic_ns`]. Input time is `compute_start - exec_start`,
/// infer time `compute_end - compute_start`, output time `exec_end - compute_end`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ComputeTimings {
    /// Execution began: the batch reached the instance.
    pub exec_start_ns: u64,
    /// Inputs were ready, the model began.
    pub compute_start_ns: u64,
    /// The model ended.
    pub compute_end_ns: u64,
    /// Outputs were ready.
    pub exec_end_ns: u64,
}

impl ComputeTimings {
    /// Returns the timings of an execution that has got no further than its inputs.
    pub fn until_now(exec_start_ns: u64) -> Self {
        let now = monotonic_ns();
        Self {
            exec_start_ns,
            compute_start_ns: now,
            compute_end_ns: now,
            exec_end_ns: now,
        }
    }
}

/// Executions above this are not run on the enqueuing thread.
const INLINE_LIMIT_NS: u64 = 100_000;
/// Time that an enqueuing thread gives to executions in a row before the instance's own thread
/// takes over: long enough for what a busy network thread gathers, short enough for its sockets.
const INLINE_RUN_LIMIT_NS: u64 = 1_000_000;

/// An instance and its mailbox.
pub(crate) struct ModelInstance {
    name: String,
    signature: InstanceSignature,
    placement: Placement,
    mailbox: Mutex<Mailbox>,
    work_arrived: Condvar,
    // Requests of batches that were handed over but wait behind another one; only where several
    // batches may be under way.
    ahead: Mutex<Ahead>,
    // Moving average of an execution, for the choice of thread; 0 until the first.
    average_ns: AtomicU64,
}

/// Batches under way at an asynchronous instance, which executes them one after another.
#[derive(Default)]
struct Ahead {
    inflight: usize,
    waiting: VecDeque<usize>,
}

struct Mailbox {
    queue: VecDeque<Batch>,
    backend: Option<Box<dyn BackendInstance>>,
    thread: Option<JoinHandle<()>>,
    is_stopping: bool,
}

impl ModelInstance {
    /// Makes the instance and, unless it is asynchronous, starts its thread.
    pub(crate) fn start(
        name: String,
        signature: InstanceSignature,
        backend: Box<dyn BackendInstance>,
    ) -> Result<Arc<Self>> {
        let placement = backend.placement();
        let mailbox = Mailbox {
            queue: VecDeque::new(),
            backend: Some(backend),
            thread: None,
            is_stopping: false,
        };
        let instance = Arc::new(Self {
            name,
            signature,
            placement,
            mailbox: Mutex::new(mailbox),
            work_arrived: Condvar::new(),
            ahead: Mutex::default(),
            average_ns: AtomicU64::new(0),
        });
        if !matches!(placement, Placement::Async { .. }) {
            let runs = Arc::clone(&instance);
            let thread = std::thread::Builder::new()
                .name(thread_name(&instance.name))
                .spawn(move || runs.thread_main())
                .map_err(|source| {
                    let message = format!("failed to start thread of instance '{}'", instance.name);
                    Error::internal(message).with_source(source)
                })?;
            instance.mailbox.lock().thread = Some(thread);
        }
        Ok(instance)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn signature(&self) -> &InstanceSignature {
        &self.signature
    }

    pub(crate) fn max_inflight(&self) -> u32 {
        match self.placement {
            Placement::Async { max_inflight } => max_inflight.max(1),
            Placement::Dedicated | Placement::Inline => 1,
        }
    }

    /// Notes a batch on its way; returns how many requests begin to execute by it.
    pub(crate) fn note_dispatch(&self, request_count: usize) -> usize {
        if self.max_inflight() == 1 {
            return request_count;
        }
        let mut ahead = self.ahead.lock();
        ahead.inflight += 1;
        if ahead.inflight == 1 {
            return request_count;
        }
        ahead.waiting.push_back(request_count);
        0
    }

    /// Notes a freed slot; returns how many requests begin to execute by it.
    pub(crate) fn note_completion(&self) -> usize {
        if self.max_inflight() == 1 {
            return 0;
        }
        let mut ahead = self.ahead.lock();
        ahead.inflight = ahead.inflight.saturating_sub(1);
        ahead.waiting.pop_front().unwrap_or(0)
    }

    /// Takes a batch and sees that it runs: here, if the placement allows, or on the own thread.
    pub(crate) fn submit(&self, batch: Batch) {
        let runs_here = self.may_run_here();
        let mut mailbox = self.mailbox.lock();
        mailbox.queue.push_back(batch);
        if mailbox.backend.is_none() {
            return; // Whoever runs the instance takes the batch when it is done.
        }
        if runs_here {
            drop(mailbox);
            self.run_here();
        } else {
            self.work_arrived.notify_one();
        }
    }

    fn may_run_here(&self) -> bool {
        match self.placement {
            Placement::Async { .. } => true,
            Placement::Dedicated => false,
            Placement::Inline => self.average_ns.load(Ordering::Relaxed) < INLINE_LIMIT_NS,
        }
    }

    fn run_here(&self) {
        let start_ns = monotonic_ns();
        while let Some((backend, batch)) = self.take_turn() {
            self.execute(backend, batch);
            let is_over = monotonic_ns().saturating_sub(start_ns) > INLINE_RUN_LIMIT_NS;
            if is_over && self.placement == Placement::Inline {
                // INVARIANT: the own thread looks into the mailbox before it waits, so that this
                // cannot be missed.
                self.work_arrived.notify_one();
                return;
            }
        }
    }

    fn take_turn(&self) -> Option<(Box<dyn BackendInstance>, Batch)> {
        let mut mailbox = self.mailbox.lock();
        if mailbox.queue.is_empty() {
            return None;
        }
        let backend = mailbox.backend.take()?;
        mailbox.queue.pop_front().map(|batch| (backend, batch))
    }

    fn execute(&self, mut backend: Box<dyn BackendInstance>, mut batch: Batch) {
        let start_ns = monotonic_ns();
        let result = catch_unwind(AssertUnwindSafe(|| backend.execute(&mut batch)));
        self.note_duration(monotonic_ns().saturating_sub(start_ns));
        let error = match result {
            Ok(Ok(())) => Error::internal(format!(
                "instance '{}' did not answer the request",
                self.name
            )),
            Ok(Err(error)) => error,
            Err(_) => Error::internal(format!("instance '{}' panicked", self.name)),
        };
        batch.fail(&error);
        // Frees the slot, unless the backend keeps the permit. The next batch may land in the
        // mailbox right here: while the cell is empty it stays there for the caller's loop, so
        // that completions never nest.
        drop(batch);
        self.mailbox.lock().backend = Some(backend);
    }

    fn note_duration(&self, duration_ns: u64) {
        let average = self.average_ns.load(Ordering::Relaxed);
        let next = if average == 0 {
            duration_ns
        } else {
            (average * 7 + duration_ns) / 8
        };
        self.average_ns.store(next, Ordering::Relaxed);
    }

    fn thread_main(&self) {
        loop {
            {
                let mut mailbox = self.mailbox.lock();
                while mailbox.queue.is_empty() || mailbox.backend.is_none() {
                    if mailbox.is_stopping && mailbox.queue.is_empty() {
                        return;
                    }
                    self.work_arrived.wait(&mut mailbox);
                }
            }
            if let Some((backend, batch)) = self.take_turn() {
                self.execute(backend, batch);
            }
        }
    }

    /// Ends the thread after what is queued, and drops the backend's instance. Must not be called
    /// from the instance's own thread.
    pub(crate) fn stop(&self) {
        let thread = {
            let mut mailbox = self.mailbox.lock();
            mailbox.is_stopping = true;
            mailbox.thread.take()
        };
        self.work_arrived.notify_all();
        if let Some(thread) = thread {
            // A panic of the thread is nothing more to report: executions are guarded one by one.
            let _ = thread.join();
        }
        let backend = self.mailbox.lock().backend.take();
        drop(backend);
    }
}

/// Linux cuts thread names at 15 bytes; the end of an instance name tells most.
fn thread_name(instance: &str) -> String {
    let start = instance.len().saturating_sub(15);
    instance.get(start..).unwrap_or("instance").to_owned()
}
