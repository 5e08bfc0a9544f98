// SPDX-License-Identifier: Apache-2.0
use clap::Args;
use tritongw_engine::ResourceLimit;

use super::value;

/// Whether instances are chosen by what they cost (C087).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RateLimitMode {
    Off,
    ExecutionCount,
}

/// How much there is of a resource (C088).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RateLimiterResource {
    pub(crate) name: String,
    pub(crate) count: i32,
    /// The device it belongs to; `None` is each device.
    pub(crate) device: Option<i32>,
}

/// The rate limiter.
#[derive(Debug, Args)]
#[command(next_help_heading = "Rate Limiter")]
pub(crate) struct RateLimiterArgs {
    /// How instances are chosen: `execution_count` by priority and by the resources of the model's
    /// configuration, `off` as soon as one is free.
    #[arg(long, default_value = "off", value_name = "string", value_parser = rate_limit)]
    pub(crate) rate_limit: RateLimitMode,

    /// How much there is of a resource, <name>:<count>[:<device>]; may be given several times.
    #[arg(long, value_name = "<string>:<integer>:<integer>", value_parser = resource)]
    pub(crate) rate_limit_resource: Vec<RateLimiterResource>,
}

impl RateLimiterArgs {
    /// Returns how much there is of each resource, unless executions are not limited. An amount
    /// below zero is no limit, as with Triton.
    pub(crate) fn limits(&self) -> Option<Vec<ResourceLimit>> {
        let limit = |resource: &RateLimiterResource| ResourceLimit {
            name: resource.name.clone(),
            device: resource.device,
            count: u32::try_from(resource.count).unwrap_or(u32::MAX),
        };
        let is_limited = self.rate_limit == RateLimitMode::ExecutionCount;
        is_limited.then(|| self.rate_limit_resource.iter().map(limit).collect())
    }
}

fn rate_limit(text: &str) -> Result<RateLimitMode, String> {
    match text.to_ascii_lowercase().as_str() {
        "execution_count" => Ok(RateLimitMode::ExecutionCount),
        "off" => Ok(RateLimitMode::Off),
        _ => Err("invalid argument for --rate-limit".to_owned()),
    }
}

fn resource(text: &str) -> Result<RateLimiterResource, String> {
    let number = value::integer::<i32>;
    let (name, count, device) = match text.split(':').collect::<Vec<_>>()[..] {
        [name, count] => (name, number(count)?, None),
        [name, count, device] => (name, number(count)?, Some(number(device)?)),
        _ => {
            return Err(format!(
                "--rate-limit-resource option format is '<resource_name>:<count>:<device>' or \
                     '<resource_name>:<count>'. Got {text}"
            ));
        }
    };
    Ok(RateLimiterResource {
        name: name.to_owned(),
        count,
        device: device.filter(|&device| device >= 0),
    })
}
