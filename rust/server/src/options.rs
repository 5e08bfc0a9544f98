// SPDX-License-Identifier: Apache-2.0
//! The command line: Triton's spelling, types, defaults and refusals (section 1), parsed once.
//!
//! [`getopt`] splits the line as Triton does, clap's definitions in the files below give each value
//! its type, and what one option cannot know is checked here. Each group of options is a struct of
//! its own with accessors for validated values.

mod backend;
mod cache;
mod deprecated;
mod device;
mod environment;
mod exposure;
mod getopt;
mod grpc;
mod http;
mod logging;
mod metrics;
mod ports;
mod rate_limiter;
mod refusal;
mod repository;
mod restricted;
mod sagemaker;
mod server;
mod target;
pub(crate) mod trace;
mod unavailable;
mod usage;
pub(crate) mod value;
mod vertex_ai;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, CommandFactory, Parser, Subcommand};
use tritongw_engine::backend::BackendSettings;
use tritongw_engine::{LogControl, MetricsOptions, ReloadOptions, ServerOptions};
use tritongw_grpc::GrpcOptions;
use tritongw_http::{HttpOptions, SageMakerOptions, VertexAiOptions};
use tritongw_types::{Error, Result};

use self::cache::CacheConfig;
use self::environment::EnvironmentInputs;
use self::trace::TraceOptions;

pub(crate) use self::environment::{Environment, ProcessEnvironment};
pub(crate) use self::rate_limiter::RateLimitMode;
pub(crate) use self::refusal::Refusal;
pub(crate) use self::target::{Target, Targets};
pub use self::usage::reference;

/// Serves the models of a Triton model repository over HTTP and gRPC.
#[derive(Debug, Parser)]
#[command(name = "tritongw", version, disable_help_subcommand = true)]
#[command(after_help = "In a container of Amazon SageMaker: tritongw sagemaker")]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Loads a model repository and serves it until SIGINT or SIGTERM.
    #[command(args_override_self = true, disable_help_flag = true)]
    Serve(Box<ServeArgs>),
}

/// Options of `tritongw serve`, in the order of Triton's table.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) server: server::ServerArgs,
    #[command(flatten)]
    pub(crate) logging: logging::LoggingArgs,
    #[command(flatten)]
    pub(crate) repository: repository::RepositoryArgs,
    #[command(flatten)]
    pub(crate) http: http::HttpArgs,
    #[command(flatten)]
    pub(crate) grpc: grpc::GrpcArgs,
    #[command(flatten)]
    pub(crate) sagemaker: sagemaker::SagemakerArgs,
    #[command(flatten)]
    pub(crate) vertex_ai: vertex_ai::VertexAiArgs,
    #[command(flatten)]
    pub(crate) metrics: metrics::MetricsArgs,
    #[command(flatten)]
    pub(crate) trace: trace::TraceArgs,
    #[command(flatten)]
    pub(crate) backend: backend::BackendArgs,
    #[command(flatten)]
    pub(crate) repository_agent: backend::RepositoryAgentArgs,
    #[command(flatten)]
    pub(crate) cache: cache::CacheArgs,
    #[command(flatten)]
    pub(crate) rate_limiter: rate_limiter::RateLimiterArgs,
    #[command(flatten)]
    pub(crate) device: device::DeviceArgs,
    #[command(flatten)]
    pub(crate) deprecated: deprecated::DeprecatedArgs,
    /// What to serve beside the repositories.
    #[arg(skip)]
    pub(crate) targets: Targets,
    #[arg(skip)]
    pub(crate) environment: EnvironmentInputs,
    /// What to tell the user before anything is started.
    #[arg(skip)]
    pub(crate) notices: Vec<String>,
    /// What to log first.
    #[arg(skip)]
    pub(crate) warnings: Vec<String>,
}

