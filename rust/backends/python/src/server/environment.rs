// SPDX-License-Identifier: Apache-2.0
//! Which interpreter runs a model's workers, and with which packages.
//!
//! Preparing an environment is the work of another process (`tritongw._environment`): it unpacks
//! archives, builds environments from requirements and asks interpreters what they are. This side
//! owns the private directory in which archives are unpacked, and how long they stay there.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tritongw_engine::backend::ModelContext;
use tritongw_types::{Error, Result, SafeName};

use super::private_directory::PrivateDirectory;
use crate::settings::{parameter, setting_number};

/// Archive or directory of an environment (Y014, Y027).
pub(crate) const ENVIRONMENT_PATH: &str = "EXECUTION_ENV_PATH";
/// Path of an interpreter.
pub(crate) const INTERPRETER: &str = "TRITONGW_PYTHON_INTERPRETER";
/// Name of a file beside `model.py` from which an environment is built.
pub(crate) const REQUIREMENTS: &str = "TRITONGW_PYTHON_REQUIREMENTS";
/// Stands for the model's directory in [`ENVIRONMENT_PATH`].
const MODEL_DIRECTORY: &str = "$$TRITON_MODEL_DIRECTORY";
/// What Triton runs in place of its own stub if it lies in the model's directory (Y013).
const CUSTOM_STUB: &str = "triton_python_backend_stub";

const DEFAULT_UNPACKED_BYTES: u64 = 64 << 30;
const DEFAULT_BUILD_SECONDS: u64 = 600;

/// How to start a model's workers.
#[derive(Clone, Debug, Default)]
pub(crate) struct WorkerLaunch {
    /// Program and arguments.
    program: Vec<OsString>,
    /// Variables that differ from the server's; `None` where the worker has none of that name.
    variables: BTreeMap<String, Option<String>>,
    // In this order: what was unpacked is let go before the unused is removed.
    _unpacked: Option<Arc<Unpacked>>,
    _cleaner: Option<Arc<Cleaner>>,
}

impl WorkerLaunch {
    /// Returns the command that starts a worker.
    ///
    /// # Errors
    /// If none is set.
    pub(crate) fn command(&self) -> io::Result<Command> {
        let mut command = command(&self.program)?;
        for (name, value) in &self.variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Ok(command)
    }
}

fn command(program: &[OsString]) -> io::Result<Command> {
    let Some((program, arguments)) = program.split_first() else {
        return Err(io::Error::other("no command is set for Python workers"));
    };
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}

/// What a model wants its workers to run in.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Wish {
    environment: Option<PathBuf>,
    interpreter: Option<PathBuf>,
    requirements: Option<PathBuf>,
}

/// What the helper is told.
#[derive(Serialize)]
struct Order<'a> {
    #[serde(flatten)]
    wish: &'a Wish,
    private_directory: &'a Path,
    unpacked_bytes_limit: u64,
    build_timeout_s: u64,
}

/// What the helper answers.
#[derive(Deserialize)]
#[serde(untagged)]
enum Reply {
    Failed {
        error: String,
    },
    Prepared {
        program: Vec<String>,
        variables: BTreeMap<String, Option<String>>,
        unpacked: Option<PathBuf>,
    },
}

/// Says that a directory of the private directory is in use.
#[derive(Debug)]
struct Unpacked;

/// Removes unused environments when dropped: a model that was served is gone.
#[derive(Debug)]
struct Cleaner(Arc<Environments>);

impl Drop for Cleaner {
    fn drop(&mut self) {
        self.0.remove_unused();
    }
}

/// The environments of all models of a backend.
#[derive(Debug)]
pub(crate) struct Environments {
    worker: Vec<OsString>,
    helper: Vec<OsString>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    // Made when the first model needs it.
    directory: Option<Arc<PrivateDirectory>>,
    unpacked: BTreeMap<PathBuf, Arc<Unpacked>>,
    // Orders under way: the helper may be about to name a directory that nobody uses yet.
    n_preparing: usize,
    // Whether something may have become unused in the meantime.
    is_cleaning_due: bool,
    n_removed: u64,
}

