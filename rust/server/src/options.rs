// SPDX-License-Identifier: Apache-2.0
//! The command line: Triton's spelling, types and defaults (section 1), parsed once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand};
use tritongw_engine::ServerOptions;
use tritongw_engine::backend::BackendSettings;
use tritongw_grpc::GrpcOptions;
use tritongw_http::HttpOptions;

use crate::logging::{LogFormat, LogOptions};

/// Serves the models of a Triton model repository over HTTP and gRPC.
#[derive(Debug, Parser)]
#[command(
    name = "tritongw",
    version,
    infer_long_args = true,
    disable_help_subcommand = true
)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Loads a model repository and serves it until SIGINT or SIGTERM.
    Serve(Box<ServeArgs>),
}

/// Options of `tritongw serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Model repository; may be given several times.
    #[arg(
        long,
        visible_alias = "model-store",
        required = true,
        value_name = "PATH"
    )]
    model_repository: Vec<PathBuf>,

    /// Server name in the metadata.
    #[arg(long, default_value = "triton", value_name = "NAME")]
    id: String,

    /// Seconds that shutting down may take before unanswered requests are given up.
    #[arg(
        long,
        default_value_t = 30,
        allow_negative_numbers = true,
        value_name = "SECONDS"
    )]
    exit_timeout_secs: i64,

    /// Ends the process if a model fails to load at start-up.
    #[arg(long, default_value = "true", value_parser = parse_bool, action = ArgAction::Set)]
    exit_on_error: bool,

    /// The server is ready only if all models are.
    #[arg(long, default_value = "true", value_parser = parse_bool, action = ArgAction::Set)]
    strict_readiness: bool,

    /// Configurations must be complete: neither server nor backends fill anything in.
    #[arg(long)]
    disable_auto_complete_config: bool,

    /// Uses `configs/<NAME>.pbtxt` of a model where there is one.
    #[arg(long, value_name = "NAME", value_parser = parse_non_empty)]
    model_config_name: Option<String>,

    /// Models loaded at the same time.
    #[arg(long, default_value_t = 4, value_name = "COUNT")]
    model_load_thread_count: usize,

    /// How often a failed load is tried again.
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    model_load_retry_count: u32,

    /// How models are loaded; only `none`, all at start-up, is available in this version.
    #[arg(long, default_value = "none", value_parser = ["none"], value_name = "MODE")]
    model_control_mode: String,

    /// Setting of one backend, or of all: `[<backend>,]<setting>=<value>`; may be given several
    /// times.
    #[arg(long, value_name = "SETTING", value_parser = parse_backend_setting)]
    backend_config: Vec<BackendSetting>,

    /// Serves HTTP.
    #[arg(long, default_value = "true", value_parser = parse_bool, action = ArgAction::Set)]
    allow_http: bool,

    /// Address of the HTTP service; Triton's default is 0.0.0.0.
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    http_address: String,

    /// Port of the HTTP service; 0 takes a free one.
    #[arg(long, default_value_t = 8000, value_name = "PORT")]
    http_port: u16,

    /// Shares the HTTP port with other processes (SO_REUSEPORT).
    #[arg(long, default_value = "false", value_parser = parse_bool, action = ArgAction::Set)]
    reuse_http_port: bool,

    /// Network threads of the HTTP service; never more than there are cores.
    #[arg(long, default_value_t = 8, value_name = "COUNT")]
    http_thread_count: usize,

    /// Largest HTTP request body in bytes.
    #[arg(long, default_value_t = 67_108_864, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    http_max_input_size: u64,

    /// Headers whose whole name matches this regular expression become request parameters; case
    /// does not count unless the pattern says `(?-i)`.
    #[arg(long, value_name = "REGEX")]
    http_header_forward_pattern: Option<String>,

    /// Serves gRPC.
    #[arg(long, default_value = "true", value_parser = parse_bool, action = ArgAction::Set)]
    allow_grpc: bool,

    /// Address of the gRPC service; Triton's default is 0.0.0.0.
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    grpc_address: String,

    /// Port of the gRPC service; 0 takes a free one.
    #[arg(long, default_value_t = 8001, value_name = "PORT")]
    grpc_port: u16,

    /// Shares the gRPC port with other processes (SO_REUSEPORT).
    #[arg(long, default_value = "false", value_parser = parse_bool, action = ArgAction::Set)]
    reuse_grpc_port: bool,

    /// Network threads of the gRPC service.
    #[arg(long, default_value_t = 2, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(2..=128))]
    grpc_infer_thread_count: u64,

    /// Serves Prometheus metrics.
    #[arg(long, default_value = "true", value_parser = parse_bool, action = ArgAction::Set)]
    allow_metrics: bool,

    /// Address of the metrics service; that of HTTP unless given.
    #[arg(long, value_name = "ADDRESS")]
    metrics_address: Option<String>,

    /// Port of the metrics service; 0 takes a free one.
    #[arg(long, default_value_t = 8002, value_name = "PORT")]
    metrics_port: u16,

    /// Verbosity: 0 (or false) for none, 1 (or true) and more for more.
    #[arg(long, default_value = "0", value_parser = parse_verbosity, value_name = "LEVEL")]
    log_verbose: u32,

    /// Writes INFO lines.
    #[arg(long, default_value = "true", value_parser = parse_bool, action = ArgAction::Set)]
    log_info: bool,

    /// Writes WARNING lines.
    #[arg(long, default_value = "true", value_parser = parse_bool, action = ArgAction::Set)]
    log_warning: bool,

    /// Writes ERROR lines.
    #[arg(long, default_value = "true", value_parser = parse_bool, action = ArgAction::Set)]
    log_error: bool,

    /// How log lines begin: `default` or `ISO8601`.
    #[arg(long, default_value = "default", value_parser = parse_log_format, value_name = "FORMAT")]
    log_format: LogFormat,
}

