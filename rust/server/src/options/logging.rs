// SPDX-License-Identifier: Apache-2.0
use clap::{ArgAction, Args};
use tritongw_engine::{LogFormat, LogSettings};

use super::value;

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
    /// YYYY-MM-DDThh:mm:ssZ L, where L is I, W or E; `json`, which Triton does not have, makes a
    /// JSON object of each line.
    #[arg(long, default_value = "default", value_name = "string", value_parser = log_format)]
    log_format: LogFormat,

    /// Writes an INFO line for each request: who asked for what, the answer's status, how long it
    /// took, and of an inference model and id. Triton has no such lines.
    #[arg(
        long, default_value = "false", value_name = "boolean", value_parser = value::boolean,
        action = ArgAction::Set
    )]
    pub(crate) access_log: bool,

    /// File that takes all lines in place of the console.
    #[arg(long, value_name = "string")]
    log_file: Option<String>,
}

impl LoggingArgs {
    /// Returns what is logged at first.
    pub(crate) fn settings(&self) -> LogSettings {
        LogSettings {
            file: self.log_file.clone().unwrap_or_default(),
            info: self.log_info,
            warning: self.log_warning,
            error: self.log_error,
            verbose_level: self.log_verbose,
            format: self.log_format,
        }
    }
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    LogFormat::from_name(text).ok_or_else(|| "invalid argument for --log-format".to_owned())
}
