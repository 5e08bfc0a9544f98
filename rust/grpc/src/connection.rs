// SPDX-License-Identifier: Apache-2.0
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::net::{SocketAddr, TcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::keepalive::KeepaliveOptions;
use crate::ping_policy::{ActiveCall, CallActivity, PingJudge, PingPolicy};
use crate::policed_io::PolicedIo;
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

/// How long a client may take to agree on TLS.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);

/// How the connections of a port are served.
#[derive(Clone)]
pub(crate) struct ConnectionSettings {
    builder: Builder<StreamExecutor>,
    tls: Option<TlsAcceptor>,
    preface_timeout: Duration,
    ping_policy: PingPolicy,
    max_age: Option<Duration>,
    max_age_grace: Option<Duration>,
}

impl ConnectionSettings {
    pub(crate) fn new(options: &GrpcOptions, tls: Option<TlsAcceptor>) -> Self {
        let keepalive = &options.keepalive;
        Self {
            builder: builder(options),
            tls,
            preface_timeout: options.preface_timeout,
            ping_policy: PingPolicy {
                permits_without_calls: keepalive.permits_without_calls,
                min_interval: keepalive.min_ping_interval,
                max_strikes: keepalive.max_ping_strikes,
            },
            max_age: keepalive.max_connection_age,
            max_age_grace: keepalive.max_connection_age_grace,
        }
    }

    /// Serves one connection to its end. When `closing` becomes true, or the connection is as old
    /// as it may get, no new call is taken and it ends with its last one.
    pub(crate) async fn serve(
        self,
        socket: TcpStream,
        service: Arc<Service>,
        closing: watch::Receiver<bool>,
    ) {
        let peer = socket.peer_addr().ok();
        let socket = socket
            .set_nodelay(true)
            .and_then(|()| tokio::net::TcpStream::from_std(socket));
        let result = match (socket, &self.tls) {
            (Err(error), _) => Err(error.to_string()),
            (Ok(socket), None) => self.serve_http2(socket, peer, service, closing).await,
            (Ok(socket), Some(tls)) => {
                match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(socket)).await {
                    Err(_) => Err("the TLS handshake took too long".to_owned()),
                    Ok(Err(error)) => Err(error.to_string()),
                    Ok(Ok(socket)) => self.serve_http2(socket, peer, service, closing).await,
                }
            }
        };
        if let Err(error) = result {
            log::debug!("a gRPC connection ended: {error}");
        }
    }

    async fn serve_http2(
        &self,
        socket: impl AsyncRead + AsyncWrite + Unpin,
        peer: Option<SocketAddr>,
        service: Arc<Service>,
        closing: watch::Receiver<bool>,
    ) -> Result<(), String> {
        let activity = Arc::<CallActivity>::default();
        let judge = PingJudge::new(self.ping_policy, Arc::clone(&activity));
        let socket = PolicedIo::new(socket, judge);
        let is_greeted = socket.is_greeted();
        let socket = TokioIo::new(socket);
        let handler = service_fn(move |request| {
            let call = ActiveCall::begin(&activity);
            let service = Arc::clone(&service);
            async move {
                let mut response = service.handle(request, peer).await?;
                call.note_sent();
                response.body_mut().noted_by(call);
                Ok::<_, std::convert::Infallible>(response)
            }
        });
        let mut connection = pin!(self.builder.serve_connection(socket, handler));
        let mut retired = pin!(retired(closing, self.max_age));
        let mut is_retiring = false;
        let mut too_late = pin!(tokio::time::sleep(self.preface_timeout));
        let mut awaits_preface = true;
        let served = std::future::poll_fn(|context| {
            if !is_retiring && retired.as_mut().poll(context).is_ready() {
                is_retiring = true;
                connection.as_mut().graceful_shutdown();
            }
            let result = connection.as_mut().poll(context);
            awaits_preface &= !is_greeted.load(Ordering::Acquire);
            if result.is_pending() && awaits_preface && too_late.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err("its preface did not come in time".to_owned()));
            }
            result.map_err(|error| error.to_string())
        });
        let Some(latest) = self.latest_end() else {
            return served.await;
        };
        // Dropping the connection gives up what is still under way.
        match tokio::time::timeout(latest, served).await {
            Ok(result) => result,
            Err(_) => Err("its calls took longer than --grpc-max-connection-age-grace".to_owned()),
        }
    }

    /// Returns when a connection must have ended: counted from the latest age that any gets, so
    /// that every call has the whole grace.
    fn latest_end(&self) -> Option<Duration> {
        let max_age = self.max_age?;
        let latest_age = max_age.saturating_add(max_age / 10);
        Some(latest_age.saturating_add(self.max_age_grace?))
    }
}

/// Waits until a connection takes no more calls.
async fn retired(mut closing: watch::Receiver<bool>, max_age: Option<Duration>) {
    // A server that is gone is closing.
    let closing = closing.wait_for(|closing| *closing);
    match max_age {
        None => drop(closing.await),
        Some(max_age) => drop(tokio::time::timeout(spread(max_age), closing).await),
    }
}

/// Returns a duration up to a tenth shorter or longer, by chance, as gRPC does: connections opened
/// together must not end together.
fn spread(duration: Duration) -> Duration {
    let chance = RandomState::new().hash_one(0) % 201;
    let permille = 900 + u32::try_from(chance).unwrap_or(100);
    (duration / 1000).saturating_mul(permille)
}

/// Returns the HTTP/2 settings of every connection.
fn builder(options: &GrpcOptions) -> Builder<StreamExecutor> {
    let KeepaliveOptions { time, timeout, .. } = options.keepalive;
    let mut builder = Builder::new(StreamExecutor);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME_SIZE)
        .max_concurrent_streams(options.max_concurrent_streams)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .keep_alive_interval(time)
        .keep_alive_timeout(timeout)
        .auto_date_header(false);
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_differ_by_a_tenth_at_most() {
        let age = Duration::from_secs(1000);
        for _ in 0..100 {
            let spread = spread(age);
            assert!((900..=1100).contains(&spread.as_secs()), "{spread:?}");
        }
    }
}
