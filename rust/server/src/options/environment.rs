// SPDX-License-Identifier: Apache-2.0
//! The environment variables that Triton reads for its options (C008, C009).

use tritongw_http::{SageMakerInference, SageMakerPing};

use super::trace::BatchEnvironment;
use super::value;

/// Where variables come from: the process, or a map in tests.
pub(crate) trait Environment {
    /// Returns a variable; one that is not Unicode counts as not set.
    fn variable(&self, name: &str) -> Option<String>;
}

/// The variables of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// What the variables say.
#[derive(Clone, Debug, Default)]
pub(crate) struct EnvironmentInputs {
    /// Whether Vertex AI runs the server: `AIP_MODE=PREDICTION`.
    pub(super) is_vertex_ai: bool,
    /// `AIP_HTTP_PORT`.
    pub(super) vertex_ai_port: Option<u16>,
    /// `AIP_STORAGE_URI`, the repository if no other is given.
    pub(super) vertex_ai_repository: Option<String>,
    /// `AIP_PREDICT_ROUTE`.
    pub(super) vertex_ai_predict_route: Option<String>,
    /// `AIP_HEALTH_ROUTE`.
    pub(super) vertex_ai_health_route: Option<String>,
    /// `OTEL_BSP_*` (T022).
    pub(crate) trace_batches: BatchEnvironment,
    /// `SAGEMAKER_TRITON_PING_MODE` (P158).
    pub(super) sagemaker_ping: SageMakerPing,
    /// `SAGEMAKER_TRITON_DEFAULT_MODEL_NAME` (P159).
    pub(super) sagemaker_model: Option<String>,
    /// `SAGEMAKER_TRITON_INFERENCE_TYPE` (P159).
    pub(super) sagemaker_inference: SageMakerInference,
    /// `TRITONGW_PYTHON_DEBUG`, which debugger Python models wait for.
    pub(super) python_debugger: Option<String>,
    /// Whether no GPU is looked for: `TRITON_SERVER_CPU_ONLY` is set, to whatever (C009, X043).
    pub(crate) is_cpu_only: bool,
    /// Whether log messages stay as they are: `TRITON_SERVER_ESCAPE_LOG_MESSAGES=0` (T039).
    is_log_unescaped: bool,
}

impl EnvironmentInputs {
    /// Reads the variables.
    ///
    /// # Errors
    /// If `AIP_HTTP_PORT` is no port, or a variable of SageMaker names no mode there is.
    pub(super) fn read(environment: &dyn Environment) -> Result<Self, String> {
        let text = |name| environment.variable(name).filter(|value| !value.is_empty());
        Ok(Self {
            is_vertex_ai: text("AIP_MODE").as_deref() == Some("PREDICTION"),
            vertex_ai_port: text("AIP_HTTP_PORT")
                .as_deref()
                .map(value::integer)
                .transpose()?,
            vertex_ai_repository: text("AIP_STORAGE_URI"),
            vertex_ai_predict_route: text("AIP_PREDICT_ROUTE"),
            vertex_ai_health_route: text("AIP_HEALTH_ROUTE"),
            trace_batches: BatchEnvironment::read(environment),
            sagemaker_ping: ping(text("SAGEMAKER_TRITON_PING_MODE").as_deref())?,
            sagemaker_model: text("SAGEMAKER_TRITON_DEFAULT_MODEL_NAME"),
            sagemaker_inference: inference(text("SAGEMAKER_TRITON_INFERENCE_TYPE").as_deref())?,
            python_debugger: text("TRITONGW_PYTHON_DEBUG"),
            is_cpu_only: environment.variable("TRITON_SERVER_CPU_ONLY").is_some(),
            is_log_unescaped: text("TRITON_SERVER_ESCAPE_LOG_MESSAGES").as_deref() == Some("0"),
        })
    }

    /// Returns whether log messages are quoted and escaped.
    pub(crate) fn is_log_escaped(&self) -> bool {
        !self.is_log_unescaped
    }
}

fn ping(mode: Option<&str>) -> Result<SageMakerPing, String> {
    match mode {
        None | Some("ready") => Ok(SageMakerPing::Ready),
        Some("live") => Ok(SageMakerPing::Live),
        Some(other) => Err(format!(
            "invalid SAGEMAKER_TRITON_PING_MODE '{other}'. Must be one of: ready, live."
        )),
    }
}

fn inference(kind: Option<&str>) -> Result<SageMakerInference, String> {
    let Some(kind) = kind else {
        return Ok(SageMakerInference::Infer);
    };
    SageMakerInference::from_name(kind).ok_or_else(|| {
        format!(
            "invalid SAGEMAKER_TRITON_INFERENCE_TYPE '{kind}'. Must be one of: infer, generate, \
             generate_stream."
        )
    })
}

#[cfg(test)]
impl Environment for std::collections::BTreeMap<&str, &str> {
    fn variable(&self, name: &str) -> Option<String> {
        self.get(name).map(|&value| value.to_owned())
    }
}
