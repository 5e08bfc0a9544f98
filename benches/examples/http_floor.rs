// SPDX-License-Identifier: Apache-2.0
//! The least an HTTP request can cost on this stack: hyper on one thread, answering with the body.
//!
//! `benches/load/run.py` drives it beside the servers, so that a figure can be read against what
//! the machine of the day makes of it. Stops with its standard input.

use std::convert::Infallible;
use std::io::Read;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

fn main() -> std::io::Result<()> {
    std::thread::spawn(|| {
        // Ends with whoever started it, however that ended.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(serve())
}

async fn serve() -> std::io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    #[expect(clippy::print_stdout, reason = "this is how the port is told")]
    {
        println!("listening at {}", listener.local_addr()?);
    }
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        #[expect(clippy::disallowed_methods, reason = "a program of its own")]
        tokio::spawn(echo(socket));
    }
}

async fn echo(socket: TcpStream) {
    let service = service_fn(|request: Request<Incoming>| async {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    });
    // A client that leaves is no news.
    let _ = http1::Builder::new()
        .pipeline_flush(true)
        .serve_connection(TokioIo::new(socket), service)
        .await;
}
