// SPDX-License-Identifier: Apache-2.0
use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::value;
use crate::logging::{LogFormat, LogOptions};

/// What is logged, how, and where to.
#[derive(Debug, Args)]
#[command(next_help_heading = "Logging")]
pub(crate) struct LoggingArgs {
    /// Verbosity: 0 or false for none, 1 or true for some, more for more.
    #[arg(long, default_value = "0", value_name = "integer", value_parser = value::verbosity)]
    log_verbose: u32,

    /// Writes INFO lines.
    #[arg(
        long, default_value = "true", value_name = "boolean", value_parser = value::boolean,
        action = ArgAction::Set
    )]
    log_info: bool,

    /// Writes WARNING lines.
    #[arg(
        long, default_value = "true", value_name = "boolean", value_parser = value::boolean,
        action = ArgAction::Set
    )]
    log_warning: bool,

    /// Writes ERROR lines.
    #[arg(
        long, default_value = "true", value_name = "boolean", value_parser = value::boolean,
        action = ArgAction::Set
    )]
    log_error: bool,

    /// How a line begins: `default` is LMMDD hh:mm:ss.uuuuuu, `ISO8601` is
    /// YYYY-MM-DDThh:mm:ssZ L, where L is I, W or E.
    #[arg(long, default_value = "default", value_name = "string", value_parser = log_format)]
    log_format: LogFormat,

    /// File that takes all lines in place of the console.
    #[arg(long, value_name = "string")]
    log_file: Option<PathBuf>,
}

impl LoggingArgs {
    pub(crate) fn log_options(&self, is_escaping: bool) -> LogOptions {
        LogOptions {
            info: self.log_info,
            warning: self.log_warning,
            error: self.log_error,
            verbose_level: self.log_verbose,
            format: self.log_format,
            is_escaping,
        }
    }

    /// Returns the file that takes the lines; an empty name is the console (C023).
    pub(crate) fn log_file(&self) -> Option<&PathBuf> {
        self.log_file
            .as_ref()
            .filter(|path| !path.as_os_str().is_empty())
    }
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "default" => Ok(LogFormat::Default),
        "ISO8601" => Ok(LogFormat::Iso8601),
        _ => Err("invalid argument for --log-format".to_owned()),
    }
}
