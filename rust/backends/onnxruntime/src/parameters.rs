// SPDX-License-Identifier: Apache-2.0
//! What a configuration says of sessions, and settings of the backend (B005-B010), read once.

use std::collections::BTreeMap;
use std::ffi::c_int;

use tritongw_config::{ExecutionAccelerator, ModelConfig};
use tritongw_engine::backend::BackendSettings;
use tritongw_types::{Error, Result};

use crate::ort::{ExecutionMode, GlobalThreads, OptimizationLevel, SessionSettings};

/// ORT's entry for threads that spin while they wait for work.
const ALLOW_SPINNING: &str = "session.intra_op.allow_spinning";
const ALLOW_INTER_OP_SPINNING: &str = "session.inter_op.allow_spinning";
const OPENVINO: &str = "openvino";
const ARENA_SHRINKAGE: &str = "memory.enable_memory_arena_shrinkage";

/// Reads how a model's sessions are made.
///
/// # Errors
/// A value of the wrong kind, in Triton's words.
pub(crate) fn session_settings(config: &ModelConfig) -> Result<SessionSettings> {
    let parameters = &config.parameters;
    Ok(SessionSettings {
        optimization_level: optimization_level(config.optimization.graph_level),
        execution_mode: execution_mode(parameters)?,
        intra_op_thread_count: positive(parameters, "intra_op_thread_count")?,
        inter_op_thread_count: positive(parameters, "inter_op_thread_count")?,
        enable_mem_arena: boolean(parameters, "enable_mem_arena")?,
        enable_mem_pattern: boolean(parameters, "enable_mem_pattern")?,
        entries: session_entries(parameters),
        custom_op_libraries: config.op_library_filenames.clone(),
        uses_openvino: uses_openvino(&config.optimization.cpu_execution_accelerators)?,
    })
}

/// Reads the settings of a session of which only the signature is looked at: no threads, no
/// rewriting of the graph, no accelerator.
pub(crate) fn signature_settings(config: &ModelConfig) -> SessionSettings {
    SessionSettings {
        optimization_level: OptimizationLevel::DisableAll,
        intra_op_thread_count: Some(1),
        custom_op_libraries: config.op_library_filenames.clone(),
        ..SessionSettings::default()
    }
}

/// Reads the accelerators of the processor (B005). Those of GPUs matter to GPU instances only.
fn uses_openvino(accelerators: &[ExecutionAccelerator]) -> Result<bool> {
    let unknown = accelerators
        .iter()
        .find(|accelerator| accelerator.name != OPENVINO);
    match unknown {
        None => Ok(!accelerators.is_empty()),
        Some(accelerator) => Err(Error::invalid_arg(format!(
            "unknown Execution Accelerator '{}' is requested",
            accelerator.name
        ))),
    }
}

/// Reads the configuration entries of every execution.
pub(crate) fn run_entries(config: &ModelConfig) -> Vec<(String, String)> {
    let shrinkage = config.parameters.get(ARENA_SHRINKAGE);
    shrinkage
        .map(|value| (ARENA_SHRINKAGE.to_owned(), value.clone()))
        .into_iter()
        .collect()
}

/// Reads the backend's setting for threads shared by all models; `None` where each session has
/// its own.
///
/// # Errors
/// A value of the wrong kind, in Triton's words.
pub(crate) fn global_threads(settings: &BackendSettings) -> Result<Option<GlobalThreads>> {
    if !boolean(settings, "enable-global-threadpool")?.unwrap_or(false) {
        return Ok(None);
    }
    Ok(Some(GlobalThreads {
        intra_op: positive(settings, "intra_op_thread_count")?,
        inter_op: positive(settings, "inter_op_thread_count")?,
        allow_spinning: boolean(settings, ALLOW_SPINNING)?.unwrap_or(false),
    }))
}

/// Reads the batch size for models that could batch and do not say how far (M113).
///
/// # Errors
/// A value that is no number.
pub(crate) fn default_max_batch_size(settings: &BackendSettings) -> Result<u32> {
    let size = integer(settings, "default-max-batch-size")?.unwrap_or(0);
    Ok(u32::try_from(size).unwrap_or(0))
}

fn optimization_level(graph_level: i32) -> OptimizationLevel {
    match graph_level {
        -1 => OptimizationLevel::Basic,
        1 => OptimizationLevel::Extended,
        2 => OptimizationLevel::DisableAll,
        _ => OptimizationLevel::All,
    }
}

fn execution_mode(parameters: &BTreeMap<String, String>) -> Result<ExecutionMode> {
    match integer(parameters, "execution_mode")? {
        None | Some(0) => Ok(ExecutionMode::Sequential),
        Some(1) => Ok(ExecutionMode::Parallel),
        Some(other) => Err(Error::invalid_arg(format!(
            "Invalid configuration value provided. Expected values for  execution_mode are 0 or \
             1 but got {other} ."
        ))),
    }
}

