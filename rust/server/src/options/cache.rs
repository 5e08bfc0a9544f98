// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use super::value::Setting;

/// The response cache.
#[derive(Debug, Args)]
#[command(next_help_heading = "Response Cache")]
pub(crate) struct CacheArgs {
    /// Setting of a cache, <cache>,<setting>=<value>; may be given several times.
    #[arg(long, value_name = "<string>,<string>=<string>", value_parser = setting)]
    pub(super) cache_config: Vec<Setting>,

    /// Directory with cache libraries.
    #[arg(
        long,
        default_value = "/opt/tritonserver/caches",
        value_name = "string"
    )]
    pub(crate) cache_directory: PathBuf,
}

/// Settings by cache.
pub(crate) type CacheConfig = BTreeMap<String, Vec<(String, String)>>;

impl CacheArgs {
    /// Returns the settings of each cache named (C085).
    pub(crate) fn cache_config(&self) -> CacheConfig {
        let mut caches = CacheConfig::new();
        for setting in &self.cache_config {
            let pair = (setting.name.clone(), setting.value.clone());
            caches.entry(setting.scope.clone()).or_default().push(pair);
        }
        caches
    }
}

fn setting(text: &str) -> Result<Setting, String> {
    let has_scope = text.find(',').is_some_and(|comma| comma > 0);
    if !has_scope {
        return Err(format!(
            "No cache specified. --cache-config option format is \
                 <cache name>,<setting>=<value>. Got {text}\n"
        ));
    }
    Setting::read(text)
        .filter(|setting| !setting.scope.is_empty())
        .ok_or_else(|| {
            format!(
                "--cache-config option format is '<cache name>,<setting>=<value>'. Got {text}\n"
            )
        })
}
