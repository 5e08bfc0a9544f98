// SPDX-License-Identifier: Apache-2.0
//! What a worker writes to its standard streams, as lines of the server's log (Y018).
//!
//! Two pipes and one thread for each worker. **Invariants:** memory is constant, whatever a worker
//! writes; a worker waits only for the server's log, never for its own limit; every record is one
//! piece of one line and says whose it is, so that no model can write a line that looks like the
//! server's.

use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use log::Level;
use rustix::event::{PollFd, PollFlags};
use tritongw_engine::clock::monotonic_ns;
use tritongw_engine::model_log::{LogOwner, ModelLine};

use super::conversation::poll;
use super::line_budget::{LineBudget, MAX_LINES};

/// A longer line becomes several records.
const MAX_LINE_SIZE: usize = 8 << 10;
/// What is read at a time.
const READ_SIZE: usize = 64 << 10;
/// Reads after the end of the process: enough for two pipes of the largest size. Whoever it has
/// left behind may hold the pipes and write on.
const MAX_LAST_READS: usize = 32;

/// The pipes of a worker that does not run yet.
pub(super) struct OutputPipes {
    owner: LogOwner,
    streams: Vec<Stream>,
}

impl OutputPipes {
    /// Returns the pipes, and what becomes the worker's standard output and error.
    ///
    /// # Errors
    /// If there is no descriptor left.
    pub(super) fn new(owner: LogOwner) -> io::Result<(Self, Stdio, Stdio)> {
        let (output, stdout) = io::pipe()?;
        let (error, stderr) = io::pipe()?;
        let pipes = Self {
            owner,
            streams: vec![
                Stream::new(output, "stdout", Level::Info),
                Stream::new(error, "stderr", Level::Warn),
            ],
        };
        Ok((pipes, stdout.into(), stderr.into()))
    }

    /// Logs what comes until the process of `pidfd` has ended, and what it had written by then.
    ///
    /// # Errors
    /// If there can be no more threads.
    pub(super) fn drain(self, pidfd: Arc<OwnedFd>) -> io::Result<JoinHandle<()>> {
        std::thread::Builder::new()
            .name("py-output".to_owned())
            .spawn(move || {
                let mut log = OutputLog::new(self.owner);
                if let Err(error) = drain(self.streams, &pidfd, &mut log) {
                    log.warn(&format!("failed to read what it writes: {error}"));
                }
                log.report_last();
            })
    }
}

fn drain(mut streams: Vec<Stream>, pidfd: &OwnedFd, log: &mut OutputLog) -> io::Result<()> {
    let mut buffer = vec![0; READ_SIZE];
    let mut last_reads = None;
    while !streams.is_empty() && last_reads != Some(0) {
        let mut fds: Vec<_> = streams
            .iter()
            .map(|stream| PollFd::from_borrowed_fd(stream.pipe.as_fd(), PollFlags::IN))
            .collect();
        let timeout = match last_reads {
            Some(_) => Some(Duration::ZERO),
            None => {
                fds.push(PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN));
                log.budget.due(monotonic_ns())
            }
        };
        let n_ready = poll(&mut fds, timeout)?;
        let is_ready: Vec<_> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        last_reads = match last_reads {
            None if is_ready.last() == Some(&true) => Some(MAX_LAST_READS),
            None => None,
            Some(_) if n_ready == 0 => break,
            Some(left) => Some(left - 1),
        };
        for (stream, _) in streams.iter_mut().zip(is_ready).filter(|(_, ready)| *ready) {
            stream.read(&mut buffer, log)?;
        }
        streams.retain(|stream| !stream.is_closed);
        log.report_if_due();
    }
    streams.iter_mut().for_each(|stream| stream.end_line(log));
    Ok(())
}

/// One standard stream of a worker.
struct Stream {
    pipe: PipeReader,
    name: &'static str,
    level: Level,
    /// What has come of a line whose end has not.
    line: Vec<u8>,
    is_closed: bool,
}

impl Stream {
    fn new(pipe: PipeReader, name: &'static str, level: Level) -> Self {
        Self {
            pipe,
            name,
            level,
            line: Vec::with_capacity(MAX_LINE_SIZE),
            is_closed: false,
        }
    }

