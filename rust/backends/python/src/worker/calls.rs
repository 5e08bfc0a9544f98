// SPDX-License-Identifier: Apache-2.0
//! The worker's calls to other models: sent with its responses, answered through a ring of their
//! own.
//!
//! Whoever waits for a response reads the ring for all that wait, so that a call which is alone
//! takes one wake-up. A thread reads it for calls that nobody waits for, while there are any.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Condvar, Mutex, MutexGuard};
use rustix::process::Signal;
use tritongw_types::{Error, ErrorCode, Parameter, ParameterValue, Result};

use super::call_handle::{WorkerCall, tell};
use super::outbox::Outbox;
use super::reply_reader::ReplyReader;
use crate::host::call_limiter::CallLimiter;
use crate::host::{CallHandle, CallReceiver, CallResponse, HostCall, ModelCalls, ModelControl};
use crate::shared::channel::ReplyChannel;
use crate::shared::descriptor::{Descriptor, FrameKind};
use crate::shared::memory::SharedMemory;
use crate::shared::ring::Consumer;
use crate::shared::wake::{Sleeper, Wakeup};

/// Calls of the worker's model.
pub(super) struct WorkerCalls {
    outbox: Arc<Outbox>,
    reader: ReplyReader,
    limiter: Arc<CallLimiter>,
    inbox: Mutex<Inbox>,
    sleeper: Sleeper,
    state: Mutex<State>,
    // A response has come, or nobody reads any more.
    changed: Condvar,
    last_id: AtomicU64,
    watcher: OnceLock<()>,
}

struct Inbox {
    replies: Consumer,
    channel: ReplyChannel,
    payload: Vec<u8>,
}

#[derive(Default)]
struct State {
    open: HashMap<u64, OpenCall>,
    has_reader: bool,
    watched: usize,
}

#[derive(Clone)]
struct OpenCall {
    receiver: Arc<dyn CallReceiver>,
    is_watched: bool,
}

impl WorkerCalls {
    pub(super) fn new(
        outbox: Arc<Outbox>,
        input_slab: Arc<SharedMemory>,
        replies: Consumer,
        sleeper: Sleeper,
        channel: ReplyChannel,
        limit: u32,
    ) -> Arc<Self> {
        let inbox = Inbox {
            replies,
            channel,
            payload: Vec::new(),
        };
        Arc::new(Self {
            reader: ReplyReader::new(Arc::clone(&outbox), input_slab),
            outbox,
            limiter: Arc::new(CallLimiter::new(limit)),
            inbox: Mutex::new(inbox),
            sleeper,
            state: Mutex::default(),
            changed: Condvar::new(),
            last_id: AtomicU64::new(0),
            watcher: OnceLock::new(),
        })
    }

    fn open(&self, receiver: Arc<dyn CallReceiver>, is_watched: bool) -> u64 {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let mut state = self.state.lock();
        let call = OpenCall {
            receiver,
            is_watched,
        };
        state.open.insert(id, call);
        if is_watched {
            state.watched += 1;
            drop(state);
            self.changed.notify_all();
        }
        id
    }

    /// Hands a response to whoever waits for it.
    fn deliver(&self, id: u64, response: CallResponse) {
        let is_final = response.is_final;
        let call = {
            let mut state = self.state.lock();
            let Some(call) = state.open.get(&id).cloned() else {
                return;
            };
            if is_final {
                state.open.remove(&id);
                state.watched -= usize::from(call.is_watched);
            }
            call
        };
        call.receiver.receive(response);
        // Under the lock, so that nobody misses it between a look and a wait.
        drop(self.state.lock());
        self.changed.notify_all();
    }

    /// Reads until `is_over`, or lets another thread do so.
    fn read_until(&self, is_over: &mut dyn FnMut(&State) -> bool) {
        let mut state = self.state.lock();
        while !is_over(&state) {
            if state.has_reader {
                self.changed.wait(&mut state);
                continue;
            }
            state.has_reader = true;
            let read = MutexGuard::unlocked(&mut state, || self.read_some());
            state.has_reader = false;
            self.changed.notify_all();
            if let Err(error) = read {
                leave(&error);
            }
        }
    }

    /// Delivers all that has come; sleeps until something comes if there is nothing.
    fn read_some(&self) -> io::Result<()> {
        let mut inbox = self.inbox.lock();
        if self.read_available(&mut inbox)? {
            return Ok(());
        }
        if inbox.replies.prepare_sleep() {
            let slept = self.sleeper.sleep();
            inbox.replies.end_sleep();
            if slept? == Wakeup::Abandoned {
                return Err(io::Error::other("the server is gone"));
            }
        }
        Ok(())
    }

