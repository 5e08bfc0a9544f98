// SPDX-License-Identifier: Apache-2.0
//! A server over a temporary repository, a scripted backend, and a client that shows every byte.
#![allow(dead_code, unused_imports, reason = "each test file uses its own part")]

mod backend;
mod client;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tritongw_engine::{Server, ServerOptions};
use tritongw_http::{HttpOptions, HttpServer};

pub(crate) use backend::{FakeBackend, Held};
pub(crate) use client::{Client, Response, request_bytes};

/// A model of the repository.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Model {
    pub(crate) name: &'static str,
    /// What the backend does; see [`FakeBackend`].
    pub(crate) behaviour: &'static str,
    pub(crate) max_batch_size: u32,
    /// Names, types and dimensions; each is also an output, `OUT` for `IN`.
    pub(crate) inputs: &'static [(&'static str, &'static str, &'static str)],
    /// Further lines of the configuration.
    pub(crate) more: &'static str,
}

impl Model {
    /// Echoes INT32 rows of any length.
    pub(crate) const ECHO: Self = Self {
        name: "echo",
        behaviour: "echo",
        max_batch_size: 8,
        inputs: &[("IN", "TYPE_INT32", "-1")],
        more: "",
    };

    /// Hands its requests to the test.
    pub(crate) const HOLD: Self = Self {
        name: "hold",
        behaviour: "hold",
        ..Self::ECHO
    };

    fn config(&self) -> String {
        let Self {
            behaviour,
            max_batch_size,
            more,
            ..
        } = self;
        let mut text = format!(
            "backend: \"fake\" max_batch_size: {max_batch_size} {more}\n\
             parameters {{ key: \"behaviour\" value {{ string_value: \"{behaviour}\" }} }}\n"
        );
        for (name, data_type, dims) in self.inputs {
            let output = name.replace("IN", "OUT");
            for (kind, name) in [("input", *name), ("output", &output)] {
                writeln!(
                    text,
                    "{kind} {{ name: \"{name}\" data_type: {data_type} dims: [{dims}] }}"
                )
                .expect("a String takes all");
            }
        }
        text
    }
}

/// A running server; stops when dropped.
#[derive(Debug)]
pub(crate) struct TestServer {
    pub(crate) http: HttpServer,
    pub(crate) engine: Arc<Server>,
    pub(crate) held: Held,
    repository: TempDir,
}

impl TestServer {
    /// Serves these models, one network thread, other options as usual.
    pub(crate) fn start(models: &[Model]) -> Self {
        Self::start_with(models, HttpOptions::default())
    }

    /// Serves these models on a port the system chooses.
    pub(crate) fn start_with(models: &[Model], mut options: HttpOptions) -> Self {
        let repository = TempDir::new().expect("a temporary directory");
        for model in models {
            write_model(repository.path(), model);
        }
        let (backend, held) = FakeBackend::new();
        let engine_options = ServerOptions {
            model_repositories: vec![repository.path().to_owned()],
            ..ServerOptions::default()
        };
        let engine = Server::new(engine_options, vec![Arc::new(backend)]).expect("an engine");
        assert_eq!(engine.models().len(), models.len(), "every model loads");
        options.address = "127.0.0.1".to_owned();
        options.port = 0;
        let http = HttpServer::start(&options, Arc::clone(&engine)).expect("a free port");
        Self {
            http,
            engine,
            held,
            repository,
        }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.http.local_addr())
    }

    /// Sends one request on a connection of its own.
    pub(crate) fn get(&self, path: &str) -> Response {
        self.connect().request("GET", path, &[], b"")
    }

    /// Sends one request on a connection of its own.
    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.connect().request("POST", path, headers, body)
    }

    /// Stops HTTP, then returns the engine.
    pub(crate) fn stop(self, timeout: Duration) -> Arc<Server> {
        self.http.stop(timeout);
        self.engine
    }
}

fn write_model(repository: &Path, model: &Model) {
    let directory = repository.join(model.name);
    std::fs::create_dir_all(directory.join("1")).expect("a directory");
    std::fs::write(directory.join("1/model.fake"), "").expect("a file");
    std::fs::write(directory.join("config.pbtxt"), model.config()).expect("a file");
}
