// SPDX-License-Identifier: Apache-2.0
//! Network threads: one listener, sockets dealt out in turn, one runtime for each thread.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tritongw_types::{Error, Result};

use crate::activity::{Activity, Patience, Watch};
use crate::response::ResponseBody;
use crate::stream::WatchedStream;
use crate::task;

/// Connections the kernel holds before they are accepted.
const BACKLOG: i32 = 1024;
/// Bytes read at once at most, and the longest head: hyper parses it anew when more of it comes.
const MAX_READ: usize = 32 << 10;
/// How long to wait before accepting again when there are no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers the requests of one port.
pub(crate) trait Service: Send + Sync + 'static {
    /// Answers one request. Dropped when its connection goes.
    fn respond(
        &self,
        request: Request<Incoming>,
        activity: &Arc<Activity>,
    ) -> impl Future<Output = Response<ResponseBody>> + Send;
}

/// Where to listen and with how many threads.
#[derive(Clone, Debug)]
pub(crate) struct NetworkOptions {
    /// Name of the service, in thread names and errors.
    pub(crate) name: &'static str,
    pub(crate) address: String,
    pub(crate) port: u16,
    pub(crate) reuse_port: bool,
    pub(crate) thread_count: usize,
    pub(crate) patience: Patience,
}

/// A listening port and its threads.
#[derive(Debug)]
pub(crate) struct Network {
    local_addr: SocketAddr,
    // Set once, to how long connections may take to end.
    stop: watch::Sender<Option<Duration>>,
    threads: Vec<JoinHandle<()>>,
}

/// What a network thread needs to know.
struct NetworkThread<S> {
    service: Arc<S>,
    sockets: mpsc::UnboundedReceiver<TcpStream>,
    stop: watch::Receiver<Option<Duration>>,
    patience: Patience,
}

impl Network {
    /// Binds the port and starts the threads.
    pub(crate) fn start<S: Service>(options: &NetworkOptions, service: S) -> Result<Self> {
        let failed = |error: std::io::Error| {
            let (name, address, port) = (options.name, &options.address, options.port);
            let message = match error.kind() {
                // Triton's text (C007).
                std::io::ErrorKind::AddrInUse => {
                    format!("Socket '{address}:{port}' already in use")
                }
                _ => format!("failed to start {name} service at {address}:{port}: {error}"),
            };
            Error::unavailable(message).with_source(error)
        };
        let listener = bind(options).map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        let (stop, stopped) = watch::channel(None);
        let mut network = Self {
            local_addr,
            stop,
            threads: Vec::new(),
        };
        let service = Arc::new(service);
        let mut dealer = Some(Dealer {
            listener,
            threads: Vec::new(),
        });
        // The last thread started accepts for all, since by then it knows them.
        for index in (0..options.thread_count.max(1)).rev() {
            let (sender, sockets) = mpsc::unbounded_channel();
            if let Some(dealer) = &mut dealer {
                dealer.threads.push(sender);
            }
            let thread = NetworkThread {
                service: Arc::clone(&service),
                sockets,
                stop: stopped.clone(),
                patience: options.patience,
            };
            let dealer = if index == 0 { dealer.take() } else { None };
            let name = format!("{}-{index}", options.name);
            network
                .threads
                .push(start_thread(name, thread, dealer).map_err(failed)?);
        }
        Ok(network)
    }

