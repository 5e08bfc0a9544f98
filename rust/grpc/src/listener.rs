// SPDX-License-Identifier: Apache-2.0
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc::UnboundedSender;
use tritongw_types::{Error, Result};

use crate::server::GrpcOptions;

/// Connections the kernel holds for us until they are accepted.
const BACKLOG: i32 = 1024;

/// Pause after a failure to accept: what is short (descriptors, memory) takes time to come back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Opens the listening socket.
pub(crate) fn bind(options: &GrpcOptions) -> Result<TcpListener> {
    let name = format!("{}:{}", options.address, options.port);
    let failed = |source: io::Error| {
        let message = match source.kind() {
            io::ErrorKind::AddrInUse => format!("Socket '{name}' already in use"),
            _ => format!("failed to listen on '{name}'"),
        };
        Error::unavailable(message).with_source(source)
    };
    let address = resolve(&options.address, options.port).map_err(failed)?;
    open(address, options.reuse_port).map_err(failed)
}

fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    let mut addresses = (host, port).to_socket_addrs()?;
    addresses
        .next()
        .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

fn open(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // Lets a new server listen while connections of an earlier one linger.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts connections and hands them to the network threads in turn. One listener, so that a
/// client with few connections still gets as many threads.
pub(crate) async fn accept(
    listener: tokio::net::TcpListener,
    threads: Vec<UnboundedSender<TcpStream>>,
) {
    for thread in threads.iter().cycle() {
        let socket = accept_one(&listener).await;
        if thread.send(socket).is_err() {
            return;
        }
    }
}

async fn accept_one(listener: &tokio::net::TcpListener) -> TcpStream {
    loop {
        // Taken off this thread's reactor: the socket belongs to the thread it is handed to.
        match listener
            .accept()
            .await
            .and_then(|(socket, _)| socket.into_std())
        {
            Ok(socket) => return socket,
            Err(error) => {
                log::warn!("failed to accept a gRPC connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
