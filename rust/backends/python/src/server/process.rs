// SPDX-License-Identifier: Apache-2.0
//! One worker process: started with arguments alone, watched by a descriptor, reaped.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal};
use tritongw_engine::model_log::LogOwner;

use super::conversation::poll;
use super::environment::WorkerLaunch;
use super::worker_log::WorkerLog;
use super::worker_output::OutputPipes;
use crate::shared::control::ControlSocket;

/// A running worker. Dropping it kills it, and the processes it has started.
#[derive(Debug)]
pub(crate) struct WorkerProcess {
    child: Child,
    pid: Pid,
    pidfd: Arc<OwnedFd>,
    status: Option<ExitStatus>,
    /// Logs what the process writes; ends after it.
    output: Option<JoinHandle<()>>,
    /// The control socket's end of the server.
    pub(crate) control: Arc<ControlSocket>,
    /// Takes what the worker has for the log.
    pub(super) log: WorkerLog,
}

impl WorkerProcess {
    /// Starts a worker. Its last argument is the instance's name, so that a list of processes tells
    /// whose it is; what it writes is logged as the `owner`'s.
    ///
    /// The worker leads a process group of its own, to which the processes that it starts belong.
    ///
    /// # Errors
    /// If the command cannot be run.
    pub(crate) fn spawn(launch: &WorkerLaunch, owner: LogOwner) -> io::Result<Self> {
        let (control, theirs) = ControlSocket::pair()?;
        let (output, stdout, stderr) = OutputPipes::new(owner.clone())?;
        let mut child = launch
            .command()?
            .arg(&owner.instance)
            // The one descriptor beside its output that a worker inherits; it puts /dev/null in
            // its place.
            .stdin(theirs.into_fd())
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0)
            .spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("the worker has no process id"))?;
        let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Arc::new(pidfd),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                return Err(error.into());
            }
        };
        let mut process = Self {
            child,
            pid,
            pidfd: Arc::clone(&pidfd),
            status: None,
            output: None,
            control: Arc::new(control),
            log: WorkerLog::new(owner),
        };
        process.output = Some(output.drain(pidfd)?);
        Ok(process)
    }

    /// Returns the descriptor that becomes readable when the process ends.
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Kills the process, if it still runs.
    pub(crate) fn kill(&self) {
        kill(self.pidfd());
    }

    /// Returns the power to kill the process, for another thread.
    pub(crate) fn killer(&self) -> Killer {
        Killer(Arc::clone(&self.pidfd))
    }

    /// Waits for the end of the process, and ends those that it leaves behind; what it has
    /// written is logged by then.
    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        poll(
            &mut [PollFd::from_borrowed_fd(self.pidfd(), PollFlags::IN)],
            None,
        )?;
        // Before it is reaped: until then its number, its group's as well, is nobody else's.
        kill_group(self.pid);
        if self
            .output
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            log::error!("the thread that logs the output of a worker panicked");
        }
        let status = self.child.wait()?;
        self.status = Some(status);
        Ok(status)
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        if self.status.is_none() {
            self.kill();
        }
        if let Err(error) = self.wait() {
            log::error!("failed to wait for worker {}: {error}", self.child.id());
        }
    }
}

/// Kills one worker.
#[derive(Debug)]
pub(crate) struct Killer(Arc<OwnedFd>);

impl Killer {
    pub(crate) fn kill(&self) {
        kill(self.0.as_fd());
    }
}

fn kill(pidfd: BorrowedFd<'_>) {
    match rustix::process::pidfd_send_signal(pidfd, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => log::error!("failed to kill a worker: {error}"),
    }
}

fn kill_group(leader: Pid) {
    match rustix::process::kill_process_group(leader, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => log::error!("failed to kill the processes that a worker left: {error}"),
    }
}
