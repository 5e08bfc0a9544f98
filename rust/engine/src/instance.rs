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

use crate::backend::{BackendInstance, Placement, ReadyCheck};
use crate::batch::Batch;
use crate::clock::monotonic_ns;
use crate::instance_update::InstanceSignature;
use crate::rate_limiter::Admission;

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
    // Where the instance has a word in whether the model is ready.
    ready_check: Option<Arc<dyn ReadyCheck>>,
    admission: Option<Admission>,
    mailbox: Mutex<Mailbox>,
    work_arrived: Condvar,
    // Requests of batches that were handed over but wait behind another one; only where the
    // placement has a line.
    ahead: Mutex<Ahead>,
    // Moving average of an execution, for the choice of thread; 0 until the first.
    average_ns: AtomicU64,
}

/// What the server's settings say of an instance.
pub(crate) struct InstanceRules {
    /// Its place among those that share resources, if the server limits these.
    pub(crate) admission: Option<Admission>,
    /// Whether it may run on certain cores only, as the thread does that makes it.
    pub(crate) is_bound: bool,
}

/// Batches under way at an instance that executes them one after another.
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

/// A batch and the right to run it.
struct Turn {
    start_ns: u64,
    backend: Box<dyn BackendInstance>,
    batch: Batch,
}

impl ModelInstance {
    /// Makes the instance and, unless it is asynchronous, starts its thread.
    pub(crate) fn start(
        name: String,
        signature: InstanceSignature,
        backend: Box<dyn BackendInstance>,
        rules: InstanceRules,
    ) -> Result<Arc<Self>> {
        let ready_check = backend.ready_check();
        let placement = match backend.placement() {
            Placement::Inline if rules.is_bound => Placement::Dedicated,
            placement => placement,
        };
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
            ready_check,
            admission: rules.admission,
            mailbox: Mutex::new(mailbox),
            work_arrived: Condvar::new(),
            ahead: Mutex::default(),
            average_ns: AtomicU64::new(0),
        });
        if !placement.is_started_anywhere() {
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

    pub(crate) fn ready_check(&self) -> Option<&Arc<dyn ReadyCheck>> {
        self.ready_check.as_ref()
    }

    /// Returns its place among those that share resources, if the server limits these.
    pub(crate) fn admission(&self) -> Option<&Admission> {
        self.admission.as_ref()
    }

    pub(crate) fn max_inflight(&self) -> u32 {
        if self.admission.is_some() && self.placement.has_line() {
            // Nothing is to hold resources while it waits behind something else.
            return 1;
        }
        self.placement.max_inflight()
    }

    /// Returns how many executions overlap.
    pub(crate) fn overlap(&self) -> u32 {
        match self.placement {
            Placement::Concurrent { max_inflight } => max_inflight.max(1),
            Placement::Async { .. } | Placement::Dedicated | Placement::Inline => 1,
        }
    }

    /// Notes a batch on its way; returns how many requests begin to execute by it.
    pub(crate) fn note_dispatch(&self, request_count: usize) -> usize {
        if !self.placement.has_line() {
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
        if !self.placement.has_line() {
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
        if runs_here
            && mailbox.queue.is_empty()
            && let Some(backend) = mailbox.backend.take()
        {
            drop(mailbox);
            self.run_here(backend, batch);
            return;
        }
        mailbox.queue.push_back(batch);
        // Without the backend: whoever runs the instance takes the batch when it is done.
        if mailbox.backend.is_some() {
            self.work_arrived.notify_one();
        }
    }

    fn may_run_here(&self) -> bool {
        match self.placement {
            Placement::Async { .. } | Placement::Concurrent { .. } => true,
            Placement::Dedicated => false,
            Placement::Inline => self.average_ns.load(Ordering::Relaxed) < INLINE_LIMIT_NS,
        }
    }

    fn run_here(&self, backend: Box<dyn BackendInstance>, batch: Batch) {
        let begin_ns = batch.start_ns();
        let mut turn = Turn {
            start_ns: begin_ns,
            backend,
            batch,
        };
        loop {
            let (backend, end_ns) = self.execute(turn);
            let is_over = end_ns.saturating_sub(begin_ns) > INLINE_RUN_LIMIT_NS;
            if is_over && self.placement == Placement::Inline {
                self.hand_over(backend);
                return;
            }
            match self.next_turn(backend, end_ns) {
                Some(next) => turn = next,
                None => return,
            }
        }
    }

    /// Leaves what is still in the mailbox to the own thread.
    fn hand_over(&self, backend: Box<dyn BackendInstance>) {
        let mut mailbox = self.mailbox.lock();
        mailbox.backend = Some(backend);
        if !mailbox.queue.is_empty() {
            self.work_arrived.notify_one();
        }
    }

    /// Goes on with the next batch, or gives the backend back if there is none: in one go, so that
    /// nothing can arrive between the two.
    fn next_turn(&self, backend: Box<dyn BackendInstance>, now_ns: u64) -> Option<Turn> {
        let mut mailbox = self.mailbox.lock();
        match mailbox.queue.pop_front() {
            Some(batch) => Some(Turn {
                start_ns: now_ns,
                backend,
                batch,
            }),
            None => {
                mailbox.backend = Some(backend);
                None
            }
        }
    }

    /// Executes a batch; returns the backend and the time.
    fn execute(&self, turn: Turn) -> (Box<dyn BackendInstance>, u64) {
        let Turn {
            start_ns,
            mut backend,
            mut batch,
        } = turn;
        let result = catch_unwind(AssertUnwindSafe(|| backend.execute(&mut batch)));
        let end_ns = monotonic_ns();
        self.note_duration(end_ns.saturating_sub(start_ns));
        if !batch.requests().is_empty() {
            batch.fail(&match result {
                Ok(Ok(())) => Error::internal(format!(
                    "instance '{}' did not answer the request",
                    self.name
                )),
                Ok(Err(error)) => error,
                Err(_) => Error::internal(format!("instance '{}' panicked", self.name)),
            });
        }
        // Frees the slot, unless the backend keeps the permit. The next batch may land in the
        // mailbox right here: while the cell is empty it stays there for the caller's loop, so
        // that completions never nest.
        drop(batch);
        (backend, end_ns)
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
        while let Some(mut turn) = self.wait_for_turn() {
            loop {
                let (backend, end_ns) = self.execute(turn);
                match self.next_turn(backend, end_ns) {
                    Some(next) => turn = next,
                    None => break,
                }
            }
        }
    }

    /// Sleeps until there is a batch and nobody else runs the instance; `None` when it is over.
    fn wait_for_turn(&self) -> Option<Turn> {
        let mut mailbox = self.mailbox.lock();
        loop {
            if let Some(backend) = mailbox.backend.take() {
                if let Some(batch) = mailbox.queue.pop_front() {
                    let start_ns = monotonic_ns();
                    return Some(Turn {
                        start_ns,
                        backend,
                        batch,
                    });
                }
                mailbox.backend = Some(backend);
            }
            if mailbox.is_stopping && mailbox.queue.is_empty() {
                return None;
            }
            self.work_arrived.wait(&mut mailbox);
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
