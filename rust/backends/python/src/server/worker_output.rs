// SPDX-License-Identifier: Apache-2.0
//! What a worker writes to its standard streams, as lines of the server's log (Y018).
//!
//! Two pipes and one thread for each worker. **Invariants:** memory is constant, whatever a worker
//! writes; a worker waits only for the server's log, never for its own limit; every record is one
//! piece of one line and begins with the instance's name, so that no model can write a line that
//! looks like the server's.

use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use log::Level;
use rustix::event::{PollFd, PollFlags};
use tritongw_engine::clock::monotonic_ns;

use super::conversation::poll;

/// A longer line becomes several records.
const MAX_LINE_SIZE: usize = 8 << 10;
/// Lines of both streams that are logged of what is written within [`WINDOW_NS`].
const MAX_LINES: u64 = 1_000;
const WINDOW_NS: u64 = 1_000_000_000;
/// What is read at a time.
const READ_SIZE: usize = 64 << 10;
/// Reads after the end of the process: enough for two pipes of the largest size. Whoever it has
/// left behind may hold the pipes and write on.
const MAX_LAST_READS: usize = 32;

/// The pipes of a worker that does not run yet.
pub(super) struct OutputPipes {
    instance: String,
    streams: Vec<Stream>,
}

impl OutputPipes {
    /// Returns the pipes, and what becomes the worker's standard output and error.
    ///
    /// # Errors
    /// If there is no descriptor left.
    pub(super) fn new(instance: &str) -> io::Result<(Self, Stdio, Stdio)> {
        let (output, stdout) = io::pipe()?;
        let (error, stderr) = io::pipe()?;
        let pipes = Self {
            instance: instance.to_owned(),
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
                let mut log = OutputLog::new(self.instance);
                if let Err(error) = drain(self.streams, &pidfd, &mut log) {
                    log.warn(format_args!("failed to read what it writes: {error}"));
                }
                log.report();
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
                log.report_due(monotonic_ns())
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
        log.report_if_due(monotonic_ns());
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
    instance: String,
    window_start_ns: u64,
    n_logged: u64,
    n_dropped: u64,
}

impl OutputLog {
    fn new(instance: String) -> Self {
        Self {
            instance,
            window_start_ns: monotonic_ns(),
            n_logged: 0,
            n_dropped: 0,
        }
    }

    fn write(&mut self, stream: &'static str, level: Level, line: &[u8]) {
        if self.admit(monotonic_ns()) {
            let text = String::from_utf8_lossy(line);
            self.log(stream, level, format_args!("{text}"));
        }
    }

    /// Returns whether a line of this moment is logged.
    fn admit(&mut self, now_ns: u64) -> bool {
        self.report_if_due(now_ns);
        if now_ns >= self.window_end_ns() {
            self.window_start_ns = now_ns;
            self.n_logged = 0;
        }
        let is_admitted = self.n_logged < MAX_LINES;
        if is_admitted {
            self.n_logged += 1;
        } else {
            self.n_dropped += 1;
        }
        is_admitted
    }

    fn window_end_ns(&self) -> u64 {
        self.window_start_ns.saturating_add(WINDOW_NS)
    }

    /// Returns when to say how many lines were dropped, if any were.
    fn report_due(&self, now_ns: u64) -> Option<Duration> {
        let wait_ns = self.window_end_ns().saturating_sub(now_ns);
        (self.n_dropped > 0).then(|| Duration::from_nanos(wait_ns))
    }

    fn report_if_due(&mut self, now_ns: u64) {
        if self.report_due(now_ns) == Some(Duration::ZERO) {
            self.report();
        }
    }

    fn report(&mut self) {
        let n_dropped = std::mem::take(&mut self.n_dropped);
        if n_dropped > 0 {
            self.warn(format_args!(
                "dropped {n_dropped} lines of output: more than {MAX_LINES} within a second"
            ));
        }
    }

    fn warn(&self, text: std::fmt::Arguments<'_>) {
        self.log("worker_output.rs", Level::Warn, text);
    }

    fn log(&self, file: &str, level: Level, text: std::fmt::Arguments<'_>) {
        log::logger().log(
            &log::Record::builder()
                .level(level)
                .target("tritongw::python")
                .file(Some(file))
                .args(format_args!("[{}] {text}", self.instance))
                .build(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_LINE_SIZE, MAX_LINES, OutputLog, OutputPipes, WINDOW_NS};

    #[test]
    fn lines_beyond_the_limit_are_counted_until_the_next_window() {
        let mut log = OutputLog::new("model_0".to_owned());
        let now = log.window_start_ns;
        assert!((0..MAX_LINES).all(|_| log.admit(now)));
        assert!((0..5).all(|_| !log.admit(now + WINDOW_NS - 1)));
        assert_eq!(log.n_dropped, 5);
        assert!(log.report_due(now).is_some());
        assert!(log.admit(now + WINDOW_NS));
        assert_eq!((log.n_dropped, log.n_logged), (0, 1));
        assert_eq!(log.report_due(now), None);
    }

    #[test]
    fn a_line_without_end_takes_no_more_room_and_no_character_is_cut() {
        let (mut pipes, ..) = OutputPipes::new("model_0").expect("pipes");
        let mut log = OutputLog::new("model_0".to_owned());
        let stream = &mut pipes.streams[0];
        stream.take("x".repeat(MAX_LINE_SIZE - 1).as_bytes(), &mut log);
        assert_eq!(log.n_logged, 0);
        stream.take("ü".as_bytes(), &mut log);
        assert_eq!((stream.line.as_slice(), log.n_logged), ("ü".as_bytes(), 1));
        stream.take(&[0xff; 10 * MAX_LINE_SIZE], &mut log);
        assert_eq!(log.n_logged, 11);
        stream.take(b"\r\n\n", &mut log);
        assert_eq!((stream.line.len(), log.n_logged), (0, 12));
        assert_eq!(stream.line.capacity(), MAX_LINE_SIZE);
    }
}