    /// Takes what is there; called when something is.
    fn read(&mut self, buffer: &mut [u8], log: &mut OutputLog) -> io::Result<()> {
        match self.pipe.read(buffer) {
            Ok(0) => {
                self.end_line(log);
                self.is_closed = true;
            }
            Ok(size) => self.take(&buffer[..size], log),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn take(&mut self, mut bytes: &[u8], log: &mut OutputLog) {
        while !bytes.is_empty() {
            let room = bytes.len().min(MAX_LINE_SIZE - self.line.len());
            // A progress bar's carriage return ends a line as well.
            let end = bytes[..room].iter().position(|byte| b"\n\r".contains(byte));
            let (piece, rest) = bytes.split_at(end.unwrap_or(room));
            self.line.extend_from_slice(piece);
            bytes = rest;
            if end.is_some() {
                bytes = &rest[1..];
                self.end_line(log);
            } else if self.line.len() == MAX_LINE_SIZE {
                self.cut_line(log);
            }
        }
    }

    /// Empty lines are left out.
    fn end_line(&mut self, log: &mut OutputLog) {
        if !self.line.is_empty() {
            log.write(self.name, self.level, &self.line);
            self.line.clear();
        }
    }

    /// Logs a line that is not over; a character whose end has not come waits for it.
    fn cut_line(&mut self, log: &mut OutputLog) {
        let size = match str::from_utf8(&self.line) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.line.len(),
        };
        log.write(self.name, self.level, &self.line[..size]);
        self.line.drain(..size);
    }
}

/// Writes lines to the log, and counts those that are too many.
struct OutputLog {
    owner: LogOwner,
    budget: LineBudget,
}

impl OutputLog {
    fn new(owner: LogOwner) -> Self {
        Self {
            owner,
            budget: LineBudget::new(),
        }
    }

    fn write(&mut self, stream: &'static str, level: Level, line: &[u8]) {
        self.report_if_due();
        if self.budget.admit(monotonic_ns()) {
            self.log(stream, level, &String::from_utf8_lossy(line));
        }
    }

    fn report_if_due(&mut self) {
        let dropped = self.budget.take_due(monotonic_ns());
        self.report(dropped);
    }

    /// Says how many lines were dropped since it was last said: at the end.
    fn report_last(&mut self) {
        let dropped = self.budget.take_dropped();
        self.report(dropped);
    }

    fn report(&self, dropped: Option<u64>) {
        if let Some(n_dropped) = dropped {
            self.warn(&format!(
                "dropped {n_dropped} lines of output: more than {MAX_LINES} within a second"
            ));
        }
    }

    fn warn(&self, message: &str) {
        self.log("worker_output.rs", Level::Warn, message);
    }

    fn log(&self, file: &str, level: Level, message: &str) {
        ModelLine {
            level,
            file,
            line: 0,
            request_id: "",
            is_traceback: false,
            message,
        }
        .write(Some(&self.owner));
    }
}

#[cfg(test)]
mod tests {
    use tritongw_engine::model_log::LogOwner;

    use super::{MAX_LINE_SIZE, OutputLog, OutputPipes};

    #[test]
    fn a_line_without_end_takes_no_more_room_and_no_character_is_cut() {
        let (mut pipes, ..) = OutputPipes::new(LogOwner::default()).expect("pipes");
        let mut log = OutputLog::new(LogOwner::default());
        let stream = &mut pipes.streams[0];
        stream.take("x".repeat(MAX_LINE_SIZE - 1).as_bytes(), &mut log);
        assert_eq!(log.budget.n_logged(), 0);
        stream.take("ü".as_bytes(), &mut log);
        assert_eq!(
            (stream.line.as_slice(), log.budget.n_logged()),
            ("ü".as_bytes(), 1)
        );
        stream.take(&[0xff; 10 * MAX_LINE_SIZE], &mut log);
        assert_eq!(log.budget.n_logged(), 11);
        stream.take(b"\r\n\n", &mut log);
        assert_eq!((stream.line.len(), log.budget.n_logged()), (0, 12));
        assert_eq!(stream.line.capacity(), MAX_LINE_SIZE);
    }
}
