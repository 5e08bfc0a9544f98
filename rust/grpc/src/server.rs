// SPDX-License-Identifier: Apache-2.0
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tritongw_engine::Server;
use tritongw_engine::header_forward::HeaderForward;
use tritongw_types::{Error, RestrictedApis, Result};

use crate::compression::CompressionLevel;
use crate::connection::ConnectionSettings;
use crate::drain::Drain;
use crate::keepalive::KeepaliveOptions;
use crate::network::{NetworkThread, runtime};
use crate::reflection::DescriptorIndex;
use crate::service::Service;
use crate::tls::TlsOptions;
use crate::{listener, task, tls};

/// How long connections may take to end once their last call has.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How to open a [`GrpcServer`].
#[derive(Clone, Debug)]
pub struct GrpcOptions {
    /// Address or host name to listen on (`--grpc-address`).
    pub address: String,
    /// Port to listen on; 0 lets the system choose (`--grpc-port`).
    pub port: u16,
    /// Whether other processes may listen on the port too (`--reuse-grpc-port`).
    pub reuse_port: bool,
    /// Network threads, at least 1.
    pub thread_count: usize,
    /// Largest message received or sent, in bytes (P133).
    pub max_message_size: usize,
    /// Groups of methods that need a key in their metadata; their headers begin with
    /// [`RESTRICTED_HEADER_PREFIX`](crate::RESTRICTED_HEADER_PREFIX) (C065).
    pub restricted_protocols: RestrictedApis,
    /// Whether each request gets a line in the log. Triton has no such lines.
    pub logs_access: bool,
    /// How long a client may take from the connection to the end of its HTTP/2 preface.
    pub preface_timeout: Duration,
    /// Calls that may be under way on one connection; more wait at the client.
    pub max_concurrent_streams: u32,
    /// Responses of one decoupled request that may wait to be written, at least 1
    /// (`--grpc-max-response-pool-size`).
    pub max_response_pool_size: usize,
    /// How inference responses are compressed (`--grpc-infer-response-compression-level`).
    pub compression_level: CompressionLevel,
    /// Metadata whose whole name matches this regular expression becomes request parameters
    /// (`--grpc-header-forward-pattern`).
    pub header_forward_pattern: Option<String>,
    /// How long connections live.
    pub keepalive: KeepaliveOptions,
    /// How connections are encrypted; `None` for not at all (`--grpc-use-ssl`).
    pub tls: Option<TlsOptions>,
}

impl Default for GrpcOptions {
    fn default() -> Self {
        Self {
            address: "0.0.0.0".to_owned(),
            port: 8001,
            reuse_port: false,
            thread_count: 2,
            max_message_size: i32::MAX as usize,
            restricted_protocols: RestrictedApis::default(),
            logs_access: false,
            preface_timeout: Duration::from_secs(30),
            max_concurrent_streams: 4096,
            max_response_pool_size: i32::MAX as usize,
            compression_level: CompressionLevel::None,
            header_forward_pattern: None,
            keepalive: KeepaliveOptions::default(),
            tls: None,
        }
    }
}

/// The gRPC port of a server. Dropping it closes the port at once; [`Self::stop`] lets calls end.
#[derive(Debug)]
pub struct GrpcServer {
    local_addr: SocketAddr,
    drain: Arc<Drain>,
    closing: watch::Sender<bool>,
    acceptor: AbortHandle,
    // While these live, so do the threads.
    sockets: Vec<mpsc::UnboundedSender<TcpStream>>,
    threads: Vec<JoinHandle<()>>,
}

impl GrpcServer {
    /// Opens the port and serves `server` on it.
    ///
    /// # Errors
    /// `Unavailable` if the address cannot be listened on, `InvalidArg` if a pattern is none or a
    /// file of TLS cannot be used, `Internal` if threads cannot start.
    pub fn start(options: &GrpcOptions, server: &Arc<Server>) -> Result<Self> {
        let header_forward = options
            .header_forward_pattern
            .as_deref()
            .map(|pattern| HeaderForward::new(pattern).map(Arc::new))
            .transpose()?;
        let tls = options.tls.as_ref().map(tls::acceptor).transpose()?;
        let reflection = Arc::new(DescriptorIndex::new(
            tritongw_protocol::FILE_DESCRIPTOR_SET,
        )?);
        let listener = listener::bind(options)?;
        let local_addr = listener.local_addr().map_err(no_listener)?;
        let drain = Arc::new(Drain::default());
        let (closing, is_closing) = watch::channel(false);
        let runtimes = (0..options.thread_count.max(1))
            .map(|_| runtime())
            .collect::<Result<Vec<_>>>()?;
        let (sockets, receivers): (Vec<_>, Vec<_>) =
            runtimes.iter().map(|_| mpsc::unbounded_channel()).unzip();
        let acceptor = {
            // Registers the listener with the first thread's runtime.
            let _context = runtimes[0].enter();
            let listener = tokio::net::TcpListener::from_std(listener).map_err(no_listener)?;
            task::spawn(listener::accept(listener, sockets.clone()))
        };
        let settings = ConnectionSettings::new(options, tls);
        let mut threads = Vec::with_capacity(runtimes.len());
        for (index, (runtime, receiver)) in runtimes.into_iter().zip(receivers).enumerate() {
            let service = Service::new(
                Arc::clone(server),
                Arc::clone(&drain),
                header_forward.clone(),
                Arc::clone(&reflection),
                options,
            );
            let thread = NetworkThread {
                settings: settings.clone(),
                service: Arc::new(service),
                drain: Arc::clone(&drain),
                closing: is_closing.clone(),
            };
            threads.push(thread.start(index, runtime, receiver)?);
        }
        Ok(Self {
            local_addr,
            drain,
            closing,
            acceptor,
            sockets,
            threads,
        })
    }

    /// Returns the address that is listened on, with the port the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Refuses new inferences (P157) and waits until every call under way has its answer, for at
    /// most `timeout`; then closes the port. Calls still unanswered are cancelled. Blocks.
    pub fn stop(self, timeout: Duration) {
        self.drain.stop();
        if !self.drain.requests.wait_until_idle(timeout) {
            log::warn!("gRPC calls were still under way when the server stopped");
        }
        self.acceptor.abort();
        self.closing.send_replace(true);
        self.drain.connections.wait_until_idle(CLOSE_TIMEOUT);
    }
}

impl Drop for GrpcServer {
    fn drop(&mut self) {
        self.acceptor.abort();
        self.sockets.clear();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("a gRPC network thread panicked");
            }
        }
    }
}

fn no_listener(source: std::io::Error) -> Error {
    Error::internal("failed to set up the gRPC listener").with_source(source)
}
