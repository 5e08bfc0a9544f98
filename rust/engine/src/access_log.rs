// SPDX-License-Identifier: Apache-2.0
//! One line for each request that a door answered. Triton has no such log.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};

use tritongw_types::CName;

use crate::clock::monotonic_ns;
use crate::request::{InferenceRequest, log_prefix};

/// Marks the lines of this log.
const TARGET: &str = "tritongw::access";

/// A request as the log tells it; written when it is dropped, which is when the last of the answer
/// was handed over or given up.
#[derive(Debug)]
pub struct AccessEntry {
    start_ns: u64,
    protocol: &'static str,
    client: Option<SocketAddr>,
    method: String,
    path: String,
    status: AtomicU16,
    inference: Option<Inference>,
}

/// What an inference is known by.
#[derive(Debug)]
struct Inference {
    model: CName,
    version: i64,
    request_id: CName,
}

impl AccessEntry {
    /// Notes that a request has come; without an answer it has the status 0.
    pub fn begin(
        protocol: &'static str,
        client: Option<SocketAddr>,
        method: &str,
        path: &str,
    ) -> Self {
        Self {
            start_ns: monotonic_ns(),
            protocol,
            client,
            method: method.to_owned(),
            path: path.to_owned(),
            status: AtomicU16::new(0),
            inference: None,
        }
    }

    /// Notes which inference it asks for.
    pub fn note_inference(&mut self, request: &InferenceRequest) {
        let model = request.model();
        self.inference = Some(Inference {
            model: CName::new(model.name()),
            version: model.version(),
            request_id: request.id().clone(),
        });
    }

    /// Notes how it is answered: a status of HTTP, or a code of gRPC.
    pub fn note_status(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    fn duration_us(&self) -> u64 {
        monotonic_ns().saturating_sub(self.start_ns) / 1000
    }
}

impl Drop for AccessEntry {
    fn drop(&mut self) {
        let client = self.client.map(|client| client.to_string());
        let inference = self.inference.as_ref();
        let line = Line(self, self.duration_us());
        log::info!(
            target: TARGET,
            protocol = self.protocol,
            client = client.as_deref().unwrap_or_default(),
            method = &*self.method,
            path = &*self.path,
            status = self.status.load(Ordering::Relaxed),
            duration_us = line.1,
            model = inference.map_or("", |inference| &inference.model),
            version = inference.map_or(0, |inference| inference.version),
            request_id = inference.map_or("", |inference| &inference.request_id);
            "{line}"
        );
    }
}

/// An entry and its duration as text.
struct Line<'a>(&'a AccessEntry, u64);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(entry, duration_us) = self;
        if let Some(inference) = &entry.inference {
            f.write_str(&log_prefix(&inference.request_id))?;
        }
        f.write_str(entry.protocol)?;
        if let Some(client) = entry.client {
            write!(f, " {client}")?;
        }
        let status = entry.status.load(Ordering::Relaxed);
        let (method, path) = (&entry.method, &entry.path);
        write!(f, " {method} {path} {status} {duration_us} us")?;
        if let Some(Inference { model, version, .. }) = &entry.inference {
            write!(f, " model {} version {version}", model.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_who_asked_for_what_and_how_it_went() {
        let client = Some(SocketAddr::from(([127, 0, 0, 1], 5)));
        let mut entry = AccessEntry::begin("HTTP", client, "POST", "/v2/models/m/infer");
        entry.note_status(200);
        assert_eq!(
            Line(&entry, 7).to_string(),
            "HTTP 127.0.0.1:5 POST /v2/models/m/infer 200 7 us"
        );
        entry.inference = Some(Inference {
            model: CName::new("m"),
            version: 3,
            request_id: CName::default(),
        });
        assert_eq!(
            Line(&entry, 7).to_string(),
            "[request id: <id_unknown>] HTTP 127.0.0.1:5 POST /v2/models/m/infer 200 7 us model m \
             version 3"
        );
    }
}