impl Environments {
    /// Runs workers with `worker` where a model says nothing, and has the rest prepared by
    /// `helper`.
    pub(crate) fn new(worker: Vec<OsString>, helper: Vec<OsString>) -> Self {
        Self {
            worker,
            helper,
            state: Mutex::default(),
        }
    }

    /// Returns how to start workers of a model; `default_archive` is the environment of its
    /// backend, for models that name none. Unpacks and builds what that takes.
    ///
    /// # Errors
    /// If the environment is not there or of no use.
    pub(crate) fn launch(
        &self,
        model: &ModelContext,
        default_archive: Option<PathBuf>,
    ) -> Result<WorkerLaunch> {
        warn_of_custom_stub(model);
        let wish = Wish::of(model, default_archive)?;
        if wish.is_empty() {
            return Ok(WorkerLaunch {
                program: self.worker.clone(),
                ..WorkerLaunch::default()
            });
        }
        let failed = |source: io::Error| {
            let message = format!(
                "failed to prepare the Python environment of model '{}': {source}",
                model.name
            );
            Error::internal(message).with_source(source)
        };
        let unpacked_bytes_limit = setting_number(model, "environment-byte-limit", 1)?;
        let build_timeout_s = setting_number(model, "environment-timeout-seconds", 1)?;
        let directory = self.begin().map_err(failed)?;
        let reply = self.ask(&Order {
            wish: &wish,
            private_directory: directory.path(),
            unpacked_bytes_limit: unpacked_bytes_limit.unwrap_or(DEFAULT_UNPACKED_BYTES),
            build_timeout_s: build_timeout_s.unwrap_or(DEFAULT_BUILD_SECONDS),
        });
        match self.end(reply).map_err(failed)? {
            Ok(launch) => Ok(launch),
            Err(message) => Err(Error::invalid_arg(format!(
                "model '{}': {message}",
                model.name
            ))),
        }
    }

    /// The same, for a model that is going to serve: when it is gone, what nobody else uses is
    /// removed.
    ///
    /// # Errors
    /// As [`Self::launch`].
    pub(crate) fn launch_served(
        self: &Arc<Self>,
        model: &ModelContext,
        default_archive: Option<PathBuf>,
    ) -> Result<WorkerLaunch> {
        let cleaner = Arc::new(Cleaner(Arc::clone(self)));
        let launch = self.launch(model, default_archive)?;
        Ok(WorkerLaunch {
            _cleaner: Some(cleaner),
            ..launch
        })
    }

    fn begin(&self) -> io::Result<Arc<PrivateDirectory>> {
        let mut state = self.state.lock();
        let directory = match &state.directory {
            Some(directory) => Arc::clone(directory),
            None => Arc::clone(state.directory.insert(Arc::new(PrivateDirectory::new()?))),
        };
        state.n_preparing += 1;
        Ok(directory)
    }

    fn end(&self, reply: io::Result<Reply>) -> io::Result<Result<WorkerLaunch, String>> {
        let launch = self.note_reply(reply);
        if self.state.lock().is_cleaning_due {
            self.remove_unused();
        }
        launch
    }

    fn note_reply(&self, reply: io::Result<Reply>) -> io::Result<Result<WorkerLaunch, String>> {
        let mut state = self.state.lock();
        state.n_preparing -= 1;
        match reply? {
            Reply::Failed { error } => Ok(Err(error)),
            Reply::Prepared {
                program,
                variables,
                unpacked,
            } => Ok(Ok(WorkerLaunch {
                program: program.into_iter().map(OsString::from).collect(),
                variables,
                _unpacked: unpacked.map(|path| {
                    let known = state.unpacked.entry(path);
                    Arc::clone(known.or_insert_with(|| Arc::new(Unpacked)))
                }),
                _cleaner: None,
            })),
        }
    }