/// Parses a command line, program name first.
///
/// # Errors
/// What to print in place of serving, and the exit status.
pub(crate) fn parse(
    args: Vec<OsString>,
    environment: &dyn Environment,
) -> std::result::Result<Box<ServeArgs>, Refusal> {
    let Some((head, options)) = args
        .split_at_checked(2)
        .filter(|(head, _)| head[1] == "serve")
    else {
        let Command::Serve(args) = CommandLine::try_parse_from(args)?.command;
        return args.complete(environment);
    };
    let options = unicode(options).map_err(Refusal::Usage)?;
    let line = getopt::split(&options, &usage::option_names()).map_err(Refusal::Usage)?;
    if line.options.iter().any(|option| option == "--help") {
        return Err(Refusal::Usage(String::new()));
    }
    let head = head.iter().cloned();
    let command_line =
        CommandLine::try_parse_from(head.chain(line.options.into_iter().map(Into::into)))?;
    let Command::Serve(mut args) = command_line.command;
    args.targets = Targets::parse(&line.positionals).map_err(Refusal::Usage)?;
    args.complete(environment)
}

fn unicode(args: &[OsString]) -> std::result::Result<Vec<String>, String> {
    args.iter()
        .map(|arg| {
            let text = arg.to_str().map(str::to_owned);
            text.ok_or_else(|| format!("argument is not valid Unicode: {}", arg.display()))
        })
        .collect()
}

/// Returns the definition of `tritongw serve`.
fn serve_command() -> clap::Command {
    let mut command = CommandLine::command();
    command.build();
    command
        .find_subcommand("serve")
        .cloned()
        .unwrap_or_default()
}

impl ServeArgs {
    /// Adds the environment's say, and checks what single options cannot know.
    fn complete(
        mut self: Box<Self>,
        environment: &dyn Environment,
    ) -> std::result::Result<Box<Self>, Refusal> {
        self.environment = EnvironmentInputs::read(environment).map_err(Refusal::Usage)?;
        self.repository.check().map_err(Refusal::Usage)?;
        let is_strict = self.is_strict_model_config();
        self.targets.check(is_strict).map_err(Refusal::Options)?;
        self.http
            .resolve()
            .map_err(|e| Refusal::bad_option("http-restricted-api", &e))?;
        self.grpc
            .resolve()
            .map_err(|e| Refusal::bad_option("grpc-restricted-protocol", &e))?;
        let trace = self.trace_options().map_err(Refusal::Usage)?;
        self.notices = deprecated::notices(&self, trace.mode);
        if self.deprecated.response_cache_byte_size.is_some() && !self.cache.cache_config.is_empty()
        {
            return Err(Refusal::Usage(
                "Error: Incompatible flags --response-cache-byte-size and --cache-config both \
                     provided. Please provide one or the other."
                    .to_owned(),
            ));
        }
        self.check_ports().map_err(Refusal::Usage)?;
        self.device.check().map_err(Refusal::Options)?;
        let unknown_metrics = self.metrics.resolve().map_err(|reason| {
            Refusal::Options(format!(
                "setting metrics configuration: Invalid argument - {reason}"
            ))
        })?;
        let unknown = self
            .trace
            .unknown_settings()
            .map(|setting| format!("'--trace-config' knows no setting '{}'", setting.name));
        self.warnings = unavailable::warnings(&self)
            .into_iter()
            .chain(unknown)
            .chain(unknown_metrics)
            .chain(exposure::warnings(&self))
            .collect();
        Ok(self)
    }

    fn check_ports(&self) -> std::result::Result<(), String> {
        let http_address = self.http.http_address.as_str();
        let listener = |name, address, port| ports::Listener {
            name,
            address,
            port,
            allowed_for_others: None,
        };
        let services = [
            (
                self.allows_http(),
                listener("HTTP", http_address, self.http.http_port),
            ),
            (
                self.allows_grpc(),
                listener("GRPC", &self.grpc.grpc_address, self.grpc.grpc_port),
            ),
            (
                self.metrics.allow_metrics,
                listener(
                    "metrics",
                    self.metrics.address(http_address),
                    self.metrics.metrics_port,
                ),
            ),
            (
                self.sagemaker.allow_sagemaker,
                ports::Listener {
                    allowed_for_others: self.sagemaker.sagemaker_safe_port_range.as_ref(),
                    ..listener("SageMaker", http_address, self.sagemaker.sagemaker_port)
                },
            ),
            (
                self.allows_vertex_ai(),
                listener("Vertex AI", http_address, self.vertex_ai_port()),
            ),
        ];
        let enabled = services.into_iter().filter(|(is_enabled, _)| *is_enabled);
        ports::check(&enabled.map(|(_, listener)| listener).collect::<Vec<_>>())
    }