/// One `--backend-config`: backend (empty for all), setting, value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct BackendSetting(String, String, String);

impl ServeArgs {
    pub(crate) fn server_options(&self) -> ServerOptions {
        let mut repositories = self.model_repository.clone();
        // A sorted set (C024): the order given is lost, duplicates merge.
        repositories.sort();
        repositories.dedup();
        let mut backend_settings: BTreeMap<String, BackendSettings> = BTreeMap::new();
        for BackendSetting(backend, setting, value) in &self.backend_config {
            let settings = backend_settings.entry(backend.clone()).or_default();
            settings.insert(setting.clone(), value.clone());
        }
        ServerOptions {
            id: self.id.clone(),
            model_repositories: repositories,
            is_auto_complete: !self.disable_auto_complete_config,
            model_config_name: self.model_config_name.clone(),
            is_strict_readiness: self.strict_readiness,
            load_thread_count: self.model_load_thread_count,
            load_retry_count: self.model_load_retry_count,
            backend_settings,
            ..ServerOptions::default()
        }
    }

    pub(crate) fn http_options(&self) -> Option<HttpOptions> {
        self.allow_http.then(|| HttpOptions {
            address: self.http_address.clone(),
            port: self.http_port,
            reuse_port: self.reuse_http_port,
            thread_count: self.http_thread_count,
            max_input_size: usize::try_from(self.http_max_input_size).unwrap_or(usize::MAX),
            header_forward_pattern: self
                .http_header_forward_pattern
                .clone()
                .filter(|pattern| !pattern.is_empty()),
            ..HttpOptions::default()
        })
    }

    pub(crate) fn grpc_options(&self) -> Option<GrpcOptions> {
        self.allow_grpc.then(|| GrpcOptions {
            address: self.grpc_address.clone(),
            port: self.grpc_port,
            reuse_port: self.reuse_grpc_port,
            thread_count: usize::try_from(self.grpc_infer_thread_count).unwrap_or(2),
            ..GrpcOptions::default()
        })
    }

    /// Returns address and port of the metrics service.
    pub(crate) fn metrics_address(&self) -> Option<(&str, u16)> {
        let address = self
            .metrics_address
            .as_deref()
            .unwrap_or(&self.http_address);
        self.allow_metrics.then_some((address, self.metrics_port))
    }

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

