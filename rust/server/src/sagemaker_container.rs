// SPDX-License-Identifier: Apache-2.0
//! What a SageMaker container serves (P167): the platform's variables as a command line.
//!
//! The platform starts a container with the word `serve` and says in variables what to serve how;
//! `tritongw sagemaker` makes of them what the script `serve` of Triton's containers does.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::options::{Environment, Refusal, ServeArgs, parse};

/// Where the platform puts the one model of an endpoint.
const SINGLE_MODEL_REPOSITORY: &str = "/opt/ml/model";
/// A repository that stays empty: each model of a multi-model endpoint is one of its own.
const MULTI_MODEL_REPOSITORY: &str = "/tmp/sagemaker";
const DEFAULT_MODEL: &str = "SAGEMAKER_TRITON_DEFAULT_MODEL_NAME";
const PING_MODE: &str = "SAGEMAKER_TRITON_PING_MODE";

/// A variable, the option that it is the value of, and the value without it.
type Translation = (&'static str, &'static str, Option<&'static str>);

const TRANSLATIONS: [Translation; 16] = [
    // Triton: in spite of its name it holds what the option is to be.
    (
        "SAGEMAKER_TRITON_DISABLE_MODEL_NAMESPACING",
        "--model-namespacing=",
        Some("true"),
    ),
    ("SAGEMAKER_BIND_TO_PORT", "--sagemaker-port=", None),
    (
        "SAGEMAKER_SAFE_PORT_RANGE",
        "--sagemaker-safe-port-range=",
        None,
    ),
    (
        "SAGEMAKER_TRITON_BUFFER_MANAGER_THREAD_COUNT",
        "--buffer-manager-thread-count=",
        None,
    ),
    (
        "SAGEMAKER_TRITON_THREAD_COUNT",
        "--sagemaker-thread-count=",
        None,
    ),
    (
        "SAGEMAKER_TRITON_LOG_VERBOSE",
        "--log-verbose=",
        Some("true"),
    ),
    ("SAGEMAKER_TRITON_LOG_INFO", "--log-info=", None),
    ("SAGEMAKER_TRITON_LOG_WARNING", "--log-warning=", None),
    ("SAGEMAKER_TRITON_LOG_ERROR", "--log-error=", None),
    (
        "SAGEMAKER_TRITON_SHM_DEFAULT_BYTE_SIZE",
        "--backend-config=python,shm-default-byte-size=",
        None,
    ),
    (
        "SAGEMAKER_TRITON_SHM_GROWTH_BYTE_SIZE",
        "--backend-config=python,shm-growth-byte-size=",
        None,
    ),
    (
        "SAGEMAKER_TRITON_TENSORFLOW_VERSION",
        "--backend-config=tensorflow,version=",
        None,
    ),
    (
        "SAGEMAKER_TRITON_ALLOW_GRPC",
        "--allow-grpc=",
        Some("false"),
    ),
    ("SAGEMAKER_TRITON_GRPC_PORT", "--grpc-port=", None),
    (
        "SAGEMAKER_TRITON_ALLOW_METRICS",
        "--allow-metrics=",
        Some("false"),
    ),
    ("SAGEMAKER_TRITON_METRICS_PORT", "--metrics-port=", None),
];

const FIXED: [&str; 4] = [
    // The platform comes from outside the container.
    "--http-address=0.0.0.0",
    "--allow-sagemaker=true",
    "--allow-http=false",
    "--model-control-mode=explicit",
];

/// Parses the options after `tritongw sagemaker`, which come after those that the environment
/// asks for; the word `serve` may stand before them.
///
/// # Errors
/// As [`parse`], and if there is not one model to serve.
pub(crate) fn parse_options(
    options: &[OsString],
    environment: &dyn Environment,
) -> Result<Box<ServeArgs>, Refusal> {
    let options = match options {
        [first, rest @ ..] if first == "serve" => rest,
        all => all,
    };
    let endpoint = Endpoint::read(options, environment).map_err(Refusal::Options)?;
    let mut line: Vec<OsString> = ["tritongw", "serve"].map(OsString::from).to_vec();
    line.extend(FIXED.map(OsString::from));
    line.extend(translated(environment));
    line.extend(endpoint.options());
    line.extend(options.iter().cloned());
    parse(line, &endpoint.environment(environment))
}

fn translated(environment: &dyn Environment) -> impl Iterator<Item = OsString> {
    let option = |(variable, option, default): Translation| {
        let given = set(environment, variable);
        let value = given.or_else(|| default.map(str::to_owned))?;
        Some(format!("{option}{value}").into())
    };
    TRANSLATIONS.into_iter().filter_map(option)
}

fn set(environment: &dyn Environment, variable: &str) -> Option<String> {
    environment
        .variable(variable)
        .filter(|value| !value.is_empty())
}

/// What is served.
#[derive(Debug, PartialEq, Eq)]
enum Endpoint {
    /// One model, named in the requests' stead.
    Single {
        /// `None` where an option says it.
        repository: Option<PathBuf>,
        model: String,
    },
    /// Those that the platform loads.
    Multi,
}

impl Endpoint {
    fn read(options: &[OsString], environment: &dyn Environment) -> Result<Self, String> {
        if set(environment, "SAGEMAKER_MULTI_MODEL").as_deref() == Some("true") {
            return create_empty(Path::new(MULTI_MODEL_REPOSITORY)).map(|()| Self::Multi);
        }
        let given = options.iter().find_map(|option| {
            let path = option.to_str()?.strip_prefix("--model-repository=")?;
            Some(PathBuf::from(path))
        });
        let repository = given.is_none().then(|| SINGLE_MODEL_REPOSITORY.into());
        let place = given.unwrap_or_else(|| SINGLE_MODEL_REPOSITORY.into());
        let model = single_model(&place, set(environment, DEFAULT_MODEL))?;
        Ok(Self::Single { repository, model })
    }

    fn options(&self) -> Vec<OsString> {
        match self {
            Self::Multi => vec![format!("--model-repository={MULTI_MODEL_REPOSITORY}").into()],
            Self::Single { repository, model } => {
                let repository = repository.as_ref().map(|path| {
                    let mut option = OsString::from("--model-repository=");
                    option.push(path);
                    option
                });
                let load = format!("--load-model={model}").into();
                repository.into_iter().chain([load]).collect()
            }
        }
    }

    /// Returns the variables as the server is to see them.
    fn environment<'a>(&self, base: &'a dyn Environment) -> Overlay<'a> {
        let mut over = BTreeMap::new();
        match self {
            Self::Single { model, .. } => {
                over.insert(DEFAULT_MODEL, model.clone());
            }
            // No model is no reason for the platform to give the container up.
            Self::Multi if set(base, PING_MODE).is_none() => {
                over.insert(PING_MODE, "live".to_owned());
            }
            Self::Multi => {}
        }
        Overlay { base, over }
    }
}

