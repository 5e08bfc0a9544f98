// SPDX-License-Identifier: Apache-2.0
//! What Triton prints once models are loaded: agents, backends, models, options (C011).

use tritongw_engine::{BackendEntry, ModelControlMode, ModelVersionIndex, Server};

use crate::logging::TABLE_TARGET;
use crate::options::{RateLimitMode, ServeArgs};
use crate::table;

/// Logs the four tables in Triton's order.
pub(crate) fn log_all(args: &ServeArgs, server: &Server) {
    log_table(&["Repository Agent", "Path"], &[]);
    log_table(
        &["Backend", "Path", "Config"],
        &backend_rows(args, &server.backends()),
    );
    log_table(
        &["Model", "Version", "Status"],
        &model_rows(&server.index()),
    );
    log_table(&["Option", "Value"], &option_rows(args, server));
}

fn log_table(header: &[&str], rows: &[Vec<String>]) {
    log::info!(target: TABLE_TARGET, "{}", table::render(header, rows));
}

/// The place of a backend that is part of the server is no path.
fn backend_rows(args: &ServeArgs, backends: &[BackendEntry]) -> Vec<Vec<String>> {
    let settings = args.backend.backend_settings();
    let row = |backend: &BackendEntry| {
        let base = backend.base.as_deref().unwrap_or_default();
        let mut config = serde_json::Map::new();
        let auto_complete = (!args.is_strict_model_config()).to_string();
        config.insert("auto-complete-config".to_owned(), auto_complete.into());
        for (key, value) in ["", base, &backend.name]
            .iter()
            .filter_map(|scope| settings.get(*scope))
            .flatten()
        {
            config.insert(key.clone(), value.clone().into());
        }
        let config = serde_json::json!({ "cmdline": config });
        let place = match &backend.place {
            Some(path) => path.display().to_string(),
            None => "<built-in>".to_owned(),
        };
        vec![backend.name.clone(), place, config.to_string()]
    };
    backends.iter().map(row).collect()
}

fn model_rows(index: &[ModelVersionIndex]) -> Vec<Vec<String>> {
    index
        .iter()
        // What nobody has asked to load has no state.
        .filter(|entry| entry.state.is_some() || !entry.reason.is_empty())
        .map(|entry| {
            let version = entry.version.map_or_else(|| "-".to_owned(), |v| v.to_string());
            let status = match (entry.is_ready(), entry.version) {
                (true, _) => "READY".to_owned(),
                (false, Some(_)) => format!("UNAVAILABLE: {}", entry.reason),
                (false, None) => format!("Not loaded: {}", entry.reason),
            };
            vec![entry.name.clone(), version, status]
        })
        .collect()
}

fn option_rows(args: &ServeArgs, server: &Server) -> Vec<Vec<String>> {
    let mut rows: Vec<(String, String)> = Vec::new();
    let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
    let flag = |is_set: bool| u8::from(is_set).to_string();
    row("server_id", server.id().to_owned());
    row("server_version", server.version().to_owned());
    row("server_extensions", server.extensions().join(" "));
    for (index, path) in args.repositories().unwrap_or_default().iter().enumerate() {
        row(
            &format!("model_repository_path[{index}]"),
            path.display().to_string(),
        );
    }
    row(
        "model_control_mode",
        control_mode(args.repository.control_mode()).to_owned(),
    );
    for (index, model) in args.repository.startup_models().iter().enumerate() {
        row(&format!("startup_models_{index}"), model.clone());
    }
    row("strict_model_config", flag(args.is_strict_model_config()));
    row(
        "model_config_name",
        args.repository
            .model_config_name
            .clone()
            .unwrap_or_default(),
    );
    row(
        "rate_limit",
        rate_limit(args.rate_limiter.rate_limit).to_owned(),
    );
    for (index, resource) in args.rate_limiter.rate_limit_resource.iter().enumerate() {
        let (name, count, device) = (
            &resource.name,
            resource.count,
            resource.device.unwrap_or(-1),
        );
        let value = format!("{{\"name\":\"{name}\", \"count\":{count} \"device\":{device}}}");
        row(&format!("rate_limit_resource[{index}]"), value);
    }
    row(
        "pinned_memory_pool_byte_size",
        args.device.pinned_memory_pool_byte_size().to_string(),
    );
    for (gpu, bytes) in args.device.cuda_memory_pools() {
        row(
            &format!("cuda_memory_pool_byte_size{{{gpu}}}"),
            bytes.to_string(),
        );
    }
    row(
        "min_supported_compute_capability",
        format!("{:.1}", args.device.min_supported_compute_capability),
    );
    row("strict_readiness", flag(args.repository.strict_readiness));
    row(
        "exit_timeout",
        args.server.exit_timeout().as_secs().to_string(),
    );
    // There is no cache yet, whatever was asked for.
    row("cache_enabled", flag(false));
    rows.into_iter()
        .map(|(name, value)| vec![name, value])
        .collect()
}

fn control_mode(mode: ModelControlMode) -> &'static str {
    match mode {
        ModelControlMode::None => "MODE_NONE",
        ModelControlMode::Poll => "MODE_POLL",
        ModelControlMode::Explicit => "MODE_EXPLICIT",
    }
}

fn rate_limit(mode: RateLimitMode) -> &'static str {
    match mode {
        RateLimitMode::Off => "OFF",
        RateLimitMode::ExecutionCount => "EXECUTION_COUNT",
    }
}
