// SPDX-License-Identifier: Apache-2.0
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tritongw_engine::Server;
use tritongw_types::{RestrictedApis, Result};

use crate::activity::Patience;
use crate::answer::{Answer, Port};
use crate::door::Door;
use crate::metrics_door::MetricsDoor;
use crate::network::{Network, NetworkOptions};
use crate::sagemaker::{SageMakerDoor, SageMakerOptions};
use crate::vertex_ai::{VertexAiDoor, VertexAiOptions};

/// How to serve HTTP.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Address to bind (C038).
    pub address: String,
    /// Port; 0 lets the system choose (C039).
    pub port: u16,
    /// Whether other processes may bind the same port (C040).
    pub reuse_port: bool,
    /// Network threads (C042). No more are started than the machine has cores: they never wait.
    pub thread_count: usize,
    /// Largest body in bytes (C043).
    pub max_input_size: usize,
    /// Headers whose whole name matches become string parameters of inference requests (C041).
    pub header_forward_pattern: Option<String>,
    /// Groups of routes that need a key (C044).
    pub restricted_apis: RestrictedApis,
    /// Whether each request gets a line in the log. Triton has no such lines.
    pub logs_access: bool,
    /// How long a connection may bring nothing, neither a request nor a piece of one, before it is
    /// closed; it takes between one and two times as long. Triton has no such limit.
    pub idle_timeout: Duration,
    /// How long the head of a request may take from its first byte on; it takes between one and
    /// two times as long. Triton has no such limit.
    pub head_timeout: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            address: "0.0.0.0".to_owned(),
            port: 8000,
            reuse_port: false,
            thread_count: 8,
            max_input_size: 64 << 20,
            header_forward_pattern: None,
            restricted_apis: RestrictedApis::default(),
            logs_access: false,
            idle_timeout: Duration::from_secs(300),
            head_timeout: Duration::from_secs(30),
        }
    }
}

impl HttpOptions {
    fn start(&self, name: &'static str, answers: impl Answer) -> Result<HttpServer> {
        let port = Port {
            answers,
            logs_access: self.logs_access,
        };
        Network::start(&self.network(name), port).map(HttpServer)
    }

    fn network(&self, name: &'static str) -> NetworkOptions {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        NetworkOptions {
            name,
            address: self.address.clone(),
            port: self.port,
            reuse_port: self.reuse_port,
            thread_count: self.thread_count.min(cores),
            patience: Patience {
                idle: self.idle_timeout,
                head: self.head_timeout,
            },
        }
    }
}

/// The HTTP door, serving until it is stopped or dropped.
#[derive(Debug)]
pub struct HttpServer(Network);

impl HttpServer {
    /// Binds the port and begins to serve `server`.
    ///
    /// # Errors
    /// `Unavailable` if the port cannot be bound or a thread cannot start, `InvalidArg` if the
    /// header forward pattern is no regular expression.
    pub fn start(options: &HttpOptions, server: Arc<Server>) -> Result<Self> {
        let door = Door::new(server, options)?;
        options.start("http", door)
    }

    /// Binds the port and begins to serve Vertex AI (P168-P172).
    ///
    /// # Errors
    /// As [`Self::start`]; `InvalidArg` if a route or the default model is missing.
    pub fn start_vertex_ai(options: &VertexAiOptions, server: Arc<Server>) -> Result<Self> {
        let door = VertexAiDoor::new(server, options)?;
        options.http.start("vertex-ai", door)
    }

    /// Binds the port and begins to serve SageMaker (P158, P159, P164, P166).
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_sagemaker(options: &SageMakerOptions, server: Arc<Server>) -> Result<Self> {
        let door = SageMakerDoor::new(server, options)?;
        options.http.start("sagemaker", door)
    }

    /// Returns the bound address.
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local_addr()
    }

    /// Stops accepting, closes idle connections, answers requests under way and closes theirs
    /// (C013). Connections still open after `timeout` are cut, and their requests cancelled.
    ///
    /// Blocks; must not run on a network thread.
    pub fn stop(mut self, timeout: Duration) {
        self.0.stop(timeout);
    }
}

/// The metrics port, serving until it is stopped or dropped (P024, X046).
#[derive(Debug)]
pub struct MetricsServer(Network);

impl MetricsServer {
    /// Binds the port and begins to serve the metrics of `server`.
    ///
    /// # Errors
    /// `Unavailable` if the port cannot be bound or the thread cannot start.
    pub fn start(address: &str, port: u16, server: Arc<Server>) -> Result<Self> {
        let options = HttpOptions {
            address: address.to_owned(),
            port,
            thread_count: 1,
            ..HttpOptions::default()
        };
        let network = options.network("metrics");
        Network::start(&network, MetricsDoor::new(server)).map(Self)
    }

    /// Returns the bound address.
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local_addr()
    }

    /// Stops as [`HttpServer::stop`] does.
    pub fn stop(mut self, timeout: Duration) {
        self.0.stop(timeout);
    }
}
