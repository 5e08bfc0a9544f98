// SPDX-License-Identifier: Apache-2.0
//! One worker process: started with arguments alone, watched by a descriptor, reaped.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;

use rustix::process::{Pid, PidfdFlags, Signal};

use crate::shared::control::ControlSocket;

/// A running worker. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct WorkerProcess {
    child: Child,
    pidfd: OwnedFd,
    /// The control socket's end of the server.
    pub(crate) control: Arc<ControlSocket>,
}

impl WorkerProcess {
    /// Starts a worker. `label` is its last argument, so that a list of processes tells whose it
    /// is.
    ///
    /// The worker asks to be killed when the calling thread ends: call this from one that lives
    /// as long as the worker.
    ///
    /// # Errors
    /// If the command cannot be run.
    pub(crate) fn spawn(command: &[OsString], label: &str) -> io::Result<Self> {
        let Some((program, arguments)) = command.split_first() else {
            return Err(io::Error::other("no command is set for Python workers"));
        };
        let (control, theirs) = ControlSocket::pair()?;
        let mut child = Command::new(program)
            .args(arguments)
            .arg(label)
            // The one descriptor that a worker inherits; it puts /dev/null in its place.
            .stdin(theirs.into_fd())
            .spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("the worker has no process id"))?;
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self {
                child,
                pidfd,
                control: Arc::new(control),
            }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error.into())
            }
        }
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
    pub(crate) fn killer(&self) -> io::Result<Killer> {
        self.pidfd.try_clone().map(Killer)
    }

    /// Waits for the end of the process.
    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        self.kill();
        if let Err(error) = self.child.wait() {
            log::error!("failed to wait for worker {}: {error}", self.child.id());
        }
    }
}

/// Kills one worker.
#[derive(Debug)]
pub(crate) struct Killer(OwnedFd);

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
