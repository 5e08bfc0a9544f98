// SPDX-License-Identifier: Apache-2.0
//! One record as text.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use log::kv::{Key, Value, VisitSource};
use log::{Level, Record};
use tritongw_engine::LogFormat;
use tritongw_engine::model_log::{self, TRACEBACK_TARGET};

use super::TABLE_TARGET;

/// How records become lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineFormat {
    pub(super) format: LogFormat,
    /// Whether messages are quoted, with control characters escaped (T039).
    pub(super) is_escaping: bool,
    pub(super) pid: u32,
}

impl LineFormat {
    /// Returns the line of `record`, line feed included. A table stands on lines of its own, as it
    /// is (T045).
    pub(super) fn line(&self, record: &Record<'_>, now: SystemTime) -> String {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let message = record
            .args()
            .as_str()
            .map_or_else(|| Cow::Owned(record.args().to_string()), Cow::Borrowed);
        let prefix = match self.format {
            LogFormat::Json => return self.json(record, &message, now),
            LogFormat::Default => self.default_prefix(record, now),
            LogFormat::Iso8601 => self.iso8601_prefix(record, now),
        };
        if record.target() == TABLE_TARGET {
            return format!("{prefix}\n{message}\n");
        }
        let whose = model_log::prefix(record);
        if record.target() == TRACEBACK_TARGET {
            let lines = message.lines().filter(|line| !line.is_empty());
            return lines
                .map(|line| self.text(&prefix, &format!("{whose}{line}")))
                .collect();
        }
        match whose.is_empty() {
            true => self.text(&prefix, &message),
            false => self.text(&prefix, &format!("{whose}{message}")),
        }
    }

    fn text(&self, prefix: &str, message: &str) -> String {
        if self.is_escaping {
            format!("{prefix}{}\n", quote(message))
        } else {
            format!("{prefix}{message}\n")
        }
    }

    fn default_prefix(&self, record: &Record<'_>, now: Duration) -> String {
        let Moment {
            month,
            day,
            hour,
            minute,
            second,
            ..
        } = Moment::of(now);
        let (level, place, micros) = (letter(record), Place(record), now.subsec_micros());
        format!(
            "{level}{month:02}{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06} {} {place}] ",
            self.pid
        )
    }

    fn iso8601_prefix(&self, record: &Record<'_>, now: Duration) -> String {
        let (level, place) = (letter(record), Place(record));
        format!(
            "{}Z {level} {} {place}] ",
            Moment::of(now).iso8601(),
            self.pid
        )
    }

    fn json(&self, record: &Record<'_>, message: &str, now: Duration) -> String {
        let level = match record.level() {
            Level::Error => "ERROR",
            Level::Warn => "WARNING",
            Level::Info => "INFO",
            Level::Debug | Level::Trace => "VERBOSE",
        };
        let (time, micros) = (Moment::of(now).iso8601(), now.subsec_micros());
        let mut line = format!(
            "{{\"time\":\"{time}.{micros:06}Z\",\"level\":\"{level}\",\"pid\":{},\
             \"file\":{},\"line\":{},\"message\":{}",
            self.pid,
            quote(file(record)),
            record.line().unwrap_or(0),
            quote(message)
        );
        // Writing to a text cannot fail.
        let _ = record.key_values().visit(&mut Members(&mut line));
        line.push_str("}\n");
        line
    }
}

/// Adds the values of a record as members of a JSON object.
struct Members<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for Members<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        let text = value.to_string();
        let is_number = value.to_i64().is_some() || value.to_u64().is_some();
        let text = if is_number { text } else { quote(&text) };
        self.0.push_str(&format!(",{}:{text}", quote(key.as_str())));
        Ok(())
    }
}

/// `file:line` of a record.
struct Place<'a>(&'a Record<'a>);

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", file(self.0), self.0.line().unwrap_or(0))
    }
}

