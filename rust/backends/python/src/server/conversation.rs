// SPDX-License-Identifier: Apache-2.0
//! Listening to a worker process: what it says, and that it ends.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use tritongw_engine::clock::monotonic_ns;
use tritongw_types::{Error, Result};

use super::connection::not_healthy;
use super::process::WorkerProcess;
use crate::host::MetricDesk;
use crate::shared::control::{ToServer, ToWorker};
use crate::shared::metric_message;

/// What a supervisor waits for.
#[derive(Debug)]
pub(super) enum Event {
    Message(ToServer),
    /// The worker asked for something that was done.
    Served,
    Exit,
    Stop,
    Timeout,
}

/// A moment, by the engine's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(u64);

impl Deadline {
    pub(super) fn after(timeout: Duration) -> Self {
        Self::from(monotonic_ns(), timeout)
    }

    /// Returns the moment `timeout` after `start_ns`.
    pub(super) fn from(start_ns: u64, timeout: Duration) -> Self {
        let nanoseconds = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        Self(start_ns.saturating_add(nanoseconds))
    }

    pub(super) fn is_over(self) -> bool {
        self.remaining().is_zero()
    }

    fn remaining(self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(monotonic_ns()))
    }
}

/// Listening to a worker process.
#[derive(Debug)]
pub(crate) struct Conversation<'a> {
    pub(crate) process: &'a WorkerProcess,
    pub(crate) stop: Option<BorrowedFd<'a>>,
    /// What the worker's model holds of the server's metrics; asked for at any time.
    pub(crate) metrics: &'a MetricDesk,
}

impl Conversation<'_> {
    /// Waits for the answer to a start order.
    ///
    /// # Errors
    /// What the worker says, or that it says nothing.
    pub(crate) fn answer(&self, name: &str, timeout: Duration) -> Result<ToServer> {
        let deadline = Deadline::after(timeout);
        loop {
            match self.next(Some(deadline)) {
                Ok(Event::Served) => {}
                Ok(Event::Message(ToServer::Failed { message })) => {
                    return Err(Error::internal(message));
                }
                Ok(Event::Message(answer)) => return Ok(answer),
                Ok(Event::Exit) => return Err(not_healthy(name)),
                Ok(Event::Stop) => return Err(Error::unavailable("the model is unloaded")),
                Ok(Event::Timeout) => {
                    return Err(Error::internal(format!(
                        "Timed out occurred while waiting for the stub process. Failed to \
                         initialize model instance '{name}'"
                    )));
                }
                Err(source) => {
                    let message = format!("failed to listen to the worker of '{name}': {source}");
                    return Err(Error::internal(message).with_source(source));
                }
            }
        }
    }

    /// Waits for what happens next; meanwhile writes what the worker has for the log, and does what
    /// it asks of metrics. What a worker said before it ended comes before its end.
    pub(super) fn next(&self, deadline: Option<Deadline>) -> std::io::Result<Event> {
        match self.next_event(deadline)? {
            Event::Message(ToServer::Metric { token, request }) => {
                if let Some(answer) = metric_message::serve(self.metrics, request) {
                    // Never waited for: a worker that asks and does not listen is an error.
                    let answer = ToWorker::Metric { token, answer };
                    self.process.control.try_send(&answer)?;
                }
                Ok(Event::Served)
            }
            Event::Message(ToServer::Log(line)) => {
                self.process.log.write(&line);
                Ok(Event::Served)
            }
            event => Ok(event),
        }
    }

    fn next_event(&self, deadline: Option<Deadline>) -> std::io::Result<Event> {
        let control = self.process.control.as_fd();
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.process.pidfd(), PollFlags::IN),
            PollFd::from_borrowed_fd(control, PollFlags::IN),
        ];
        fds.extend(
            self.stop
                .map(|stop| PollFd::from_borrowed_fd(stop, PollFlags::IN)),
        );
        let timeout = deadline.map(Deadline::remaining);
        let log_due = self.process.log.report_due();
        let wait = timeout.into_iter().chain(log_due).min();
        if poll(&mut fds, wait)? == 0 {
            self.process.log.report_if_due();
            let is_over = deadline.is_some_and(Deadline::is_over);
            return Ok(if is_over {
                Event::Timeout
            } else {
                Event::Served
            });
        }
        if fds.get(2).is_some_and(|stop| !stop.revents().is_empty()) {
            return Ok(Event::Stop);
        }
        if !fds[1].revents().is_empty() {
            if let Some((message, _)) = self.process.control.receive()? {
                return Ok(Event::Message(message));
            }
            // Nothing more can be said: only the end of the process is left to wait for. Whoever
            // closed the socket and lives on is of no more use.
            self.process.kill();
            let mut fds = [PollFd::from_borrowed_fd(
                self.process.pidfd(),
                PollFlags::IN,
            )];
            poll(&mut fds, None)?;
        }
        Ok(Event::Exit)
    }
}

pub(super) fn poll(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> std::io::Result<usize> {
    loop {
        let timespec = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        match rustix::event::poll(fds, timespec.as_ref()) {
            Ok(ready) => return Ok(ready),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
