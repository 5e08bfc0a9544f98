// SPDX-License-Identifier: Apache-2.0
//! What a server is built from.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tritongw_scheduler::ResourceLimit;

use crate::backend::BackendSettings;
use crate::gpus::GpuOptions;
use crate::host_policy::HostPolicySettings;
use crate::log_settings::LogControl;
use crate::metrics_options::MetricsOptions;
use crate::model_reloader::ReloadOptions;
use crate::repository_manager::ModelControlMode;
use crate::trace::TraceOptions;

/// How to build a [`Server`](crate::Server).
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Server name in the metadata (C016).
    pub id: String,
    /// Repositories, local directories (R015).
    pub model_repositories: Vec<PathBuf>,
    /// When models are loaded and unloaded (C029).
    pub control_mode: ModelControlMode,
    /// How often [`ModelControlMode::Poll`] looks for changes; zero for never (C030).
    pub repository_poll_interval: Duration,
    /// Which models are loaded again when their files change, whatever the control mode.
    pub reload: Option<ReloadOptions>,
    /// What [`ModelControlMode::Explicit`] loads at start-up; a lone `*` for everything (C031).
    pub startup_models: Vec<String>,
    /// Whether several repositories may hold models of one name (C035).
    pub is_namespacing: bool,
    /// Whether load requests may bring configurations and files (R040, R041).
    pub allows_model_upload: bool,
    /// Whether configurations may be completed (C027).
    pub is_auto_complete: bool,
    /// Chooses `configs/<name>.pbtxt` (C032).
    pub model_config_name: Option<String>,
    /// Whether the server is ready only if all its models are (C028).
    pub is_strict_readiness: bool,
    /// Models loaded at the same time, at least 1 (C033).
    pub load_thread_count: usize,
    /// How often a failed load is tried again (C034).
    pub load_retry_count: u32,
    /// Whether clients may register shared memory (C096).
    pub allows_client_shm: bool,
    /// How much there is of what instances share while they execute, which gives them turns
    /// (C087, C088); `None`: they execute as they come.
    pub rate_limits: Option<Vec<ResourceLimit>>,
    /// Settings of host policies by name (C094).
    pub host_policies: BTreeMap<String, HostPolicySettings>,
    /// Settings by backend; under the empty name those of every backend (C083).
    pub backend_settings: BTreeMap<String, BackendSettings>,
    /// Where backends lie that are not part of the server (C082), if there are such.
    pub backend_directory: Option<PathBuf>,
    /// How to trace requests (C081).
    pub trace: TraceOptions,
    /// What is logged; the log reads it too.
    pub log: Arc<LogControl>,
    /// What is measured, and how (C080).
    pub metrics: MetricsOptions,
    /// GPUs that may be used.
    pub gpus: GpuOptions,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            id: "triton".to_owned(),
            model_repositories: Vec::new(),
            control_mode: ModelControlMode::None,
            repository_poll_interval: Duration::from_secs(15),
            reload: None,
            startup_models: Vec::new(),
            is_namespacing: false,
            allows_model_upload: true,
            is_auto_complete: true,
            model_config_name: None,
            is_strict_readiness: true,
            load_thread_count: 4,
            load_retry_count: 0,
            allows_client_shm: false,
            rate_limits: None,
            host_policies: BTreeMap::new(),
            backend_settings: BTreeMap::new(),
            backend_directory: None,
            trace: TraceOptions::default(),
            log: Arc::default(),
            metrics: MetricsOptions::default(),
            gpus: GpuOptions::default(),
        }
    }
}