fn file<'a>(record: &'a Record<'_>) -> &'a str {
    let path = record.file().unwrap_or("unknown");
    path.rsplit('/').next().unwrap_or(path)
}

fn letter(record: &Record<'_>) -> char {
    match record.level() {
        Level::Error => 'E',
        Level::Warn => 'W',
        Level::Info | Level::Debug | Level::Trace => 'I',
    }
}

/// A moment as people write it, UTC.
struct Moment {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

impl Moment {
    fn of(since_epoch: Duration) -> Self {
        let seconds = since_epoch.as_secs();
        let (year, month, day) = civil_from_days(seconds / 86_400);
        Self {
            year,
            month,
            day,
            hour: seconds / 3600 % 24,
            minute: seconds / 60 % 60,
            second: seconds % 60,
        }
    }

    fn iso8601(&self) -> String {
        let Self {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = self;
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
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
    use super::*;

    fn line(format: LogFormat, level: Level, target: &str, is_escaping: bool) -> String {
        let format = LineFormat {
            format,
            is_escaping,
            pid: 42,
        };
        // 2026-11-23 09:09:34.557591 UTC.
        let now = UNIX_EPOCH + Duration::new(1_795_424_974, 557_591_000);
        let record = Record::builder()
            .args(format_args!("a \"b\""))
            .level(level)
            .target(target)
            .file(Some("rust/http/src/server.rs"))
            .line(Some(7))
            .build();
        format.line(&record, now)
    }

    #[test]
    fn prefixes_are_tritons() {
        assert_eq!(
            line(LogFormat::Default, Level::Info, "tritongw", true),
            "I1123 09:09:34.557591 42 server.rs:7] \"a \\\"b\\\"\"\n"
        );
        assert_eq!(
            line(LogFormat::Iso8601, Level::Warn, "tritongw", false),
            "2026-11-23T09:09:34Z W 42 server.rs:7] a \"b\"\n"
        );
        assert!(line(LogFormat::Default, Level::Debug, "tritongw", true).starts_with('I'));
    }

    #[test]
    fn tables_stand_on_lines_of_their_own() {
        assert_eq!(
            line(LogFormat::Default, Level::Info, TABLE_TARGET, true),
            "I1123 09:09:34.557591 42 server.rs:7] \na \"b\"\n"
        );
    }

    #[test]
    fn a_line_may_be_an_object() {
        let line = line(LogFormat::Json, Level::Warn, TABLE_TARGET, false);
        let object: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let expected = serde_json::json!({
            "time": "2026-11-23T09:09:34.557591Z",
            "level": "WARNING",
            "pid": 42,
            "file": "server.rs",
            "line": 7,
            "message": "a \"b\"",
        });
        assert_eq!(object, expected);
    }

    #[test]
    fn a_traceback_stands_on_lines_that_all_say_whose_it_is() {
        let members = [("instance", "m_0"), ("request_id", "7")];
        let message = "failed:\n  File \"model.py\"\nE1123 forged";
        let args = format_args!("{message}");
        let mut builder = Record::builder();
        let record = builder.level(Level::Error).target(TRACEBACK_TARGET);
        let record = record.key_values(&members).args(args).build();
        let format = |format| LineFormat {
            format,
            is_escaping: true,
            pid: 42,
        };
        let text = format(LogFormat::Iso8601).line(&record, UNIX_EPOCH);
        let prefix = "1970-01-01T00:00:00Z E 42 unknown:0] \"[m_0] [request id: 7] ";
        let expected = ["failed:", "  File \\\"model.py\\\"", "E1123 forged"]
            .map(|line| format!("{prefix}{line}\"\n"));
        assert_eq!(text, expected.concat());
        let json = format(LogFormat::Json).line(&record, UNIX_EPOCH);
        let object: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(object["message"], message);
        assert_eq!(
            (&object["instance"], &object["request_id"]),
            (&"m_0".into(), &"7".into())
        );
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
