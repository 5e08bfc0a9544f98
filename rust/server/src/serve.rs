// SPDX-License-Identifier: Apache-2.0
//! `tritongw serve`, from start-up to the last drained request (C010-C014).

use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tritongw_backend_decoupled::{RepeatBackend, SquareBackend};
use tritongw_backend_identity::IdentityBackend;
use tritongw_backend_onnxruntime::OnnxRuntimeBackend;
use tritongw_backend_python::PythonBackend;
use tritongw_engine::backend::Backend;
use tritongw_engine::{GpuOptions, LogControl, Server, ServerOptions};
use tritongw_grpc::GrpcServer;
use tritongw_http::{HttpServer, MetricsServer};
use tritongw_types::{Error, Result};

use crate::options::ServeArgs;
use crate::targets::TargetRepository;
use crate::{Embedding, announce, descriptors, logging, startup_tables, tracing};

/// Why the server did not start.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The engine could not be made (C014).
    Server(Error),
    /// A service, by its name in Triton's texts, could not be opened (C007).
    Door(&'static str, Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Server(error)
    }
}

impl Failure {
    /// Tells the user.
    pub(crate) fn report(&self) {
        match self {
            Self::Server(error) => {
                let (code, message) = (error.code().as_str(), error.message());
                // A closed console leaves nobody to tell.
                let _ = writeln!(io::stderr(), "error: creating server: {code} - {message}");
            }
            Self::Door(name, error) => {
                let (code, message) = (error.code().as_str(), error.message());
                log::error!("failed to start {name} service: {code} - {message}");
            }
        }
    }
}

/// Serves until a signal arrives, then drains.
pub(crate) fn run(mut args: Box<ServeArgs>, embedding: Embedding) -> Result<(), Failure> {
    let log = logging::install(args.logging.settings(), args.environment.is_log_escaped())?;
    for warning in &args.warnings {
        log::warn!("{warning}");
    }
    descriptors::raise_limit();
    // Before anything is started, so that a signal during a long load is not lost.
    let mut signals = Signals::new([SIGINT, SIGTERM])
        .map_err(|source| Error::internal("failed to watch signals").with_source(source))?;
    // Lives as long as the models in it.
    let targets = TargetRepository::write(&args.targets.models(), &embedding.model_writer)?;
    if let Some(written) = &targets {
        let names = written.model_names()?;
        args.targets.note_written(written.path().to_owned(), names);
    }
    let args = &*args;
    let backends: Vec<Arc<dyn Backend>> = vec![
        Arc::new(IdentityBackend),
        Arc::new(RepeatBackend),
        Arc::new(SquareBackend),
        Arc::new(OnnxRuntimeBackend::new(embedding.onnxruntime)),
        Arc::new(PythonBackend::new(embedding.python)),
    ];
    let server = Server::new(server_options(args, log)?, backends)?;
    startup_tables::log_all(args, &server);
    if !server.has_loaded_all() {
        let error = Error::internal("failed to load all models");
        if args.repository.exit_on_error {
            server.stop(args.server.exit_timeout());
            return Err(error.into());
        }
        log::error!("{}: {}", error.code().as_str(), error.message());
    }
    announce::signatures(&server);
    let doors =
        Doors::open(args, &server).inspect_err(|_| server.stop(args.server.exit_timeout()))?;
    if let Some(http) = doors.http_address() {
        announce::example_requests(&server, http, args.targets.names());
    }
    if let Some(signal) = signals.forever().next() {
        log::info!("Signal ({signal}) received.");
    }
    doors.close(args, &server);
    Ok(())
}

/// Returns the engine's options; tracing comes last, since it may start a thread.
fn server_options(args: &ServeArgs, log: Arc<LogControl>) -> Result<ServerOptions> {
    let options = args.server_options(log)?;
    let trace = args.trace_options().map_err(Error::invalid_arg)?;
    let gpus = match args.environment.is_cpu_only {
        true => GpuOptions::default(),
        false => GpuOptions {
            load_limits: args.device.model_load_gpu_limits(),
            ..GpuOptions::find(args.device.min_supported_compute_capability)
        },
    };
    Ok(ServerOptions {
        gpus,
        trace: tracing::options(&trace, &args.environment.trace_batches)?,
        ..options
    })
}

/// The open doors.
struct Doors {
    grpc: Option<GrpcServer>,
    http: Option<HttpServer>,
    sagemaker: Option<HttpServer>,
    vertex_ai: Option<HttpServer>,
    metrics: Option<MetricsServer>,
}

impl Doors {
    /// Opens gRPC, HTTP, SageMaker, Vertex AI and metrics, in this order (C010).
    fn open(args: &ServeArgs, server: &Arc<Server>) -> Result<Self, Failure> {
        let grpc = match args.grpc_options() {
            Some(options) => {
                let grpc = GrpcServer::start(&options, server)
                    .map_err(|error| Failure::Door("GRPC", error))?;
                log::info!("Started GRPCInferenceService at {}", grpc.local_addr());
                Some(grpc)
            }
            None => None,
        };
        let http = match args.http_options() {
            Some(mut options) => {
                options.thread_count = options.thread_count.min(most_network_threads());
                let http = HttpServer::start(&options, Arc::clone(server))
                    .map_err(|error| Failure::Door("HTTP", error))?;
                log::info!("Started HTTPService at {}", http.local_addr());
                Some(http)
            }
            None => None,
        };
        let sagemaker = match args.sagemaker_options() {
            Some(options) => {
                let sagemaker = HttpServer::start_sagemaker(&options, Arc::clone(server))?;
                log::info!(
                    "Started Sagemaker HTTPService at {}",
                    sagemaker.local_addr()
                );
                Some(sagemaker)
            }
            None => None,
        };
        let vertex_ai = match args.vertex_ai_options() {
            Some(options) => {
                let vertex_ai = HttpServer::start_vertex_ai(&options, Arc::clone(server))?;
                log::info!(
                    "Started Vertex AI HTTPService at {}",
                    vertex_ai.local_addr()
                );
                Some(vertex_ai)
            }
            None => None,
        };
        let metrics = match args.metrics_address() {
            Some((address, port)) => {
                let metrics = MetricsServer::start(address, port, Arc::clone(server))
                    .map_err(|error| Failure::Door("Metrics", error))?;
                log::info!("Started Metrics Service at {}", metrics.local_addr());
                Some(metrics)
            }
            None => None,
        };
        Ok(Self {
            grpc,
            http,
            sagemaker,
            vertex_ai,
            metrics,
        })
    }

    fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(HttpServer::local_addr)
    }

    /// Closes the doors, drains the engine, and stops metrics last (C013).
    fn close(self, args: &ServeArgs, server: &Server) {
        let timeout = args.server.exit_timeout();
        server.begin_exit();
        for http in [self.http, self.sagemaker, self.vertex_ai]
            .into_iter()
            .flatten()
        {
            http.stop(timeout);
        }
        if let Some(grpc) = self.grpc {
            grpc.stop(timeout);
        }
        server.stop(timeout);
        if let Some(metrics) = self.metrics {
            metrics.stop(timeout);
        }
    }
}

/// Returns how many network threads are of use: they never wait, and what models compute needs
/// cores too. One alone would be busy for a whole core with bodies of many megabytes.
fn most_network_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    cores.div_ceil(2).max(2).min(cores)
}