    /// Returns the models to load at start-up in explicit mode: those asked for, and what was
    /// named as a target.
    fn startup_models(&self) -> BTreeSet<String> {
        let mut models = self.repository.startup_models();
        if !models.contains(repository::ALL_MODELS) {
            models.extend(self.targets.names().iter().cloned());
        }
        models
    }

    /// Returns the repositories; `AIP_STORAGE_URI` counts if none is given (C008).
    ///
    /// # Errors
    /// `InvalidArg` if there is none.
    pub(crate) fn repositories(&self) -> Result<Vec<PathBuf>> {
        let mut repositories: BTreeSet<_> = self.repository.repositories();
        repositories.extend(self.targets.repositories().map(Path::to_owned));
        if repositories.is_empty() {
            repositories.extend(
                self.environment
                    .vertex_ai_repository
                    .iter()
                    .map(PathBuf::from),
            );
        }
        if repositories.is_empty() {
            return Err(Error::invalid_arg("--model-repository must be specified"));
        }
        Ok(repositories.into_iter().collect())
    }

    /// Returns how to build the engine.
    ///
    /// # Errors
    /// `InvalidArg` in Triton's words if the options ask for what cannot be.
    pub(crate) fn server_options(&self, log: Arc<LogControl>) -> Result<ServerOptions> {
        self.repository.check_startup_models()?;
        Ok(ServerOptions {
            id: self.server.id.clone(),
            model_repositories: self.repositories()?,
            control_mode: self.repository.control_mode(),
            repository_poll_interval: self.repository.poll_interval().unwrap_or_default(),
            startup_models: self.startup_models().into_iter().collect(),
            reload: self.repository.reload.then(ReloadOptions::default),
            is_namespacing: self.repository.model_namespacing,
            allows_model_upload: self.repository.allow_model_upload,
            is_auto_complete: !self.is_strict_model_config(),
            model_config_name: self.repository.model_config_name.clone(),
            is_strict_readiness: self.repository.strict_readiness,
            load_thread_count: self.repository.load_thread_count(),
            load_retry_count: self.repository.model_load_retry_count,
            rate_limits: self.rate_limiter.limits(),
            host_policies: self.device.host_policies(),
            backend_settings: self.backend_settings(),
            backend_directory: Some(self.backend.backend_directory.clone()),
            allows_client_shm: self.device.allow_client_shm,
            log,
            metrics: self.metrics_options(),
            ..ServerOptions::default()
        })
    }

    /// Returns the backends' settings, with what the environment says of them.
    fn backend_settings(&self) -> BTreeMap<String, BackendSettings> {
        let mut settings = self.backend.backend_settings();
        if let Some(debugger) = &self.environment.python_debugger {
            let python = settings.entry("python".to_owned()).or_default();
            python
                .entry("debugger".into())
                .or_insert_with(|| debugger.clone());
        }
        settings
    }

    /// Returns whether configurations must be complete (C027, C097).
    pub(crate) fn is_strict_model_config(&self) -> bool {
        self.repository.is_auto_complete_disabled() || self.deprecated.is_strict_model_config()
    }

    pub(crate) fn allows_http(&self) -> bool {
        self.http
            .allow_http
            .unwrap_or(!self.environment.is_vertex_ai)
    }

    pub(crate) fn http_options(&self) -> Option<HttpOptions> {
        self.allows_http().then(|| HttpOptions {
            address: self.http.http_address.clone(),
            port: self.http.http_port,
            reuse_port: self.http.reuse_http_port,
            thread_count: self.http.thread_count(),
            max_input_size: self.http.http_max_input_size,
            header_forward_pattern: self.http.header_forward_pattern().cloned(),
            restricted_apis: self.http.restricted_apis.clone(),
            logs_access: self.logging.access_log,
            ..HttpOptions::default()
        })
    }

    pub(crate) fn allows_grpc(&self) -> bool {
        self.grpc
            .allow_grpc
            .unwrap_or(!self.environment.is_vertex_ai)
    }

