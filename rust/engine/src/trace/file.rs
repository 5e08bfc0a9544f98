// SPDX-License-Identifier: Apache-2.0
//! Trace files (T018, T019): one thread owns them, so that no request waits for a disk.
//!
//! Traces go into `<file>`, or, with a log frequency, in equal numbers into `<file>.0`,
//! `<file>.1`, …. A numbered file appears under its name when it is complete; until then it ends in
//! `.part`. `<file>` itself is complete when the server has ended, and becomes a numbered file when
//! the trace count is used up (G7.04).

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tritongw_types::{Error, Result};

use super::json;
use super::record::TraceRecord;

/// Traces that may wait for the disk, and their size in memory. What comes on top is dropped.
const MAX_WAITING: usize = 1 << 14;
const MAX_WAITING_BYTES: usize = 256 << 20;

enum Message {
    Trace(FinishedTrace),
    /// Complete the numbered file, however few traces it holds.
    Rotate,
    Stop,
}

struct FinishedTrace {
    records: Vec<TraceRecord>,
    byte_size: usize,
    log_frequency: u32,
    /// The trace count is used up.
    is_last: bool,
}

/// The way to the thread that writes.
pub(super) struct TraceFile {
    sender: SyncSender<Message>,
    waiting_bytes: Arc<AtomicUsize>,
    dropped: AtomicU64,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl TraceFile {
    pub(super) fn start(path: PathBuf) -> Result<Self> {
        let (sender, receiver) = sync_channel(MAX_WAITING);
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let of_writer = Arc::clone(&waiting_bytes);
        let thread = std::thread::Builder::new()
            .name("trace-file".to_owned())
            .spawn(move || Writer::new(path).run(&receiver, &of_writer))
            .map_err(|source| {
                Error::internal("failed to start the thread that writes traces").with_source(source)
            })?;
        Ok(Self {
            sender,
            waiting_bytes,
            dropped: AtomicU64::new(0),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Hands over a finished trace.
    pub(super) fn write(&self, records: Vec<TraceRecord>, log_frequency: u32, is_last: bool) {
        let byte_size: usize = records.iter().map(TraceRecord::byte_size).sum();
        let waiting = self.waiting_bytes.fetch_add(byte_size, Ordering::Relaxed);
        let trace = FinishedTrace {
            records,
            byte_size,
            log_frequency,
            is_last,
        };
        let is_too_much = waiting.saturating_add(byte_size) > MAX_WAITING_BYTES;
        if is_too_much || self.sender.try_send(Message::Trace(trace)).is_err() {
            self.waiting_bytes.fetch_sub(byte_size, Ordering::Relaxed);
            if self.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
                log::warn!("traces are dropped: they come faster than they can be written");
            }
        }
    }

    pub(super) fn rotate(&self) {
        // Full: the writer is behind, and the file will be completed by its frequency or at exit.
        let _ = self.sender.try_send(Message::Rotate);
    }

    /// Writes what has been handed over and completes the files.
    pub(super) fn stop(&self) {
        let Some(thread) = self.thread.lock().take() else {
            return;
        };
        // Waits for the writer where the queue is full; it goes on until it reads this.
        let is_running = self.sender.send(Message::Stop).is_ok();
        if thread.join().is_err() || !is_running {
            log::error!("the thread that writes traces panicked");
        }
        match self.dropped.load(Ordering::Relaxed) {
            0 => {}
            dropped => log::warn!("{dropped} traces were dropped"),
        }
    }
}

impl Drop for TraceFile {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Writer {
    path: PathBuf,
    next_index: u64,
    whole: Option<OpenFile>,
    numbered: Option<OpenFile>,
}

impl Writer {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            next_index: 0,
            whole: None,
            numbered: None,
        }
    }

    fn run(mut self, messages: &Receiver<Message>, waiting_bytes: &AtomicUsize) {
        let mut is_failing = false;
        while let Ok(message) = messages.recv() {
            let result = match message {
                Message::Trace(trace) => {
                    let result = self.write(&trace);
                    waiting_bytes.fetch_sub(trace.byte_size, Ordering::Relaxed);
                    result
                }
                Message::Rotate => self.complete_numbered(),
                Message::Stop => break,
            };
            // Once for each time it begins, not for each trace.
            if let Err(error) = &result
                && !is_failing
            {
                log::error!("failed to write traces to {}: {error}", self.path.display());
            }
            is_failing = result.is_err();
        }
        let whole = self.whole.take().map_or(Ok(()), OpenFile::complete);
        if let Err(error) = self.complete_numbered().and(whole) {
            log::error!("failed to write traces to {}: {error}", self.path.display());
        }
    }

    fn write(&mut self, trace: &FinishedTrace) -> std::io::Result<()> {
        let is_whole = trace.log_frequency == 0;
        let file = if is_whole {
            let path = &self.path;
            open_once(&mut self.whole, || path.clone())?
        } else {
            let (path, index) = (&self.path, self.next_index);
            open_once(&mut self.numbered, || part_of(path, index))?
        };
        file.write(&trace.records)?;
        let is_full = !is_whole && file.trace_count >= u64::from(trace.log_frequency);
        match (is_whole, is_full || trace.is_last) {
            (_, false) => Ok(()),
            (true, true) => self.number_whole(),
            (false, true) => self.complete_numbered(),
        }
    }

    fn complete_numbered(&mut self) -> std::io::Result<()> {
        let Some(file) = self.numbered.take() else {
            return Ok(());
        };
        file.complete()?;
        let from = part_of(&self.path, self.next_index);
        self.rename_to_next(&from)
    }

    fn number_whole(&mut self) -> std::io::Result<()> {
        let Some(file) = self.whole.take() else {
            return Ok(());
        };
        file.complete()?;
        // A numbered file under way holds the next number already.
        self.complete_numbered()?;
        let from = self.path.clone();
        self.rename_to_next(&from)
    }

    fn rename_to_next(&mut self, from: &Path) -> std::io::Result<()> {
        let to = numbered(&self.path, self.next_index);
        self.next_index += 1;
        std::fs::rename(from, to)
    }
}

fn open_once(
    file: &mut Option<OpenFile>,
    path: impl FnOnce() -> PathBuf,
) -> std::io::Result<&mut OpenFile> {
    match file {
        Some(file) => Ok(file),
        None => Ok(file.insert(OpenFile::create(&path())?)),
    }
}

fn numbered(path: &Path, index: u64) -> PathBuf {
    with_suffix(path, &format!(".{index}"))
}

fn part_of(path: &Path, index: u64) -> PathBuf {
    with_suffix(path, &format!(".{index}.part"))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A JSON array whose end is not yet written.
struct OpenFile {
    file: BufWriter<File>,
    trace_count: u64,
    text: String,
}

impl OpenFile {
    fn create(path: &Path) -> std::io::Result<Self> {
        Ok(Self {
            file: BufWriter::new(File::create(path)?),
            trace_count: 0,
            text: String::new(),
        })
    }

    fn write(&mut self, records: &[TraceRecord]) -> std::io::Result<()> {
        self.text.clear();
        for record in records {
            let is_first = self.trace_count == 0 && self.text.is_empty();
            self.text.push(if is_first { '[' } else { ',' });
            json::render(record, &mut self.text);
        }
        self.trace_count += 1;
        self.file.write_all(self.text.as_bytes())
    }

    fn complete(mut self) -> std::io::Result<()> {
        self.file.write_all(b"]")?;
        self.file.flush()
    }
}
