// SPDX-License-Identifier: Apache-2.0
use clap::Args;

use super::deprecated::DeprecatedArgs;
use super::environment::Environment;
use super::value::{self, Setting};

/// Tracing.
#[derive(Debug, Args)]
#[command(next_help_heading = "Tracing")]
pub(crate) struct TraceArgs {
    /// Setting of tracing, <setting>=<value> (rate, level, count, mode), or of one mode,
    /// triton,<setting>=<value> (file, log-frequency) or opentelemetry,<setting>=<value> (url,
    /// resource, bsp_*); may be given several times.
    #[arg(long, value_name = "<string>,<string>=<string>", value_parser = setting)]
    trace_config: Vec<Setting>,
}

/// Who writes traces (T017).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TraceMode {
    #[default]
    Triton,
    OpenTelemetry,
}

/// What is traced (T014); both false is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TraceLevels {
    pub(crate) timestamps: bool,
    pub(crate) tensors: bool,
}

/// Everything the command line says of tracing (T014-T022).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TraceOptions {
    pub(crate) mode: TraceMode,
    pub(crate) levels: TraceLevels,
    /// Every how many requests one is traced.
    pub(crate) rate: i32,
    /// How many requests are traced, -1 for no limit.
    pub(crate) count: i32,
    /// File of the mode `triton`; empty if none was given.
    pub(crate) file: String,
    /// After how many traces a file is written; 0 is at the end.
    pub(crate) log_frequency: i32,
    /// Settings of the mode `opentelemetry`, in their order.
    pub(crate) opentelemetry: Vec<(String, String)>,
}

impl Default for TraceOptions {
    fn default() -> Self {
        Self {
            mode: TraceMode::default(),
            levels: TraceLevels::default(),
            rate: 1000,
            count: -1,
            file: String::new(),
            log_frequency: 0,
            opentelemetry: Vec::new(),
        }
    }
}

/// What the environment says of batches of spans (T022); not yet read as numbers, since it counts
/// in one mode only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BatchEnvironment(Vec<(&'static str, String)>);

impl BatchEnvironment {
    /// Reads the variables that are set.
    pub(crate) fn read(environment: &dyn Environment) -> Self {
        let names = [
            "OTEL_BSP_MAX_QUEUE_SIZE",
            "OTEL_BSP_SCHEDULE_DELAY",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        ];
        let text = |name| {
            let value = environment.variable(name)?;
            (!value.is_empty()).then_some((name, value))
        };
        Self(names.into_iter().filter_map(text).collect())
    }

    /// Returns the variables that are set.
    pub(crate) fn settings(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

impl TraceArgs {
    /// Returns the settings, those of deprecated options first, so that `--trace-config` wins.
    ///
    /// # Errors
    /// The whole refusal, since it names the setting.
    pub(crate) fn trace_options(
        &self,
        deprecated: &DeprecatedArgs,
    ) -> Result<TraceOptions, String> {
        let mut options = TraceOptions::default();
        let mut levels = Vec::from(deprecated.trace_levels());
        deprecated.apply_to_trace(&mut options);
        for setting in &self.trace_config {
            let refused = |reason: String| {
                let scope = if setting.scope.is_empty() {
                    String::new()
                } else {
                    format!("{},", setting.scope)
                };
                format!(
                    "Bad option: \"--trace-config {scope}{}\".\n{reason}\n",
                    setting.name
                )
            };
            options.apply(setting, &mut levels).map_err(refused)?;
        }
        let is_off = levels.contains(&TraceLevels::default());
        options.levels = TraceLevels {
            timestamps: !is_off && levels.iter().any(|level| level.timestamps),
            tensors: !is_off && levels.iter().any(|level| level.tensors),
        };
        Ok(options)
    }

    /// Returns whether a setting was given, by scope and name.
    pub(super) fn is_given(&self, scope: &str, name: &str) -> bool {
        self.trace_config
            .iter()
            .any(|setting| setting.scope == scope && setting.name == name)
    }

    /// Returns settings that tracing does not know; Triton takes no notice of them.
    pub(super) fn unknown_settings(&self) -> impl Iterator<Item = &Setting> {
        self.trace_config.iter().filter(|setting| {
            !matches!(
                (setting.scope.as_str(), setting.name.as_str()),
                ("", "rate" | "level" | "count" | "mode")
                    | ("triton", "file" | "log-frequency")
                    | (
                        "opentelemetry",
                        "url"
                            | "resource"
                            | "bsp_max_queue_size"
                            | "bsp_schedule_delay"
                            | "bsp_max_export_batch_size"
                    )
            )
        })
    }
}

impl TraceOptions {
    fn apply(&mut self, setting: &Setting, levels: &mut Vec<TraceLevels>) -> Result<(), String> {
        let value = setting.value.as_str();
        match (setting.scope.as_str(), setting.name.as_str()) {
            ("", "rate") => self.rate = value::integer(value)?,
            ("", "level") => levels.push(level(value)?),
            ("", "mode") => self.mode = mode(value)?,
            ("", "count") => self.count = value::integer(value)?,
            ("triton", "file") => self.file = value.to_owned(),
            ("triton", "log-frequency") => self.log_frequency = value::integer(value)?,
            ("opentelemetry", name) => {
                self.opentelemetry.push((name.to_owned(), value.to_owned()));
            }
            _ => {} // Triton takes no notice of others; neither do we, but with a warning.
        }
        Ok(())
    }
}

/// Reads a level in any of Triton's spellings (T014).
pub(super) fn level(text: &str) -> Result<TraceLevels, String> {
    let text = text.to_ascii_lowercase();
    let (timestamps, tensors) = match text.as_str() {
        "off" | "false" => (false, false),
        "true" | "on" | "min" | "max" | "timestamps" => (true, false),
        "tensors" => (false, true),
        _ => return Err(format!("invalid value for trace level option: {text}")),
    };
    Ok(TraceLevels {
        timestamps,
        tensors,
    })
}

fn mode(text: &str) -> Result<TraceMode, String> {
    match text.to_ascii_lowercase().as_str() {
        "triton" => Ok(TraceMode::Triton),
        "opentelemetry" => Ok(TraceMode::OpenTelemetry),
        other => Err(format!(
            "invalid value for trace mode option: {other}. Available options are \"triton\" and \
                 \"opentelemetry\""
        )),
    }
}

fn setting(text: &str) -> Result<Setting, String> {
    if text.starts_with(',') {
        return Err(format!(
            "No trace mode specified. --trace-config option format is \
                 <trace mode>,<setting>=<value> or <setting>=<value>. Got {text}\n"
        ));
    }
    let mut setting = Setting::read(text).ok_or_else(|| {
        format!("--trace-config option format is '<trace mode>,<setting>=<value>'. Got {text}\n")
    })?;
    if !setting.scope.is_empty() {
        mode(&setting.scope)?;
        setting.scope.make_ascii_lowercase();
    }
    Ok(setting)
}
