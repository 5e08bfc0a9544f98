// SPDX-License-Identifier: Apache-2.0
//! Options whose feature is not there yet: nobody is to believe that they work.

use super::ServeArgs;
use super::rate_limiter::RateLimitMode;

/// What becomes of an option without its feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Treatment {
    /// The server serves the same answers without it: a warning at start-up.
    Warn,
    /// The server would do something else than what was asked for, or be less safe: no start.
    Refuse,
}

/// An option, when it asks for something, and what becomes of it.
struct Unavailable {
    option: &'static str,
    is_asked_for: fn(&ServeArgs) -> bool,
    treatment: Treatment,
}

/// What is to be said about options without their feature.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    pub(super) warnings: Vec<String>,
    pub(super) refusal: Option<String>,
}

const UNAVAILABLE: &[Unavailable] = &[
    refuse("allow-sagemaker", |args| args.sagemaker.allow_sagemaker),
    refuse("allow-vertex-ai", ServeArgs::allows_vertex_ai),
    warn("cache-config", |args| !args.cache_config().is_empty()),
    warn("rate-limit", |args| {
        args.rate_limiter.rate_limit != RateLimitMode::Off
    }),
    warn("cuda-memory-pool-byte-size", |args| {
        !args.device.cuda_memory_pools().is_empty()
    }),
    warn("cuda-virtual-address-size", |args| {
        !args.device.cuda_virtual_address_sizes().is_empty()
    }),
    warn("backend-directory", |args| {
        args.backend.is_directory_given()
    }),
    warn("repoagent-directory", |args| {
        args.repository_agent.is_directory_given()
    }),
    warn("host-policy", |args| {
        !args.device.host_policies().is_empty()
    }),
    warn("model-load-gpu-limit", |args| {
        !args.device.model_load_gpu_limits().is_empty()
    }),
    warn("log-file", |args| args.logging.log_file().is_some()),
    warn("metrics-config", |args| {
        args.metrics.settings().next().is_some()
    }),
];

const fn warn(option: &'static str, is_asked_for: fn(&ServeArgs) -> bool) -> Unavailable {
    Unavailable {
        option,
        is_asked_for,
        treatment: Treatment::Warn,
    }
}

const fn refuse(option: &'static str, is_asked_for: fn(&ServeArgs) -> bool) -> Unavailable {
    Unavailable {
        option,
        is_asked_for,
        treatment: Treatment::Refuse,
    }
}

/// Looks through everything that `args` ask for.
pub(super) fn find(args: &ServeArgs) -> Findings {
    let mut findings = Findings::default();
    for unavailable in UNAVAILABLE.iter().filter(|each| (each.is_asked_for)(args)) {
        let option = unavailable.option;
        match unavailable.treatment {
            Treatment::Warn => findings.warnings.push(format!(
                "'--{option}' has no effect: this version of tritongw does not have the feature \
                     yet"
            )),
            Treatment::Refuse => {
                let refusal = format!(
                    "'--{option}' asks for a feature that this version of tritongw does not have \
                         yet\n"
                );
                findings.refusal.get_or_insert(refusal);
            }
        }
    }
    findings
}

/// Returns what the option reference says of `option`.
pub(super) fn remark(option: &str) -> Option<&'static str> {
    let unavailable = UNAVAILABLE.iter().find(|each| each.option == option)?;
    Some(match unavailable.treatment {
        Treatment::Warn => "No effect in this version, with a warning.",
        Treatment::Refuse => "Refused by this version.",
    })
}
