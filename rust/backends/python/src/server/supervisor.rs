// SPDX-License-Identifier: Apache-2.0
//! Keeps the worker of one instance alive: starts it, watches it, starts it again.
//!
//! A supervisor is a thread that starts the worker, then sleeps on three descriptors: the
//! process, its control socket, the order to stop. A second thread, the receiver, lives and ends
//! with each worker. **Invariant:** when a worker dies its instance first stops taking work, then
//! every request it held is answered.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags};
use tritongw_engine::backend::{Availability, InstanceControl};
use tritongw_engine::{MetricRegistry, ModelCaller};
use tritongw_types::{Error, Result};

use super::connection::Connection;
use super::conversation::{Conversation, Deadline, Event, poll};
use super::cores::CoreShare;
use super::environment::WorkerLaunch;
use super::input_slab::InputSlab;
use super::open_batch::ComputeSpan;
use super::ready_desk::ReadyDesk;
use super::worker_start::Worker;
use crate::host::{MetricDesk, ModelSource, ModelTraits};
use crate::settings::WorkerSettings;
use crate::shared::control::{ToServer, ToWorker};
use crate::shared::wake::Sleeper;

/// Wait before the first restart; doubled for each worker that did not live long.
const MIN_RESTART_DELAY: Duration = Duration::from_millis(100);
/// A worker that lived this long was sound: the next one is restarted without a long wait.
const SOUND_LIFE: Duration = Duration::from_secs(10);

/// The worker of the moment, for those who send to it; `None` between two workers.
pub(crate) type CurrentConnection = Mutex<Option<Arc<Connection>>>;

/// Everything a supervisor needs to know.
pub(crate) struct Supervisor {
    pub(crate) instance_name: Arc<str>,
    pub(crate) settings: WorkerSettings,
    pub(crate) launch: WorkerLaunch,
    /// The cores of the instance, if it may not use all.
    pub(crate) cores: Option<CoreShare>,
    pub(crate) source: ModelSource,
    pub(crate) input_slab: Arc<InputSlab>,
    pub(crate) current: Arc<CurrentConnection>,
    /// Who hears whether the model is ready.
    pub(crate) readiness: Arc<ReadyDesk>,
    pub(crate) control: Arc<dyn InstanceControl>,
    pub(crate) metrics: Arc<MetricRegistry>,
    /// The way to other models.
    pub(crate) caller: ModelCaller,
    /// Wakes when the instance is to stop.
    pub(crate) stop: Sleeper,
}

/// Why watching a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Died,
    Stopped,
}

impl Supervisor {
    /// Runs until told to stop; `started` hears whether the first worker came up.
    pub(crate) fn run(self, started: &SyncSender<Result<ModelTraits>>) {
        let first = self.start();
        let mut worker = match first {
            Ok(worker) => {
                self.put_in_service(&worker);
                if started.send(Ok(worker.connection.traits())).is_err() {
                    self.shut_down(worker);
                    return;
                }
                worker
            }
            Err(error) => {
                // The load fails with this; whoever waited for it may be gone by now.
                let _ = started.send(Err(error));
                return;
            }
        };
        let mut delay = self.first_delay();
        loop {
            if self.watch(&worker) == Outcome::Stopped {
                self.shut_down(worker);
                return;
            }
            self.control.set_availability(Availability::Restarting);
            if worker.life() >= SOUND_LIFE {
                delay = self.first_delay();
            }
            // Held until the next worker is up, and its model holds them: a counter goes on.
            let metrics = self.bury(worker);
            let Some(next) = self.restart(&mut delay) else {
                return;
            };
            self.put_in_service(&next);
            drop(metrics);
            self.control.set_availability(Availability::Available);
            worker = next;
        }
    }

    /// Lets requests and questions go to a worker.
    fn put_in_service(&self, worker: &Worker) {
        *self.current.lock() = Some(Arc::clone(&worker.connection));
        let is_asked = worker.connection.traits().has_is_ready;
        self.readiness
            .open(is_asked.then(|| Arc::clone(&worker.process.control)));
    }

    /// Lets nothing more go to the worker.
    fn take_out_of_service(&self) {
        *self.current.lock() = None;
        self.readiness.close();
    }

    /// Sleeps until the worker is dead or the instance is to stop; answers the worker meanwhile.
    fn watch(&self, worker: &Worker) -> Outcome {
        let conversation = Conversation {
            process: &worker.process,
            stop: Some(self.stop.as_fd()),
            metrics: &worker.metrics,
        };
        loop {
            // Before every message: a worker that talks all the time is no less overdue.
            if self.ends_overdue_execution(worker) {
                return Outcome::Died;
            }
            match conversation.next(self.next_look(worker)) {
                Ok(Event::Message(message)) => self.hear(worker, message),
                Ok(Event::Stop) => return Outcome::Stopped,
                Ok(Event::Exit) => return Outcome::Died,
                Ok(Event::Timeout | Event::Served) => {}
                Err(error) => {
                    let text = format!("killing the worker of '{}': {error}", self.instance_name);
                    worker.report(&text);
                    worker.process.kill();
                    return Outcome::Died;
                }
            }
        }
    }

    /// Returns when to look at how long an execution has taken. One that begins after this look
    /// cannot be overdue before the next.
    fn next_look(&self, worker: &Worker) -> Option<Deadline> {
        let timeout = self.settings.execution_timeout?;
        Some(match worker.connection.oldest_execution() {
            Some((_, start_ns)) => Deadline::from(start_ns, timeout),
            None => Deadline::after(timeout),
        })
    }