    /// Returns the address that was bound, with the port the system chose for port 0.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops accepting, lets connections end what they have begun, for at most `timeout`, and
    /// waits for the threads.
    pub(crate) fn stop(&mut self, timeout: Duration) {
        self.stop.send_replace(Some(timeout));
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("a network thread panicked");
            }
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

fn bind(options: &NetworkOptions) -> std::io::Result<TcpListener> {
    let mut addresses = (options.address.as_str(), options.port).to_socket_addrs()?;
    let address = addresses
        .next()
        .ok_or(std::io::ErrorKind::AddrNotAvailable)?;
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn start_thread<S: Service>(
    name: String,
    thread: NetworkThread<S>,
    dealer: Option<Dealer>,
) -> std::io::Result<JoinHandle<()>> {
    // Built here, so that a failure is the caller's.
    let runtime = Builder::new_current_thread()
        // A connection that always has more to read keeps the sockets of others waiting no longer.
        .event_interval(16)
        .enable_io()
        .enable_time()
        .on_thread_park(tritongw_engine::dispatch_deferred)
        // What takes long, see `offload`; more at once would only take each other's time.
        .max_blocking_threads(std::thread::available_parallelism().map_or(1, usize::from))
        .build()?;
    std::thread::Builder::new()
        .name(name)
        .spawn(move || thread.run(&runtime, dealer))
}

impl<S: Service> NetworkThread<S> {
    fn run(mut self, runtime: &Runtime, dealer: Option<Dealer>) {
        runtime.block_on(async {
            task::spawn("dispatch", tritongw_engine::gather_on_this_thread());
            if let Some(dealer) = dealer {
                task::spawn("accept", dealer.run(self.stop.clone()));
            }
            // Ends when the last connection has dropped its sender.
            let (alive, mut all_gone) = mpsc::channel::<Infallible>(1);
            while let Some(socket) = self.next_socket().await {
                self.serve(socket, alive.clone());
            }
            drop(alive);
            let timeout = self.stop.borrow().unwrap_or_default();
            if task::within(timeout, all_gone.recv()).await.is_err() {
                log::warn!("closing connections that are still open after {timeout:?}");
            }
        });
    }

    /// Returns the next socket, `None` when the server stops.
    async fn next_socket(&mut self) -> Option<TcpStream> {
        let mut stop = pin!(self.stop.wait_for(Option::is_some));
        poll_fn(|context| {
            if stop.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            self.sockets.poll_recv(context)
        })
        .await
    }

    fn serve(&self, socket: TcpStream, alive: mpsc::Sender<Infallible>) {
        let socket = match tokio::net::TcpStream::from_std(socket) {
            Ok(socket) => socket,
            Err(error) => {
                log::warn!("failed to serve a connection: {error}");
                return;
            }
        };
        let service = Arc::clone(&self.service);
        let connection = serve(socket, service, self.stop.clone(), self.patience);
        task::spawn("connection", async move {
            connection.await;
            drop(alive);
        });
    }
}

/// Serves one connection until its client has gone, it idles, or the server stops.
async fn serve<S: Service>(
    socket: tokio::net::TcpStream,
    service: Arc<S>,
    mut stop: watch::Receiver<Option<Duration>>,
    patience: Patience,
) {
    let activity = Arc::new(Activity::of(socket.peer_addr().ok()));
    let handler = service_fn(|request| {
        let (service, activity) = (Arc::clone(&service), Arc::clone(&activity));
        async move { Ok::<_, Infallible>(service.respond(request, &activity).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .max_buf_size(MAX_READ)
            .header_read_timeout(None)
            .auto_date_header(false)
            .serve_connection(TokioIo::new(WatchedStream::new(socket, &activity)), handler)
    );
    let stop_flag = stop.clone();
    let mut stop = pin!(stop.wait_for(Option::is_some));
    let (mut is_stopping, mut is_first_poll) = (false, true);
    let interval = patience.interval();
    let mut next_look = pin!(tokio::time::sleep(interval));
    let mut watch = Watch::new(patience);
    poll_fn(|context| {
        // The first poll asks to be woken; from then on looking at the flag is enough.
        let is_worth_a_look = is_first_poll || stop_flag.has_changed().unwrap_or(true);
        is_first_poll = false;
        if !is_stopping && is_worth_a_look && stop.as_mut().poll(context).is_ready() {
            is_stopping = true;
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(result) = connection.as_mut().poll(context) {
            if let Err(error) = result {
                log::debug!("connection ended: {error}");
            }
            return Poll::Ready(());
        }
        while next_look.as_mut().poll(context).is_ready() {
            if !watch.look(&activity) {
                return Poll::Ready(());
            }
            let deadline = next_look.deadline() + interval;
            next_look.as_mut().reset(deadline);
        }
        Poll::Pending
    })
    .await;
}

/// Accepts connections and deals them out to the threads in turn, so that even a few connections
/// are spread evenly.
struct Dealer {
    listener: TcpListener,
    threads: Vec<mpsc::UnboundedSender<TcpStream>>,
}

impl Dealer {
    async fn run(self, mut stop: watch::Receiver<Option<Duration>>) {
        let listener = match tokio::net::TcpListener::from_std(self.listener) {
            Ok(listener) => listener,
            Err(error) => {
                log::error!("failed to accept connections: {error}");
                return;
            }
        };
        let mut stop = pin!(stop.wait_for(Option::is_some));
        for thread in self.threads.iter().cycle() {
            let accepted = poll_fn(|context| {
                if stop.as_mut().poll(context).is_ready() {
                    return Poll::Ready(None);
                }
                listener.poll_accept(context).map(Some)
            });
            match accepted.await {
                None => return,
                Some(Ok((socket, _))) => match prepare(socket) {
                    // A thread that is gone has stopped, and so will this task.
                    Ok(socket) => drop(thread.send(socket)),
                    Err(error) => log::debug!("connection ended at once: {error}"),
                },
                Some(Err(error)) => {
                    log::warn!("failed to accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Makes the socket ready for another thread's runtime.
fn prepare(socket: tokio::net::TcpStream) -> std::io::Result<TcpStream> {
    socket.set_nodelay(true)?;
    socket.into_std()
}
