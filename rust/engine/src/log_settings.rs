// SPDX-License-Identifier: Apache-2.0
//! What is logged and how, changed while the server runs (T042, P101).

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `LMMDD hh:mm:ss.uuuuuu PID file:line] message` (T037).
    #[default]
    Default,
    /// `YYYY-MM-DDThh:mm:ssZ L PID file:line] message` (T038).
    Iso8601,
    /// One JSON object; Triton does not have it.
    Json,
}

impl LogFormat {
    /// Returns the name that options and clients use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Iso8601 => "ISO8601",
            Self::Json => "json",
        }
    }

    /// Finds the format of a name; case counts, as in Triton.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Default, Self::Iso8601, Self::Json]
            .into_iter()
            .find(|format| format.name() == name)
    }
}

/// What is logged and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// File that takes the lines, empty for the console; never changed.
    pub file: String,
    /// Whether INFO lines are written.
    pub info: bool,
    /// Whether WARNING lines are written.
    pub warning: bool,
    /// Whether ERROR lines are written.
    pub error: bool,
    /// 0 writes no verbose lines, more writes more.
    pub verbose_level: u32,
    /// How a line looks.
    pub format: LogFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            file: String::new(),
            info: true,
            warning: true,
            error: true,
            verbose_level: 0,
            format: LogFormat::default(),
        }
    }
}

/// What a client wants changed; `None` keeps the value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogUpdate {
    /// See [`LogSettings::info`].
    pub info: Option<bool>,
    /// See [`LogSettings::warning`].
    pub warning: Option<bool>,
    /// See [`LogSettings::error`].
    pub error: Option<bool>,
    /// See [`LogSettings::verbose_level`].
    pub verbose_level: Option<u32>,
    /// See [`LogSettings::format`].
    pub format: Option<LogFormat>,
}

type Listener = Box<dyn Fn(&LogSettings) + Send + Sync>;

/// Owns the settings. Readers never wait; the log itself is one of them.
pub struct LogControl {
    settings: ArcSwap<LogSettings>,
    // Updates one after another, so that none is lost and the listener hears the last one last.
    listener: Mutex<Listener>,
}

impl LogControl {
    /// Starts with `settings`; `listener` is told each change, on the thread that makes it.
    pub fn new(
        settings: LogSettings,
        listener: impl Fn(&LogSettings) + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            settings: ArcSwap::from_pointee(settings),
            listener: Mutex::new(Box::new(listener)),
        })
    }

    /// Returns the settings of this moment.
    pub fn settings(&self) -> Arc<LogSettings> {
        self.settings.load_full()
    }

    /// Calls `read` with the settings of this moment; for the log, which asks for each line.
    pub fn with_settings<T>(&self, read: impl FnOnce(&LogSettings) -> T) -> T {
        read(&self.settings.load())
    }

    /// Applies `update` as a whole.
    pub fn update(&self, update: &LogUpdate) {
        let listener = self.listener.lock();
        let mut settings = LogSettings::clone(&self.settings.load());
        settings.info = update.info.unwrap_or(settings.info);
        settings.warning = update.warning.unwrap_or(settings.warning);
        settings.error = update.error.unwrap_or(settings.error);
        settings.verbose_level = update.verbose_level.unwrap_or(settings.verbose_level);
        settings.format = update.format.unwrap_or(settings.format);
        listener(&settings);
        self.settings.store(Arc::new(settings));
    }
}

impl Default for LogControl {
    fn default() -> Self {
        Self {
            settings: ArcSwap::from_pointee(LogSettings::default()),
            listener: Mutex::new(Box::new(|_| {})),
        }
    }
}

impl fmt::Debug for LogControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogControl")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn an_update_changes_what_it_names_and_is_told() {
        let told = Arc::new(AtomicU32::new(0));
        let level = Arc::clone(&told);
        let control = LogControl::new(LogSettings::default(), move |settings| {
            level.store(settings.verbose_level, Ordering::Relaxed);
        });
        control.update(&LogUpdate {
            info: Some(false),
            verbose_level: Some(3),
            ..LogUpdate::default()
        });
        let expected = LogSettings {
            info: false,
            verbose_level: 3,
            ..LogSettings::default()
        };
        assert_eq!(*control.settings(), expected);
        assert_eq!(told.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn formats_have_their_names() {
        for format in [LogFormat::Default, LogFormat::Iso8601, LogFormat::Json] {
            assert_eq!(LogFormat::from_name(format.name()), Some(format));
        }
        assert_eq!(LogFormat::from_name("iso8601"), None);
    }
}