/// Returns the parameters `session.…`: ORT's own entries. Threads do not spin unless one says so:
/// doors and other instances share their cores.
fn session_entries(parameters: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let given = parameters
        .iter()
        .filter(|(key, _)| key.starts_with("session."));
    let mut entries: Vec<_> = given
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    for key in [ALLOW_SPINNING, ALLOW_INTER_OP_SPINNING] {
        if !parameters.contains_key(key) {
            entries.push((key.to_owned(), "0".to_owned()));
        }
    }
    entries
}

/// Reads a number above 0; 0 and below leave the choice to ORT.
fn positive(values: &BTreeMap<String, String>, key: &str) -> Result<Option<c_int>> {
    Ok(integer(values, key)?.filter(|&number| number > 0))
}

fn integer(values: &BTreeMap<String, String>, key: &str) -> Result<Option<c_int>> {
    let Some(text) = values.get(key) else {
        return Ok(None);
    };
    text.trim()
        .parse()
        .map(Some)
        .map_err(|source: std::num::ParseIntError| {
            let message = format!("failed to convert '{text}' to integral number");
            Error::invalid_arg(message).with_source(source)
        })
}

fn boolean(values: &BTreeMap<String, String>, key: &str) -> Result<Option<bool>> {
    let Some(text) = values.get(key) else {
        return Ok(None);
    };
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "1" => Ok(Some(true)),
        "false" | "off" | "0" => Ok(Some(false)),
        _ => Err(Error::invalid_arg(format!(
            "failed to convert '{text}' to boolean"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|&(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn graph_levels_are_tritons() {
        assert_eq!(optimization_level(0), OptimizationLevel::All);
        assert_eq!(optimization_level(-1), OptimizationLevel::Basic);
        assert_eq!(optimization_level(1), OptimizationLevel::Extended);
        assert_eq!(optimization_level(2), OptimizationLevel::DisableAll);
    }

    #[test]
    fn words_for_true_and_false_are_tritons() {
        for (text, expected) in [("1", true), ("TRUE", true), ("on", true), ("Off", false)] {
            assert_eq!(
                boolean(&values(&[("k", text)]), "k").expect(text),
                Some(expected)
            );
        }
        let error = boolean(&values(&[("k", "yes")]), "k").expect_err("no word of Triton's");
        assert_eq!(error.message(), "failed to convert 'yes' to boolean");
    }

    #[test]
    fn execution_mode_is_0_or_1() {
        let mode = |text| execution_mode(&values(&[("execution_mode", text)]));
        assert_eq!(mode("0").expect("known"), ExecutionMode::Sequential);
        assert_eq!(mode("1").expect("known"), ExecutionMode::Parallel);
        assert_eq!(
            mode("2").expect_err("unknown").message(),
            "Invalid configuration value provided. Expected values for  execution_mode are 0 or 1 \
             but got 2 ."
        );
        assert_eq!(
            mode("fast").expect_err("no number").message(),
            "failed to convert 'fast' to integral number"
        );
    }

    #[test]
    fn thread_counts_from_1_on_are_taken() {
        for (text, expected) in [("0", None), ("-1", None), ("3", Some(3))] {
            let values = values(&[("intra_op_thread_count", text)]);
            assert_eq!(
                positive(&values, "intra_op_thread_count").expect(text),
                expected
            );
        }
    }

    #[test]
    fn session_entries_pass_and_spinning_is_off_unless_asked_for() {
        let entries = session_entries(&values(&[
            ("session.intra_op.allow_spinning", "1"),
            ("session.set_denormal_as_zero", "1"),
            ("enable_mem_arena", "0"),
        ]));
        let expected = values(&[
            ("session.intra_op.allow_spinning", "1"),
            ("session.inter_op.allow_spinning", "0"),
            ("session.set_denormal_as_zero", "1"),
        ]);
        assert_eq!(entries.into_iter().collect::<BTreeMap<_, _>>(), expected);
    }

    #[test]
    fn global_threads_are_off_unless_enabled() {
        assert_eq!(
            global_threads(&values(&[("intra_op_thread_count", "2")])).expect("off"),
            None
        );
        let settings = values(&[
            ("enable-global-threadpool", "1"),
            ("intra_op_thread_count", "2"),
        ]);
        let expected = GlobalThreads {
            intra_op: Some(2),
            inter_op: None,
            allow_spinning: false,
        };
        assert_eq!(global_threads(&settings).expect("on"), Some(expected));
    }
}