/// Variables, some of which are other than they were.
struct Overlay<'a> {
    base: &'a dyn Environment,
    over: BTreeMap<&'static str, String>,
}

impl Environment for Overlay<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        let over = self.over.get(name).cloned();
        over.or_else(|| self.base.variable(name))
    }
}

fn create_empty(path: &Path) -> Result<(), String> {
    let failed = |error: io::Error| format!("failed to create '{}': {error}", path.display());
    fs::create_dir_all(path).map_err(failed)
}

/// Returns the model to serve: the one that is named, or the only one there is.
fn single_model(repository: &Path, named: Option<String>) -> Result<String, String> {
    let shown = repository.display();
    if repository.join("config.pbtxt").is_file() {
        return Err(format!(
            "Incorrect directory structure: '{shown}' must contain the directory of the model, \
             not what is in it"
        ));
    }
    if let Some(name) = named {
        return if repository.join(&name).is_dir() {
            Ok(name)
        } else {
            Err(format!(
                "Directory with provided {DEFAULT_MODEL} '{name}' does not exist in '{shown}'"
            ))
        };
    }
    let entries = fs::read_dir(repository)
        .map_err(|error| format!("failed to read model repository '{shown}': {error}"))?;
    let mut models: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    models.sort_unstable();
    match models.as_slice() {
        [] => Err(format!("No model found in model repository '{shown}'")),
        [only] => Ok(only.clone()),
        several => Err(format!(
            "More than 1 model directory found in model repository '{shown}': {}. Provide a \
             single directory or set {DEFAULT_MODEL}",
            several.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use tritongw_engine::ModelControlMode;

    use super::*;

    fn repository(models: &[&str]) -> TempDir {
        let repository = TempDir::new().expect("a temporary directory");
        for model in models {
            fs::create_dir(repository.path().join(model)).expect("a writable directory");
        }
        repository
    }

    fn parsed(variables: &[(&str, &str)], repository: &TempDir) -> Result<Box<ServeArgs>, Refusal> {
        let environment: BTreeMap<_, _> = variables.iter().copied().collect();
        let repository = format!("--model-repository={}", repository.path().display());
        parse_options(&["serve".into(), repository.into()], &environment)
    }

    fn reason(variables: &[(&str, &str)], repository: &TempDir) -> String {
        match parsed(variables, repository) {
            Err(Refusal::Options(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_container_serves_its_only_model() {
        let args = parsed(&[], &repository(&["m"])).expect("one model");
        assert!(!args.allows_http() && !args.allows_grpc());
        assert_eq!(args.metrics_address(), None);
        assert_eq!(args.repository.control_mode(), ModelControlMode::Explicit);
        assert_eq!(args.repository.startup_models(), ["m".to_owned()].into());
        assert!(args.repository.model_namespacing);
        assert_eq!(args.logging.settings().verbose_level, 1);
        let sagemaker = args.sagemaker_options().expect("on");
        assert_eq!(
            (sagemaker.http.port, &*sagemaker.default_model),
            (8080, "m")
        );
    }

    #[test]
    fn variables_become_options() {
        let variables = [
            ("SAGEMAKER_BIND_TO_PORT", "9000"),
            ("SAGEMAKER_SAFE_PORT_RANGE", "9000-9010"),
            ("SAGEMAKER_TRITON_THREAD_COUNT", "3"),
            ("SAGEMAKER_TRITON_LOG_VERBOSE", "false"),
            ("SAGEMAKER_TRITON_LOG_INFO", "false"),
            ("SAGEMAKER_TRITON_SHM_DEFAULT_BYTE_SIZE", "5"),
            ("SAGEMAKER_TRITON_ALLOW_METRICS", "true"),
            ("SAGEMAKER_TRITON_METRICS_PORT", "9002"),
            ("SAGEMAKER_TRITON_DISABLE_MODEL_NAMESPACING", "false"),
            (DEFAULT_MODEL, "b"),
        ];
        let args = parsed(&variables, &repository(&["a", "b"])).expect("a model is named");
        let sagemaker = args.sagemaker_options().expect("on");
        assert_eq!(
            (sagemaker.http.port, sagemaker.http.thread_count),
            (9000, 3)
        );
        assert_eq!(sagemaker.default_model, "b");
        let settings = args.logging.settings();
        assert!(settings.verbose_level == 0 && !settings.info);
        assert_eq!(args.metrics_address().map(|(_, port)| port), Some(9002));
        assert!(!args.repository.model_namespacing);
        let backends = args.backend.backend_settings();
        assert_eq!(backends["python"]["shm-default-byte-size"], "5");
    }

    #[test]
    fn one_model_must_be_there() {
        assert!(reason(&[], &repository(&[])).starts_with("No model found"));
        let several = repository(&["a", "b"]);
        assert!(reason(&[], &several).contains("': a, b. Provide"));
        let named = [(DEFAULT_MODEL, "c")];
        assert!(reason(&named, &several).contains("'c' does not exist"));
        let flat = repository(&["1"]);
        fs::write(flat.path().join("config.pbtxt"), "").expect("a writable directory");
        assert!(reason(&[], &flat).starts_with("Incorrect directory structure"));
    }

    #[test]
    fn models_of_a_multi_model_endpoint_come_later() {
        let multi = [("SAGEMAKER_MULTI_MODEL", "true")];
        let environment: BTreeMap<_, _> = multi.into();
        let args = parse_options(&["serve".into()], &environment).expect("no model is needed");
        assert!(args.repository.startup_models().is_empty());
        let repositories = args.repositories().expect("there is one");
        assert_eq!(repositories, [PathBuf::from(MULTI_MODEL_REPOSITORY)]);
        let sagemaker = args.sagemaker_options().expect("on");
        assert_eq!(sagemaker.ping, tritongw_http::SageMakerPing::Live);
    }
}