    /// Kills a worker that has executed for too long; the requests of the batch learn why.
    fn ends_overdue_execution(&self, worker: &Worker) -> bool {
        let Some(timeout) = self.settings.execution_timeout else {
            return false;
        };
        let Some((batch, start_ns)) = worker.connection.oldest_execution() else {
            return false;
        };
        if !Deadline::from(start_ns, timeout).is_over() {
            return false;
        }
        let error = Error::internal(format!(
            "Execution on '{}' took longer than its limit of {timeout:?}; its process is killed.",
            self.instance_name
        ));
        worker.report(error.message());
        worker.process.kill();
        self.control.set_availability(Availability::Restarting);
        if let Some(batch) = worker.connection.batch(batch) {
            batch.executed(Err(error), ComputeSpan::default());
        }
        true
    }

    fn hear(&self, worker: &Worker, message: ToServer) {
        match message {
            ToServer::IsCancelled {
                token,
                batch,
                index,
            } => {
                let batch = worker.connection.batch(batch);
                let is_cancelled = batch.is_some_and(|batch| batch.is_cancelled(index as usize));
                self.answerer(worker)(&ToWorker::Cancelled {
                    token,
                    is_cancelled,
                });
            }
            ToServer::WaitForRoom {
                token,
                batch,
                index,
            } => self.tell_when_room(worker, token, batch, index),
            ToServer::Ready { reason } => {
                self.readiness.answer(reason);
            }
            ToServer::Started { .. }
            | ToServer::Failed { .. }
            | ToServer::Completed { .. }
            | ToServer::Log(_)
            | ToServer::Metric { .. } => {
                log::warn!("the worker of '{}' speaks out of turn", self.instance_name);
            }
        }
    }

    /// Lets the worker go on with a request once its client keeps up.
    fn tell_when_room(&self, worker: &Worker, token: u64, batch: u64, index: u32) {
        let answer = self.answerer(worker);
        let resume = move || answer(&ToWorker::Room { token });
        let batch = worker.connection.batch(batch);
        match batch.and_then(|batch| batch.responder(index as usize)) {
            Some(responder) => responder.when_room(Box::new(resume)),
            // Answered for good: nobody is held back.
            None => resume(),
        }
    }

    /// Returns what answers a worker, from any thread, without ever waiting for it: one that asks
    /// and does not listen to the answers is killed.
    fn answerer(&self, worker: &Worker) -> impl Fn(&ToWorker) + Send + use<> {
        let control = Arc::clone(&worker.process.control);
        let killer = worker.process.killer();
        let instance_name = Arc::clone(&self.instance_name);
        move |answer| {
            if let Err(error) = control.try_send(answer) {
                log::error!(
                    "killing the worker of '{instance_name}': failed to answer it: {error}"
                );
                killer.kill();
            }
        }
    }

    /// Answers what a dead worker held, and reaps it; returns what its model held of metrics.
    fn bury(&self, worker: Worker) -> MetricDesk {
        let Worker {
            mut process,
            connection,
            receiver,
            metrics,
            ..
        } = worker;
        self.take_out_of_service();
        process.kill();
        let status = process.wait();
        connection.note_death();
        if receiver.join().is_err() {
            log::error!("the receiver of '{}' panicked", self.instance_name);
        }
        // All that it answered is taken by now.
        let held = connection.request_ids();
        connection.close();
        let how = match status {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let text = format!("the worker of '{}' ended: {how}", self.instance_name);
        process.log.error(&held, &text);
        metrics
    }

    /// Starts workers until one is up; `None` if the instance is to stop.
    fn restart(&self, delay: &mut Duration) -> Option<Worker> {
        loop {
            log::info!(
                "restarting the worker of '{}' in {delay:?}",
                self.instance_name
            );
            if self.is_stopped_within(*delay) {
                return None;
            }
            *delay = (*delay * 2).min(self.settings.restart_delay_limit);
            match self.start() {
                Ok(worker) => return Some(worker),
                Err(error) => log::error!("{}", error.message()),
            }
        }
    }

    fn first_delay(&self) -> Duration {
        MIN_RESTART_DELAY.min(self.settings.restart_delay_limit)
    }

    fn is_stopped_within(&self, delay: Duration) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(self.stop.as_fd(), PollFlags::IN)];
        poll(&mut fds, Some(delay)).is_ok_and(|ready| ready > 0)
    }

    /// Lets the worker finish, and kills it if it does not in time. One that still executes is
    /// killed at once: the engine has waited for its requests as long as it was told to.
    fn shut_down(&self, worker: Worker) {
        self.take_out_of_service();
        if worker.connection.is_busy() {
            let name = &self.instance_name;
            worker.report(&format!(
                "killing the worker of '{name}': it still executes"
            ));
            worker.process.kill();
        }
        worker.connection.stop_worker();
        let conversation = Conversation {
            process: &worker.process,
            stop: None,
            metrics: &worker.metrics,
        };
        let deadline = Deadline::after(self.settings.timeout);
        loop {
            match conversation.next(Some(deadline)) {
                Ok(Event::Message(message)) => self.hear(&worker, message),
                Ok(Event::Served) => {}
                Ok(Event::Exit) => break,
                Ok(Event::Timeout | Event::Stop) | Err(_) => {
                    let name = &self.instance_name;
                    worker.report(&format!(
                        "killing the worker of '{name}': it does not leave"
                    ));
                    worker.process.kill();
                    break;
                }
            }
        }
        let Worker {
            mut process,
            connection,
            receiver,
            ..
        } = worker;
        if let Err(error) = process.wait() {
            log::error!(
                "failed to wait for the worker of '{}': {error}",
                self.instance_name
            );
        }
        connection.note_death();
        if receiver.join().is_err() {
            log::error!("the receiver of '{}' panicked", self.instance_name);
        }
        connection.close();
    }
}
