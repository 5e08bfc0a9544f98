// SPDX-License-Identifier: Apache-2.0
//! Options whose feature is not there yet: nobody is to believe that they work.

use super::ServeArgs;

/// An option, and when it asks for something. The server serves the same answers without it: a
/// warning at start-up.
struct Unavailable {
    option: &'static str,
    is_asked_for: fn(&ServeArgs) -> bool,
}

const UNAVAILABLE: &[Unavailable] = &[
    warn("cache-config", |args| !args.cache_config().is_empty()),
    warn("cuda-memory-pool-byte-size", |args| {
        !args.device.cuda_memory_pools().is_empty()
    }),
    warn("cuda-virtual-address-size", |args| {
        !args.device.cuda_virtual_address_sizes().is_empty()
    }),
    warn("repoagent-directory", |args| {
        args.repository_agent.is_directory_given()
    }),
];

const fn warn(option: &'static str, is_asked_for: fn(&ServeArgs) -> bool) -> Unavailable {
    Unavailable {
        option,
        is_asked_for,
    }
}

/// Returns a warning about everything that `args` ask for and that is not there.
pub(super) fn warnings(args: &ServeArgs) -> Vec<String> {
    let asked_for = UNAVAILABLE.iter().filter(|each| (each.is_asked_for)(args));
    let warning = |each: &Unavailable| {
        format!(
            "'--{}' has no effect: this version of tritongw does not have the feature yet",
            each.option
        )
    };
    asked_for.map(warning).collect()
}

/// Returns what the option reference says of `option`.
pub(super) fn remark(option: &str) -> Option<&'static str> {
    let is_unavailable = UNAVAILABLE.iter().any(|each| each.option == option);
    is_unavailable.then_some("No effect in this version, with a warning.")
}
