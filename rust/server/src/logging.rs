// SPDX-License-Identifier: Apache-2.0
//! Log lines in Triton's layout (T037-T042, T045).

mod line;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::SystemTime;

use log::{Level, LevelFilter, Log, Metadata, Record};
use tritongw_engine::{LogControl, LogSettings};
use tritongw_types::{Error, Result};

use self::line::LineFormat;

/// Records with this target are printed as they are, on lines of their own (T045).
pub(crate) const TABLE_TARGET: &str = "tritongw::table";

/// Makes the process's log and returns what controls it.
///
/// # Errors
/// If the file cannot be opened, or another log was installed before.
pub(crate) fn install(settings: LogSettings, is_escaping: bool) -> Result<Arc<LogControl>> {
    let file = match settings.file.as_str() {
        "" => None,
        path => Some(open(path)?),
    };
    log::set_max_level(max_level(&settings));
    let control = LogControl::new(settings, |settings| log::set_max_level(max_level(settings)));
    log::set_boxed_logger(Box::new(Logger {
        control: Arc::clone(&control),
        is_escaping,
        pid: std::process::id(),
        file,
    }))
    .map_err(|source| Error::internal("a log is already installed").with_source(source))?;
    Ok(control)
}

/// Opens the file at its end: a second start keeps the lines of the first.
fn open(path: &str) -> Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.map_err(|source| {
        Error::invalid_arg(format!("failed to open log file '{path}': {source}"))
            .with_source(source)
    })
}

/// Returns the most verbose level of which any line is written.
fn max_level(settings: &LogSettings) -> LevelFilter {
    match settings.verbose_level {
        0 => LevelFilter::Info,
        1 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    }
}

struct Logger {
    control: Arc<LogControl>,
    is_escaping: bool,
    pid: u32,
    /// Takes everything, in place of the console (T040).
    file: Option<File>,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let is_ours = metadata.target().starts_with("tritongw");
        self.control
            .with_settings(|settings| match metadata.level() {
                Level::Error => settings.error,
                Level::Warn => settings.warning,
                Level::Info => settings.info && is_ours,
                Level::Debug => settings.verbose_level >= 1 && is_ours,
                Level::Trace => settings.verbose_level >= 2 && is_ours,
            })
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let format = LineFormat {
            format: self.control.with_settings(|settings| settings.format),
            is_escaping: self.is_escaping,
            pid: self.pid,
        };
        let line = format.line(record, SystemTime::now());
        // A closed console or a full disk is no reason to stop serving.
        let _ = self.write(record.level(), line.as_bytes());
    }

    fn flush(&self) {
        let _ = io::stdout().flush();
    }
}

impl Logger {
    /// Writes a line in one piece, so that those of several threads do not mix.
    fn write(&self, level: Level, line: &[u8]) -> io::Result<()> {
        if let Some(mut file) = self.file.as_ref() {
            return file.write_all(line);
        }
        match level {
            Level::Error | Level::Warn => io::stderr().lock().write_all(line),
            Level::Info | Level::Debug | Level::Trace => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(line)?;
                stdout.flush()
            }
        }
    }
}
