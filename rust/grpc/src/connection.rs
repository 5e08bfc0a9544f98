// SPDX-License-Identifier: Apache-2.0
use std::future::Future;
use std::net::TcpStream;
use std::pin::pin;
use std::sync::Arc;

use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;

use crate::server::GrpcOptions;
use crate::service::Service;
use crate::task::StreamExecutor;

/// Bytes a client may send ahead on one call, and on one connection: a large tensor must not wait
/// for window updates.
const STREAM_WINDOW: u32 = 8 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;

/// Largest frame taken: a message in one frame needs no gathering.
const MAX_FRAME_SIZE: u32 = 1 << 20;

/// A client that gives up many calls at once is none that attacks.
const MAX_PENDING_RESETS: usize = 256;

/// Returns the HTTP/2 settings of every connection.
pub(crate) fn builder(options: &GrpcOptions) -> Builder<StreamExecutor> {
    let mut builder = Builder::new(StreamExecutor);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME_SIZE)
        .max_concurrent_streams(options.max_concurrent_streams)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .keep_alive_interval(options.keepalive_interval)
        .keep_alive_timeout(options.keepalive_timeout)
        .auto_date_header(false);
    builder
}

/// Serves one connection to its end. When `closing` becomes true, no new call is taken and the
/// connection ends with its last one.
pub(crate) async fn serve(
    socket: TcpStream,
    builder: Builder<StreamExecutor>,
    service: Arc<Service>,
    mut closing: watch::Receiver<bool>,
) {
    let socket = socket
        .set_nodelay(true)
        .and_then(|()| tokio::net::TcpStream::from_std(socket));
    let socket = match socket {
        Ok(socket) => TokioIo::new(socket),
        Err(error) => return log::debug!("lost a gRPC connection: {error}"),
    };
    let handler = service_fn(move |request| Arc::clone(&service).handle(request));
    let mut connection = pin!(builder.serve_connection(socket, handler));
    let mut closing = pin!(async move { closing.wait_for(|closing| *closing).await.is_ok() });
    let mut is_closing = false;
    let result = std::future::poll_fn(|context| {
        if !is_closing && closing.as_mut().poll(context).is_ready() {
            is_closing = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(context)
    });
    if let Err(error) = result.await {
        log::debug!("a gRPC connection ended: {error}");
    }
}