    fn ask(&self, order: &Order<'_>) -> io::Result<Reply> {
        let mut helper = command(&self.helper)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let text = serde_json::to_vec(order)?;
        let written = match helper.stdin.take() {
            Some(mut input) => input.write_all(&text),
            None => Ok(()),
        };
        let output = helper.wait_with_output()?;
        written?;
        if !output.status.success() {
            let text = format!("the process that prepares it ended: {}", output.status);
            return Err(io::Error::other(text));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Removes the private directory: the server ends.
    pub(crate) fn close(&self) {
        let directory = self.state.lock().directory.take();
        drop(directory); // After the lock: taking it apart may take long.
    }

    fn remove_unused(&self) {
        let removed: Vec<_> = {
            let mut state = self.state.lock();
            state.is_cleaning_due = state.n_preparing > 0;
            if state.is_cleaning_due {
                return;
            }
            let unused = state
                .unpacked
                .extract_if(.., |_, unpacked| Arc::strong_count(unpacked) == 1);
            let paths: Vec<_> = unused.map(|(path, _)| path).collect();
            let paths = paths.into_iter().filter_map(|path| {
                // Out of the helper's sight at once; taking it apart may take long.
                state.n_removed += 1;
                let aside = path.with_file_name(format!("removed-{}", state.n_removed));
                fs::rename(&path, &aside).ok().map(|()| aside)
            });
            paths.collect()
        };
        for path in removed {
            if let Err(error) = fs::remove_dir_all(&path) {
                log::warn!("failed to remove an environment: {error}");
            }
        }
    }
}

impl Wish {
    fn of(model: &ModelContext, default_archive: Option<PathBuf>) -> Result<Self> {
        let environment = parameter(model, ENVIRONMENT_PATH).map(|text| {
            let directory = model.directory.to_string_lossy();
            PathBuf::from(text.replace(MODEL_DIRECTORY, &directory))
        });
        let interpreter = parameter(model, INTERPRETER).map(PathBuf::from);
        let requirements = match parameter(model, REQUIREMENTS) {
            Some(name) => Some(requirements_file(model, name)?),
            None => None,
        };
        if environment.is_some() && (interpreter.is_some() || requirements.is_some()) {
            let other = if interpreter.is_some() {
                INTERPRETER
            } else {
                REQUIREMENTS
            };
            return Err(Error::invalid_arg(format!(
                "model '{}' has both parameters '{ENVIRONMENT_PATH}' and '{other}', of which one \
                 can be met",
                model.name
            )));
        }
        let says_nothing = interpreter.is_none() && requirements.is_none();
        Ok(Self {
            environment: environment.or_else(|| default_archive.filter(|_| says_nothing)),
            interpreter,
            requirements,
        })
    }

    fn is_empty(&self) -> bool {
        *self
            == Self {
                environment: None,
                interpreter: None,
                requirements: None,
            }
    }
}

/// Returns the file of that name in the version's directory, or in the model's.
fn requirements_file(model: &ModelContext, name: &str) -> Result<PathBuf> {
    let unfit = |what: &str| {
        Error::invalid_arg(format!(
            "parameter '{REQUIREMENTS}' of model '{}' must be the name of a file beside its \
             model.py, found '{name}': {what}",
            model.name
        ))
    };
    let name = SafeName::new(name).map_err(|error| unfit(&error.to_string()))?;
    [model.version_directory(), model.directory.clone()]
        .map(|directory| directory.join(name.as_str()))
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| unfit("there is no such file"))
}

fn warn_of_custom_stub(model: &ModelContext) {
    if model.directory.join(CUSTOM_STUB).exists() {
        log::warn!(
            "'{CUSTOM_STUB}' in the directory of model '{}' has no effect: name the interpreter in \
             the parameter '{INTERPRETER}'",
            model.name
        );
    }
}
