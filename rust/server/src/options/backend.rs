// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use tritongw_engine::backend::BackendSettings;

use super::value::Setting;

/// Triton's directories, where nothing of ours lies.
const BACKEND_DIRECTORY: &str = "/opt/tritonserver/backends";
const REPOSITORY_AGENT_DIRECTORY: &str = "/opt/tritonserver/repoagents";

/// Backends and their settings.
#[derive(Debug, Args)]
#[command(next_help_heading = "Backend")]
pub(crate) struct BackendArgs {
    /// Directory with backends, each in a directory of its name that holds a model.py.
    #[arg(
        long,
        default_value = BACKEND_DIRECTORY,
        value_name = "string"
    )]
    pub(crate) backend_directory: PathBuf,

    /// Setting of one backend, <backend>,<setting>=<value>, or of all, <setting>=<value>; may be
    /// given several times.
    #[arg(long, value_name = "<string>,<string>=<string>", value_parser = setting)]
    backend_config: Vec<Setting>,
}

/// Agents that prepare models.
#[derive(Debug, Args)]
#[command(next_help_heading = "Repository Agent")]
pub(crate) struct RepositoryAgentArgs {
    /// Directory with repository agent libraries.
    #[arg(
        long,
        default_value = REPOSITORY_AGENT_DIRECTORY,
        value_name = "string"
    )]
    pub(crate) repoagent_directory: PathBuf,
}

impl RepositoryAgentArgs {
    pub(super) fn is_directory_given(&self) -> bool {
        self.repoagent_directory != Path::new(REPOSITORY_AGENT_DIRECTORY)
    }
}

impl BackendArgs {
    /// Returns the settings of each backend named, and under the empty name those of all (C083).
    pub(crate) fn backend_settings(&self) -> BTreeMap<String, BackendSettings> {
        let mut backends: BTreeMap<String, BackendSettings> = BTreeMap::new();
        for setting in &self.backend_config {
            let settings = backends.entry(setting.scope.clone()).or_default();
            settings.insert(setting.name.clone(), setting.value.clone());
        }
        backends
    }
}

fn setting(text: &str) -> Result<Setting, String> {
    if text.starts_with(',') {
        return Err(format!(
            "No backend specified. --backend-config option format is \
                 <backend name>,<setting>=<value> or <setting>=<value>. Got {text}\n"
        ));
    }
    Setting::read(text).ok_or_else(|| {
        format!(
            "--backend-config option format is '<backend name>,<setting>=<value>'. Got {text}\n"
        )
    })
}
