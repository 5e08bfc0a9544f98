// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};
use tritongw_engine::ModelControlMode;
use tritongw_types::{Error, Result};

use super::value;

/// Stands for every model in `--load-model`.
pub(super) const ALL_MODELS: &str = "*";

/// Where models come from, and when.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model Repository")]
pub(crate) struct RepositoryArgs {
    /// Model repository, a directory; may be given several times.
    #[arg(long, value_name = "string")]
    model_repository: Vec<PathBuf>,

    /// The same as --model-repository.
    #[arg(long, value_name = "string")]
    model_store: Vec<PathBuf>,

    /// Ends the process if a model fails to load at start-up.
    #[arg(
        long, default_value = "true", value_name = "boolean", value_parser = value::boolean,
        action = ArgAction::Set
    )]
    pub(crate) exit_on_error: bool,

    /// The server is ready only if all its models are; with false, as soon as it answers.
    #[arg(
        long, default_value = "true", value_name = "boolean", value_parser = value::boolean,
        action = ArgAction::Set
    )]
    pub(crate) strict_readiness: bool,

    /// Configurations must be complete: neither server nor backends fill anything in.
    #[arg(long)]
    disable_auto_complete_config: bool,

    /// When models are loaded: `none` loads all at start-up, `poll` follows changes of the
    /// repository, `explicit` loads those of --load-model and then what clients ask for.
    #[arg(long, default_value = "none", value_name = "string", value_parser = control_mode)]
    model_control_mode: ModelControlMode,

    /// Seconds between two looks at the repository, with --model-control-mode=poll only.
    #[arg(long, default_value = "15", value_name = "integer", value_parser = value::positive::<u32>)]
    repository_poll_secs: u32,

    /// Model to load at start-up, with --model-control-mode=explicit only; may be given several
    /// times. A lone `*` loads all.
    #[arg(long, value_name = "string")]
    load_model: Vec<String>,

    /// Reloads a Python model when a file of it changes, whatever the control mode: for those who
    /// write models. Triton has no such option.
    #[arg(long)]
    pub(crate) reload: bool,

    /// Uses configs/<name>.pbtxt of a model where there is one.
    #[arg(long, value_name = "string", value_parser = config_name)]
    pub(crate) model_config_name: Option<String>,

    /// Models loaded at the same time.
    #[arg(long, default_value = "4", value_name = "integer", value_parser = value::integer::<u32>)]
    model_load_thread_count: u32,

    /// How often a failed load is tried again.
    #[arg(long, default_value = "0", value_name = "integer", value_parser = value::integer::<u32>)]
    pub(crate) model_load_retry_count: u32,

    /// Allows models of the same name in several repositories.
    #[arg(
        long, default_value = "false", value_name = "boolean", value_parser = value::boolean,
        action = ArgAction::Set
    )]
    pub(crate) model_namespacing: bool,

    /// Load requests may bring a configuration and files, which may be code; with false, models are
    /// loaded as they are in the repositories. Triton has no such option.
    #[arg(
        long, default_value = "true", value_name = "boolean", value_parser = value::boolean,
        action = ArgAction::Set
    )]
    pub(crate) allow_model_upload: bool,

    /// Lets GPUs read each other's memory where they can.
    #[arg(
        long, default_value = "true", value_name = "boolean", value_parser = value::boolean,
        action = ArgAction::Set
    )]
    pub(crate) enable_peer_access: bool,
}

impl RepositoryArgs {
    /// Returns the repositories in the order of their names: the order given is lost and
    /// duplicates merge (C024).
    pub(crate) fn repositories(&self) -> BTreeSet<PathBuf> {
        self.model_repository
            .iter()
            .chain(&self.model_store)
            .cloned()
            .collect()
    }

    pub(crate) fn control_mode(&self) -> ModelControlMode {
        self.model_control_mode
    }

    /// Returns how often the repository is looked at, `None` unless polling (C030).
    pub(crate) fn poll_interval(&self) -> Option<Duration> {
        let is_polling = self.model_control_mode == ModelControlMode::Poll;
        is_polling.then(|| Duration::from_secs(self.repository_poll_secs.into()))
    }

    /// Returns the models to load at start-up in explicit mode; a lone `*` stands for all (C031).
    pub(crate) fn startup_models(&self) -> BTreeSet<String> {
        self.load_model.iter().cloned().collect()
    }

    /// Returns how many models load at the same time, at least 1 (C033).
    pub(crate) fn load_thread_count(&self) -> usize {
        self.model_load_thread_count.max(1) as usize
    }

    pub(crate) fn is_auto_complete_disabled(&self) -> bool {
        self.disable_auto_complete_config
    }

    /// Checks what a single option cannot know (C031, G1.03).
    pub(crate) fn check(&self) -> std::result::Result<(), String> {
        if !self.load_model.is_empty() && self.model_control_mode != ModelControlMode::Explicit {
            return Err("Error: Use of '--load-model' requires setting \
                 '--model-control-mode=explicit' as well."
                .to_owned());
        }
        Ok(())
    }

    /// Checks that `*` stands alone (G1.03).
    ///
    /// # Errors
    /// `InvalidArg` in Triton's words.
    pub(crate) fn check_startup_models(&self) -> Result<()> {
        let models = self.startup_models();
        if models.len() > 1 && models.contains(ALL_MODELS) {
            return Err(Error::invalid_arg(
                "Wildcard model name '*' must be the ONLY startup model if specified at all.",
            ));
        }
        Ok(())
    }
}

fn control_mode(text: &str) -> std::result::Result<ModelControlMode, String> {
    match text.to_ascii_lowercase().as_str() {
        "none" => Ok(ModelControlMode::None),
        "poll" => Ok(ModelControlMode::Poll),
        "explicit" => Ok(ModelControlMode::Explicit),
        _ => Err("invalid argument for --model-control-mode".to_owned()),
    }
}

fn config_name(text: &str) -> std::result::Result<String, String> {
    if text.is_empty() {
        return Err("Error: empty argument for --model-config-name".to_owned());
    }
    Ok(text.to_owned())
}