    /// Returns how long shutting down may take; a negative value counts as 0 (C017).
    pub(crate) fn exit_timeout(&self) -> Duration {
        Duration::from_secs(u64::try_from(self.exit_timeout_secs).unwrap_or(0))
    }

    pub(crate) fn exits_on_error(&self) -> bool {
        self.exit_on_error
    }
}

/// Reads a truth value in any of Triton's spellings (C002).
fn parse_bool(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        _ => Err(format!(
            "invalid value '{text}' for a boolean, expected true or false"
        )),
    }
}

fn parse_verbosity(text: &str) -> Result<u32, String> {
    match parse_bool(text) {
        Ok(is_verbose) => Ok(u32::from(is_verbose)),
        Err(_) => text
            .parse()
            .map_err(|_| format!("invalid verbosity '{text}'")),
    }
}

fn parse_non_empty(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Err("must not be empty".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

fn parse_log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "default" => Ok(LogFormat::Default),
        "ISO8601" => Ok(LogFormat::Iso8601),
        _ => Err(format!(
            "invalid log format '{text}', expected 'default' or 'ISO8601'"
        )),
    }
}

fn parse_backend_setting(text: &str) -> Result<BackendSetting, String> {
    let (left, value) = text
        .split_once('=')
        .ok_or_else(|| format!("'{text}' must be of the form '[<backend>,]<setting>=<value>'"))?;
    let (backend, setting) = left.split_once(',').unwrap_or(("", left));
    if setting.is_empty() {
        return Err(format!("'{text}' names no setting"));
    }
    Ok(BackendSetting(
        backend.to_owned(),
        setting.to_owned(),
        value.to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(args: &[&str]) -> Result<ServeArgs, clap::Error> {
        let args = ["tritongw", "serve", "--model-repository", "models"]
            .iter()
            .chain(args);
        let Command::Serve(serve) = CommandLine::try_parse_from(args)?.command;
        Ok(*serve)
    }

    #[test]
    fn booleans_take_every_spelling_of_triton() {
        for (text, expected) in [("true", true), ("On", true), ("1", true), ("FALSE", false)] {
            let args = serve(&[&format!("--exit-on-error={text}")]).expect(text);
            assert_eq!(args.exits_on_error(), expected, "{text}");
        }
        serve(&["--exit-on-error=maybe"]).expect_err("not a boolean");
        assert_eq!(
            serve(&["--log-verbose=true"]).expect("a level").log_verbose,
            1
        );
        assert_eq!(
            serve(&["--log-verbose", "3"]).expect("a level").log_verbose,
            3
        );
    }

    #[test]
    fn unambiguous_prefixes_and_aliases_are_accepted() {
        assert_eq!(serve(&["--http-po", "1"]).expect("a prefix").http_port, 1);
        let options = serve(&["--model-store=b", "--model-store=a", "--model-store=b"])
            .expect("an alias")
            .server_options();
        assert_eq!(
            options.model_repositories,
            ["a", "b", "models"].map(PathBuf::from)
        );
    }

    #[test]
    fn backend_settings_are_global_or_of_one_backend() {
        let options = serve(&["--backend-config=python,a=b=c", "--backend-config", "x=y"])
            .expect("two settings")
            .server_options();
        assert_eq!(options.backend_settings["python"]["a"], "b=c");
        assert_eq!(options.backend_settings[""]["x"], "y");
        serve(&["--backend-config=python"]).expect_err("no value");
    }

    #[test]
    fn a_negative_exit_timeout_counts_as_zero() {
        let args = serve(&["--exit-timeout-secs=-5"]).expect("clamped");
        assert_eq!(args.exit_timeout(), Duration::ZERO);
    }

    #[test]
    fn metrics_follow_the_http_address() {
        let args = serve(&["--http-address=0.0.0.0", "--metrics-port=9"]).expect("valid");
        assert_eq!(args.metrics_address(), Some(("0.0.0.0", 9)));
    }
}
