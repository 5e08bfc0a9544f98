// SPDX-License-Identifier: Apache-2.0
//! Lines that a worker sends for the log (`pb_utils.Logger`, Python's `logging`, tracebacks).
//!
//! **Invariant:** a worker says what a line says, never whose it is; lines are bounded in number
//! and size.

use std::cell::RefCell;
use std::time::Duration;

use log::Level;
use tritongw_engine::clock::monotonic_ns;
use tritongw_engine::model_log::{LogOwner, ModelLine};

use super::line_budget::{LineBudget, MAX_LINES};
use crate::shared::control::LogLine;

/// A longer message is cut.
const MAX_MESSAGE_SIZE: usize = 64 << 10;

/// Writes what one worker sends; used by the thread that listens to it.
#[derive(Debug)]
pub(super) struct WorkerLog {
    owner: LogOwner,
    budget: RefCell<LineBudget>,
}

impl WorkerLog {
    pub(super) fn new(owner: LogOwner) -> Self {
        Self {
            owner,
            budget: RefCell::new(LineBudget::new()),
        }
    }

    /// Writes a line, if it is not one too many.
    pub(super) fn write(&self, line: &LogLine) {
        self.report_if_due();
        if !self.budget.borrow_mut().admit(monotonic_ns()) {
            return;
        }
        let level = Level::iter().find(|level| *level as usize == line.level);
        ModelLine {
            level: level.unwrap_or(Level::Info),
            file: &line.file,
            line: line.line,
            request_id: &line.request_id,
            is_traceback: line.is_traceback,
            message: cut(&line.message, MAX_MESSAGE_SIZE),
        }
        .write(Some(&self.owner));
    }

    /// Returns when to call [`Self::report_if_due`].
    pub(super) fn report_due(&self) -> Option<Duration> {
        self.budget.borrow().due(monotonic_ns())
    }

    /// Says how many lines were too many, once a second.
    pub(super) fn report_if_due(&self) {
        let dropped = self.budget.borrow_mut().take_due(monotonic_ns());
        if let Some(n_dropped) = dropped {
            self.warn(&format!(
                "dropped {n_dropped} lines: more than {MAX_LINES} within a second"
            ));
        }
    }

    /// Says something about the worker itself.
    pub(super) fn warn(&self, message: &str) {
        self.say(Level::Warn, "", message);
    }

    /// Says what befell the worker, and which requests that concerns.
    pub(super) fn error(&self, request_id: &str, message: &str) {
        self.say(Level::Error, request_id, message);
    }

    fn say(&self, level: Level, request_id: &str, message: &str) {
        ModelLine {
            level,
            file: "worker_log.rs",
            line: 0,
            request_id,
            is_traceback: false,
            message,
        }
        .write(Some(&self.owner));
    }
}

/// Returns the beginning of a text, in at most so many bytes.
fn cut(text: &str, max_size: usize) -> &str {
    &text[..text.floor_char_boundary(max_size)]
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn no_character_is_cut() {
        assert_eq!(cut("größe", 3), "gr");
        assert_eq!(cut("größe", 4), "grö");
        assert_eq!(cut("größe", 100), "größe");
    }
}
