// SPDX-License-Identifier: Apache-2.0
use std::ops::RangeInclusive;

use clap::{ArgAction, Args};

use super::value;

/// The Amazon SageMaker service.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sagemaker")]
pub(crate) struct SagemakerArgs {
    /// Serves Amazon SageMaker.
    #[arg(
        long, default_value = "false", value_name = "boolean", value_parser = value::boolean,
        action = ArgAction::Set
    )]
    pub(crate) allow_sagemaker: bool,

    /// Port of the SageMaker service; 0 takes a free one.
    #[arg(long, default_value = "8080", value_name = "integer", value_parser = value::integer::<u16>)]
    pub(crate) sagemaker_port: u16,

    /// Ports that the other services may use beside SageMaker.
    #[arg(long, value_name = "<integer>-<integer>", value_parser = port_range)]
    pub(crate) sagemaker_safe_port_range: Option<RangeInclusive<u16>>,

    /// Network threads of the SageMaker service.
    #[arg(long, default_value = "8", value_name = "integer", value_parser = value::integer::<u32>)]
    pub(crate) sagemaker_thread_count: u32,
}

fn port_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let port = value::integer::<u16>;
    value::pair(text, '-', port, port).map(|(first, last)| first..=last)
}
