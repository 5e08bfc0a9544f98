// SPDX-License-Identifier: Apache-2.0
//! An engine over a temporary repository, the gRPC door before it, and a bare HTTP/2 client.
#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    reason = "each test file uses its part"
)]

pub mod backend;
pub mod client;

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use tempfile::TempDir;
use tritongw_engine::{Server, ServerOptions};
use tritongw_grpc::{GrpcOptions, GrpcServer};

use backend::{Held, ProbeBackend};
use client::Client;

/// Longest wait for something that must happen; only a failing test takes it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Data type and dims of an input and of the output that returns it.
type Tensor = (&'static str, &'static str);

/// Models of the repository: name, `max_batch_size`, tensors.
pub const MODELS: [(&str, u32, &[Tensor]); 10] = [
    ("add_sub", 0, &[("FP32", "4"), ("FP32", "4")]),
    ("batched", 8, &[("FP32", "4"), ("INT32", "1")]),
    ("id_fp32", 0, &[("FP32", "-1")]),
    ("id_fp16", 0, &[("FP16", "-1")]),
    ("id_int8", 0, &[("INT8", "-1")]),
    ("id_string", 0, &[("STRING", "-1")]),
    ("hold", 0, &[("FP32", "-1")]),
    ("fail", 0, &[("FP32", "-1")]),
    ("decoupled", 0, &[("FP32", "-1")]),
    ("decoupled_hold", 0, &[("FP32", "-1")]),
];

pub struct Fixture {
    pub engine: Arc<Server>,
    pub grpc: GrpcServer,
    pub held: Receiver<Held>,
    _repository: TempDir,
}

/// Serves all models on a port of the system's choice.
pub fn serve() -> Fixture {
    serve_with(&GrpcOptions::default())
}

pub fn serve_with(options: &GrpcOptions) -> Fixture {
    let repository = TempDir::new().expect("a temporary directory");
    for (name, max_batch_size, tensors) in MODELS {
        write_model(&repository, name, &config(name, max_batch_size, tensors));
    }
    let (backend, held) = ProbeBackend::new();
    let engine_options = ServerOptions {
        model_repositories: vec![repository.path().to_owned()],
        ..ServerOptions::default()
    };
    let engine = Server::new(engine_options, vec![Arc::new(backend)]).expect("readable");
    let options = GrpcOptions {
        address: "127.0.0.1".to_owned(),
        port: 0,
        ..options.clone()
    };
    let grpc = GrpcServer::start(&options, &engine).expect("a free port");
    Fixture {
        engine,
        grpc,
        held,
        _repository: repository,
    }
}

impl Fixture {
    pub fn client(&self) -> Client {
        Client::connect(self.grpc.local_addr())
    }

    pub fn next_held(&self) -> Held {
        self.held
            .recv_timeout(PATIENCE)
            .expect("the request should reach the backend")
    }
}

fn write_model(repository: &TempDir, name: &str, config: &str) {
    let model = repository.path().join(name);
    std::fs::create_dir_all(model.join("1")).expect("a writable directory");
    std::fs::write(model.join("config.pbtxt"), config).expect("a writable directory");
}

fn config(name: &str, max_batch_size: u32, tensors: &[Tensor]) -> String {
    let mut config = format!("backend: \"probe\"\nmax_batch_size: {max_batch_size}\n");
    for (i, (data_type, dims)) in tensors.iter().enumerate() {
        let tensor = format!("data_type: TYPE_{data_type} dims: [ {dims} ]");
        config.push_str(&format!("input [ {{ name: \"INPUT{i}\" {tensor} }} ]\n"));
        config.push_str(&format!("output [ {{ name: \"OUTPUT{i}\" {tensor} }} ]\n"));
    }
    if name.starts_with("decoupled") {
        config.push_str("model_transaction_policy { decoupled: true }\n");
    }
    config.push_str("instance_group [ { kind: KIND_CPU } ]\n");
    config
}
