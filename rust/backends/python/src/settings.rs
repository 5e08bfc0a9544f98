// SPDX-License-Identifier: Apache-2.0
//! What the backend's settings and a model's parameters say about the model's workers.
//!
//! Everything is read once, when the model is loaded, and refused there with the name of the
//! setting and what was found.

use std::fmt::Display;
use std::time::Duration;

use tritongw_engine::backend::ModelContext;
use tritongw_types::{Error, Result};

use crate::shared::channel::{DEFAULT_SLAB_SIZE, PAGE_SIZE};
use crate::shared::limits::WorkerLimits;

/// Parameter of a model's configuration that chooses its [`HostKind`].
const HOST: &str = "TRITONGW_PYTHON_HOST";
const EXECUTION_TIMEOUT: &str = "TRITONGW_PYTHON_EXECUTION_TIMEOUT_SECONDS";
const CPU_CORES: &str = "TRITONGW_PYTHON_CPU_CORES";
const MEMORY_BYTES: &str = "TRITONGW_PYTHON_MEMORY_BYTES";
const OPEN_FILES: &str = "TRITONGW_PYTHON_OPEN_FILES";
/// Makes instances wait for a debugger.
const DEBUGGER: &str = "TRITONGW_PYTHON_DEBUG";
/// The same for all models: the environment variable of that name sets it.
const DEBUGGER_SETTING: &str = "debugger";
const INPUTS_ON_CPU: &str = "FORCE_CPU_ONLY_INPUT_TENSORS";

/// Parameters that mean something in a process of the model's own only.
const OF_WORKERS: [&str; 7] = [
    EXECUTION_TIMEOUT,
    CPU_CORES,
    MEMORY_BYTES,
    OPEN_FILES,
    crate::server::environment::ENVIRONMENT_PATH,
    crate::server::environment::INTERPRETER,
    crate::server::environment::REQUIREMENTS,
];

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// [`call_limit`] where nothing is set.
pub(crate) const DEFAULT_CALL_LIMIT: u32 = 32;
const DEFAULT_RESTART_DELAY_LIMIT: Duration = Duration::from_secs(10);
/// A worker takes some 30 descriptors for itself and the interpreter.
const MIN_OPEN_FILES: u64 = 64;
/// Importing numpy alone takes some tens of MiB.
const MIN_MEMORY_BYTES: u64 = 64 << 20;
const MIN_EXECUTION_TIMEOUT: Duration = Duration::from_millis(1);

/// Settings of Triton's Python backend about things that do not exist here, and the least value
/// that Triton takes (Y021, Y022, Y024).
const WITHOUT_EFFECT: [(&str, u64); 3] = [
    ("shm-default-byte-size", 1 << 20),
    ("shm-growth-byte-size", 1 << 20),
    ("shm_message_queue_size", 1),
];
/// The same, whose value is any text (Y025).
const REGION_PREFIX: &str = "shm-region-prefix-name";

/// How the workers of one model are run.
#[derive(Clone, Debug)]
pub(crate) struct WorkerSettings {
    /// How long a worker may take to load its model.
    pub(crate) start_timeout: Duration,
    /// How long it may take to leave, and to load where nobody debugs it (`stub-timeout-seconds`).
    pub(crate) timeout: Duration,
    /// Size of each slab.
    pub(crate) slab_size: usize,
    /// Longest wait before a restart.
    pub(crate) restart_delay_limit: Duration,
    /// How long `execute` may take before the worker is killed.
    pub(crate) execution_timeout: Option<Duration>,
    /// What a worker may take of the machine; its cores are chosen when it has an instance.
    pub(crate) limits: WorkerLimits,
    /// How many cores an instance may use, if not all.
    pub(crate) core_count: Option<usize>,
}

/// Where a model's instances run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostKind {
    /// Each in a process of its own.
    Worker,
    /// In the process of the server.
    InProcess,
}

impl WorkerSettings {
    /// Reads everything.
    ///
    /// # Errors
    /// If a setting or parameter has a value that means nothing.
    pub(crate) fn read(model: &ModelContext) -> Result<Self> {
        check_without_effect(model)?;
        call_limit(model)?;
        check_inputs_on_cpu(model)?;
        let timeout = match setting_number(model, "stub-timeout-seconds", 1)? {
            Some(seconds) => Duration::from_secs(seconds),
            None => DEFAULT_TIMEOUT,
        };
        let restart_delay_limit = setting_seconds(model, "restart-delay-limit-seconds")?;
        let core_count = parameter_number(model, CPU_CORES, 1)?;
        // Whoever steps through a model takes the time it takes.
        let is_debugged = debugger(model).is_some();
        let execution_timeout = execution_timeout(model)?.filter(|_| !is_debugged);
        Ok(Self {
            start_timeout: if is_debugged { Duration::MAX } else { timeout },
            timeout,
            slab_size: slab_size(model)?,
            restart_delay_limit: restart_delay_limit.unwrap_or(DEFAULT_RESTART_DELAY_LIMIT),
            execution_timeout,
            limits: WorkerLimits {
                memory_bytes: parameter_number(model, MEMORY_BYTES, MIN_MEMORY_BYTES)?,
                open_files: parameter_number(model, OPEN_FILES, MIN_OPEN_FILES)?,
                cores: Vec::new(),
            },
            core_count: core_count.map(|count| usize::try_from(count).unwrap_or(usize::MAX)),
        })
    }
}

