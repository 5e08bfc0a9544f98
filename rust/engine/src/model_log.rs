// SPDX-License-Identifier: Apache-2.0
//! Lines of the log that a model writes, or that are about one instance of it.
//!
//! What a line is about are values of its record, `model`, `version`, `instance` and `request_id`:
//! members of a JSON line, and what other lines begin with.

use log::kv::Value;
use log::{Level, Record};

/// Marks such a line.
pub const LINE_TARGET: &str = "tritongw::python";
/// Marks one of which each line of its message is to stand on a line of the log of its own.
pub const TRACEBACK_TARGET: &str = "tritongw::python::traceback";

/// Whose a line is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOwner {
    /// Model name.
    pub model: String,
    /// Its version.
    pub version: i64,
    /// Instance name.
    pub instance: String,
}

/// A line of a model.
#[derive(Clone, Copy, Debug)]
pub struct ModelLine<'a> {
    /// Level.
    pub level: Level,
    /// The file that wrote it, or what stands in its place.
    pub file: &'a str,
    /// Line in the file.
    pub line: u32,
    /// The requests it is about, if that is known; else empty.
    pub request_id: &'a str,
    /// Whether the message has lines of its own.
    pub is_traceback: bool,
    /// What it says.
    pub message: &'a str,
}

impl ModelLine<'_> {
    /// Writes the line as that of `owner`; without one it is known further on.
    pub fn write(&self, owner: Option<&LogOwner>) {
        let mut members = Vec::with_capacity(4);
        if let Some(owner) = owner {
            members.push(("model", Value::from(owner.model.as_str())));
            members.push(("version", Value::from(owner.version)));
            members.push(("instance", Value::from(owner.instance.as_str())));
        }
        if !self.request_id.is_empty() {
            members.push(("request_id", Value::from(self.request_id)));
        }
        let target = match self.is_traceback {
            true => TRACEBACK_TARGET,
            false => LINE_TARGET,
        };
        log::logger().log(
            &Record::builder()
                .level(self.level)
                .target(target)
                .file(Some(self.file))
                .line(Some(self.line))
                .key_values(&members.as_slice())
                .args(format_args!("{}", self.message))
                .build(),
        );
    }
}

/// Returns what stands before the message of a record of this module: whose it is, and about
/// which requests.
pub fn prefix(record: &Record<'_>) -> String {
    let is_ours = record.target().starts_with(LINE_TARGET);
    let values = record.key_values();
    let value = |name: &str| values.get(name.into()).filter(|_| is_ours);
    let mut prefix = String::new();
    if let Some(instance) = value("instance") {
        prefix.push_str(&format!("[{instance}] "));
    }
    if let Some(request_id) = value("request_id") {
        prefix.push_str(&format!("[request id: {request_id}] "));
    }
    prefix
}

/// Request ids that one line names at most.
const MAX_IDS: usize = 16;

/// Returns the ids of several requests as a line tells them; empty if no client gave one.
pub fn join_request_ids<'a>(ids: impl IntoIterator<Item = &'a str>) -> String {
    let ids: Vec<_> = ids.into_iter().filter(|id| !id.is_empty()).collect();
    let named = ids[..ids.len().min(MAX_IDS)].join(", ");
    match ids.len().saturating_sub(MAX_IDS) {
        0 => named,
        n_more => format!("{named} and {n_more} more"),
    }
}

#[cfg(test)]
mod tests {
    use log::kv::Value;
    use log::{Level, Record};

    use super::{LINE_TARGET, join_request_ids, prefix};

    fn prefix_of(target: &str, members: &[(&str, Value<'_>)]) -> String {
        prefix(
            &Record::builder()
                .level(Level::Info)
                .target(target)
                .key_values(&members)
                .build(),
        )
    }

    #[test]
    fn a_line_begins_with_what_is_known_of_it() {
        let instance = ("instance", Value::from("m_0"));
        let request = ("request_id", Value::from("7"));
        assert_eq!(prefix_of(LINE_TARGET, &[]), "");
        assert_eq!(
            prefix_of(LINE_TARGET, std::slice::from_ref(&instance)),
            "[m_0] "
        );
        let both = [instance, request];
        assert_eq!(prefix_of(LINE_TARGET, &both), "[m_0] [request id: 7] ");
        assert_eq!(prefix_of("tritongw::access", &both), "");
    }

    #[test]
    fn a_large_batch_makes_no_large_line() {
        assert_eq!(join_request_ids(["", ""]), "");
        assert_eq!(join_request_ids(["a", "", "b"]), "a, b");
        let many = join_request_ids(std::iter::repeat_n("x", 20));
        assert!(many.ends_with(", x and 4 more"), "{many}");
    }
}
