// SPDX-License-Identifier: Apache-2.0
//! Log lines in Triton's layout (T037-T041, T045).

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use log::{Level, LevelFilter, Log, Metadata, Record};
use tritongw_types::{Error, Result};

/// Records with this target are printed as they are, on lines of their own (T045).
pub(crate) const TABLE_TARGET: &str = "tritongw::table";

/// Which lines are written, and how they begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogOptions {
    pub(crate) info: bool,
    pub(crate) warning: bool,
    pub(crate) error: bool,
    pub(crate) verbose_level: u32,
    pub(crate) format: LogFormat,
    /// Whether messages are quoted, with control characters escaped (T039).
    pub(crate) is_escaping: bool,
}

/// How a line begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// `LMMDD hh:mm:ss.uuuuuu PID file:line] `
    Default,
    /// `YYYY-MM-DDThh:mm:ssZ L PID file:line] `
    Iso8601,
}

/// Makes `options` the process's log.
///
/// # Errors
/// If another log was installed before.
pub(crate) fn install(options: LogOptions) -> Result<()> {
    log::set_boxed_logger(Box::new(Logger {
        options,
        pid: std::process::id(),
    }))
    .map_err(|source| Error::internal("a log is already installed").with_source(source))?;
    log::set_max_level(match options.verbose_level {
        0 => LevelFilter::Info,
        1 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    });
    Ok(())
}

struct Logger {
    options: LogOptions,
    pid: u32,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let is_ours = metadata.target().starts_with("tritongw");
        match metadata.level() {
            Level::Error => self.options.error,
            Level::Warn => self.options.warning,
            Level::Info => self.options.info && is_ours,
            Level::Debug => self.options.verbose_level >= 1 && is_ours,
            Level::Trace => self.options.verbose_level >= 2 && is_ours,
        }
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = self.line(record);
        // A closed console is no reason to stop serving.
        let _ = match record.level() {
            Level::Error | Level::Warn => io::stderr().lock().write_all(line.as_bytes()),
            Level::Info | Level::Debug | Level::Trace => {
                let mut stdout = io::stdout().lock();
                stdout
                    .write_all(line.as_bytes())
                    .and_then(|()| stdout.flush())
            }
        };
    }

    fn flush(&self) {
        let _ = io::stdout().flush();
    }
}

impl Logger {
    fn line(&self, record: &Record<'_>) -> String {
        let prefix = prefix(self.options.format, record, self.pid, SystemTime::now());
        let message = record.args().to_string();
        if record.target() == TABLE_TARGET {
            format!("{prefix}\n{message}\n")
        } else if self.options.is_escaping {
            format!("{prefix}{}\n", quote(&message))
        } else {
            format!("{prefix}{message}\n")
        }
    }
}

fn prefix(format: LogFormat, record: &Record<'_>, pid: u32, now: SystemTime) -> String {
    let level = match record.level() {
        Level::Error => 'E',
        Level::Warn => 'W',
        Level::Info | Level::Debug | Level::Trace => 'I',
    };
    let path = record.file().unwrap_or("unknown");
    let file = path.rsplit('/').next().unwrap_or(path);
    let line = record.line().unwrap_or(0);
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let micros = since.subsec_micros();
    let seconds = since.as_secs();
    let (year, month, day) = civil_from_days(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    match format {
        LogFormat::Default => format!(
            "{level}{month:02}{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06} {pid} \
             {file}:{line}] "
        ),
        LogFormat::Iso8601 => format!(
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z {level} {pid} \
             {file}:{line}] "
        ),
    }
}

/// Returns year, month and day of a day counted from 1970-01-01 (Gregorian; years begin in March
/// inside, so that the leap day comes last).
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// Quotes a message as JSON does, so that no text of a client can forge a line.
fn quote(message: &str) -> String {
    let mut quoted = String::with_capacity(message.len() + 2);
    quoted.push('"');
    for character in message.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            control if control.is_control() => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn record_prefix(format: LogFormat, level: Level) -> String {
        let record = Record::builder()
            .level(level)
            .file(Some("rust/http/src/server.rs"))
            .line(Some(7))
            .build();
        // 2026-11-23 09:09:34.557591 UTC.
        let now = UNIX_EPOCH + Duration::new(1_795_424_974, 557_591_000);
        prefix(format, &record, 42, now)
    }

    #[test]
    fn prefixes_are_tritons() {
        assert_eq!(
            record_prefix(LogFormat::Default, Level::Info),
            "I1123 09:09:34.557591 42 server.rs:7] "
        );
        assert_eq!(
            record_prefix(LogFormat::Iso8601, Level::Warn),
            "2026-11-23T09:09:34Z W 42 server.rs:7] "
        );
        assert!(record_prefix(LogFormat::Default, Level::Debug).starts_with('I'));
    }

    #[test]
    fn leap_days_are_counted() {
        assert_eq!(civil_from_days(0), (1970, 1, 1));
        assert_eq!(civil_from_days(19_782), (2024, 2, 29));
        assert_eq!(civil_from_days(19_783), (2024, 3, 1));
    }

    #[test]
    fn a_message_cannot_forge_a_line() {
        assert_eq!(
            quote("a\nE1123 \"x\" \u{1b}"),
            "\"a\\nE1123 \\\"x\\\" \\u001b\""
        );
    }
}
