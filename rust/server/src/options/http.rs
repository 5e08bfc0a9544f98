// SPDX-License-Identifier: Apache-2.0
use clap::{ArgAction, Args};
use tritongw_types::RestrictedApis;

use super::restricted::RestrictedOption;
use super::value;

const RESTRICTED: RestrictedOption = RestrictedOption {
    name: "http-restricted-api",
    noun: "api",
    header_prefix: "",
};

/// The HTTP service.
#[derive(Debug, Args)]
#[command(next_help_heading = "HTTP")]
pub(crate) struct HttpArgs {
    /// Serves HTTP. Default is true, or false if AIP_MODE=PREDICTION.
    #[arg(long, value_name = "boolean", value_parser = value::boolean, action = ArgAction::Set)]
    pub(super) allow_http: Option<bool>,

    /// Address of the HTTP service; Triton's default is 0.0.0.0.
    #[arg(long, default_value = "127.0.0.1", value_name = "string")]
    pub(crate) http_address: String,

    /// Port of the HTTP service; 0 takes a free one.
    #[arg(long, default_value = "8000", value_name = "integer", value_parser = value::integer::<u16>)]
    pub(crate) http_port: u16,

    /// Shares the HTTP port with other servers that have this option (SO_REUSEPORT).
    #[arg(
        long, default_value = "false", value_name = "boolean", value_parser = value::boolean,
        action = ArgAction::Set
    )]
    pub(crate) reuse_http_port: bool,

    /// Headers whose whole name matches this regular expression become request parameters; case
    /// does not count unless the pattern says (?-i).
    #[arg(long, value_name = "string")]
    http_header_forward_pattern: Option<String>,

    /// Network threads of the HTTP service; two, or as many as half of the cores, at most.
    #[arg(long, default_value = "8", value_name = "integer", value_parser = value::integer::<u32>)]
    http_thread_count: u32,

    /// Largest HTTP request body in bytes, before and after decompression.
    #[arg(long, default_value = "67108864", value_name = "integer", value_parser = max_input_size)]
    pub(crate) http_max_input_size: usize,

    /// Groups of calls that need a header: <group>[,<group>...]:<key>=<value>; may be given several
    /// times, but a group once. Groups: health, metadata, inference, shared-memory, model-config,
    /// model-repository, statistics, trace, logging.
    #[arg(long, value_name = "<string>:<string>=<string>", value_parser = restriction)]
    http_restricted_api: Vec<String>,
    /// Which calls need which header; complete after [`Self::resolve`].
    #[arg(skip)]
    pub(crate) restricted_apis: RestrictedApis,
}

impl HttpArgs {
    pub(crate) fn header_forward_pattern(&self) -> Option<&String> {
        self.http_header_forward_pattern
            .as_ref()
            .filter(|pattern| !pattern.is_empty())
    }

    pub(crate) fn thread_count(&self) -> usize {
        self.http_thread_count.max(1) as usize
    }

    /// Reads the restrictions as a whole (C044).
    ///
    /// # Errors
    /// If a group was given twice (C109).
    pub(super) fn resolve(&mut self) -> Result<(), String> {
        self.restricted_apis =
            RESTRICTED.merge(self.http_restricted_api.iter().map(String::as_str))?;
        Ok(())
    }
}

fn restriction(text: &str) -> Result<String, String> {
    RESTRICTED.check(text)
}

fn max_input_size(text: &str) -> Result<usize, String> {
    match value::integer::<i64>(text)? {
        ..=0 => Err("Error: --http-max-input-size must be greater than 0.".to_owned()),
        bytes => usize::try_from(bytes)
            .map_err(|_| format!("Provided option value is out of bound. Got {text}")),
    }
}