    fn read_available(&self, inbox: &mut Inbox) -> io::Result<bool> {
        let mut has_read = false;
        while let Some(descriptor) = inbox
            .replies
            .pop(&mut inbox.payload)
            .map_err(io::Error::other)?
        {
            has_read = true;
            let response = self.reader.read(&descriptor, &inbox.payload);
            let response = response.ok_or_else(|| io::Error::other("a response is malformed"))?;
            self.deliver(descriptor.batch, response);
        }
        if inbox.channel.is_held_up() {
            tell(&self.outbox, Descriptor::new(FrameKind::CallRoom, 0));
        }
        Ok(has_read)
    }

    /// Starts the thread that reads for calls which nobody waits for.
    fn watch(self: &Arc<Self>) {
        self.watcher.get_or_init(|| {
            let calls = Arc::clone(self);
            let spawned = std::thread::Builder::new()
                .name("tritongw-calls".to_owned())
                .spawn(move || calls.read_watched());
            if let Err(error) = spawned {
                leave(&error);
            }
        });
    }

    fn read_watched(&self) {
        loop {
            {
                let mut state = self.state.lock();
                while state.watched == 0 {
                    self.changed.wait(&mut state);
                }
            }
            self.read_until(&mut |state| state.watched == 0);
        }
    }
}

impl fmt::Debug for WorkerCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerCalls")
            .field("limiter", &self.limiter)
            .finish_non_exhaustive()
    }
}

impl ModelCalls for Arc<WorkerCalls> {
    fn call(
        &self,
        call: &HostCall<'_>,
        receiver: Arc<dyn CallReceiver>,
        is_watched: bool,
    ) -> Box<dyn CallHandle> {
        let counted = Arc::new(CountedReceiver {
            receiver,
            limiter: Arc::clone(&self.limiter),
            batch: call.batch,
        });
        let id = self.open(counted, is_watched);
        if is_watched {
            self.watch();
        }
        let prepared = self.outbox.prepare_call(call, id);
        let calls = Self::clone(self);
        let start = Box::new(move || {
            let sent =
                prepared.and_then(|(descriptor, payload)| calls.outbox.send(descriptor, &payload));
            if let Err(error) = sent {
                calls.deliver(id, CallResponse::failed(error));
            }
        });
        self.limiter.begin(call.batch, start);
        Box::new(WorkerCall::new(Arc::clone(&self.outbox), id))
    }

    fn wait_until(&self, is_over: &mut dyn FnMut() -> bool) {
        self.read_until(&mut |_| is_over());
    }

    fn control(&self, order: &ModelControl<'_>) -> Result<bool> {
        let answer = Arc::new(Answer::default());
        let id = self.open(Arc::clone(&answer) as Arc<dyn CallReceiver>, false);
        let sent = self
            .outbox
            .prepare_control(order, id)
            .and_then(|(descriptor, payload)| self.outbox.send(descriptor, &payload));
        if let Err(error) = sent {
            self.state.lock().open.remove(&id);
            return Err(error);
        }
        self.read_until(&mut |_| answer.0.lock().is_some());
        let response = answer.0.lock().take();
        let response = response.ok_or_else(|| {
            Error::new(
                ErrorCode::Internal,
                "the server gave no answer to the order",
            )
        })?;
        match response.error {
            Some(error) => Err(error),
            None => Ok(is_true(&response.parameters)),
        }
    }
}

fn is_true(parameters: &[Parameter]) -> bool {
    let is_false = |parameter: &Parameter| parameter.value == ParameterValue::Bool(false);
    !parameters.iter().any(is_false)
}

/// Keeps the answer to an order.
#[derive(Default)]
struct Answer(Mutex<Option<CallResponse>>);

impl CallReceiver for Answer {
    fn receive(&self, response: CallResponse) {
        *self.0.lock() = Some(response);
    }
}

/// Lets the next call begin when one has ended.
struct CountedReceiver {
    receiver: Arc<dyn CallReceiver>,
    limiter: Arc<CallLimiter>,
    batch: u64,
}

impl CallReceiver for CountedReceiver {
    fn receive(&self, response: CallResponse) {
        let is_final = response.is_final;
        self.receiver.receive(response);
        if is_final {
            self.limiter.end(self.batch);
        }
    }
}

/// Ends the process: without the server's responses its model waits for ever.
fn leave(error: &io::Error) {
    log::error!("failed to read what called models answer: {error}");
    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
}
