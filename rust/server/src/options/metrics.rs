// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use clap::{ArgAction, Args};
use tritongw_engine::MetricsOptions;

use super::value::{self, Setting};

/// The metrics service.
#[derive(Debug, Args)]
#[command(next_help_heading = "Metrics")]
pub(crate) struct MetricsArgs {
    /// Serves Prometheus metrics.
    #[arg(
        long, default_value = "true", value_name = "boolean", value_parser = value::boolean,
        action = ArgAction::Set
    )]
    pub(crate) allow_metrics: bool,

    /// Reports what GPUs are doing, where there are any, unless --allow-metrics is false.
    #[arg(
        long, default_value = "true", value_name = "boolean", value_parser = value::boolean,
        action = ArgAction::Set
    )]
    allow_gpu_metrics: bool,

    /// Reports CPU and memory of the host, unless --allow-metrics is false.
    #[arg(
        long, default_value = "true", value_name = "boolean", value_parser = value::boolean,
        action = ArgAction::Set
    )]
    allow_cpu_metrics: bool,

    /// Address of the metrics service; that of HTTP unless given.
    #[arg(long, value_name = "string")]
    metrics_address: Option<String>,

    /// Port of the metrics service; 0 takes a free one.
    #[arg(long, default_value = "8002", value_name = "integer", value_parser = value::integer::<u16>)]
    pub(crate) metrics_port: u16,

    /// Milliseconds between two measurements of CPU, memory and GPUs.
    #[arg(
        long, default_value = "2000", value_name = "float",
        value_parser = value::whole_milliseconds
    )]
    metrics_interval_ms: u64,

    /// Setting of the metrics, <setting>=<value>; may be given several times. Settings:
    /// counter_latencies, histogram_latencies, summary_latencies, summary_quantiles.
    #[arg(long, value_name = "<string>=<string>", value_parser = setting)]
    metrics_config: Vec<Setting>,
    /// What the settings say; complete after [`Self::resolve`].
    #[arg(skip)]
    pub(crate) options: MetricsOptions,
}

impl MetricsArgs {
    /// Returns whether GPUs are reported (C075).
    pub(crate) fn allows_gpu_metrics(&self) -> bool {
        self.allow_metrics && self.allow_gpu_metrics
    }

    /// Returns whether the host's CPU and memory are reported (C076).
    pub(crate) fn allows_cpu_metrics(&self) -> bool {
        self.allow_metrics && self.allow_cpu_metrics
    }

    /// Returns the address to bind, which follows that of HTTP (C077, G1.07).
    pub(crate) fn address<'a>(&'a self, http_address: &'a str) -> &'a str {
        let given = self.metrics_address.as_deref();
        given
            .filter(|address| !address.is_empty())
            .unwrap_or(http_address)
    }

    /// Returns how often gauges are measured (C079).
    pub(crate) fn interval(&self) -> Duration {
        Duration::from_millis(self.metrics_interval_ms)
    }

    /// Applies the settings (C080) and returns a warning for each that is none; Triton takes no
    /// notice of them.
    ///
    /// # Errors
    /// If a setting cannot have its value.
    pub(super) fn resolve(&mut self) -> Result<Vec<String>, String> {
        let mut warnings = Vec::new();
        for setting in &self.metrics_config {
            let is_known = self.options.set(&setting.name, &setting.value);
            if !is_known.map_err(|error| error.message().to_owned())? {
                let name = &setting.name;
                warnings.push(format!("'--metrics-config' knows no setting '{name}'"));
            }
        }
        Ok(warnings)
    }
}

fn setting(text: &str) -> Result<Setting, String> {
    Setting::read(text)
        .filter(|setting| setting.scope.is_empty())
        .ok_or_else(|| format!("--metrics-config option format is <setting>=<value>. Got {text}\n"))
}
