// SPDX-License-Identifier: Apache-2.0
//! From the command line's settings of tracing to the engine's (C081, C099, T014-T022).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tritongw_engine::trace::{TraceExporter, TraceLevels, TraceMode, TraceOptions, TraceSettings};
use tritongw_otlp::{OtlpExporter, OtlpOptions};
use tritongw_types::{Error, Result};

use crate::options::trace::{self, BatchEnvironment};
use crate::options::value;

/// Makes the engine's options; in the mode `opentelemetry` starts the exporter.
pub(crate) fn options(
    given: &trace::TraceOptions,
    environment: &BatchEnvironment,
) -> Result<TraceOptions> {
    let mode = match given.mode {
        trace::TraceMode::Triton => TraceMode::Triton {
            file: (!given.file.is_empty()).then(|| PathBuf::from(&given.file)),
        },
        trace::TraceMode::OpenTelemetry => {
            let options = otlp_options(&given.opentelemetry, environment)?;
            let exporter: Arc<dyn TraceExporter> = OtlpExporter::start(options)?;
            TraceMode::OpenTelemetry(exporter)
        }
    };
    let settings = settings(given)?;
    Ok(TraceOptions { settings, mode })
}

fn settings(given: &trace::TraceOptions) -> Result<TraceSettings> {
    let unsigned = |name, number: i32| {
        u32::try_from(number)
            .map_err(|_| Error::invalid_arg(format!("{name} must not be negative, got {number}")))
    };
    let count = match given.count {
        -1 => None,
        count => Some(unsigned("trace count other than -1", count)?),
    };
    Ok(TraceSettings {
        levels: TraceLevels {
            timestamps: given.levels.timestamps,
            tensors: given.levels.tensors,
        },
        rate: unsigned("trace rate", given.rate)?,
        count,
        log_frequency: unsigned("trace log frequency", given.log_frequency)?,
    })
}

/// The command line goes before the environment, and that before the defaults.
fn otlp_options(given: &[(String, String)], environment: &BatchEnvironment) -> Result<OtlpOptions> {
    let mut options = OtlpOptions::default();
    for (name, value) in environment.settings() {
        apply(&mut options, name, value).map_err(|reason| bad_option(name, &reason))?;
    }
    for (name, value) in given {
        apply(&mut options, name, value).map_err(|reason| {
            bad_option(&format!("--trace-config opentelemetry,{name}"), &reason)
        })?;
    }
    Ok(options)
}

fn bad_option(name: &str, reason: &str) -> Error {
    Error::invalid_arg(format!("Bad option: \"{name}\". {reason}"))
}

fn apply(options: &mut OtlpOptions, name: &str, value: &str) -> std::result::Result<(), String> {
    match name {
        "url" => value.clone_into(&mut options.url),
        "resource" => {
            let (name, value) = value
                .split_once('=')
                .filter(|(name, _)| !name.is_empty())
                .ok_or_else(|| {
                    format!("resource '{value}' must be of the form '<name>=<value>'")
                })?;
            options.resource.push((name.to_owned(), value.to_owned()));
        }
        "bsp_max_queue_size" | "OTEL_BSP_MAX_QUEUE_SIZE" => {
            options.max_queue_size = not_zero(value)?;
        }
        "bsp_schedule_delay" | "OTEL_BSP_SCHEDULE_DELAY" => {
            options.schedule_delay = Duration::from_millis(value::integer::<u32>(value)?.into());
        }
        "bsp_max_export_batch_size" | "OTEL_BSP_MAX_EXPORT_BATCH_SIZE" => {
            options.max_export_batch_size = not_zero(value)?;
        }
        _ => {} // Warned of where the command line was read.
    }
    Ok(())
}

fn not_zero(text: &str) -> std::result::Result<std::num::NonZeroUsize, String> {
    let number: u32 = value::positive(text)?;
    usize::try_from(number)
        .ok()
        .and_then(|number| number.try_into().ok())
        .ok_or_else(|| format!("Provided option value is out of bound. Got {text}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn otlp(given: &[(&str, &str)], environment: &[(&str, &str)]) -> Result<OtlpOptions> {
        let given: Vec<_> = given
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let variables: BTreeMap<&str, &str> = environment.iter().copied().collect();
        otlp_options(&given, &BatchEnvironment::read(&variables))
    }

    fn batching(options: &OtlpOptions) -> (usize, u128, usize) {
        (
            options.max_queue_size.get(),
            options.schedule_delay.as_millis(),
            options.max_export_batch_size.get(),
        )
    }

    const VARIABLES: [(&str, &str); 3] = [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "30"),
    ];

    #[test]
    fn the_command_line_goes_before_the_environment_and_that_before_the_defaults() {
        assert_eq!(
            batching(&otlp(&[], &[]).expect("defaults")),
            (2048, 5000, 512)
        );
        let variables = otlp(&[], &VARIABLES).expect("numbers");
        assert_eq!(batching(&variables), (100, 200, 30));
        let given = [
            ("bsp_max_queue_size", "9"),
            ("bsp_schedule_delay", "8"),
            ("bsp_max_export_batch_size", "7"),
        ];
        assert_eq!(
            batching(&otlp(&given, &VARIABLES).expect("numbers")),
            (9, 8, 7)
        );
    }

    #[test]
    fn what_is_no_value_is_refused_with_its_name() {
        for (name, value, reason) in [
            ("bsp_max_queue_size", "0", None),
            (
                "bsp_schedule_delay",
                "x",
                Some("Invalid option value. Got x"),
            ),
            (
                "resource",
                "a",
                Some("resource 'a' must be of the form '<name>=<value>'"),
            ),
        ] {
            let error = otlp(&[(name, value)], &[]).expect_err(name);
            let start = format!("Bad option: \"--trace-config opentelemetry,{name}\". ");
            let text = error.message().strip_prefix(&start).expect("its name");
            assert!(reason.is_none_or(|reason| reason == text), "{text}");
        }
        let error = otlp(&[], &[("OTEL_BSP_SCHEDULE_DELAY", "-1")]).expect_err("negative");
        assert!(
            error
                .message()
                .starts_with("Bad option: \"OTEL_BSP_SCHEDULE_DELAY\". ")
        );
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        let good = trace::TraceOptions::default();
        settings(&good).expect("the defaults");
        for bad in [
            trace::TraceOptions {
                rate: -1,
                ..good.clone()
            },
            trace::TraceOptions {
                count: -2,
                ..good.clone()
            },
            trace::TraceOptions {
                log_frequency: -1,
                ..good
            },
        ] {
            settings(&bad).expect_err("negative");
        }
    }
}
