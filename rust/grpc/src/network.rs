// SPDX-License-Identifier: Apache-2.0
use std::net::TcpStream;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::{Builder as RuntimeBuilder, Runtime};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tritongw_types::{Error, Result};

use crate::connection::ConnectionSettings;
use crate::drain::Drain;
use crate::service::Service;
use crate::task::spawn;

/// What a network thread works with.
pub(crate) struct NetworkThread {
    pub(crate) settings: ConnectionSettings,
    pub(crate) service: Arc<Service>,
    pub(crate) drain: Arc<Drain>,
    pub(crate) closing: watch::Receiver<bool>,
}

/// Makes the runtime of one network thread. Requests the thread reads are only queued; they are
/// dispatched together when it has read all that is there.
pub(crate) fn runtime() -> Result<Runtime> {
    RuntimeBuilder::new_current_thread()
        .enable_io()
        .enable_time()
        .on_thread_park(tritongw_engine::dispatch_deferred)
        .build()
        .map_err(|source| {
            Error::internal("failed to start a gRPC network thread").with_source(source)
        })
}

impl NetworkThread {
    /// Starts the thread; it ends when `sockets` is closed and gives up what is then under way.
    pub(crate) fn start(
        self,
        index: usize,
        runtime: Runtime,
        sockets: UnboundedReceiver<TcpStream>,
    ) -> Result<JoinHandle<()>> {
        std::thread::Builder::new()
            .name(format!("grpc-{index}"))
            .spawn(move || {
                runtime.block_on(self.serve(sockets));
                drop(runtime);
                // Cancelling what was under way may have queued more.
                tritongw_engine::dispatch_deferred();
            })
            .map_err(|source| {
                Error::internal("failed to start a gRPC network thread").with_source(source)
            })
    }

    async fn serve(self, mut sockets: UnboundedReceiver<TcpStream>) {
        spawn(tritongw_engine::gather_on_this_thread());
        while let Some(socket) = sockets.recv().await {
            let settings = self.settings.clone();
            let service = Arc::clone(&self.service);
            let closing = self.closing.clone();
            let drain = Arc::clone(&self.drain);
            spawn(async move {
                let _inflight = drain.connections.enter();
                settings.serve(socket, service, closing).await;
            });
        }
    }
}