impl HostKind {
    /// Reads [`HOST`].
    ///
    /// # Errors
    /// If it is neither, or other parameters ask for a process of the model's own.
    pub(crate) fn of(model: &ModelContext) -> Result<Self> {
        match parameter(model, HOST) {
            None | Some("worker") => Ok(Self::Worker),
            Some("in_process") => match OF_WORKERS
                .iter()
                .find(|name| parameter(model, name).is_some())
            {
                None => Ok(Self::InProcess),
                Some(name) => Err(Error::invalid_arg(format!(
                    "parameter '{name}' of model '{}' needs a process of the model's own, but \
                     '{HOST}' is 'in_process'",
                    model.name
                ))),
            },
            Some(other) => Err(unfit_parameter(
                model,
                HOST,
                "'worker' or 'in_process'",
                other,
            )),
        }
    }
}

/// Returns how many calls of one execution to other models may be under way (Y026).
///
/// # Errors
/// If `thread-pool-size` is no such number.
pub(crate) fn call_limit(model: &ModelContext) -> Result<u32> {
    let limit = setting_number(model, "thread-pool-size", 1)?;
    Ok(limit.map_or(DEFAULT_CALL_LIMIT, |limit| {
        u32::try_from(limit).unwrap_or(u32::MAX)
    }))
}

/// Returns the size of each slab: `slab-byte-size` of the backend's settings, 8 GiB of address
/// space where nothing is set.
///
/// # Errors
/// If it is no size of memory.
pub(crate) fn slab_size(model: &ModelContext) -> Result<usize> {
    const SETTING: &str = "slab-byte-size";
    let Some(byte_size) = setting_number(model, SETTING, 1)? else {
        return Ok(DEFAULT_SLAB_SIZE);
    };
    usize::try_from(byte_size)
        .ok()
        .and_then(|byte_size| byte_size.checked_next_multiple_of(PAGE_SIZE))
        .ok_or_else(|| {
            Error::invalid_arg(format!("setting '{SETTING}' is too large: '{byte_size}'"))
        })
}

/// Returns which debugger a model is to wait for, if any.
pub(crate) fn debugger(model: &ModelContext) -> Option<String> {
    let setting = parameter(model, DEBUGGER).or_else(|| model.setting(DEBUGGER_SETTING));
    setting
        .filter(|setting| !setting.is_empty())
        .map(str::to_owned)
}

/// Returns a parameter of the model's configuration.
pub(crate) fn parameter<'a>(model: &'a ModelContext, name: &str) -> Option<&'a str> {
    model.config.parameters.get(name).map(String::as_str)
}

/// Returns a setting of the backend that is a number.
///
/// # Errors
/// If it is none, or less than `least`.
pub(crate) fn setting_number(model: &ModelContext, name: &str, least: u64) -> Result<Option<u64>> {
    let Some(text) = model.setting(name) else {
        return Ok(None);
    };
    let number = text.parse().map_err(|source| {
        let message = format!("setting '{name}' of backend 'python' is no number: '{text}'");
        Error::invalid_arg(message).with_source(source)
    })?;
    if number < least {
        return Err(Error::invalid_arg(format!(
            "setting '{name}' of backend 'python' can't be smaller than {least}, found {number}"
        )));
    }
    Ok(Some(number))
}

fn setting_seconds(model: &ModelContext, name: &str) -> Result<Option<Duration>> {
    let Some(text) = model.setting(name) else {
        return Ok(None);
    };
    let seconds = seconds(text).ok_or_else(|| {
        Error::invalid_arg(format!(
            "setting '{name}' of backend 'python' is no number of seconds: '{text}'"
        ))
    })?;
    Ok(Some(seconds))
}

fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

fn execution_timeout(model: &ModelContext) -> Result<Option<Duration>> {
    let Some(text) = parameter(model, EXECUTION_TIMEOUT) else {
        return Ok(None);
    };
    match seconds(text) {
        Some(timeout) if timeout >= MIN_EXECUTION_TIMEOUT => Ok(Some(timeout)),
        _ => {
            let wanted = "a number of seconds, at least 0.001";
            Err(unfit_parameter(model, EXECUTION_TIMEOUT, wanted, text))
        }
    }
}

fn parameter_number(model: &ModelContext, name: &str, least: u64) -> Result<Option<u64>> {
    let Some(text) = parameter(model, name) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(number) if number >= least => Ok(Some(number)),
        _ => {
            let wanted = format!("a number of at least {least}");
            Err(unfit_parameter(model, name, wanted, text))
        }
    }
}

fn unfit_parameter(model: &ModelContext, name: &str, wanted: impl Display, found: &str) -> Error {
    Error::invalid_arg(format!(
        "parameter '{name}' of model '{}' must be {wanted}, found '{found}'",
        model.name
    ))
}

/// Inputs are on the CPU whatever this says (Y028, G9.13).
fn check_inputs_on_cpu(model: &ModelContext) -> Result<()> {
    match parameter(model, INPUTS_ON_CPU) {
        None | Some("yes" | "no") => Ok(()),
        Some(other) => Err(unfit_parameter(
            model,
            INPUTS_ON_CPU,
            "'yes' or 'no'",
            other,
        )),
    }
}

fn check_without_effect(model: &ModelContext) -> Result<()> {
    for (name, least) in WITHOUT_EFFECT {
        if setting_number(model, name, least)?.is_some() {
            say_without_effect(model, name);
        }
    }
    if model.setting(REGION_PREFIX).is_some() {
        say_without_effect(model, REGION_PREFIX);
    }
    Ok(())
}

fn say_without_effect(model: &ModelContext, name: &str) {
    log::info!(
        "model '{}': setting '{name}' of backend 'python' has no effect, tensors travel in memory \
         that has no name and grows as needed",
        model.name
    );
}