    pub(crate) fn grpc_options(&self) -> Option<GrpcOptions> {
        self.allows_grpc().then(|| GrpcOptions {
            address: self.grpc.grpc_address.clone(),
            port: self.grpc.grpc_port,
            reuse_port: self.grpc.reuse_grpc_port,
            thread_count: self.grpc.grpc_infer_thread_count,
            max_response_pool_size: self.grpc.grpc_max_response_pool_size as usize,
            compression_level: self.grpc.grpc_infer_response_compression_level,
            header_forward_pattern: self.grpc.header_forward_pattern().cloned(),
            keepalive: self.grpc.keepalive(),
            tls: self.grpc.tls(),
            restricted_protocols: self.grpc.restricted_apis.clone(),
            logs_access: self.logging.access_log,
            ..GrpcOptions::default()
        })
    }

    pub(crate) fn allows_vertex_ai(&self) -> bool {
        self.vertex_ai
            .allow_vertex_ai
            .unwrap_or(self.environment.is_vertex_ai)
    }

    /// Returns the port of the Vertex AI service (C071).
    pub(crate) fn vertex_ai_port(&self) -> u16 {
        let given = self
            .vertex_ai
            .vertex_ai_port
            .or(self.environment.vertex_ai_port);
        given.unwrap_or(8080)
    }

    /// Returns how to serve Vertex AI (C070-C073).
    pub(crate) fn vertex_ai_options(&self) -> Option<VertexAiOptions> {
        self.allows_vertex_ai().then(|| VertexAiOptions {
            http: self.cloud_options(self.vertex_ai_port(), self.vertex_ai.vertex_ai_thread_count),
            predict_route: self
                .environment
                .vertex_ai_predict_route
                .clone()
                .unwrap_or_default(),
            health_route: self
                .environment
                .vertex_ai_health_route
                .clone()
                .unwrap_or_default(),
            default_model: self.vertex_ai.default_model().cloned(),
        })
    }

    /// Returns how to serve SageMaker (C066-C069).
    pub(crate) fn sagemaker_options(&self) -> Option<SageMakerOptions> {
        let model = self.environment.sagemaker_model.clone();
        self.sagemaker.allow_sagemaker.then(|| SageMakerOptions {
            http: self.cloud_options(
                self.sagemaker.sagemaker_port,
                self.sagemaker.sagemaker_thread_count,
            ),
            ping: self.environment.sagemaker_ping,
            // Triton: the name says in the error what was not set.
            default_model: model
                .unwrap_or_else(|| "unspecified_SAGEMAKER_TRITON_DEFAULT_MODEL_NAME".to_owned()),
            inference: self.environment.sagemaker_inference,
        })
    }

    /// Returns how to serve the port of a cloud's platform: limits, keys and address are those of
    /// HTTP.
    fn cloud_options(&self, port: u16, thread_count: u32) -> HttpOptions {
        HttpOptions {
            address: self.http.http_address.clone(),
            port,
            thread_count: usize::try_from(thread_count).unwrap_or(usize::MAX),
            max_input_size: self.http.http_max_input_size,
            restricted_apis: self.http.restricted_apis.clone(),
            logs_access: self.logging.access_log,
            ..HttpOptions::default()
        }
    }

    /// Returns address and port of the metrics service.
    pub(crate) fn metrics_address(&self) -> Option<(&str, u16)> {
        let address = self.metrics.address(&self.http.http_address);
        self.metrics
            .allow_metrics
            .then_some((address, self.metrics.metrics_port))
    }

    fn metrics_options(&self) -> MetricsOptions {
        MetricsOptions {
            reports_cpu: self.metrics.allows_cpu_metrics(),
            reports_gpus: self.metrics.allows_gpu_metrics(),
            interval: self.metrics.interval(),
            pinned_memory_pool_byte_size: self.device.pinned_memory_pool_byte_size(),
            ..self.metrics.options.clone()
        }
    }

    /// Returns how to trace.
    ///
    /// # Errors
    /// If a setting has no such value; not after [`parse`].
    pub(crate) fn trace_options(&self) -> std::result::Result<TraceOptions, String> {
        self.trace.trace_options(&self.deprecated)
    }

    /// Returns the settings of each cache; the deprecated option stands for the local one (C098).
    pub(crate) fn cache_config(&self) -> CacheConfig {
        let mut caches = self.cache.cache_config();
        if let Some(bytes) = self.deprecated.response_cache_byte_size {
            caches.insert(
                "local".to_owned(),
                vec![("size".to_owned(), bytes.to_string())],
            );
        }
        caches
    }
}

#[cfg(test)]
mod tests;
