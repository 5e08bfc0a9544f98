// SPDX-License-Identifier: Apache-2.0
//! Options that Triton has replaced; deployments still use them (G1.01, C097-C099).

use clap::{ArgAction, Args};

use super::ServeArgs;
use super::trace::{self, TraceLevels, TraceMode, TraceOptions};
use super::value;

/// Options that have been replaced.
#[derive(Debug, Args)]
#[command(next_help_heading = "DEPRECATED")]
pub(crate) struct DeprecatedArgs {
    /// True is the same as --disable-auto-complete-config.
    #[arg(long, value_name = "boolean", value_parser = value::boolean, action = ArgAction::Set)]
    strict_model_config: Option<bool>,

    /// The same as --cache-config=local,size=<bytes>.
    #[arg(long, value_name = "integer", value_parser = value::integer::<i64>)]
    pub(super) response_cache_byte_size: Option<i64>,

    /// The same as --trace-config=triton,file=<file>.
    #[arg(long, value_name = "string")]
    trace_file: Option<String>,

    /// The same as --trace-config=level=<level>; may be given several times.
    #[arg(long, value_name = "string", value_parser = trace::level)]
    trace_level: Vec<TraceLevels>,

    /// The same as --trace-config=rate=<rate>.
    #[arg(long, value_name = "integer", value_parser = value::integer::<i32>)]
    trace_rate: Option<i32>,

    /// The same as --trace-config=count=<count>.
    #[arg(long, value_name = "integer", value_parser = value::integer::<i32>)]
    trace_count: Option<i32>,

    /// The same as --trace-config=triton,log-frequency=<count>.
    #[arg(long, value_name = "integer", value_parser = value::integer::<i32>)]
    trace_log_frequency: Option<i32>,
}

impl DeprecatedArgs {
    /// Returns whether configurations must be complete, if the option was given (C097).
    pub(super) fn is_strict_model_config(&self) -> bool {
        self.strict_model_config == Some(true)
    }

    pub(super) fn trace_levels(&self) -> &[TraceLevels] {
        &self.trace_level
    }

    pub(super) fn apply_to_trace(&self, options: &mut TraceOptions) {
        if let Some(file) = &self.trace_file {
            options.file.clone_from(file);
        }
        options.rate = self.trace_rate.unwrap_or(options.rate);
        options.count = self.trace_count.unwrap_or(options.count);
        options.log_frequency = self.trace_log_frequency.unwrap_or(options.log_frequency);
    }
}

/// Returns what to tell the user about deprecated options that were given.
pub(super) fn notices(args: &ServeArgs, mode: TraceMode) -> Vec<String> {
    let given = &args.deprecated;
    let mut notices = Vec::new();
    if given.strict_model_config.is_some() {
        notices.push(
            "'--strict-model-config' has been deprecated! Please use \
                 '--disable-auto-complete-config' instead."
                .to_owned(),
        );
        if given.strict_model_config == Some(false) && args.repository.is_auto_complete_disabled() {
            notices.push(
                "Overriding deprecated '--strict-model-config' from False to True in favor of \
                     '--disable-auto-complete-config'!"
                    .to_owned(),
            );
        }
    }
    if let Some(bytes) = given.response_cache_byte_size {
        notices.push(format!(
            "'--response-cache-byte-size' has been deprecated! This will default to the 'local' \
                 cache implementation with the provided byte size for its config. Please use \
                 '--cache-config' instead. The equivalent --cache-config CLI args would be: \
                 '--cache-config=local,size={bytes}'"
        ));
    }
    for option in trace_options(given) {
        notices.extend(option.notices(args, mode));
    }
    notices
}

/// A deprecated trace option and what replaces it.
struct TraceOption {
    name: &'static str,
    is_given: bool,
    scope: &'static str,
    setting: &'static str,
    placeholder: &'static str,
}

fn trace_options(given: &DeprecatedArgs) -> [TraceOption; 5] {
    let option = |name, is_given, scope, setting, placeholder| TraceOption {
        name,
        is_given,
        scope,
        setting,
        placeholder,
    };
    [
        option(
            "trace-file",
            given.trace_file.is_some(),
            "triton",
            "file",
            "<filepath>",
        ),
        option(
            "trace-level",
            !given.trace_level.is_empty(),
            "",
            "level",
            "<OFF|TIMESTAMPS|TENSORS>",
        ),
        option(
            "trace-rate",
            given.trace_rate.is_some(),
            "",
            "rate",
            "<rate value>",
        ),
        option(
            "trace-count",
            given.trace_count.is_some(),
            "",
            "count",
            "<count value>",
        ),
        option(
            "trace-log-frequency",
            given.trace_log_frequency.is_some(),
            "triton",
            "log-frequency",
            "<log frequency value>",
        ),
    ]
}

impl TraceOption {
    fn notices(&self, args: &ServeArgs, mode: TraceMode) -> Vec<String> {
        if !self.is_given {
            return Vec::new();
        }
        let Self {
            name,
            scope,
            setting,
            placeholder,
            ..
        } = self;
        let comma = if scope.is_empty() { "" } else { "," };
        let mut notices = vec![format!(
            "'--{name}' has been deprecated and will be removed in future releases. Please use \
                 '--trace-config {scope}{comma}{setting}={placeholder} instead."
        )];
        if mode == TraceMode::OpenTelemetry && *scope == "triton" {
            notices.push(format!(
                "'--{name}' is deprecated and will be ignored with opentelemetry tracing mode."
            ));
        } else if args.trace.is_given(scope, setting) {
            notices.push(format!(
                "Overriding deprecated '--{name}' in favor of provided {setting} value in \
                     --trace-config!"
            ));
        }
        notices
    }
}
