// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use clap::Args;

use super::value;

/// The server as a whole.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerArgs {
    /// Name of the server in its metadata.
    #[arg(long, default_value = "triton", value_name = "string")]
    pub(crate) id: String,

    /// Seconds that shutting down may take before unanswered requests are given up; a negative
    /// number counts as 0.
    #[arg(long, default_value = "30", value_name = "integer", value_parser = value::integer::<i32>)]
    exit_timeout_secs: i32,
}

impl ServerArgs {
    /// Returns how long shutting down may take; a negative value counts as 0 (C017).
    pub(crate) fn exit_timeout(&self) -> Duration {
        Duration::from_secs(u64::try_from(self.exit_timeout_secs).unwrap_or(0))
    }
}
